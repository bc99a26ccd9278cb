"""Units measured one after the other, and what is told of it meanwhile."""

import asyncio
from pathlib import Path

import pytest

from tests.test_child import eventually
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.qualify import measuring
from voxtral_serverless.qualify.ledger import open_ledger
from voxtral_serverless.qualify.measuring import Measuring
from voxtral_serverless.qualify.units import Reading, Unit


class Heard:
    """Keeps what is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def says(self, text: str) -> None:
        self.told.append(text)

    def begun(self, unit: str, number: int, total: int) -> None:
        self.told.append(f"{number}/{total} {unit}")

    def goes_on(self, unit: str, seconds: float) -> None:
        self.told.append(f"{unit} still")

    def ended(self, unit: str, reading: Reading) -> None:
        self.told.append(f"{unit} ended: {reading}")


async def one() -> Reading:
    return {"words": 1}


async def failing() -> Reading:
    raise StageFailed("no.")


async def test_each_once_and_what_fails_again(tmp_path: Path) -> None:
    units = [Unit("a", one, audio_s=3600), Unit("b", failing, audio_s=1800), Unit("c", one)]
    heard = Heard()
    with open_ledger(tmp_path) as ledger:
        first = Measuring(ledger, heard, units)
        assert first.outlook() == (
            "3 of 3 units are to be measured, with 1.5 hours of audio to transcribe: "
            "2 min at 60 times real time, 9 min at 10 times real time."
        )
        await first.measure(units)
        assert heard.told == [
            "1/3 a", "a ended: {'words': 1}", "2/3 b", "b ended: {'failed': 'stage_failed: no.'}", "3/3 c",
            "c ended: {'words': 1}",
        ]  # fmt: skip
        heard.told.clear()
        again = Measuring(ledger, heard, units)
        assert again.outlook().startswith("1 of 3 units are to be measured, with 0.5 hours")
        await again.measure(units)
    assert heard.told[0] == "2/3 b"
    assert len(heard.told) == 2


async def test_a_long_one_shows_that_it_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "BEAT_S", 0.05)
    heard, tasks = Heard(), asyncio.all_tasks()

    async def slow() -> Reading:
        await eventually(lambda: heard.told.count("slow still") >= 2, 20)
        return {}

    unit = Unit("slow", slow)
    with open_ledger(tmp_path) as ledger:
        await Measuring(ledger, heard, [unit]).measure([unit])
    assert asyncio.all_tasks() == tasks
