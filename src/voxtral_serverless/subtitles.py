"""Cues that people can read: short, cut where the language pauses, spread over the moments of speech.

Pure functions from utterances to cues; `formats` writes them down. At most two lines of 42 characters and seven
seconds each; one utterance's cues never overlap; the speaker is named where it changes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.transcription.plan import Utterance
from voxtral_serverless.transcription.word_times import WordTimes

LINE_CHARACTERS = 42
MAX_CUE_S = 7.0
MAX_NAME = LINE_CHARACTERS - 2
SHORT_CUE_S = 2.0
"""A cue shorter than this is avoided where the words allow it."""
SENTENCE_END = re.compile(r"[.!?…。][\"'»”)]*$")
PHRASE_END = re.compile(r"[,;:\u2013\u2014][\"'»”)]*$")


@dataclass(frozen=True)
class Cue:
    """A subtitle: its time, its lines, and the speaker where the cue should name one."""

    span: Span
    lines: tuple[str, ...]
    speaker: str | None


def cues(utterances: Sequence[Utterance]) -> list[Cue]:
    """The cues of a conversation in order of time. Where utterances overlap, each of their cues names its speaker."""
    spoken = sorted((one for one in utterances if one.text and one.text.split()), key=lambda one: one.span.start)
    ends = list(accumulate((one.span.end for one in spoken), max, initial=0.0))
    found: list[Cue] = []
    last_speaker: str | None = None
    for index, utterance in enumerate(spoken):
        following = spoken[index + 1].span.start if index + 1 < len(spoken) else utterance.span.end
        overlaps = ends[index] > utterance.span.start or following < utterance.span.end
        name = utterance.speaker if overlaps or utterance.speaker != last_speaker else None
        found += _cues_of(utterance, name, every=overlaps)
        last_speaker = None if overlaps else utterance.speaker
    return sorted(found, key=lambda cue: cue.span.start)


def _cues_of(utterance: Utterance, name: str | None, *, every: bool) -> list[Cue]:
    """One utterance's cues; `name` stands before the first, or before `every` one, and takes its room."""
    words = [piece for word in (utterance.text or "").split() for piece in _pieces(word)]
    times = WordTimes(utterance, words)
    name = f"{name[: MAX_NAME - 1]}…" if name and len(name) > MAX_NAME else name
    taken = [len(name) + 2 if name and (every or not first) else 0 for first in range(len(words))]
    found = []
    for first, last in _cuts(words, times, taken):
        lines = _wrap(words[first:last], taken[first]) or []
        span = times.span(first, last)
        shown = Span(span.start, min(span.end, span.start + MAX_CUE_S))
        found.append(Cue(shown, tuple(lines), name if taken[first] else None))
    return found


def _pieces(word: str) -> list[str]:
    """A word longer than a line, or a text without spaces, in pieces that fill a line each."""
    return [word[start : start + LINE_CHARACTERS] for start in range(0, len(word), LINE_CHARACTERS)]


def _cuts(words: list[str], times: WordTimes, taken: Sequence[int]) -> list[tuple[int, int]]:
    """Where the words are cut into cues: the cheapest way by `_cost`, found from the end.

    `taken` are the characters that a name takes of a cue that begins with each word.
    """
    best: list[tuple[float, int]] = [(0.0, 0)] * (len(words) + 1)
    for first in reversed(range(len(words))):
        choices = [(_cost(words, first, first + 1, times) + best[first + 1][0], first + 1)]
        for last in range(first + 2, len(words) + 1):
            fits = _wrap(words[first:last], taken[first]) and times.span(first, last).duration <= MAX_CUE_S
            if not fits:
                break
            choices.append((_cost(words, first, last, times) + best[last][0], last))
        best[first] = min(choices)
    cuts, first = [], 0
    while first < len(words):
        cuts.append((first, best[first][1]))
        first = best[first][1]
    return cuts


def _cost(words: list[str], first: int, last: int, times: WordTimes) -> float:
    """What a cue of these words costs: itself, a cut inside a sentence or phrase, room left empty, and a flash too
    short to read.
    """
    cut = empty = short = 0.0
    if last < len(words) and not SENTENCE_END.search(words[last - 1]):
        cut = 0.3 if PHRASE_END.search(words[last - 1]) else 0.7
    if last - first < len(words):
        empty = 1 - times.characters(first, last) / (2 * LINE_CHARACTERS)
        short = max(0.0, SHORT_CUE_S - times.span(first, last).duration)
    return 1.0 + cut + 0.2 * empty**2 + short**2


def _wrap(words: Sequence[str], indent: int) -> list[str] | None:
    """The words in one line, or in two of like length, `indent` characters of the first taken.

    None where they do not fit. A single word always does: beside a long name its first line stays empty.
    """
    whole = " ".join(words)
    if indent + len(whole) <= LINE_CHARACTERS:
        return [whole]
    splits = [[" ".join(words[:count]), " ".join(words[count:])] for count in range(len(words))]
    fitting = [split for split in splits if max(indent + len(split[0]), len(split[1])) <= LINE_CHARACTERS]
    return min(fitting, key=lambda split: abs(indent + len(split[0]) - len(split[1])), default=None)
