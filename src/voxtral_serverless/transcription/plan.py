"""Which clips of a recording are transcribed, and how their texts become utterances again.

The plan by turns: one clip for each turn, with a little real audio around it; a turn too long for one clip is cut
in its pauses. Every moment of a turn is in the core of exactly one clip, in silence too: what is silent can be
told from its clip. Where nobody is told apart, `pack_speech` makes turns of about a clip's length out of
stretches of speech.

The plan by windows: clips as full of speech as they can be, whoever speaks; long silences are left out of them. Whose
the words are is told afterwards, from their times (`attribution`).

Pure functions; nothing here reads audio or calls an engine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from voxtral_serverless.audio.recording import SAMPLE_RATE, Span
from voxtral_serverless.diarization.turns import Speech, Turn, covered_by
from voxtral_serverless.transcription.words import Word

MAX_CLIP_S = 30.0
"""Longest clip, padding included: one window of Voxtral's audio encoder."""
PADDING_S = 0.25
"""Real audio around a turn, as far as the turns around it allow."""
MIN_PAUSE_S = 0.1
"""A pause of the voice activity that is shorter is no better place for a cut than any other quiet moment."""
ROUNDING_S = 1e-6
"""More than sums of seconds lose over hours, less than a sample."""
MAX_HOLE_S = 5.0
"""Longest silence inside a packed turn."""
WINDOW_PAUSE_S = 0.2
"""So much of a silence a window keeps, half at each end: enough to be heard as a pause."""
MIN_ROOM_S = 3.0
"""A stretch of speech is cut to fill what is left of a window where that is more; else it goes into the next."""
Quietest = Callable[[Span, int | None], float]
"""The time of the least energy in a span of a channel (None: of the mix), as `Recording.quietest` tells it."""


@dataclass(frozen=True)
class Clip:
    """A piece of a turn, or a window, to be transcribed.

    Attributes:
        turn: Index of the turn, or of the window.
        core: What of the turn is in this clip and in no other.
        audio: The core, and padding where the turn starts or ends: what the engine is to hear …
        channel: The turn's channel; None for the mix.
        speech_s: Seconds of voice activity inside the core.
        holes: … without these silences inside `audio`.
    """

    turn: int
    core: Span
    audio: Span
    channel: int | None
    speech_s: float
    holes: tuple[Span, ...] = ()

    @property
    def pieces(self) -> tuple[Span, ...]:
        """The audio without its holes, in order."""
        edges = [self.audio.start, *(edge for hole in self.holes for edge in (hole.start, hole.end)), self.audio.end]
        return tuple(Span(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True))

    @property
    def sound_s(self) -> float:
        """Seconds that the engine is to hear."""
        return sum(piece.duration for piece in self.pieces)

    @property
    def silent(self) -> bool:
        """Whether nobody speaks in the core: an engine could but invent a text for it."""
        return self.speech_s == 0


@dataclass(frozen=True)
class Utterance:
    """A turn and what was said in it. `text` is None where it could not be transcribed.

    `voiced` are the stretches of speech inside, over which a subtitle spreads the words; `words` are the text's, where
    their times are known.
    """

    span: Span
    speaker: str | None
    text: str | None
    voiced: tuple[Span, ...] = ()
    channel: int | None = None
    words: tuple[Word, ...] = ()


def plan_by_turns(
    turns: Sequence[Turn],
    speech: Speech,
    duration: float,
    *,
    max_clip_s: float = MAX_CLIP_S,
    quietest: Quietest,
) -> list[Clip]:
    """Clips for `turns` (in order) of a recording of `duration` seconds, in the order of their turns.

    The cores of a turn join exactly, from its start to its end. No clip's audio is longer than `max_clip_s` (2 s or
    more), in samples either. Padding never reaches into another turn that could be heard there: one of the same
    channel, or, since the mix holds every voice, any turn where one of the two is of the mix.
    """
    # Both edges are rounded to samples: together they may add one, which would cost a second window.
    limit = max_clip_s - 1 / SAMPLE_RATE
    taken = {channel: _taken(turns, channel) for channel in {turn.channel for turn in turns}}
    clips: list[Clip] = []
    for index, turn in enumerate(turns):
        padded = _padded(turn.span, taken[turn.channel], limit)
        regions = speech[turn.channel]
        cuts = list(_cuts(padded, turn.channel, regions, limit, quietest))
        cores = pairwise([turn.span.start, *cuts, turn.span.end])
        audios = pairwise([padded.start, *cuts, padded.end])
        for core, audio in zip(cores, audios, strict=True):
            clips.append(_clip(index, turn.channel, Span(*core), _inside(audio, duration), regions))
    return clips


def pack_speech(
    speech: Sequence[Span], *, max_clip_s: float = MAX_CLIP_S, max_hole_s: float = MAX_HOLE_S
) -> list[Turn]:
    """Neighbouring stretches of speech (in order) as turns of nobody, each as long as one clip allows.

    No silence inside a turn is longer than `max_hole_s`. A stretch too long for a clip stays one turn.
    """
    limit = max_clip_s - 2 * PADDING_S
    packed: list[Span] = []
    for span in speech:
        last = packed[-1] if packed else None
        if last and span.start - last.end <= max_hole_s and span.end - last.start <= limit:
            packed[-1] = Span(last.start, span.end)
        else:
            packed.append(span)
    return [Turn(span, None) for span in packed]


def plan_by_windows(speech: Speech, *, max_clip_s: float = MAX_CLIP_S, quietest: Quietest) -> list[Clip]:
    """Clips that hold the `speech` of each channel, all of it and each moment once, in order of time.

    No clip's sound is longer than `max_clip_s` (5 s or more), in samples either. A stretch of speech is cut, at its
    quietest moment, only where it fits into no clip or leaves much of one empty.
    """
    windows = [
        (channel, window)
        for channel, spans in speech.items()
        for window in _windows(spans, channel, max_clip_s, quietest)
    ]
    windows.sort(key=lambda found: found[1][0].start)
    return [_window(index, channel, spans) for index, (channel, spans) in enumerate(windows)]


def _windows(
    speech: Sequence[Span], channel: int | None, max_clip_s: float, quietest: Quietest
) -> Iterator[list[Span]]:
    """The stretches of speech of each window of a channel."""
    window: list[Span] = []
    room = max_clip_s
    for span in speech:
        left = span
        while True:
            pause = left.start - window[-1].end if window else 0.0
            # Each piece's edges are rounded to samples.
            needed = min(pause, WINDOW_PAUSE_S) + 2 / SAMPLE_RATE
            if needed + left.duration <= room:
                break
            room -= needed
            if room > MIN_ROOM_S or (not window and room < left.duration):
                cut = quietest(Span(left.start + room / 2, left.start + room), channel)
                window.append(Span(left.start, cut))
                left = Span(cut, left.end)
            yield window
            window, room = [], max_clip_s
        room -= needed + left.duration
        window.append(left)
    if window:
        yield window


def _window(index: int, channel: int | None, spans: Sequence[Span]) -> Clip:
    whole = Span(spans[0].start, spans[-1].end)
    kept = WINDOW_PAUSE_S / 2
    pauses = [(one.end, other.start) for one, other in pairwise(spans)]
    holes = tuple(Span(start + kept, end - kept) for start, end in pauses if end - start > WINDOW_PAUSE_S)
    return Clip(index, whole, whole, channel, sum(span.duration for span in spans), holes)


def utterance_of(turn: Turn, texts: Sequence[str | None], speech: Speech) -> Utterance:
    """The turn with the texts of its clips rejoined; without a text where none of them has one."""
    known = [text.strip() for text in texts if text is not None]
    text = " ".join(filter(None, known)) if known else None
    return Utterance(turn.span, turn.speaker, text, covered_by(speech[turn.channel], turn.span), turn.channel)


def _clip(turn: int, channel: int | None, core: Span, audio: Span, speech: Sequence[Span]) -> Clip:
    return Clip(turn, core, audio, channel, sum(part.duration for part in covered_by(speech, core)))


def _inside(audio: tuple[float, float], duration: float) -> Span:
    start, end = (min(max(edge, 0.0), duration) for edge in audio)
    return Span(start, end)


def _taken(turns: Sequence[Turn], channel: int | None) -> list[Span]:
    """The stretches, apart from each other, in which turns can be heard on a channel."""
    taken: list[Span] = []
    for turn in turns:
        if channel is not None and turn.channel not in (channel, None):
            continue
        if taken and turn.span.start <= taken[-1].end:
            taken[-1] = Span(taken[-1].start, max(taken[-1].end, turn.span.end))
        else:
            taken.append(turn.span)
    return taken


def _padded(span: Span, taken: Sequence[Span], limit: float) -> Span:
    """A turn and its padding; where that would be too long for one clip, padding gives way before the turn is cut."""
    here = bisect_right(taken, span.start, key=lambda stretch: stretch.start) - 1
    spare = (limit - span.duration) / 2
    padding = min(PADDING_S, spare) if spare >= 0 else PADDING_S
    start, end = span.start, span.end
    if start == taken[here].start:
        start = max([start - padding, *(stretch.end for stretch in taken[max(here - 1, 0) : here])])
    if end == taken[here].end:
        end = min([end + padding, *(stretch.start for stretch in taken[here + 1 : here + 2])])
    return Span(start, end)


def _cuts(span: Span, channel: int | None, speech: Sequence[Span], limit: float, quietest: Quietest) -> Iterator[float]:
    """Where to cut `span` into pieces of at most `limit`.

    Each cut is looked for in the later half of what a piece may take: the limit, but no more than three quarters
    of what is left, so that no tiny piece remains.
    """
    start = span.start
    while span.end - start > limit + ROUNDING_S:
        most = min(limit, 0.75 * (span.end - start))
        where = Span(start + most / 2, start + most)
        pause = _widest_pause(where, speech)
        start = (pause.start + pause.end) / 2 if pause else quietest(where, channel)
        yield start


def _widest_pause(where: Span, speech: Sequence[Span]) -> Span | None:
    """The longest stretch of `where` in which nobody speaks, where there is one worth the name."""
    edges = [where.start, *(edge for part in covered_by(speech, where) for edge in (part.start, part.end)), where.end]
    pauses = (Span(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True))
    widest = max(pauses, key=lambda pause: pause.duration)
    return widest if widest.duration >= MIN_PAUSE_S else None
