"""Whose a word is: words and the turns of a conversation, as utterances.

The assembly of the plan by windows, whose words have times and no speakers. Every way to give the words away has a
cost, in seconds, and the cheapest is taken: a word costs as much as it lies outside the turns of its speaker, and a
change of speaker costs something, much inside a sentence and next to nothing between two. So a word or two at the edge
of a turn go with their sentence, and half a sentence that somebody else breaks off does not.

Pure functions. Not here: how words get their times (`alignment`), and what speaker a turn has.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import MERGE_GAP_S, Turn, covered_by, union
from voxtral_serverless.transcription.plan import Utterance
from voxtral_serverless.transcription.words import Word

REACH_S = 1.0
"""A word that is farther from all turns of a speaker is no less likely to be theirs, however far it is; one that is
farther from everybody's turns is the speaker's before it."""
CHANGE_S = 0.4
"""Cost of a change of speaker inside a sentence: more than a word, or two short ones, at the wrong edge of a turn, less
than half a sentence."""
BETWEEN_S = 0.01
"""Cost of a change between sentences: turns say where, but nobody changes for nothing."""
PAUSE_S = 0.5
"""A pause this long ends a sentence that has no mark; hesitations are shorter."""
OVERLAP_S = 0.05
"""Cost of a word that is its speaker's by the timeline with overlaps alone: little, since where two speak at once the
exclusive timeline takes the louder one."""
LITTLE_S = 1.0
"""A turn no longer than this may be an interjection, "oui", "d'accord", "ah bon ?"."""
SEAM_S = 0.1
"""Nobody throws a word into another's sentence without a pause before, a pause behind, or talking over them: a little
turn whose neighbours are nearer than this on both sides is a slip of the diarizer's."""
INTERJECTION_S = 2.5 * CHANGE_S
"""Cost of an interjection that is given to somebody else: more than the two changes that it takes."""
THIRDS = (1 / 6, 1 / 2, 5 / 6)
"""Moments of a word, as parts of it, at which its distance from turns is taken."""
SENTENCE_END = re.compile(r"[.!?…。？！][\"'»”’)\]]*$")  # noqa: RUF001
PHRASE_END = re.compile(r"[.!?…。？！,;:][\"'»”’)\]]*$")  # noqa: RUF001


def attributed(words: Sequence[Word], turns: Sequence[Turn], timeline: Sequence[Turn] | None) -> list[str | None]:
    """The speaker of each of `words` (in order of time).

    `turns` are the exclusive ones, in order; `timeline` has all of them, overlaps included, None where they are not
    known. None for every word where no turn has a speaker, else for none.
    """
    named = [turn for turn in turns if turn.speaker is not None]
    if not named or not words:
        return [None] * len(words)
    known = named if timeline is None else [turn for turn in timeline if turn.speaker is not None]
    costs = _costs(words, named, known)
    for interjection in _interjections(known):
        for index in _said_in(interjection, words):
            for speaker in costs[index].keys() - {interjection.speaker}:
                costs[index][speaker] += INTERJECTION_S
    changes = [0.0, *(_change(one, other) for one, other in pairwise(words))]
    return _cheapest(costs, changes)


def utterances_of(
    words: Sequence[Word],
    speakers: Sequence[str | None],
    speech: Sequence[Span],
    channel: int | None = None,
    others: Sequence[float] = (),
) -> list[Utterance]:
    """The words (in order of time) of one speaker after the other, as utterances.

    An utterance ends where somebody else says a word, or nobody one for more than `MERGE_GAP_S`; and in a pause in which
    somebody on another channel starts, at one of the moments `others` (in order).
    """
    groups: list[tuple[str | None, list[Word]]] = []
    for word, speaker in zip(words, speakers, strict=True):
        last = groups[-1][1][-1].span.end if groups else -inf
        started = bisect_left(others, last) < bisect_left(others, word.span.start)
        if groups and groups[-1][0] == speaker and word.span.start - last <= MERGE_GAP_S and not started:
            groups[-1][1].append(word)
        else:
            groups.append((speaker, [word]))
    return [_utterance(speaker, group, speech, channel) for speaker, group in groups]


def _utterance(speaker: str | None, words: Sequence[Word], speech: Sequence[Span], channel: int | None) -> Utterance:
    span = Span(words[0].span.start, max(word.span.end for word in words))
    text = " ".join(word.text for word in words)
    return Utterance(span, speaker, text, covered_by(speech, span), channel, words=tuple(words))


Costs = dict[str | None, float]
"""What a word costs each speaker, in seconds."""


@dataclass(frozen=True)
class _Interjection:
    """A little turn; `across` where somebody else talks on."""

    span: Span
    speaker: str | None
    across: bool


class _Cover:
    """Stretches apart from each other, and how far moments are from them."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._spans = union(spans)
        self._starts = [span.start for span in self._spans]

    def away(self, word: Span) -> float:
        """Seconds between a word and the nearest stretch, as the mean of its thirds; at most `REACH_S`."""
        return min(REACH_S, sum(self._away(word.start + part * word.duration) for part in THIRDS) / len(THIRDS))

    def _away(self, moment: float) -> float:
        after = bisect_right(self._starts, moment)
        since = moment - self._spans[after - 1].end if after else inf
        until = self._starts[after] - moment if after < len(self._starts) else inf
        return max(0.0, min(since, until))


def _costs(words: Sequence[Word], turns: Sequence[Turn], timeline: Sequence[Turn]) -> list[Costs]:
    """What each word costs each speaker, by the turns alone."""
    exclusive, whole = _covers(turns), _covers(timeline)
    starts = [turn.span.start for turn in turns]
    nowhere = _Cover(())
    found = []
    for word in words:
        costs = {
            speaker: min(exclusive.get(speaker, nowhere).away(word.span), OVERLAP_S + cover.away(word.span))
            for speaker, cover in {**exclusive, **whole}.items()
        }
        if min(costs.values()) >= REACH_S:
            before = turns[max(bisect_right(starts, word.span.start) - 1, 0)]
            costs[before.speaker] = 0.0
        found.append(costs)
    return found


def _covers(turns: Iterable[Turn]) -> dict[str | None, _Cover]:
    spans: dict[str | None, list[Span]] = {}
    for turn in turns:
        spans.setdefault(turn.speaker, []).append(turn.span)
    return {speaker: _Cover(own) for speaker, own in spans.items()}


def _interjections(timeline: Sequence[Turn]) -> Iterator[_Interjection]:
    """The little turns that are no slips."""
    longest = max((turn.span.duration for turn in timeline), default=0.0)
    starts = [turn.span.start for turn in timeline]
    for turn in timeline:
        if turn.span.duration <= LITTLE_S:
            first = bisect_left(starts, turn.span.start - longest - SEAM_S)
            last = bisect_right(starts, turn.span.end + SEAM_S)
            others = [other.span for other in timeline[first:last] if other.speaker != turn.speaker]
            across = any(other.overlap(turn.span) > turn.span.duration / 2 for other in others)
            if not _between_seams(turn.span, others):
                yield _Interjection(turn.span, turn.speaker, across)


def _between_seams(span: Span, others: Sequence[Span]) -> bool:
    """Whether one of the others ends where a span starts, and one starts where it ends."""
    before = any(abs(span.start - other.end) < SEAM_S for other in others)
    return before and any(abs(other.start - span.end) < SEAM_S for other in others)


def _said_in(interjection: _Interjection, words: Sequence[Word]) -> list[int]:
    """Indices of the words whose middle lies in an interjection; none where somebody talks on, unless marks before and
    behind set them apart: most words that are thrown in so are not heard, and what is written there is the other's.
    """
    span = interjection.span
    first = bisect_left(words, span.start - LITTLE_S, key=lambda word: word.span.start)
    last = bisect_left(words, span.end, lo=first, key=lambda word: word.span.start)
    middles = ((index, (words[index].span.start + words[index].span.end) / 2) for index in range(first, last))
    inside = [index for index, middle in middles if span.start <= middle <= span.end]
    return inside if inside and (not interjection.across or _set_apart(words, inside[0], inside[-1])) else []


def _set_apart(words: Sequence[Word], first: int, last: int) -> bool:
    """Whether marks stand before the words from `first` to `last`, and behind."""
    before = not first or PHRASE_END.search(words[first - 1].text)
    return bool(before and PHRASE_END.search(words[last].text))


def _change(one: Word, other: Word) -> float:
    """Cost of a change of speaker between two words."""
    ends = SENTENCE_END.search(one.text) or other.span.start - one.span.end >= PAUSE_S
    return BETWEEN_S if ends else CHANGE_S


def _cheapest(costs: Sequence[Costs], changes: Sequence[float]) -> list[str | None]:
    """The speakers of the words (one or more) that cost least, changes included; where that is equal nobody changes.

    For each word the cost so far of ending with each speaker, and who spoke the word before then (Viterbi's way).
    """
    so_far = dict.fromkeys(costs[0], 0.0)
    came_from: list[dict[str | None, str | None]] = []
    for cost, change in zip(costs, changes, strict=True):
        cheapest = min(so_far, key=so_far.__getitem__)
        changed = so_far[cheapest] + change
        came_from.append({speaker: speaker if so_far[speaker] <= changed else cheapest for speaker in cost})
        so_far = {speaker: min(so_far[speaker], changed) + cost[speaker] for speaker in cost}
    speaker = min(so_far, key=so_far.__getitem__)
    found = []
    for before in reversed(came_from):
        found.append(speaker)
        speaker = before[speaker]
    return found[::-1]
