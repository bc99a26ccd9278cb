"""The two calls that the tiny Voxtral learns: their sound, turns and words, and the windows that the planner makes.

What a window holds is not guessed here: `voxtral_serverless.transcription.plan` cuts it out of the stretches of speech
that the voice activity found (`speech.json`, which `speech.py` writes), so the model learns what it will be sent.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span
from voxtral_serverless.transcription.plan import Clip, pack_speech, plan_by_turns, plan_by_windows

Wave = NDArray[np.float32]

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[2] / "examples"
SPEECH = HERE / "speech.json"
WORDS = HERE.parent / "tiny_aligner"
CALLS = (("en", EXAMPLES / "call"), ("fr", HERE / "appel"))

LONGEST_S, SHORTEST_S = 30.0, 5.0
"""What `MAX_CLIP_S` is by default, and the shortest window that there is."""
USUAL = 0.3
"""Share of the plans that are made for the default."""
ROUND_S = (25.0, 20.0, 15.0, 10.0, 6.0)
"""Other lengths that somebody may choose; the rest are anything between."""
WHOLE = 0.5
"""Share that is planned for the whole call: what the worker really sends, and what is cut most often inside a turn."""
PASSAGES = 0.2
"""Share of what is planned by turns of nobody, as `task: transcribe` does it: with its pauses and some padding."""
EARLY_S, LATE_S = 0.12, 0.05
"""How far the voice activity may be off at the edges of speech, outwards and inwards."""
NEAR_S = 0.3
"""An edge this near to a turn's is that turn's."""


@dataclass(frozen=True)
class Turn:
    """One turn of a call, with the silence on both sides."""

    language: str
    text: str
    sound: Wave
    start: int
    end: int


def decode(path: Path) -> Wave:
    """A sound file as mono samples at 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    with av.open(str(path)) as container:
        frames = [*container.decode(audio=0), None]
        pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)]
    return np.concatenate(pieces).astype(np.float32)


@dataclass(frozen=True)
class Row:
    """A line of the reference."""

    span: Span
    text: str


@dataclass(frozen=True)
class Call:
    """A call that is learnt.

    Attributes:
        rows: What is said, turn by turn.
        words: Each word as it is written, and when it is spoken; none where that is not known.
        speech: Where the voice activity hears somebody.
        recording: The sound as the planner looks at it.
    """

    language: str
    sound: Wave
    rows: tuple[Row, ...]
    words: tuple[tuple[str, Span], ...]
    speech: tuple[Span, ...]
    recording: Recording

    @cached_property
    def turns(self) -> list[Turn]:
        """The turns, each between its neighbours' speech."""
        edges = [(round(row.span.start * SAMPLE_RATE), round(row.span.end * SAMPLE_RATE)) for row in self.rows]
        befores = [0, *(end for _, end in edges[:-1])]
        afters = [*(start for start, _ in edges[1:]), len(self.sound)]
        return [
            Turn(self.language, row.text, self.sound[before:after], start - before, end - before)
            for row, (start, end), before, after in zip(self.rows, edges, befores, afters, strict=True)
        ]

    def window(self, dice: random.Random) -> tuple[Wave, str]:
        """A window that the planner makes of some of the call, and what is said in it."""
        while True:
            clip = dice.choice(self._planned(dice))
            text = self.text(clip)
            if text:
                return self.sent(clip), text

    def sent(self, clip: Clip) -> Wave:
        """What the engine is to hear of a clip."""
        edges = [(round(piece.start * SAMPLE_RATE), round(piece.end * SAMPLE_RATE)) for piece in clip.pieces]
        return np.concatenate([self.sound[start:end] for start, end in edges])

    def text(self, clip: Clip) -> str | None:
        """What is said in a clip; None where that is not known, since it begins or ends inside a turn."""
        if self.words:
            return " ".join(word for word, span in self.words if _middle_in(span, clip.pieces))
        edges = [edge for row in self.rows for edge in (row.span.start, row.span.end)]
        if any(min(abs(end - edge) for edge in edges) > NEAR_S for end in (clip.audio.start, clip.audio.end)):
            return None
        return " ".join(row.text for row in self.rows if _middle_in(row.span, [clip.audio]))

    def _run(self, dice: random.Random) -> tuple[int, int]:
        """Which stretches of speech to plan: where the first is, and where no more are."""
        if dice.random() < WHOLE:
            return 0, len(self.speech)
        first = dice.randrange(len(self.speech))
        return first, dice.randrange(first, len(self.speech)) + 1

    def _planned(self, dice: random.Random) -> list[Clip]:
        """The clips of some stretches of speech, one after the other."""
        first, last = self._run(dice)
        speech = _moved(self.speech, self.recording.duration, dice)[first:last]
        limit = LONGEST_S if dice.random() < USUAL else dice.choice((dice.uniform(SHORTEST_S, LONGEST_S), *ROUND_S))
        if dice.random() >= PASSAGES:
            return plan_by_windows({None: speech}, max_clip_s=limit, quietest=self.recording.quietest)
        passages, duration = pack_speech(speech, max_clip_s=limit), self.recording.duration
        return plan_by_turns(passages, {None: speech}, duration, max_clip_s=limit, quietest=self.recording.quietest)


def _middle_in(span: Span, pieces: Sequence[Span]) -> bool:
    return any(piece.start <= (span.start + span.end) / 2 < piece.end for piece in pieces)


def _moved(speech: Sequence[Span], duration: float, dice: random.Random) -> list[Span]:
    """Stretches of speech with edges as another day's noise might set them, still apart from each other."""
    pauses = [speech[0].start, *(other.start - one.end for one, other in pairwise(speech)), duration - speech[-1].end]
    moved = []
    for before, span, after in zip(pauses[:-1], speech, pauses[1:], strict=True):
        start = span.start - dice.uniform(-LATE_S, min(EARLY_S, 0.45 * before))
        end = span.end + dice.uniform(-LATE_S, min(EARLY_S, 0.45 * after))
        moved.append(Span(start, end))
    return moved


def read_calls(folder: Path) -> list[Call]:
    """Both calls; what the planner looks at is written into `folder`."""
    speech = json.loads(SPEECH.read_text("utf-8"))
    return [_read(language, stem, speech[stem.name], folder) for language, stem in CALLS]


def _read(language: str, stem: Path, speech: list[list[float]], folder: Path) -> Call:
    sound = decode(stem.with_suffix(".ogg"))
    mix = folder / f"{stem.name}.pcm"
    mix.write_bytes((np.clip(sound, -1, 1) * 32_767).astype("<i2").tobytes())
    lines = [line.split(maxsplit=5) for line in stem.with_suffix(".stm").read_text("utf-8").splitlines()]
    rows = tuple(Row(Span(float(line[3]), float(line[4])), line[5]) for line in lines)
    recording = Recording(mix, (), len(sound), 1, SAMPLE_RATE)
    spans = tuple(Span(start, end) for start, end in speech)
    return Call(language, sound, rows, _words(WORDS / f"{stem.name}.ctm", rows), spans, recording)


def _words(ctm: Path, rows: Sequence[Row]) -> tuple[tuple[str, Span], ...]:
    """The words as the reference writes them, at the times of the CTM file; none where there is no such file."""
    if not ctm.exists():
        return ()
    lines = [line.split() for line in ctm.read_text("utf-8").splitlines()]
    spans = [Span(float(line[2]), float(line[2]) + float(line[3])) for line in lines]
    return tuple(zip((word for row in rows for word in row.text.split()), spans, strict=True))
