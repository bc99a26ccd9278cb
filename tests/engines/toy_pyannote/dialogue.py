"""Conversations of tones: each voice is one steady tone, its turns are known to the sample.

Promises the audio of any list of turns, overlaps included, the same for the same seed, and random conversations of
one to six voices. Leaves out everything that makes speech hard: the networks beside this file only tell tones apart.
Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
VOICES_HZ = (350, 600, 950, 1450, 2150, 3100)
LOUDNESS = 0.15
NOISE = 0.001
FADE_S = 0.01
SYLLABLES_HZ = 4.0
NOISE_BLOCK = 1 << 20


@dataclass(frozen=True)
class ToyTurn:
    """From when to when, in seconds, a voice (0 to 5) is heard."""

    start: float
    end: float
    voice: int


def toy_dialogue(turns: Sequence[ToyTurn], duration_s: float, seed: int = 0) -> NDArray[np.float32]:
    """The audio of `turns` at 16 kHz, over a noise too soft to be taken for a voice."""
    audio = _noise(round(duration_s * RATE), seed)
    for turn in turns:
        first, last = round(turn.start * RATE), round(turn.end * RATE)
        audio[first:last] += _tone(turn.voice, min(last, len(audio)) - first)
    return audio


def _noise(samples: int, seed: int) -> NDArray[np.float32]:
    """Made in blocks, so that hours of it need no more memory than they fill."""
    random = np.random.default_rng(seed)
    audio = np.empty(samples, np.float32)
    for at in range(0, samples, NOISE_BLOCK):
        block = audio[at : at + NOISE_BLOCK]
        block[:] = NOISE * random.standard_normal(len(block), np.float32)
    return audio


def _tone(voice: int, samples: int) -> NDArray[np.float32]:
    """A tone that swells and sinks like syllables, and never sinks below half."""
    seconds = np.arange(samples) / RATE
    syllables = 0.75 + 0.25 * np.sin(2 * np.pi * SYLLABLES_HZ * seconds)
    fade = np.minimum(np.minimum(seconds, seconds[::-1]) / FADE_S, 1.0)
    tone: NDArray[np.float32] = (LOUDNESS * syllables * fade * np.sin(2 * np.pi * VOICES_HZ[voice] * seconds)).astype(
        np.float32
    )
    return tone


def random_turns(voices: int, duration_s: float, seed: int) -> list[ToyTurn]:
    """Turns of 0.4 to 6 s by `voices` voices, one in four of them starting before the last one has ended."""
    random = np.random.default_rng(seed)
    turns: list[ToyTurn] = []
    at, last = random.uniform(0.2, 1.0), -1
    while at < duration_s - 1.0:
        voice = int(random.choice([other for other in range(voices) if other != last] or [0]))
        end = min(at + random.uniform(0.4, 6.0), duration_s - 0.2)
        turns.append(ToyTurn(float(at), float(end), voice))
        overlap = random.uniform(0.2, 0.8) if random.random() < 0.25 and last != voice else -random.uniform(0.2, 1.5)
        at, last = max(end - overlap, at + 0.3), voice
    return turns


def timeline(turns: Sequence[ToyTurn]) -> list[ToyTurn]:
    """The turns in order, those of one voice that touch joined into one."""
    joined: list[ToyTurn] = []
    for turn in sorted(turns, key=lambda turn: (turn.voice, turn.start)):
        if joined and joined[-1].voice == turn.voice and turn.start <= joined[-1].end:
            joined[-1] = ToyTurn(joined[-1].start, max(joined[-1].end, turn.end), turn.voice)
        else:
            joined.append(turn)
    return sorted(joined, key=lambda turn: turn.start)
