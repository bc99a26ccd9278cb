"""Turns, and the pure interval functions that every diarizer and every plan shares.

All of them take and give turns in order of start. Nothing here reads audio.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import Notice

MERGE_GAP_S = 1.0
"""One speaker's turns that are no farther apart are one turn (the contract's rule)."""
FRAGMENT_S = 0.25
"""Less than the shortest word takes: a turn shorter than this is a diarizer's slip."""
FOLD_GAP_S = 0.5
"""A fragment farther from every turn of its channel stays alone."""


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


def fold_fragments(turns: Iterable[Turn], min_s: float = FRAGMENT_S) -> list[Turn]:
    """Give each turn shorter than `min_s` to the nearer of its neighbours on its channel, which then reaches over it.

    Of two that are equally near the longer one gets it; where both it and the neighbour are fragments, the longer
    one's speaker stays. No moment that was in a turn of a channel is lost. Turns of one speaker that come to touch
    stay two: fold first, then `merge_gaps`.
    """
    channels: dict[int | None, list[Turn]] = {}
    for turn in in_order(turns):
        channels.setdefault(turn.channel, []).append(turn)
    return in_order(turn for some in channels.values() for turn in _folded(some, min_s))


def _folded(turns: Sequence[Turn], min_s: float) -> list[Turn]:
    """`fold_fragments` for the turns (in order) of one channel.

    Of what comes before a fragment the turn that ends last is nearest, of what comes after the one that starts first.
    """
    done: list[Turn] = []
    last_to_end = 0
    waiting = list(reversed(turns))
    while waiting:
        turn = waiting.pop()
        sides = [(some, at) for some, at in ((done, last_to_end), (waiting, -1)) if some]
        near = [(some, at) for some, at in sides if _gap(some[at], turn) <= FOLD_GAP_S]
        if turn.span.duration < min_s and near:
            some, at = min(near, key=lambda side: (_gap(side[0][side[1]], turn), -side[0][side[1]].span.duration))
            some[at] = _joined(turn, some[at])
        else:
            if done and turn.span.end > done[last_to_end].span.end:
                last_to_end = len(done)
            done.append(turn)
    return done


def _gap(one: Turn, other: Turn) -> float:
    """Seconds of nobody's between two turns."""
    return max(0.0, one.span.start - other.span.end, other.span.start - one.span.end)


def _joined(one: Turn, other: Turn) -> Turn:
    """The longer turn, reaching over both."""
    span = Span(min(one.span.start, other.span.start), max(one.span.end, other.span.end))
    return replace(max(one, other, key=lambda turn: turn.span.duration), span=span)


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
    last = bisect_left(regions, span.end, lo=first, key=lambda region: region.start)
    return tuple(Span(max(region.start, span.start), min(region.end, span.end)) for region in regions[first:last])
