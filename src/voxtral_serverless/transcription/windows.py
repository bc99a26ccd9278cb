"""The plan by windows: what is heard in windows full of speech, and how it becomes utterances of those who speak there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.stage import Conversation
from voxtral_serverless.diarization.turns import MERGE_GAP_S, MIN_UNCLAIMED_S, Turn
from voxtral_serverless.transcription.alignment import doubtful
from voxtral_serverless.transcription.attribution import attributed, utterances_of
from voxtral_serverless.transcription.plan import Clip, Utterance
from voxtral_serverless.transcription.word_times import WordTimes
from voxtral_serverless.transcription.words import Word


@dataclass(frozen=True)
class Window:
    """What was heard in a window.

    Attributes:
        text: None where it could not be transcribed.
        words: The text's, with their times; none where those are not known.
    """

    clip: Clip
    text: str | None
    words: tuple[Word, ...]

    @property
    def clear(self) -> bool:
        """Whether it is known well enough who says what in it."""
        return self.text is not None and (not self.text or (bool(self.words) and not doubtful(self.words)))

    def placed(self) -> tuple[Word, ...]:
        """The words with their times; spread over the window's speech where none are known."""
        return self.words or spread(Utterance(self.clip.core, None, self.text, self.clip.pieces))


def spread(utterance: Utterance) -> tuple[Word, ...]:
    """The words of a text whose times are not known, evenly over its speech."""
    words = (utterance.text or "").split()
    times = WordTimes(utterance, words)
    return tuple(Word(word, times.span(index, index + 1)) for index, word in enumerate(words))


def turns_inside(turns: Sequence[Turn], clip: Clip) -> list[Turn]:
    """What of the turns is in a clip's core, where that is more than a rounding."""
    found = []
    for turn in turns:
        start, end = max(turn.span.start, clip.core.start), min(turn.span.end, clip.core.end)
        if turn.channel == clip.channel and end - start > MIN_UNCLAIMED_S:
            found.append(replace(turn, span=Span(start, end)))
    return found


def told(
    conversation: Conversation, windows: Sequence[Window], again: Mapping[int, Sequence[Utterance]]
) -> list[Utterance]:
    """The utterances of a conversation that was heard in `windows`; blocks, for a second or two.

    `again` has, by the window's index, what was heard instead turn by turn. No known text is left out: a window that was
    neither clear nor heard whole again gives its words by where in its speech they are.
    """
    utterances: list[Utterance] = []
    words: dict[int | None, list[Word]] = {channel: [] for channel in conversation.speech}
    for index, window in enumerate(windows):
        second = again.get(index)
        if not window.clear and second and (window.text is None or all(one.text is not None for one in second)):
            utterances += second
        elif window.text is None:
            turns = turns_inside(conversation.turns, window.clip)
            utterances += [Utterance(turn.span, turn.speaker, None, channel=turn.channel) for turn in turns]
        elif window.text:
            words[window.clip.channel] += window.placed()
    for channel, said in words.items():
        utterances += _attributed(conversation, said, channel)
    return joined(utterances)


def _attributed(conversation: Conversation, words: Sequence[Word], channel: int | None) -> list[Utterance]:
    turns = [turn for turn in conversation.turns if turn.channel == channel]
    timeline = conversation.timeline and [turn for turn in conversation.timeline if turn.channel == channel]
    others = [turn.span.start for turn in conversation.turns if turn.channel != channel]
    speakers = attributed(words, turns, timeline)
    return utterances_of(words, speakers, conversation.speech[channel], channel, others)


def joined(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Utterances in order of start, then channel; one speaker's short gap at the edge of a window makes no new one."""
    found: list[Utterance] = []
    for one in sorted(utterances, key=lambda utterance: (utterance.span.start, utterance.channel or 0)):
        if found and _goes_on(found[-1], one):
            found[-1] = _both(found[-1], one)
        else:
            found.append(one)
    return found


def _goes_on(last: Utterance, one: Utterance) -> bool:
    """Whether one speaker goes on in the next utterance, on the other side of the edge of a window."""
    same = (last.speaker, last.channel) == (one.speaker, one.channel)
    known = last.text is not None and one.text is not None
    return same and known and one.span.start - last.span.end <= MERGE_GAP_S


def _both(last: Utterance, one: Utterance) -> Utterance:
    """Both as one; words whose times are not known are spread where those of the others are."""
    times_known = last.words or one.words
    return replace(
        last,
        span=Span(last.span.start, max(last.span.end, one.span.end)),
        text=" ".join(filter(None, (last.text, one.text))),
        voiced=last.voiced + one.voiced,
        words=(last.words or spread(last)) + (one.words or spread(one)) if times_known else (),
    )
