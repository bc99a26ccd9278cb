"""Turns, and the pure interval functions that every diarizer and every plan shares.

All of them take and give turns in order of start. Nothing here reads audio.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import Notice

MERGE_GAP_S = 1.0
"""One speaker's turns that are no farther apart are one turn (the contract's rule)."""
FRAGMENT_S = 0.25
"""Less than the shortest word takes: a turn shorter than this is a diarizer's slip."""
UNCLAIMED_S = 1.0
"""Speech of nobody's that is shorter belongs to the turn beside it; longer, it stays somebody's unknown."""
FOLD_GAP_S = 0.5
"""A fragment farther from every turn of its channel stays alone."""
MIN_UNCLAIMED_S = 0.1
"""Voice activity is padded: less than this at the edges of turns is no speech."""


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


Speech = Mapping[int | None, Sequence[Span]]
"""The stretches of speech, in order and apart from each other, of each channel that turns are of; None is the mix."""


@dataclass(frozen=True)
class Diarization:
    """What a diarizer answers: turns in order, their speakers called anything.

    Attributes:
        turns: For attribution: where several speak at once, the one who is heard best.
        notices: What it warns of.
        timeline: Who speaks when, overlaps included; None where the diarizer hears no overlap.
    """

    turns: tuple[Turn, ...]
    notices: tuple[Notice, ...] = ()
    timeline: tuple[Turn, ...] | None = None


def in_order(turns: Iterable[Turn]) -> list[Turn]:
    """By start, then channel, then end."""
    return sorted(turns, key=lambda turn: (turn.span.start, turn.channel or 0, turn.span.end))


def merge_gaps(turns: Iterable[Turn], max_gap_s: float = MERGE_GAP_S) -> list[Turn]:
    """Join one speaker's turns on one channel where the gap is short and nobody else starts in it.

    Where turns overlap, a start that vanishes in a joined turn no longer keeps the other's turns apart.
    """
    merged = in_order(turns)
    while len(joined := _joined_once(merged, max_gap_s)) < len(merged):
        merged = joined
    return merged


def _joined_once(turns: Sequence[Turn], max_gap_s: float) -> list[Turn]:
    voices: dict[tuple[str | None, int | None], list[Turn]] = {}
    for turn in turns:
        own = voices.setdefault(_voice(turn), [])
        if own and turn.span.start - own[-1].span.end <= max_gap_s and not _starts_between(turns, own[-1], turn):
            own[-1] = replace(turn, span=Span(own[-1].span.start, max(own[-1].span.end, turn.span.end)))
        else:
            own.append(turn)
    return in_order(turn for own in voices.values() for turn in own)


def _voice(turn: Turn) -> tuple[str | None, int | None]:
    return turn.speaker, turn.channel


def _starts_between(ordered: Sequence[Turn], one: Turn, other: Turn) -> bool:
    """Whether somebody else starts between the end of a turn and the start of a later one of the same voice."""
    first = bisect_left(ordered, one.span.end, key=lambda turn: turn.span.start)
    last = bisect_left(ordered, other.span.start, lo=first, key=lambda turn: turn.span.start)
    return any(_voice(turn) != _voice(one) for turn in ordered[first:last])


def unclaimed(speech: Iterable[Span], turns: Iterable[Turn]) -> list[Turn]:
    """The speech (of the mix) that lies in no turn, as turns of nobody: words are not lost with their speaker."""
    taken = union(turn.span for turn in turns)
    free = (part for region in speech for part in outside(taken, region))
    return without_speakers(part for part in free if part.duration >= MIN_UNCLAIMED_S)


def fold_fragments(turns: Iterable[Turn]) -> list[Turn]:
    """Give each fragment to the nearer of its neighbours on its channel, which then reaches over it.

    A fragment is shorter than `FRAGMENT_S`, or of nobody and shorter than `UNCLAIMED_S`. Of two neighbours that are
    equally near the longer one gets it; where both it and the neighbour are fragments, the known or the longer one's
    speaker stays.
    No moment that was in a turn of a channel is lost. Turns of one speaker that come to touch stay two: fold first, then
    `merge_gaps`.
    """
    channels: dict[int | None, list[Turn]] = {}
    for turn in in_order(turns):
        channels.setdefault(turn.channel, []).append(turn)
    return in_order(turn for some in channels.values() for turn in _folded(some))


def _is_fragment(turn: Turn) -> bool:
    return turn.span.duration < (UNCLAIMED_S if turn.speaker is None else FRAGMENT_S)


def _folded(turns: Sequence[Turn]) -> list[Turn]:
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
        if _is_fragment(turn) and near:
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
    """The turn that is no fragment, then that of somebody known, then the longer one, reaching over both."""
    span = Span(min(one.span.start, other.span.start), max(one.span.end, other.span.end))
    stays = max(one, other, key=lambda turn: (not _is_fragment(turn), turn.speaker is not None, turn.span.duration))
    return replace(stays, span=span)


def names_by_appearance(turns: Iterable[Turn]) -> dict[str, str]:
    """Names for the speakers, SPEAKER_00, SPEAKER_01, … in order of their first turns."""
    speakers = dict.fromkeys(turn.speaker for turn in turns if turn.speaker is not None)
    return {speaker: f"SPEAKER_{number:02d}" for number, speaker in enumerate(speakers)}


def renamed(turns: Iterable[Turn], names: Mapping[str, str]) -> list[Turn]:
    """The turns with `names` for their speakers; who has none keeps what it is called."""
    return [replace(turn, speaker=turn.speaker and names.get(turn.speaker, turn.speaker)) for turn in turns]


def count_notices(turns: Iterable[Turn], hints: SpeakerHints) -> tuple[Notice, ...]:
    """A warning where the job asks for another number of speakers than the turns have."""
    found = len({turn.speaker for turn in turns if turn.speaker is not None})
    least, most = hints.exact or hints.least or 0, hints.exact or hints.most or found
    if not found or least <= found <= most:
        return ()
    wanted = f"{hints.exact}" if hints.exact else f"at least {least}" if found < least else f"at most {most}"
    return (Notice("speaker_count_not_met", f"{wanted} speakers were asked for, {found} could be told apart."),)


def without_speakers(speech: Iterable[Span]) -> list[Turn]:
    """Stretches of speech as turns of nobody in particular."""
    return [Turn(span, None) for span in speech]


def covered_by(regions: Sequence[Span], span: Span) -> tuple[Span, ...]:
    """The parts of `regions` (in order, apart from each other) that lie inside `span`."""
    first = bisect_right(regions, span.start, key=lambda region: region.end)
    last = bisect_left(regions, span.end, lo=first, key=lambda region: region.start)
    return tuple(Span(max(region.start, span.start), min(region.end, span.end)) for region in regions[first:last])


def union(spans: Iterable[Span]) -> list[Span]:
    """The stretches that any of `spans` covers, in order and apart from each other."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start <= joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def outside(cover: Sequence[Span], region: Span) -> list[Span]:
    """The parts of `region` that lie outside `cover` (in order, apart from each other)."""
    inside = covered_by(cover, region)
    starts = [region.start, *(part.end for part in inside)]
    ends = [*(part.start for part in inside), region.end]
    return [Span(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
