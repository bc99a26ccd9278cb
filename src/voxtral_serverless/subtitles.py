"""Cues that people can read: short, cut where the language pauses, spread over the moments of speech.

Pure functions from utterances to cues; `formats` writes them down. At most two lines of 42 characters and seven
seconds each; one speaker's cues never overlap; the speaker is named where it changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.transcription.plan import Utterance

LINE_CHARACTERS = 42
LINES = 2
MAX_CUE_S = 7.0
SENTENCE_END = re.compile(r"[.!?…。][\"'»”)]*$")
PHRASE_END = re.compile(r"[,;:–—][\"'»”)]*$")


@dataclass(frozen=True)
class Cue:
    """A subtitle: its time, its lines, and the speaker where the cue should name one."""

    span: Span
    lines: tuple[str, ...]
    speaker: str | None


def cues(utterances: Sequence[Utterance]) -> list[Cue]:
    """The cues of a conversation in order of time."""
    found: list[Cue] = []
    last_speaker: str | None = None
    for utterance in sorted(utterances, key=lambda one: one.span.start):
        if not utterance.text:
            continue
        name = utterance.speaker if utterance.speaker != last_speaker else None
        last_speaker = utterance.speaker
        for cue in _cues_of(utterance, name):
            found.append(cue)
    return found


def _cues_of(utterance: Utterance, name: str | None) -> Iterator[Cue]:
    """One utterance's cues; `name` stands before the first and takes its room."""
    words = (utterance.text or "").split()
    clock = _SpeechClock(utterance)
    characters = sum(len(word) + 1 for word in words)
    spoken = 0
    while words:
        taken = _take(words, len(name) + 2 if name else 0, clock, spoken, characters)
        length = sum(len(word) + 1 for word in words[:taken])
        span = Span(clock.at(spoken / characters), clock.at((spoken + length) / characters, ending=True))
        yield Cue(span, tuple(_wrap(words[:taken], len(name) + 2 if name else 0) or ()), name)
        words, spoken, name = words[taken:], spoken + length, None


def _take(words: list[str], indent: int, clock: _SpeechClock, spoken: int, characters: int) -> int:
    """How many words the next cue takes: as many as fit, cut back to the end of a sentence or phrase."""
    fitting, length = 1, len(words[0]) + 1
    for count in range(2, len(words) + 1):
        length += len(words[count - 1]) + 1
        span = Span(clock.at(spoken / characters), clock.at((spoken + length) / characters, ending=True))
        if _wrap(words[:count], indent) is None or span.duration > MAX_CUE_S:
            break
        fitting = count
    if fitting == len(words):
        return fitting
    for end in (SENTENCE_END, PHRASE_END):
        for count in range(fitting, fitting // 2, -1):
            if end.search(words[count - 1]):
                return count
    return fitting


def _wrap(words: Sequence[str], indent: int) -> list[str] | None:
    """The words in at most `LINES` lines, `indent` characters of the first taken; None where they do not fit.

    A single word longer than a line has a line to itself.
    """
    lines, room = [""], LINE_CHARACTERS - indent
    for word in words:
        if not lines[-1]:
            lines[-1] = word
        elif len(lines[-1]) + 1 + len(word) <= room:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
            room = LINE_CHARACTERS
    return lines if len(lines) <= LINES else None


class _SpeechClock:
    """Turns a share of an utterance's text into a time, counting its voiced stretches only."""

    def __init__(self, utterance: Utterance) -> None:
        self.stretches = utterance.voiced or (utterance.span,)
        self.voiced_s = sum(stretch.duration for stretch in self.stretches)

    def at(self, share: float, *, ending: bool = False) -> float:
        """The time at which `share` of the text is spoken; at a pause, its end, or its start for an `ending`."""
        left = share * self.voiced_s
        for stretch in self.stretches:
            if left < stretch.duration - 1e-6 or (ending and left <= stretch.duration + 1e-6):
                return stretch.start + min(left, stretch.duration)
            left -= stretch.duration
        return self.stretches[-1].end
