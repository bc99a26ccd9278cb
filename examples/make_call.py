"""Make the bundled call: a synthetic customer-service call between two voices, with its reference.

Needs Debian's `flite` (voices rms and slt) and the project's environment:

    apt-get install flite
    .venv/bin/python examples/make_call.py

writes call.ogg, call.rttm (who speaks when) and call.stm (who says what when) beside this file. flite prints
the time of each phone that it speaks, so the edges of the reference are exact.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).parent
RATE = 16_000
LEAD_S = 0.6
BIT_RATE = 40_000
GAPS_S = (0.45, 0.6, 0.4, 0.7, 0.5)
VOICES = {"agent": "rms", "customer": "slt"}
CALL = (
    ("agent", "Hello, this is the garden center, my name is Robert. How can I help you today?"),
    ("customer", "Hello. I ordered a wooden table two weeks ago, and it arrived yesterday with a broken leg."),
    ("agent", "I am very sorry to hear that. Can you give me the number of your order, please?"),
    ("customer", "Yes, of course. The order number is seven four nine two."),
    ("agent", "I can see the order here. Would you like a new table, or your money back?"),
    ("customer", "I would like a new table, because we have a family dinner on Saturday evening."),
    ("agent", "I understand. We can send a new one on Friday morning, and you do not have to pay anything."),
    ("customer", "That is wonderful. What should I do with the broken table?"),
    ("agent", "You can leave it in the box. The driver will bring it back to us."),
    ("customer", "Perfect. Can you send me a message before the driver arrives?"),
    ("agent", "Yes, he will call you one hour before. Is there anything else that I can do for you?"),
    ("customer", "No, that is all. Thank you very much for your help, I am very happy with this answer."),
    ("agent", "You are welcome. Have a good day, and enjoy your family dinner."),
    ("customer", "Thank you. Goodbye."),
)


@dataclass(frozen=True)
class Spoken:
    """One turn as flite spoke it, without the silence around it."""

    role: str
    text: str
    samples: NDArray[np.int16]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / RATE


def speak(role: str, text: str, folder: Path) -> Spoken:
    """Let flite say `text`; the pauses that it puts in front and behind are cut off at its own phone times."""
    file = folder / "turn.wav"
    command = ("flite", "-voice", VOICES[role], "-t", text, "-psdur", "-o", str(file))
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    phones = [(name, float(end)) for name, end in re.findall(r"(\S+?):([\d.]+)", printed)]
    first = phones[0][1] if phones[0][0] == "pau" else 0.0
    last = phones[-2][1] if phones[-1][0] == "pau" else phones[-1][1]
    with wave.open(str(file)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype=np.int16)
    return Spoken(role, text, samples[round(first * RATE) : round(last * RATE)])


def write_ogg(samples: NDArray[np.int16], path: Path) -> None:
    """Write mono samples as Opus."""
    with av.open(str(path), "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=48_000, layout="mono", bit_rate=BIT_RATE)
        resampler = av.AudioResampler("s16", "mono", 48_000, frame_size=960)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            container.mux(stream.encode(piece))


def main() -> None:
    """Speak the call, place its turns, write the three files."""
    with tempfile.TemporaryDirectory() as folder:
        turns = [speak(role, text, Path(folder)) for role, text in CALL]
    pieces, rttm, stm, now = [np.zeros(round(LEAD_S * RATE), np.int16)], [], [], LEAD_S
    for index, turn in enumerate(turns):
        end = now + turn.duration_s
        rttm.append(f"SPEAKER call 1 {now:.3f} {turn.duration_s:.3f} <NA> <NA> {turn.role} <NA> <NA>")
        stm.append(f"call 1 {turn.role} {now:.3f} {end:.3f} {turn.text}")
        gap = round(GAPS_S[index % len(GAPS_S)] * RATE)
        pieces += [turn.samples, np.zeros(gap, np.int16)]
        now = end + gap / RATE
    write_ogg(np.concatenate(pieces), HERE / "call.ogg")
    (HERE / "call.rttm").write_text("\n".join(rttm) + "\n")
    (HERE / "call.stm").write_text("\n".join(stm) + "\n")


if __name__ == "__main__":
    main()
