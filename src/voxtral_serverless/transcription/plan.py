"""Which clips of a recording are transcribed, and how their texts become utterances again.

The plan by turns: one clip for each turn, a long turn cut at its pauses. Pure functions; nothing here reads
audio or calls an engine, so that another plan can join beside this one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import Turn, covered_by

MAX_CLIP_S = 30.0
"""Longest clip: one window of Voxtral's audio encoder."""
PADDING_S = 0.25
"""Real audio around a clip, as far as the neighbouring turn allows."""


@dataclass(frozen=True)
class Clip:
    """A piece of a turn to be transcribed: `core` belongs to the turn, `audio` is core and padding."""

    turn: int
    core: Span
    audio: Span
    channel: int | None = None


@dataclass(frozen=True)
class Utterance:
    """A turn and what was said in it. `text` is None where it could not be transcribed.

    `voiced` are the stretches of speech inside, over which a subtitle spreads the words.
    """

    span: Span
    speaker: str | None
    text: str | None
    voiced: tuple[Span, ...] = ()
    channel: int | None = None


def plan_by_turns(turns: Sequence[Turn], speech: Sequence[Span], duration: float) -> list[Clip]:
    """Clips for `turns` (in order) of a recording of `duration` seconds, in order of time.

    Every moment of a turn is in the core of exactly one clip; no core is longer than `MAX_CLIP_S`; padding never
    reaches into another turn of the same channel.
    """
    clips: list[Clip] = []
    for index, (turn, room) in enumerate(zip(turns, _rooms(turns, duration), strict=True)):
        cores = cut_at_pauses(turn.span, covered_by(speech, turn.span))
        for piece, core in enumerate(cores):
            start = max(core.start - PADDING_S, room.start) if piece == 0 else core.start
            end = min(core.end + PADDING_S, room.end) if piece == len(cores) - 1 else core.end
            clips.append(Clip(index, core, Span(min(start, core.start), max(end, core.end)), turn.channel))
    return clips


def _rooms(turns: Sequence[Turn], duration: float) -> list[Span]:
    """For each turn, from the end of the turns before it to the start of the next, on its channel."""
    ends: dict[int | None, float] = {}
    before = []
    for turn in turns:
        before.append(ends.get(turn.channel, 0.0))
        ends[turn.channel] = max(before[-1], turn.span.end)
    starts: dict[int | None, float] = {}
    after = []
    for turn in reversed(turns):
        after.append(starts.get(turn.channel, duration))
        starts[turn.channel] = turn.span.start
    return [Span(start, end) for start, end in zip(before, reversed(after), strict=True)]


def cut_at_pauses(span: Span, speech: Sequence[Span], max_s: float = MAX_CLIP_S) -> list[Span]:
    """`span` in pieces of at most `max_s`, cut where possible in the middle of its widest pauses."""
    pauses = [Span(one.end, other.start) for one, other in pairwise(speech)]
    pieces: list[Span] = []
    start = span.start
    while span.end - start > max_s:
        cut = _widest(pauses, Span(start + max_s / 2, start + max_s)) or start + max_s
        pieces.append(Span(start, cut))
        start = cut
    return [*pieces, Span(start, span.end)]


def _middle(pause: Span) -> float:
    return (pause.start + pause.end) / 2


def _widest(pauses: Sequence[Span], where: Span) -> float | None:
    """The middle of the widest of the pauses (in order) whose middle lies in `where`."""
    first, last = (bisect_right(pauses, edge, key=_middle) for edge in (where.start, where.end))
    widest = max(pauses[first:last], key=lambda pause: pause.duration, default=None)
    return _middle(widest) if widest else None


def utterance_of(turn: Turn, texts: Sequence[str | None], speech: Sequence[Span]) -> Utterance:
    """The turn with the texts of its clips rejoined; without a text where none of them has one."""
    known = [text.strip() for text in texts if text is not None]
    text = " ".join(filter(None, known)) if known else None
    return Utterance(turn.span, turn.speaker, text, covered_by(speech, turn.span), turn.channel)
