"""One pass per chunk gives stock pyannote's embeddings and turns, for less; where it cannot, stock pyannote runs.

The comparisons are those of bench/diarization.py, in a process that has the real pyannote.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).with_name("toy_pyannote")
CLOSE = 1e-5
CONVERSATIONS = 12


def run(python: str, *arguments: str | Path) -> Any:
    """The JSON object that a script of ours prints last."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bench")}
    done = subprocess.run([python, *arguments], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("batch", [1, 16], ids=["chunk by chunk", "padded batches"])
def test_same_turns_and_embeddings(diarization_python: str, batch: int) -> None:
    compared = ["--conversations", str(CONVERSATIONS), "--seconds", "40", "--batch", str(batch)]
    found = run(diarization_python, ROOT / "bench" / "diarization.py", *compared)
    assert set(found) == {"ahc", "vbx"}
    for style in found.values():
        assert style["same_turns"] == CONVERSATIONS
        assert 0 < style["embedding_difference"] < CLOSE


def test_full_size_networks(diarization_python: str) -> None:
    found = run(diarization_python, ROOT / "bench" / "diarization.py", "--seconds", "12")
    assert found["same_turns"]
    assert 0 < found["embedding_difference"] < CLOSE
    assert found["times_less_cpu"] > 1.5


def test_where_it_cannot_stock_pyannote_runs(diarization_python: str, tmp_path: Path) -> None:
    found = run(diarization_python, TOY / "falling_back.py", tmp_path / "pipeline")
    assert not found["in_one_pass"]
    assert any("one speaker at a time" in warning for warning in found["warnings"])
    assert found["same_turns"]
    # Of the network it does know: one report for each of the seven chunks, and one before.
    assert found["progress"] == [[done, 7] for done in range(8)]
    assert found["versions"]["4.0.7"] == ["FastSpeakerDiarization", None]
    for version in ("4.1.0", "5.0.0"):
        name, warning = found["versions"][version]
        assert name == "SpeakerDiarization"
        assert version in warning
