"""Whose words are they: what the assembly of a plan costs in words, whatever the recogniser.

    python bench/attribution.py [--calls 20] [--minutes 10] [--unheard 0] [--seed 1000]

Generated telephone conversations whose words and times are known, with the turns, pauses, backchannels, overlaps and
interruptions of real ones. A diarizer is made up, whose edges are off by so much and that misses, splits and confuses
turns; the words are heard in the clips of the real plans and written by a recogniser that makes no other mistakes than
at the edges of its clips (`heard`) and in the punctuation. The speaker-attributed word error (cpWER: the words of each
speaker against those of one speaker of the answer, in the best pairing) of

- `ours`: the plan by windows and `attribution`;
- `by_turns`: the plan by turns, each turn's clips heard alone. A word at an edge is lost, halved or heard twice;
- `majority_overlap`: each word to the speaker of most of its time in the timeline with overlaps, else to the nearest,
  as whisperX does (`fill_nearest`); `majority_exclusive`: the same in the exclusive timeline;
- `whole_sentences`: each sentence of a window to the speaker of most of its time;
- `true_speakers`: the windows' words with their real speakers: what is lost before anybody is given a word.

Requests for an hour, by plan, and how many times more windows are sent than the speech would fill: at most 1.15.
Words without a speaker count as the last one's that has one, for all alike. Prints one JSON object. A claim of the
project: ours is as good as the best of the others, however good the diarizer.

`--unheard` of the words that are said over somebody else are written by nobody; without it, all of them are, in order
of their starts. Not here: what short clips do to a recogniser, and its other errors.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations, takewhile

from rapidfuzz.distance import Levenshtein

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.audio.voice_activity import MIN_SILENCE_S, PADDING_S
from voxtral_serverless.diarization.overlap import overlap_share
from voxtral_serverless.diarization.turns import Speech, Turn, fold_fragments, in_order, merge_gaps, unclaimed, union
from voxtral_serverless.transcription.attribution import attributed
from voxtral_serverless.transcription.plan import MAX_CLIP_S, Clip, plan_by_turns, plan_by_windows
from voxtral_serverless.transcription.words import Word

TALK = (
    "je vous appelle pour la commande de mardi dernier qui est arrivée avec un pied cassé et on me dit que le dossier a "
    "été transmis au service après vente mais personne ne rappelle alors est-ce possible d'avoir une réponse avant "
    "vendredi parce que nous avons déjà payé it is about the order number that you gave me last week they said somebody "
    "would come on monday morning to repair line but nobody came so I would like my money back please if there no other "
    "way can you tell when this will be done thank you very much for your help"
)
BACKCHANNELS = ("oui", "mm", "d'accord", "ok", "ah bon ?", "yes", "right", "I see")
SPEAKERS = "ABC"
JITTER_S = 0.04
"""Standard deviation of an aligner's word starts and ends."""
BACKCHANNEL_S = 17.0
"""Between two backchannels of the one who listens, on average."""
STRETCH_GAP_S = 0.5
"""A speaker's words that are farther apart are two true turns."""
SENTENCE_END = re.compile(r"[.!?…]$")


@dataclass(frozen=True)
class Said:
    """A word that was spoken."""

    text: str
    span: Span
    speaker: str


@dataclass(frozen=True)
class Faults:
    """How bad a diarizer is.

    Attributes:
        edge_s: Standard deviation of the edges of turns; where one speaker follows another both edges move together.
        missed_short: Of the turns under 0.6 s, the part that is missed.
        missed_overlap: Of the turns in an overlap, the part that is cut back to where nobody else speaks.
        split: Of the turns over 1.5 s, the part that has a hole, or a piece that is given to somebody else.
        confused: The part of the turns that are given to somebody else.
    """

    edge_s: float
    missed_short: float
    missed_overlap: float
    split: float
    confused: float


LEVELS = {
    "0 ms": Faults(0, 0, 0, 0, 0),
    "100 ms": Faults(0.1, 0.1, 0.2, 0.04, 0.01),
    "250 ms": Faults(0.25, 0.2, 0.4, 0.08, 0.02),
    "500 ms": Faults(0.5, 0.35, 0.6, 0.16, 0.05),
}


# The conversation.


def conversation(rng: random.Random, duration: float, parties: int) -> list[Said]:
    """What `parties` people say to each other, in order of time."""
    words: list[Said] = []
    speaker, now = SPEAKERS[0], 0.5
    while now < duration:
        held = list(monologue(rng, speaker, now))
        others = [other for other in SPEAKERS[:parties] if other != speaker]
        following = max(held[-1].span.end + min(max(rng.gauss(0.1, 0.6), -1.2), 2.0), held[0].span.start + 0.1)
        if rng.random() < 0.06 and len(held) > 5:
            held, following = interrupted(rng, held)
        words += held + list(backchannels(rng, held, rng.choice(others)))
        speaker, now = rng.choice(others), following
    return sorted(words, key=lambda word: word.span)


def monologue(rng: random.Random, speaker: str, now: float) -> Iterator[Said]:
    """A turn of a few sentences, or of a few words."""
    short = rng.random() < 0.25
    for _ in range(1 if short else 1 + int(rng.expovariate(1 / 1.1))):
        count = rng.randint(3, 5) if short else max(2, round(rng.lognormvariate(2.0, 0.5)))
        for index in range(count):
            last = index == count - 1
            word, now = spoken(rng, rng.choice(TALK.split()), speaker, now, "." if last else "", first=index == 0)
            yield word
            if not last and rng.random() < 0.04:
                now += rng.uniform(0.15, 0.45)
        now += rng.uniform(0.1, 0.8)


def spoken(rng: random.Random, text: str, speaker: str, now: float, mark: str, *, first: bool) -> tuple[Said, float]:
    """A word with its punctuation, and when the next may start."""
    length = (0.09 + 0.042 * len(text)) * rng.uniform(0.75, 1.35)
    text = (text.capitalize() if first else text) + (rng.choice(".....?!") if mark else "")
    return Said(text, Span(now, now + length), speaker), now + length + rng.choice((0.0, 0.0, 0.0, 0.03, 0.06))


def interrupted(rng: random.Random, held: list[Said]) -> tuple[list[Said], float]:
    """The turn broken off in the middle of a sentence, and when the next one had started."""
    at = held[rng.randint(3, len(held) - 2)].span.start
    stops = at + rng.uniform(0.1, 0.7)
    kept = [word for word in held if word.span.start < stops]
    return [*kept[:-1], replace(kept[-1], text=kept[-1].text.rstrip(".?!"))], at


def backchannels(rng: random.Random, held: Sequence[Said], speaker: str) -> Iterator[Said]:
    """What the other says meanwhile: half of it over the speech, half at the next pause."""
    pauses = [one.span.end for one, other in pairwise(held) if other.span.start - one.span.end > 0.15]
    now = held[0].span.start + 0.5 + rng.expovariate(1 / BACKCHANNEL_S)
    while now < held[-1].span.start - 0.5:
        at = next((pause for pause in pauses if pause > now), now) if rng.random() < 0.5 else now
        written = rng.choice(BACKCHANNELS).removesuffix(" ?").split()
        sentence = rng.random() < 0.7
        for index, text in enumerate(written):
            last = index == len(written) - 1
            mark = "." if sentence and last else ""
            word, at = spoken(rng, text, speaker, at, mark, first=sentence and index == 0)
            yield word if sentence or not last else replace(word, text=f"{word.text},")
        now = at + 1.0 + rng.expovariate(1 / BACKCHANNEL_S)


def true_turns(words: Iterable[Said]) -> list[Turn]:
    """Who speaks when."""
    turns: dict[str, list[Turn]] = defaultdict(list)
    for word in words:
        own = turns[word.speaker]
        if own and word.span.start - own[-1].span.end <= STRETCH_GAP_S:
            own[-1] = Turn(Span(own[-1].span.start, max(own[-1].span.end, word.span.end)), word.speaker)
        else:
            own.append(Turn(word.span, word.speaker))
    return in_order(turn for own in turns.values() for turn in own)


def voice_activity(words: Iterable[Said]) -> list[Span]:
    """The stretches of speech as the voice activity finds them, padding and all."""
    joined: list[Span] = []
    for span in union(word.span for word in words):
        if joined and span.start - joined[-1].end < MIN_SILENCE_S:
            joined[-1] = Span(joined[-1].start, span.end)
        else:
            joined.append(span)
    return [Span(max(span.start - PADDING_S, 0.0), span.end + PADDING_S) for span in joined]


# The diarizer.


def diarized(rng: random.Random, truth: Sequence[Turn], faults: Faults) -> tuple[list[Turn], list[Turn]]:
    """The exclusive timeline and the one with overlaps that a diarizer with `faults` finds."""
    found: list[Turn] = []
    for turn, span in zip(truth, moved(rng, truth, faults.edge_s), strict=True):
        if span.duration < 0.05 or (turn.span.duration < 0.6 and rng.random() < faults.missed_short):
            continue
        speaker = someone_else(rng, turn.speaker, truth) if rng.random() < faults.confused else turn.speaker
        found += split(rng, Turn(span, speaker), truth) if rng.random() < faults.split else [Turn(span, speaker)]
    timeline = joined(cut_back(rng, in_order(found), faults.missed_overlap))
    return exclusive(rng, timeline), timeline


def moved(rng: random.Random, truth: Sequence[Turn], edge_s: float) -> list[Span]:
    """The turns with their edges moved: edges within 0.3 s of each other together for the greater part."""
    edges = sorted(edge for turn in truth for edge in (turn.span.start, turn.span.end))
    together: dict[float, float] = {}
    for before, edge in zip([-1.0, *edges], edges, strict=False):
        together[edge] = together[before] if edge - before < 0.3 and before in together else rng.gauss(0, 0.8 * edge_s)
    shifted = []
    for turn in truth:
        start, end = (
            max(edge + together[edge] + rng.gauss(0, 0.6 * edge_s), 0.0) for edge in (turn.span.start, turn.span.end)
        )
        shifted.append(Span(start, max(start, end)))
    return shifted


def someone_else(rng: random.Random, speaker: str | None, truth: Sequence[Turn]) -> str | None:
    """Another speaker of the call."""
    return rng.choice(sorted({turn.speaker for turn in truth if turn.speaker and turn.speaker != speaker}))


def split(rng: random.Random, turn: Turn, truth: Sequence[Turn]) -> list[Turn]:
    """The turn with a hole, which somebody else gets in half of the cases."""
    if turn.span.duration < 1.5:
        return [turn]
    start = rng.uniform(turn.span.start + 0.3, turn.span.end - 1.0)
    hole = Span(start, start + rng.uniform(0.2, 0.7))
    rest = [replace(turn, span=Span(turn.span.start, hole.start)), replace(turn, span=Span(hole.end, turn.span.end))]
    return [*rest, Turn(hole, someone_else(rng, turn.speaker, truth))] if rng.random() < 0.5 else rest


def cut_back(rng: random.Random, turns: Sequence[Turn], missed: float) -> Iterator[Turn]:
    """The turns, some of those in an overlap without it."""
    for index, turn in enumerate(turns):
        start, end = turn.span.start, turn.span.end
        for other in turns[max(index - 8, 0) : index + 8]:
            if other.speaker != turn.speaker and turn.span.overlap(other.span) > 0 and other.span.start <= start:
                start = max(start, min(other.span.end, end)) if rng.random() < missed else start
        if end > start:
            yield replace(turn, span=Span(start, end))


def joined(turns: Iterable[Turn]) -> list[Turn]:
    """The turns in order, those of one speaker apart from each other."""
    spans: dict[str | None, list[Span]] = defaultdict(list)
    for turn in turns:
        spans[turn.speaker].append(turn.span)
    return in_order(Turn(span, speaker) for speaker, some in spans.items() for span in union(some))


def exclusive(rng: random.Random, timeline: Sequence[Turn]) -> list[Turn]:
    """The timeline with one speaker at a time: in an overlap who spoke before in 60 of 100, else who joins in."""
    edges = sorted({edge for turn in timeline for edge in (turn.span.start, turn.span.end)})
    found: list[Turn] = []
    newcomer = False
    waiting, active = list(reversed(timeline)), list[Turn]()
    for start, end in pairwise(edges):
        active = [turn for turn in active if turn.span.end > start]
        while waiting and waiting[-1].span.start <= start:
            active.append(waiting.pop())
            newcomer = rng.random() < 0.4
        if active:
            found.append(Turn(Span(start, end), active[-1 if newcomer else 0].speaker))
    return joined(found)


def conversation_turns(found: Sequence[Turn], speech: Sequence[Span]) -> list[Turn]:
    """The turns as the pipeline hands them on."""
    return merge_gaps(fold_fragments([*found, *unclaimed(speech, found)]))


# The recogniser and the aligner.


def heard(rng: random.Random, words: Sequence[Said], clip: Clip) -> list[Said]:
    """What a recogniser writes of a clip: a word of which 7 tenths are in it, half of the time a wrong word for one of
    which more than 3 tenths are.
    """
    found = []
    for word in words:
        share = sum(piece.overlap(word.span) for piece in clip.pieces) / word.span.duration
        if share >= 0.7:
            found.append(word)
        elif share > 0.3 and rng.random() < 0.5:
            found.append(replace(word, text=f"{word.text[: len(word.text) // 2]}-"))
    return found


def nearby(words: Sequence[Said], span: Span) -> list[Said]:
    """The words of which a part may lie in a span."""
    return [word for word in words if word.span.end > span.start and word.span.start < span.end]


def punctuated(rng: random.Random, words: Iterable[Said]) -> list[Said]:
    """The words with the punctuation of a recogniser: an end in twelve not seen, one in a hundred words invented."""
    found = []
    for word in words:
        text = word.text
        if SENTENCE_END.search(text) and rng.random() < 0.08:
            text = text[:-1]
        elif text.isalpha() and rng.random() < 0.01:
            text += "."
        found.append(replace(word, text=text))
    return found


def aligned(rng: random.Random, words: Sequence[Said]) -> list[Word]:
    """The words with the times of a CTC aligner: off by a little, one after the other even where two speak at once."""
    found: list[Word] = []
    now = 0.0
    for word, following in zip(words, [*words[1:], None], strict=True):
        start = max(word.span.start + rng.gauss(0, JITTER_S), now)
        end = word.span.end + rng.gauss(0, JITTER_S)
        if following:
            end = min(end, max(following.span.start, start + 0.04))
        now = max(end, start + 0.02)
        found.append(Word(word.text, Span(start, now), 0.9))
    return found


# The ways to assemble.


Attribution = Callable[[Sequence[Word], Sequence[Turn], Sequence[Turn]], list[str | None]]


def majority_overlap(words: Sequence[Word], _turns: Sequence[Turn], timeline: Sequence[Turn]) -> list[str | None]:
    """As whisperX does, which knows the timeline with overlaps alone."""
    return [most_of(word.span, timeline) for word in words]


def majority_exclusive(words: Sequence[Word], turns: Sequence[Turn], _timeline: Sequence[Turn]) -> list[str | None]:
    """As whisperX does, with the exclusive timeline."""
    return [most_of(word.span, [turn for turn in turns if turn.speaker]) for word in words]


def whole_sentences(words: Sequence[Word], _turns: Sequence[Turn], timeline: Sequence[Turn]) -> list[str | None]:
    """A sentence to the speaker of most of it."""
    found: list[str | None] = []
    first = 0
    for index, word in enumerate(words):
        if SENTENCE_END.search(word.text) or index == len(words) - 1:
            speaker = most_of(Span(words[first].span.start, word.span.end), timeline)
            found += [speaker] * (index + 1 - first)
            first = index + 1
    return found


def most_of(span: Span, turns: Sequence[Turn]) -> str | None:
    """The speaker of most of a span, else of the turn nearest to it."""
    shares: Counter[str | None] = Counter()
    for turn in turns:
        if overlap := span.overlap(turn.span):
            shares[turn.speaker] += overlap  # type: ignore[assignment]
    if shares:
        return max(shares, key=lambda speaker: shares[speaker])
    middle = (span.start + span.end) / 2
    return min(turns, key=lambda turn: abs((turn.span.start + turn.span.end) / 2 - middle)).speaker


ATTRIBUTIONS: Mapping[str, Attribution] = {
    "ours": attributed,
    "majority_overlap": majority_overlap,
    "majority_exclusive": majority_exclusive,
    "whole_sentences": whole_sentences,
}


# The measure.


def normal(text: str) -> str:
    """A word as it is compared."""
    return text.lower().strip(".,?!…")


def by_speaker(words: Iterable[tuple[str, str | None]]) -> dict[str | None, list[str]]:
    """The words of each speaker; one without a speaker is the last one's that has one."""
    found: dict[str | None, list[str]] = defaultdict(list)
    last: str | None = None
    for text, speaker in words:
        last = speaker or last
        found[last].append(normal(text))
    return found


def cp_errors(reference: Mapping[str | None, list[str]], hypothesis: Mapping[str | None, list[str]]) -> int:
    """Wrong, missing and added words, in the best pairing of the speakers."""
    width = max(len(reference), len(hypothesis))
    spoken_by, written_by = ([*side.values(), *[list[str]()] * (width - len(side))] for side in (reference, hypothesis))
    errors = [[Levenshtein.distance(one, other) for other in written_by] for one in spoken_by]
    return min(sum(errors[row][column] for row, column in enumerate(order)) for order in permutations(range(width)))


@dataclass(frozen=True)
class Call:
    """A conversation, and what is known of it without a diarizer; `audible` are the words that a recogniser hears."""

    words: list[Said]
    audible: list[Said]
    truth: list[Turn]
    speech: list[Span]
    duration: float

    def quietest(self, span: Span, _channel: int | None) -> float:
        """The middle of the longest moment of a span in which nobody speaks."""
        near = union(word.span for word in nearby(self.words, span))
        edges = [span.start, *(edge for stretch in near for edge in (stretch.start, stretch.end)), span.end]
        gaps = [Span(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
        widest = max(gaps, key=lambda gap: gap.duration)
        return (widest.start + widest.end) / 2 if widest.duration > 0 else (span.start + span.end) / 2


def made_up(rng: random.Random, duration: float, parties: int, unheard: float) -> Call:
    """A call in which a part of the words said over somebody else is `unheard`."""
    words = conversation(rng, duration, parties)
    truth = true_turns(words)
    hidden = {
        word
        for turn in truth
        for word in nearby(words, turn.span)
        if word.speaker != turn.speaker and word.span.overlap(turn.span) > word.span.duration / 2
    }
    audible = list(without(words, {word for word in words if word in hidden and rng.random() < unheard}))
    return Call(words, audible, truth, voice_activity(words), words[-1].span.end + 1.0)


def without(words: Sequence[Said], unheard: set[Said]) -> Iterator[Said]:
    """The words but for those unheard. Where these end a sentence its last word heard does."""
    for index, word in enumerate(words):
        own = (other for other in words[index + 1 : index + 60] if other.speaker == word.speaker)
        lost = list(takewhile(unheard.__contains__, own))
        if word not in unheard:
            ends = not SENTENCE_END.search(word.text) and any(SENTENCE_END.search(other.text) for other in lost)
            yield replace(word, text=f"{word.text}.") if ends else word


def turn_texts(rng: random.Random, call: Call, turns: Sequence[Turn]) -> Iterator[tuple[str, str | None]]:
    """The words of the plan by turns, with the speakers of their turns."""
    for clip in plan_by_turns(turns, {None: call.speech}, call.duration, quietest=call.quietest):
        if not clip.silent:
            for word in heard(rng, nearby(call.audible, clip.audio), clip):
                yield word.text, turns[clip.turn].speaker


def window_words(rng: random.Random, call: Call) -> list[Said]:
    """The words of the plan by windows, as they were spoken."""
    clips = plan_by_windows({None: call.speech}, quietest=call.quietest)
    return [word for clip in clips for word in heard(rng, nearby(call.audible, clip.audio), clip)]


def errors_of(rng: random.Random, call: Call, faults: Faults) -> Counter[str]:
    """Errors of each way to assemble a call, with the words that were said and the requests that were made."""
    found, timeline = diarized(rng, call.truth, faults)
    turns = conversation_turns(found, call.speech)
    said = punctuated(rng, window_words(rng, call))
    words = aligned(rng, said)
    reference = by_speaker((word.text, word.speaker) for word in call.words)
    counts = Counter(
        {
            name: cp_errors(
                reference,
                by_speaker(zip((word.text for word in words), assemble(words, turns, timeline), strict=True)),
            )
            for name, assemble in ATTRIBUTIONS.items()
        }
    )
    counts["by_turns"] = cp_errors(reference, by_speaker(turn_texts(rng, call, turns)))
    counts["true_speakers"] = cp_errors(reference, by_speaker((word.text, word.speaker) for word in said))
    counts["words"] = len(call.words)
    return counts


def requests_of(rng: random.Random, call: Call, faults: Faults) -> Counter[str]:
    """Clips of each plan."""
    found, _ = diarized(rng, call.truth, faults)
    speech: Speech = {None: call.speech}
    plans = {
        "by_turns_as_found": plan_by_turns(found, speech, call.duration, quietest=call.quietest),
        "by_turns_merged": plan_by_turns(
            conversation_turns(found, call.speech), speech, call.duration, quietest=call.quietest
        ),
        "by_windows": plan_by_windows(speech, quietest=call.quietest),
    }
    return Counter({name: sum(not clip.silent for clip in clips) for name, clips in plans.items()})


def described(calls: Sequence[Call]) -> dict[str, float]:
    """What the conversations are like."""
    hours = sum(call.duration for call in calls) / 3600
    turns = [turn for call in calls for turn in call.truth]
    return {
        "hours": hours,
        "turns_per_hour": len(turns) / hours,
        "turns_under_half_a_second": sum(turn.span.duration < 0.5 for turn in turns) / len(turns),
        "overlap_share": sum(overlap_share(call.truth) for call in calls) / len(calls),
        "words_per_hour": sum(len(call.words) for call in calls) / hours,
        "speech_share": sum(span.duration for call in calls for span in call.speech) / 3600 / hours,
    }


def measure(calls: int, minutes: float, unheard: float, seed: int) -> dict[str, object]:
    """The figures."""
    rng = random.Random(seed)
    made = [made_up(rng, minutes * 60, 3 if index % 4 == 3 else 2, unheard) for index in range(calls)]
    hours = sum(call.duration for call in made) / 3600
    rates = {}
    for level, faults in LEVELS.items():
        total = Counter[str]()
        for index, call in enumerate(made):
            total.update(errors_of(random.Random(f"{seed} {index}"), call, faults))
        rates[level] = {name: round(total[name] / total["words"], 4) for name in total if name != "words"}
    asked = sum((requests_of(rng, call, LEVELS["100 ms"]) for call in made), Counter[str]())
    spoken_s = sum(span.duration for call in made for span in call.speech)
    return {
        "conversations": {name: round(value, 3) for name, value in described(made).items()},
        "cpwer": rates,
        "requests_per_hour": {name: round(count / hours) for name, count in asked.items()},
        "windows_over_speech": round(asked["by_windows"] * MAX_CLIP_S / spoken_s, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=20, help="conversations; every fourth has three parties")
    parser.add_argument("--minutes", type=float, default=10, help="length of each")
    parser.add_argument("--unheard", type=float, default=0, help="part of the words over others that nobody can hear")
    parser.add_argument("--seed", type=int, default=1000)
    arguments = parser.parse_args()
    print(
        json.dumps(measure(arguments.calls, arguments.minutes, arguments.unheard, arguments.seed), ensure_ascii=False)
    )


if __name__ == "__main__":
    main()
