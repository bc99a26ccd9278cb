"""Find the speech of both calls with the worker's own voice activity, for the training, whose Python has no onnxruntime.

    python -m tests.engines.tiny_voxtral.speech

writes speech.json: the stretches of speech of each call, in seconds.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

from tests.engines.tiny_voxtral.calls import CALLS, SPEECH
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.voice_activity import detect_speech


def stretches(sound: Path) -> list[list[float]]:
    """The stretches of speech of a recording."""
    with tempfile.TemporaryDirectory() as folder:
        recording = asyncio.run(decode(sound, Path(folder), 600, lambda *_: None))
        return [[round(span.start, 3), round(span.end, 3)] for span in detect_speech(recording, report=lambda *_: None)]


if __name__ == "__main__":
    found = {stem.name: stretches(stem.with_suffix(".ogg")) for _, stem in CALLS}
    SPEECH.write_text(json.dumps(found) + "\n", "utf-8")
