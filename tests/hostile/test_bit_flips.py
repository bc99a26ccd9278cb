"""Real recordings with flipped bits: each is a recording or a typed error, and the worker is as it was."""

from pathlib import Path

import pytest

from tests.hostile.attempts import children, descriptors, memory_mb, reset_peak
from tests.hostile.flips import KINDS, decode_flipped, flipped, recordings
from tests.test_child import eventually

OF_THE_FILE = {
    "recording", "audio_unreadable", "audio_empty", "audio_missing", "audio_parameters", "audio_too_long",
}  # fmt: skip
"""The file is at fault, and nobody tries it again."""
GROWTH_MB = 24


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        pytest.param(200, 9, id="200"),
        pytest.param(5000, 10, id="5000", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
async def test_flipped_bits_do_no_harm(count: int, seed: int, tmp_path: Path) -> None:
    await decode_flipped(tmp_path, len(KINDS), 1)  # what is loaded once is loaded
    before, open_before = memory_mb("VmRSS"), descriptors()
    reset_peak()
    tally = await decode_flipped(tmp_path, count, seed)
    print(tally, f"{memory_mb('VmHWM') - before:.1f} MB")  # noqa: T201 — for make soak
    assert tally.outcomes.total() == count
    assert set(tally.outcomes) <= OF_THE_FILE
    assert tally.outcomes["recording"] > count / 4, "nearly nothing gets to the codecs"
    assert tally.left == 0
    assert children() == []
    assert await eventually(lambda: descriptors() <= open_before)
    assert memory_mb("VmHWM") - before < GROWTH_MB


def test_same_seed_flips_the_same_bits(tmp_path: Path) -> None:
    files = recordings(tmp_path)
    once, again = (list(flipped(files, 48, 9)) for _ in range(2))
    assert once == again
    assert all(data != files[number % len(files)] for number, data in enumerate(once))
