"""What the tests of the HTTP API share."""

from __future__ import annotations

import asyncio

import pytest

from tests.media import CALL
from tests.runpod_worker.harness import as_wav
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Span


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A second of the bundled call in which somebody speaks, as a WAV file."""
    folder = tmp_path_factory.mktemp("speech")
    recording = asyncio.run(decode(CALL, folder, 9000, lambda done, total: None))
    return as_wav(recording.clip(Span(1, 2)))
