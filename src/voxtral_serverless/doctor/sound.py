"""Check of the way from a file to speech: the jailed decoder, and voice activity."""

from __future__ import annotations

import math
import struct
import time
import wave
from functools import partial
from pathlib import Path

from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE, Recording
from voxtral_serverless.doctor.examination import in_thread
from voxtral_serverless.doctor.findings import Finding, ok, problem
from voxtral_serverless.doctor.situation import Situation

TONE_HZ = 440


async def sound_check(situation: Situation) -> Finding:
    """Decode a second of sound, as a job would, and look for speech in it."""
    from voxtral_serverless.audio.decode import decode
    from voxtral_serverless.workspace import workspace

    began = time.monotonic()
    with workspace() as folder:
        _write_tone(folder / "second.wav")
        recording = await decode(folder / "second.wav", folder, situation.settings.max_duration_s, _nobody)
        await in_thread(partial(_listen, recording))
    if recording.samples != SAMPLE_RATE:
        return problem(f"a second of sound was decoded to {recording.duration:.2f} s.", "Reinstall the package `av`.")
    return ok(f"a second of sound was decoded and searched for speech, in {time.monotonic() - began:.1f} s.")


def _write_tone(file: Path) -> None:
    tone = (round(8000 * math.sin(2 * math.pi * TONE_HZ * index / SAMPLE_RATE)) for index in range(SAMPLE_RATE))
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(SAMPLE_BYTES)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes(struct.pack(f"<{SAMPLE_RATE}h", *tone))


def _listen(recording: Recording) -> None:
    from voxtral_serverless.audio.voice_activity import detect_speech

    detect_speech(recording, report=_nobody)


def _nobody(done: float, total: float) -> None:
    """A report that nobody reads."""
