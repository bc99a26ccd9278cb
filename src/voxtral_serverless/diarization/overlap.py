"""How much of a conversation several people talk at once. Pure functions of the turns of a timeline with overlaps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import Turn, in_order


def overlap_share(timeline: Iterable[Turn]) -> float:
    """Of the time in which anybody speaks, the part in which two or more do; 0 where nobody speaks."""
    spoken = overlapped = 0.0
    for span, speakers in _stretches(timeline):
        spoken += span.duration
        overlapped += span.duration if speakers > 1 else 0.0
    return overlapped / spoken if spoken else 0.0


def interruptions(timeline: Iterable[Turn]) -> int:
    """How many turns start while somebody else speaks, and go on when all of those have stopped.

    A word thrown in while the other talks on is none.
    """
    ends: dict[str | None, float] = {}
    count = 0
    for turn in in_order(timeline):
        under_way = [end for speaker, end in ends.items() if speaker != turn.speaker and end > turn.span.start]
        count += bool(under_way) and turn.span.end > max(under_way)
        ends[turn.speaker] = max(turn.span.end, ends.get(turn.speaker, 0.0))
    return count


def _stretches(timeline: Iterable[Turn]) -> Iterator[tuple[Span, int]]:
    """Stretches in which the number of speakers stays the same, and is not 0."""
    edges = sorted(
        (moment, change) for turn in timeline for moment, change in ((turn.span.start, 1), (turn.span.end, -1))
    )
    speakers, since = 0, 0.0
    for moment, change in edges:
        if speakers and moment > since:
            yield Span(since, moment), speakers
        speakers, since = speakers + change, moment
