"""The scheduler of requests, over a stand-in for vLLM: served on the test's loop, or started and killed as a process."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from tests.engine.test_external import watched
from tests.engine.test_server import Bench, started
from tests.fakes.vllm_server import Manners, Vllm, running_vllm, set_manners
from tests.test_child import eventually
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.engine import external, requests
from voxtral_serverless.engine import server as supervisor
from voxtral_serverless.engine.requests import Requests
from voxtral_serverless.errors import EngineUnavailable, LanguageNotSupported
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.transcript import Transcript, mishap_notices
from voxtral_serverless.transcription.voxtral import VoxtralTranscriber

SECONDS = 120


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Its samples say which second they are of; those of the second channel are negative."""
    of_second = np.repeat(np.arange(SECONDS, dtype="<i2"), 16_000)
    paths = tuple(tmp_path / name for name in ("mix", "left", "right"))
    for path, samples in zip(paths, (of_second, of_second, -of_second), strict=True):
        samples.tofile(path)
    return Recording(paths[0], paths[1:], SECONDS * 16_000, 2, 16_000)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses."""
    monkeypatch.setattr(requests, "BACK_OFF_S", 0.01)
    monkeypatch.setattr(external, "WATCH_S", 0.05)
    monkeypatch.setattr(supervisor, "BACK_OFF_S", (0.1, 0.1, 0.1))


def clips_of(*lengths: float, channel: int | None = None) -> list[Clip]:
    """Clips of so many seconds of speech each; the first begins after one second, the next after two …"""
    audios = [Span(index + 1, index + 1 + length) for index, length in enumerate(lengths)]
    cores = [Span(audio.start + 0.1, audio.end - 0.1) for audio in audios]
    pairs = zip(cores, audios, strict=True)
    return [Clip(index, core, audio, channel, core.duration) for index, (core, audio) in enumerate(pairs)]


def said(*lengths: float, language: str = "fr") -> tuple[str, ...]:
    return tuple(f"{length:.2f} s in {language}" for length in lengths)


class Job:
    """A job under test, and what it heard."""

    def __init__(self, recording: Recording, language: str | None = "fr") -> None:
        self.recording, self.language = recording, language
        self.heard: list[tuple[int, str]] = []

    async def run(self, transcriber: VoxtralTranscriber, clips: Sequence[Clip]) -> Transcript:
        return await transcriber.transcribe(
            self.recording, clips, self.language, lambda index, text, words=(): self.heard.append((index, text))
        )


@asynccontextmanager
async def served(manners: Manners | None = None, limit: int = 8) -> AsyncIterator[tuple[Vllm, VoxtralTranscriber]]:
    """A server that was found ready, and then took to `manners`; and who asks it."""
    vllm = Vllm()
    async with running_vllm(vllm), watched(vllm.url) as engine:
        await engine.ready()
        vllm.requests.clear()
        vllm.manners = manners or Manners()
        yield vllm, VoxtralTranscriber(Requests(engine, limit))


async def test_each_request_has_the_samples_of_its_clip(recording: Recording) -> None:
    lengths = (1.25, 0.5, 2.0, 0.75)
    clips = clips_of(*lengths) + clips_of(2.5, channel=0) + clips_of(3.5, channel=1)
    async with served() as (vllm, transcriber):
        transcript = await Job(recording).run(transcriber, clips)
    assert transcript == Transcript(said(*lengths, 2.5, 3.5))
    firsts = {request["seconds"]: request["first"] for request in vllm.requests}
    assert firsts == {"1.2500": "1", "0.5000": "2", "2.0000": "3", "0.7500": "4", "2.5000": "1", "3.5000": "-1"}


async def test_what_goes_with_a_request(recording: Recording) -> None:
    async with served() as (vllm, transcriber):
        await Job(recording, "nl").run(transcriber, clips_of(1))
        await Job(recording, None).run(transcriber, clips_of(30))
    short, long = vllm.requests
    assert (short["language"], "language" in long) == ("nl", False)
    assert (short["max_completion_tokens"], long["max_completion_tokens"]) == ("44", "392")
    assert short["frequency_penalty"] == long["frequency_penalty"] == "0.0"


async def test_texts_are_in_the_order_of_the_clips_and_heard_once_as_they_come(recording: Recording) -> None:
    class Slower(Vllm):
        async def _work(self, seconds: float, besides_s: float = 0.0) -> None:
            await asyncio.sleep((3 - seconds) / 10)
            await super()._work(seconds, besides_s)

    job, vllm = Job(recording), Slower()
    async with running_vllm(vllm), watched(vllm.url) as engine:
        transcript = await job.run(VoxtralTranscriber(Requests(engine, 8)), clips_of(1, 2, 3))
    assert transcript.texts == said(1, 2, 3)
    assert job.heard == [(2, "3.00 s in fr"), (1, "2.00 s in fr"), (0, "1.00 s in fr")]


async def test_no_clips(recording: Recording) -> None:
    async with served() as (_, transcriber):
        assert await Job(recording).run(transcriber, []) == Transcript(())


async def test_clips_of_all_jobs_are_in_the_engine_together(recording: Recording) -> None:
    lengths = [1 + index / 16 for index in range(10)]
    async with served(Manners(latency_s=0.1), limit=6) as (vllm, transcriber):
        jobs = [Job(recording, language) for language in ("fr", "de")]
        transcripts = await asyncio.gather(*(job.run(transcriber, clips_of(*lengths)) for job in jobs))
    assert [transcript.texts for transcript in transcripts] == [said(*lengths), said(*lengths, language="de")]
    assert [sorted(job.heard) for job in jobs] == [list(enumerate(transcript.texts)) for transcript in transcripts]
    assert vllm.most_at_once == 6
    assert len(vllm.requests) == 20


async def test_a_short_job_is_not_queued_behind_a_long_one(recording: Recording) -> None:
    long, short = Job(recording), Job(recording)
    async with served(Manners(latency_s=0.05), limit=4) as (vllm, transcriber):
        first = asyncio.create_task(long.run(transcriber, clips_of(*[1.0] * 40)))
        assert await eventually(lambda: vllm.most_at_once == 4)
        await short.run(transcriber, clips_of(2, 2))
        assert len(long.heard) <= 16
        assert (await first).texts == said(*[1.0] * 40)
    assert vllm.most_at_once == 4


@pytest.mark.parametrize("manners", [Manners(fails=2), Manners(truncates=2)])
async def test_lost_requests_are_asked_anew(recording: Recording, manners: Manners) -> None:
    job = Job(recording)
    async with served(manners) as (vllm, transcriber):
        assert await job.run(transcriber, clips_of(1)) == Transcript(said(1))
    assert len(vllm.requests) == 3
    assert job.heard == [(0, "1.00 s in fr")]


@pytest.mark.parametrize("manners", [Manners(refuses=500, only=2), Manners(refuses=429, only=2)])
async def test_a_clip_that_is_lost_too_often_is_left_out(recording: Recording, manners: Manners) -> None:
    job = Job(recording)
    async with served(manners) as (vllm, transcriber):
        assert await job.run(transcriber, clips_of(1, 2, 3)) == Transcript(("1.00 s in fr", None, "3.00 s in fr"))
    assert sorted(index for index, _ in job.heard) == [0, 2]
    assert [request["seconds"] for request in vllm.requests].count("2.0000") == requests.ATTEMPTS == 3
    assert len(vllm.requests) == 5


async def test_a_refused_clip_is_left_out_and_not_asked_again(recording: Recording) -> None:
    async with served(Manners(refuses=400, only=2, why="Maximum clip filesize exceeded.")) as (vllm, transcriber):
        transcript = await Job(recording).run(transcriber, clips_of(1, 2, 3))
    assert transcript == Transcript(("1.00 s in fr", None, "3.00 s in fr"))
    assert len(vllm.requests) == 3


async def test_language_that_is_not_taken(recording: Recording) -> None:
    async with served(Manners(refuses=400, why="Unsupported language: 'xx'.")) as (_, transcriber):
        with pytest.raises(LanguageNotSupported, match="'xx'"):
            await Job(recording, "xx").run(transcriber, clips_of(1, 2, 3))
        assert (await Job(recording, None).run(transcriber, clips_of(1))).texts == (None,)


async def test_a_loop_is_asked_for_again_with_a_penalty(recording: Recording) -> None:
    job = Job(recording)
    async with served(Manners(loops=2)) as (vllm, transcriber):
        assert await job.run(transcriber, clips_of(1, 2)) == Transcript(said(1, 2))
    penalties = [float(request["frequency_penalty"]) for request in vllm.requests if request["seconds"] == "2.0000"]
    assert penalties == [0, 0.5]
    assert len(vllm.requests) == 3
    assert sorted(job.heard) == list(enumerate(said(1, 2)))


async def test_a_text_that_loops_twice_is_cut(recording: Recording) -> None:
    async with served(Manners(loops=2, loops_always=True)) as (vllm, transcriber):
        transcript = await Job(recording).run(transcriber, clips_of(1, 2, 2))
    assert transcript.texts == ("1.00 s in fr", "and so on", "and so on")
    assert list(transcript.mishaps) == ["text_cut"]
    assert [notice.code for notice in mishap_notices(transcript.mishaps)] == ["text_cut"]
    assert "2 texts" in next(mishap_notices(transcript.mishaps)).message
    assert len(vllm.requests) == 5


async def test_a_loop_whose_second_try_is_refused_is_cut_all_the_same(recording: Recording) -> None:
    async with served(Manners(loops=2, refuses_penalty=True)) as (_, transcriber):
        transcript = await Job(recording).run(transcriber, clips_of(2))
    assert transcript.texts == ("and so on",)
    assert list(transcript.mishaps) == ["text_cut"]


async def test_a_text_longer_than_anybody_can_say_is_cut(recording: Recording) -> None:
    sentence = "Nobody can say all of this within a single second. "
    async with served(Manners(says=sentence + "There is more of it.")) as (_, transcriber):
        transcript = await Job(recording).run(transcriber, clips_of(1))
    assert transcript.texts == (sentence.strip()[:50],)
    assert list(transcript.mishaps) == ["text_cut"]


@pytest.mark.parametrize(("speech_s", "kept"), [(0.0, False), (0.05, False), (0.5, True)])
async def test_a_text_for_next_to_no_speech_is_dropped(recording: Recording, speech_s: float, kept: bool) -> None:
    job, span = Job(recording), Span(1, 3)
    async with served(Manners(says=" Sous-titres réalisés. ")) as (_, transcriber):
        transcript = await job.run(transcriber, [Clip(0, span, span, None, speech_s)])
    assert transcript.texts == ("Sous-titres réalisés." if kept else "",)
    assert list(transcript.mishaps) == ([] if kept else ["text_dropped"])
    assert job.heard == [(0, transcript.texts[0])]


async def test_cancelled_jobs_leave_no_request(recording: Recording) -> None:
    async with served(Manners(frozen=True), limit=5) as (vllm, transcriber):
        jobs = [asyncio.create_task(Job(recording).run(transcriber, clips_of(1, 1, 1, 1))) for _ in range(2)]
        assert await eventually(lambda: vllm.most_at_once == 5)
        for job in jobs:
            job.cancel()
        for job in jobs:
            with suppress(asyncio.CancelledError):
                await job
        assert all(job.cancelled() for job in jobs)
        assert await eventually(lambda: vllm.aborted == 5)
        assert transcriber._requests._engine.client.in_flight == 0
        vllm.manners.frozen = False
        assert (await Job(recording).run(transcriber, clips_of(1))).texts == said(1)  # no place is lost
        assert len(vllm.requests) == 6


async def test_server_that_goes_away_for_good(recording: Recording) -> None:
    vllm = Vllm()
    async with watched("", freeze_s=0.3) as engine:
        async with running_vllm(vllm):
            engine.client.url = vllm.url
            await engine.ready()
        with pytest.raises(EngineUnavailable):
            await Job(recording).run(VoxtralTranscriber(Requests(engine, 4)), clips_of(1, 2, 3))


async def test_server_that_comes_back(recording: Recording) -> None:
    vllm = Vllm()
    async with watched("") as engine:
        async with running_vllm(vllm):
            engine.client.url = vllm.url
            await engine.ready()
        job = asyncio.create_task(Job(recording).run(VoxtralTranscriber(Requests(engine, 4)), clips_of(1, 2, 3)))
        await asyncio.sleep(0.2)
        async with running_vllm(vllm):
            assert await job == Transcript(said(1, 2, 3))


async def test_server_that_froze_is_asked_anew(recording: Recording) -> None:
    vllm = Vllm(Manners(frozen=True))
    async with running_vllm(vllm), watched(vllm.url, freeze_s=0.4) as engine:
        engine._known = True
        job = asyncio.create_task(Job(recording).run(VoxtralTranscriber(Requests(engine, 4)), clips_of(1, 2, 3)))
        assert await eventually(lambda: vllm.aborted == 3)
        vllm.manners.frozen = False
        assert await job == Transcript(said(1, 2, 3))
        assert engine.deaths == 0


async def killed(bench: Bench, in_flight: int) -> None:
    """Kill the engine when so many requests are in it."""
    assert await eventually(lambda: bench.server.client.in_flight == in_flight, within_s=20)
    await asyncio.sleep(0.1)
    os.kill(bench.group, signal.SIGKILL)


LENGTHS = [1 + index / 32 for index in range(14)]


async def test_jobs_outlive_a_death_of_the_engine(recording: Recording, tmp_path: Path) -> None:
    async with started(tmp_path, Manners(latency_s=0.2)) as bench:
        await bench.server.ready()
        transcriber = VoxtralTranscriber(Requests(bench.server, 6))
        jobs = [Job(recording), Job(recording, "de")]
        work = asyncio.gather(*(job.run(transcriber, clips_of(*LENGTHS)) for job in jobs))
        await killed(bench, 6)
        assert await work == [Transcript(said(*LENGTHS)), Transcript(said(*LENGTHS, language="de"))]
        assert bench.server.deaths == 1
    assert all(len(job.heard) == len(LENGTHS) for job in jobs)


async def test_a_clip_that_kills_the_engine_is_found_and_left_out(recording: Recording, tmp_path: Path) -> None:
    lengths = [*LENGTHS[:4], 3.0, *LENGTHS[4:]]
    async with started(tmp_path, Manners(latency_s=0.05, dies_over=3)) as bench:
        await bench.server.ready()
        transcriber = VoxtralTranscriber(Requests(bench.server, 6))
        other = Job(recording, "de")
        transcript, others = await asyncio.gather(
            Job(recording).run(transcriber, clips_of(*lengths)), other.run(transcriber, clips_of(*LENGTHS))
        )
        assert bench.server.deaths == 2
    assert transcript.texts == tuple(None if text == "3.00 s in fr" else text for text in said(*lengths))
    assert list(transcript.mishaps) == ["clip_kills_engine"]
    assert others == Transcript(said(*LENGTHS, language="de"))


async def test_engine_that_does_not_come_back(recording: Recording, tmp_path: Path) -> None:
    async with started(tmp_path, Manners(latency_s=5)) as bench:
        await bench.server.ready()
        set_manners(tmp_path, Manners(start="exit"))
        work = asyncio.create_task(
            Job(recording).run(VoxtralTranscriber(Requests(bench.server, 4)), clips_of(*LENGTHS))
        )
        await killed(bench, 4)
        with pytest.raises(EngineUnavailable, match="died 4 times"):
            await work
