"""Make appel.ogg, a short synthetic French call between two voices, with its reference appel.stm.

Needs Debian's `espeak-ng` and the project's environment:

    apt-get install espeak-ng
    .venv/bin/python tests/engines/tiny_voxtral/make_appel.py

writes both files beside this one. The edges of a turn are where its sound starts and stops; between the turns lies
noise of a level that cannot be heard. Another version of espeak-ng speaks slightly otherwise: train the model again
after a new recording.
"""

from __future__ import annotations

import subprocess
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
RATE = 16_000
LEAD_S = 0.6
BIT_RATE = 32_000
GAPS_S = (0.5, 0.65, 0.45, 0.6, 0.55)
SILENCE = 0.01
PEAK = 0.6
NOISE = 0.0001
VOICES = {"agent": ("fr", "35", "150"), "client": ("fr+f3", "65", "155")}
CALL = (
    ("agent", "Bonjour, service client, je vous écoute."),
    ("client", "Bonjour, je vous appelle concernant ma facture du mois de mars, je l'ai payée deux fois."),
    ("agent", "Je suis désolé, je regarde tout de suite votre dossier. Quel est votre nom, s'il vous plaît ?"),
    ("client", "Je m'appelle Claire Moreau, et j'habite à Lyon depuis deux ans."),
    ("agent", "Merci madame, nous allons vous rembourser sous huit jours."),
    ("client", "C'est parfait, merci beaucoup pour votre aide, bonne journée."),
)


def speak(role: str, text: str, file: Path) -> NDArray[np.float32]:
    """Let espeak-ng say `text`: the samples at 16 kHz, from the first that sounds to the last."""
    voice, pitch, speed = VOICES[role]
    subprocess.run(("espeak-ng", "-v", voice, "-p", pitch, "-s", speed, "-w", str(file), text), check=True)
    with wave.open(str(file)) as sound:
        rate = sound.getframerate()
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype=np.int16)
    spoken = resample(samples, rate)
    loud = np.flatnonzero(np.abs(spoken) > SILENCE * np.abs(spoken).max())
    spoken = spoken[loud[0] : loud[-1] + 1]
    return spoken * np.float32(PEAK / float(np.abs(spoken).max()))


def frame_of(samples: NDArray[np.int16], rate: int) -> av.AudioFrame:
    """All samples as one mono frame."""
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
    return frame


def resample(samples: NDArray[np.int16], rate: int) -> NDArray[np.float32]:
    """Bring samples to 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", RATE)
    pieces = (*resampler.resample(frame_of(samples, rate)), *resampler.resample(None))
    return np.concatenate([piece.to_ndarray()[0] for piece in pieces]).astype(np.float32)


def write_ogg(samples: NDArray[np.int16], path: Path) -> None:
    """Write mono samples as Opus."""
    with av.open(str(path), "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono", bit_rate=BIT_RATE)
        resampler = av.AudioResampler("s16", "mono", 48_000, frame_size=960)
        for piece in (*resampler.resample(frame_of(samples, RATE)), *resampler.resample(None), None):
            container.mux(stream.encode(piece))


def main() -> None:
    """Speak the call, place its turns, write the two files."""
    with tempfile.TemporaryDirectory() as folder:
        turns = [(role, text, speak(role, text, Path(folder) / "turn.wav")) for role, text in CALL]
    pieces, stm, now = [np.zeros(round(LEAD_S * RATE), np.float32)], [], LEAD_S
    for index, (role, text, samples) in enumerate(turns):
        end = now + len(samples) / RATE
        stm.append(f"appel 1 {role} {now:.3f} {end:.3f} {text}")
        gap = round(GAPS_S[index % len(GAPS_S)] * RATE)
        pieces += [samples, np.zeros(gap, np.float32)]
        now = end + gap / RATE
    call = np.concatenate(pieces)
    call += np.random.default_rng(1).normal(0, NOISE, len(call)).astype(np.float32)
    write_ogg((call * 32_767).round().astype(np.int16), HERE / "appel.ogg")
    (HERE / "appel.stm").write_text("\n".join(stm) + "\n")


if __name__ == "__main__":
    main()
