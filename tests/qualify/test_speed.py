"""The speed of whole jobs, over the embedded engine; its figures beside a clock of our own, and with planted faults."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.media import CALL
from voxtral_serverless.analysis.judgement import Judgement, SpeakerTone
from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.errors import EngineUnavailable, StageFailed
from voxtral_serverless.qualify import speed, start
from voxtral_serverless.qualify.material import Material
from voxtral_serverless.qualify.references import DataSet, ReferenceCall
from voxtral_serverless.qualify.stand import Stand
from voxtral_serverless.services import Analyst, embedded_services
from voxtral_serverless.settings import load_settings
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.transcript import Heard, Transcript


class Prompt:
    """A transcriber that takes a while for all clips together, and knows what to write."""

    def __init__(self, takes_s: float, failure: Exception | None = None) -> None:
        self.takes_s, self.failure = takes_s, failure
        self.jobs = self.at_once = self.most_at_once = 0

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Heard
    ) -> Transcript:
        self.jobs += 1
        first = self.jobs == 1
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(self.takes_s)
        self.at_once -= 1
        if self.failure and first:
            raise self.failure
        for index in range(len(clips)):
            heard(index, "bonjour à tous")
        return Transcript(("bonjour à tous",) * len(clips))


class Aligner:
    def knows(self, language: str) -> bool:
        return language == "fr"

    async def align(self, *_: Any) -> Sequence[tuple[()]]:
        raise StageFailed("nothing is aligned here.")


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    services = replace(embedded_services(load_settings(engine="embedded")), only_language=None)
    data = DataSet("ours", None, "en", (ReferenceCall("call", CALL, (), ()),))
    folder = tmp_path / "material"
    folder.mkdir()
    return Stand(services, data, Material(data.calls, folder))


async def measured(stand: Stand, transcriber: Prompt, minutes: float, at_once: int) -> dict[str, Any]:
    fitted = replace(stand, services=replace(stand.services, transcriber=transcriber))
    [unit] = speed.units(fitted, [minutes], [at_once])
    return await unit.measure()


async def test_one_call_is_timed_three_times(stand: Stand) -> None:
    transcriber = Prompt(0.6)
    began = time.monotonic()
    reading = await measured(stand, transcriber, 0.25, 1)
    whole_s = time.monotonic() - began
    jobs_s: Any = reading["jobs_s"]
    assert len(jobs_s) == transcriber.jobs == 3
    assert reading["audio_s"] == pytest.approx(45)
    assert all(took_s >= 0.6 for took_s in jobs_s)
    assert sum(jobs_s) <= reading["took_s"] + 0.01 <= whole_s + 0.01
    stages: Any = reading["stages_s"]
    assert stages["transcription"] >= 0.6
    assert {"decoding", "voice_activity", "diarization", "analysis"} <= set(stages)
    first: Any = reading["first_text_s"]
    assert all(0.6 <= text_s <= took_s for text_s, took_s in zip(first, jobs_s, strict=True))
    peaks: Any = reading["peaks"]
    assert peaks["worker_rss_mib"] > 20


async def test_several_calls_are_done_at_once(stand: Stand) -> None:
    transcriber = Prompt(1.0)
    reading = await measured(stand, transcriber, 0.2, 4)
    assert transcriber.most_at_once >= 2
    assert reading["audio_s"] == pytest.approx(48)
    jobs_s: Any = reading["jobs_s"]
    assert len(jobs_s) == 4
    assert max(jobs_s) <= reading["took_s"] + 0.01
    assert sum(jobs_s) > reading["took_s"], "side by side"


async def test_a_call_that_fails_is_counted(stand: Stand) -> None:
    reading = await measured(stand, Prompt(0.01, EngineUnavailable("it is gone.")), 0.2, 4)
    assert reading["failed_jobs"] == 1
    assert reading["audio_s"] == pytest.approx(36)
    with pytest.raises(EngineUnavailable, match="it is gone"):
        await measured(stand, Prompt(0.01, EngineUnavailable("it is gone.")), 6, 1)


class Forgetful:
    """An analyst that has no summaries."""

    def __init__(self, analyst: Analyst) -> None:
        self.analyst = analyst

    async def read(self, *args: Any, **options: Any) -> "Forgetful":
        self.reading = await self.analyst.read(*args, **options)
        return self

    async def judge(self) -> Judgement:
        return await self.reading.judge()

    async def judge_speaker(self, speaker: str) -> SpeakerTone:
        return await self.reading.judge_speaker(speaker)

    async def summarise(self, language: str) -> str:
        raise StageFailed("there is no summary.")


async def test_a_call_that_is_answered_in_part_is_no_fast_one(stand: Stand) -> None:
    forgetful = replace(stand, services=replace(stand.services, analyst=Forgetful(stand.services.analyst)))
    with pytest.raises(StageFailed, match=r"no job was answered as a whole \(.*stage_failed"):
        await measured(forgetful, Prompt(0.01), 0.2, 1)


def test_every_plan_that_is_possible_the_usual_one_first(stand: Stand) -> None:
    french = replace(stand, data=replace(stand.data, language="fr"))
    aligned = replace(french, services=replace(stand.services, aligner=Aligner()))
    by_hand = aligned.by("turns")
    assert stand.plans == french.plans == ("turns",)
    assert aligned.plans == ("windows", "turns")
    unknown = replace(aligned, data=replace(stand.data, language=None))
    assert unknown.plans == ("windows", "turns"), "as of any job whose language is not told"
    assert replace(aligned, services=by_hand).plans == ("turns", "windows")
    assert by_hand.settings.transcription_plan == "turns"
    names = [unit.name for unit in speed.units(aligned, [0.5, 60], [1, 8])]
    assert names == [
        f"speed/{plan}/{length}min/{calls}"
        for plan in ("windows", "turns")
        for length in ("0.5", "60")
        for calls in (1, 8)
    ]


async def test_starts_are_timed(tmp_path: Path) -> None:
    """The embedded engine has hardly anything to start."""
    settings = load_settings(engine="embedded")
    readings = {unit.name: await unit.measure() for unit in start.units(settings, tmp_path)}
    assert list(readings) == ["start/cold", "start/warm"]
    for reading in readings.values():
        assert isinstance(reading["ready_s"], float)
        assert reading["phases_s"] == {}
