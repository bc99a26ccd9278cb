"""Turns, and the pure interval functions that every diarizer and every plan shares.

All of them take and give turns in order of start. Nothing here reads audio.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import Notice

MERGE_GAP_S = 1.0
"""One speaker's turns that are no farther apart are one turn (the contract's rule)."""


@dataclass(frozen=True)
class SpeakerHints:
    """What the job says of the number of speakers; None where it says nothing."""

    exact: int | None = None
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True)
class Turn:
    """A stretch of one speaker. `speaker` is None where speakers are not told apart."""

    span: Span
    speaker: str | None
    channel: int | None = None


@dataclass(frozen=True)
class Diarization:
    """What a diarizer answers: turns in order, and what it warns of."""

    turns: tuple[Turn, ...]
    notices: tuple[Notice, ...] = ()


def in_order(turns: Iterable[Turn]) -> list[Turn]:
    """By start, then channel, then end."""
    return sorted(turns, key=lambda turn: (turn.span.start, turn.channel or 0, turn.span.end))


def merge_gaps(turns: Iterable[Turn], max_gap_s: float = MERGE_GAP_S) -> list[Turn]:
    """Join neighbouring turns of one speaker where nobody else starts in between and the gap is short."""
    merged: list[Turn] = []
    for turn in in_order(turns):
        last = merged[-1] if merged else None
        if last and _same_voice(last, turn) and turn.span.start - last.span.end <= max_gap_s:
            merged[-1] = replace(last, span=Span(last.span.start, max(last.span.end, turn.span.end)))
        else:
            merged.append(turn)
    return merged


def _same_voice(one: Turn, other: Turn) -> bool:
    return (one.speaker, one.channel) == (other.speaker, other.channel)


def name_by_appearance(turns: Iterable[Turn]) -> list[Turn]:
    """Rename the speakers SPEAKER_00, SPEAKER_01, … in order of their first turn."""
    ordered = in_order(turns)
    names: dict[str | None, str] = {}
    for turn in ordered:
        names.setdefault(turn.speaker, f"SPEAKER_{len(names):02d}")
    return [replace(turn, speaker=names[turn.speaker]) for turn in ordered]


def without_speakers(speech: Iterable[Span]) -> list[Turn]:
    """Stretches of speech as turns of nobody in particular."""
    return [Turn(span, None) for span in speech]


def covered_by(regions: Sequence[Span], span: Span) -> tuple[Span, ...]:
    """The parts of `regions` (in order, apart from each other) that lie inside `span`."""
    first = bisect_right(regions, span.start, key=lambda region: region.end)
    inside = takewhile(lambda region: region.start < span.end, islice(regions, first, None))
    return tuple(Span(max(region.start, span.start), min(region.end, span.end)) for region in inside)
