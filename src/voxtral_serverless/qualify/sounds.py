"""Sounds in which nobody says a word, made on the spot: whatever is written of them was made up.

Music is that of a telephone queue: chords, a bass, a melody that sways and a drum, in the band of a telephone. The same
every time.
"""

from __future__ import annotations

import re
import wave
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE
from voxtral_serverless.contract import JobResult
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.qualify.units import Reading, Unit
from voxtral_serverless.workspace import workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Transcribe = Callable[[Path], Awaitable[JobResult]]
BEAT_S = 0.5
CHORDS = ((0, 4, 7), (9, 12, 16), (5, 9, 12), (7, 11, 14))
"""Semitones above the root: C, A minor, F, G."""
ROOT_HZ = 261.63
TELEPHONE_HZ = (300, 3400)
LOUDNESS = 0.2
WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


def unit(name: str, transcribe: Transcribe, seconds: float) -> Unit:
    """What is written of so many seconds of a sound of `SOUNDS`. What could not be transcribed says nothing: it fails."""
    return Unit(f"sounds/{name}", partial(_heard, name, transcribe, seconds), {"seconds": seconds}, seconds)


async def _heard(name: str, transcribe: Transcribe, seconds: float) -> Reading:
    with workspace() as folder:
        file = folder / f"{name}.wav"
        write(file, SOUNDS[name](round(seconds * SAMPLE_RATE)))
        result = await transcribe(file)
    if any(entry.text is None for entry in result.transcriptions):
        raise StageFailed("a part of it could not be transcribed.")
    text = " ".join(entry.text for entry in result.transcriptions if entry.text)
    return {"minutes": round(seconds / 60, 4), "words": len(WORD.findall(text)), "text": text}


def write(file: Path, samples: NDArray[np.float64]) -> None:
    """Samples in [-1, 1] as a WAV file: 16 kHz, mono, 16 bits."""
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(SAMPLE_BYTES)
        out.setframerate(SAMPLE_RATE)
        out.writeframes((samples.clip(-1, 1) * 32_767).astype("<i2").tobytes())


def silence(count: int) -> NDArray[np.float64]:
    """So many samples of nothing."""
    import numpy as np

    return np.zeros(count)


def noise(count: int) -> NDArray[np.float64]:
    """A line that hisses, and crackles now and then."""
    import numpy as np

    dice = np.random.default_rng(1)
    hiss = _in_band(dice.standard_normal(count), TELEPHONE_HZ, slope=-0.5)
    sound: NDArray[np.float64] = 0.15 * LOUDNESS * hiss
    for start in dice.integers(0, max(count - 400, 1), count // (2 * SAMPLE_RATE)):
        crackle = dice.standard_normal(min(400, count - start)) * np.hanning(400)[: count - start]
        sound[start : start + 400] += LOUDNESS * crackle
    return sound


def music(count: int) -> NDArray[np.float64]:
    """The music of a queue."""
    import numpy as np

    dice = np.random.default_rng(2)
    sound = np.zeros(count)
    for number in range(1 + count // round(BEAT_S * SAMPLE_RATE)):
        chord = CHORDS[number // 4 % len(CHORDS)]
        start = round(number * BEAT_S * SAMPLE_RATE)
        notes = [(12 + int(dice.choice(chord)), 0.6), *((semitones, 0.25) for semitones in chord), (chord[0] - 12, 0.5)]
        for semitones, loudness in notes:
            _add(sound, start, loudness * _note(semitones))
        _add(sound, start, 0.4 * _drum(dice))
    return LOUDNESS * _in_band(sound, TELEPHONE_HZ)


def _note(semitones: int) -> NDArray[np.float64]:
    """A tone with overtones, plucked, that sways a little."""
    import numpy as np

    times = np.arange(round(1.6 * BEAT_S * SAMPLE_RATE)) / SAMPLE_RATE
    phase = 2 * np.pi * ROOT_HZ * 2 ** (semitones / 12) * times + 0.3 * np.sin(2 * np.pi * 5.5 * times)
    tone = sum(np.sin(overtone * phase) / overtone**1.5 for overtone in range(1, 6))
    plucked: NDArray[np.float64] = tone * np.minimum(times / 0.01, 1) * np.exp(-3 * times)
    return plucked


def _drum(dice: np.random.Generator) -> NDArray[np.float64]:
    import numpy as np

    times = np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    struck: NDArray[np.float64] = dice.standard_normal(len(times)) * np.exp(-60 * times)
    return struck


def _add(sound: NDArray[np.float64], start: int, piece: NDArray[np.float64]) -> None:
    room = sound[start : start + len(piece)]
    room += piece[: len(room)]


def _in_band(sound: NDArray[np.float64], band: tuple[float, float], slope: float = 0.0) -> NDArray[np.float64]:
    """What of a sound lies in a band of frequencies, at a mean power of 1; falling by `slope` as a power of frequency."""
    import numpy as np

    spectrum = np.fft.rfft(sound)
    frequencies = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    spectrum[(frequencies < band[0]) | (frequencies > band[1])] = 0
    if slope:
        spectrum[1:] *= frequencies[1:] ** slope
    filtered = np.fft.irfft(spectrum, len(sound))
    level: NDArray[np.float64] = filtered / max(float(np.sqrt(np.mean(filtered**2))), 1e-12)
    return level


SOUNDS: dict[str, Callable[[int], NDArray[np.float64]]] = {"silence": silence, "noise": noise, "music": music}
