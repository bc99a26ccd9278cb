"""The real pyannote in its process, with toy networks that tell tones apart: right turns, hints, and no way to hang."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import no_report
from tests.engines.conftest import TINY_ALIGNER
from tests.engines.toy_pyannote.dialogue import ToyTurn, random_turns, toy_dialogue
from tests.media import CALL
from tests.reference import bundled_call
from tests.test_child import alive, eventually
from tests.test_pipeline import codes, first_turns
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.fetch import LocalAudio
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.contract import JobResult, parse_options
from voxtral_serverless.diarization.overlap import interruptions, overlap_share
from voxtral_serverless.diarization.pyannote import PyannoteDiarizer
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints
from voxtral_serverless.errors import EngineUnavailable, ModelUnavailable, StageFailed
from voxtral_serverless.pipeline import process
from voxtral_serverless.progress import NoEvents, Progress
from voxtral_serverless.qualify.killing import processes
from voxtral_serverless.services import Services, running_services
from voxtral_serverless.settings import load_settings
from voxtral_serverless.torch_parts import running_torch_parts
from voxtral_serverless.transcription.aligner import CtcAligner
from voxtral_serverless.transcription.aligner_models import read_aligner
from voxtral_serverless.transcription.plan import Clip

pytestmark = pytest.mark.asyncio(loop_scope="session")

TALK = [
    ToyTurn(0.5, 6.0, 3), ToyTurn(6.5, 12.0, 1), ToyTurn(11.0, 18.0, 0), ToyTurn(18.5, 23.0, 3), ToyTurn(23.2, 29.0, 1),
]  # fmt: skip
"""Three voices, one of which interrupts another."""
TALK_S = 30.0
NO_HINTS = SpeakerHints()
STYLES = ("ahc-toy", "vbx-toy")


def recording(folder: Path, turns: list[ToyTurn] = TALK, duration_s: float = TALK_S) -> Recording:
    """The conversation as the decoder leaves one."""
    samples = toy_dialogue(turns, duration_s)
    path = folder / "mix.pcm"
    (samples * 32_767).astype("<i2").tofile(path)
    return Recording(path, (), len(samples), 1, 16_000)


async def diarize(pyannote: PyannoteDiarizer, heard: Recording, hints: SpeakerHints = NO_HINTS) -> Diarization:
    return await pyannote.diarize(heard, (Span(0, heard.duration),), hints, no_report)


def settings(python: str, model: Path, **others: Any) -> Any:
    return load_settings(diarization_python=python, diarization_model=str(model), diarizer="pyannote", **others)


@asynccontextmanager
async def starting(python: str, model: Path, **others: Any) -> AsyncIterator[PyannoteDiarizer]:
    async with running_torch_parts(settings(python, model, **others), diarizes=True, aligns=False) as parts:
        assert parts.diarizer
        yield parts.diarizer


@asynccontextmanager
async def running(python: str, model: Path, **others: Any) -> AsyncIterator[PyannoteDiarizer]:
    async with starting(python, model, **others) as diarizer:
        await diarizer.process.ready()
        yield diarizer


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=STYLES)
async def pyannote(request: Any, toy_python: str, toy_pipelines: Path) -> AsyncIterator[PyannoteDiarizer]:
    async with running(toy_python, toy_pipelines / request.param) as diarizer:
        yield diarizer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def services(toy_python: str, toy_pipelines: Path) -> AsyncIterator[Services]:
    """The embedded engine with pyannote."""
    async with running_services(settings(toy_python, toy_pipelines / "vbx-toy", engine="embedded")) as services:
        await services.ready()
        yield services


@pytest.fixture
def one(services: Services) -> PyannoteDiarizer:
    assert isinstance(services.diarizer, PyannoteDiarizer)
    return services.diarizer


async def test_turns_counts_hints_and_silence(pyannote: PyannoteDiarizer, tmp_path: Path) -> None:
    heard = recording(tmp_path)
    found = await diarize(pyannote, heard, SpeakerHints(3))
    assert found.timeline is not None
    assert not found.notices
    assert [turn.span.start for turn in found.turns] == pytest.approx([0.5, 6.5, 11.0, 18.5, 23.2], abs=1.1)
    assert [turn.span.start for turn in found.timeline] == pytest.approx([turn.start for turn in TALK], abs=0.1)
    assert [turn.span.end for turn in found.timeline] == pytest.approx([turn.end for turn in TALK], abs=0.1)
    first, second, third, again, last = [turn.speaker for turn in found.timeline]
    assert (first, second) == (again, last)
    assert len({first, second, third}) == 3
    assert all(one.span.end <= other.span.start for one, other in zip(found.turns, found.turns[1:], strict=False))
    assert overlap_share(found.timeline) == pytest.approx(1 / 27.3, abs=0.01)
    assert interruptions(found.timeline) == 1

    for count in (1, 2):
        assert len({turn.speaker for turn in (await diarize(pyannote, heard, SpeakerHints(count))).turns}) == count
    most = await diarize(pyannote, heard, SpeakerHints(most=2))
    assert len({turn.speaker for turn in most.turns}) <= 2
    # The library prints that it found fewer clusters: that must not end up in the conversation with the process.
    for count in (12, 60, 2000):
        assert 3 <= len({turn.speaker for turn in (await diarize(pyannote, heard, SpeakerHints(count))).turns}) <= count
    assert (await diarize(pyannote, heard, SpeakerHints(least=300))).turns

    nothing = await diarize(pyannote, recording(tmp_path, [], 12))
    assert (nothing.turns, nothing.timeline) == ((), ())
    assert (await pyannote.diarize(heard, (), SpeakerHints(), no_report)).turns == ()


@pytest.mark.parametrize("voices", [1, 4])
async def test_short_recordings(one: PyannoteDiarizer, voices: int, tmp_path: Path) -> None:
    for duration_s in (0.02, 1.5):
        turns = [ToyTurn(0.0, duration_s, 2)]
        assert len((await diarize(one, recording(tmp_path, turns, duration_s))).turns) <= 1
    found = await diarize(one, recording(tmp_path, random_turns(voices, 30, seed=3), 30), SpeakerHints(voices))
    assert len({turn.speaker for turn in found.turns}) == voices


async def test_turns_end_with_the_recording(one: PyannoteDiarizer, tmp_path: Path) -> None:
    heard = recording(tmp_path, [ToyTurn(1.0, 10.123, 1)], 10.123)
    found = await diarize(one, heard)
    assert max(turn.span.end for turn in found.turns) <= heard.duration


async def test_failing_listener_leaves_no_answer_behind(one: PyannoteDiarizer, tmp_path: Path) -> None:
    def broken(done: float, total: float) -> None:
        raise BrokenPipeError

    heard = recording(tmp_path)
    with pytest.raises(BrokenPipeError):
        await one.diarize(heard, (Span(0, TALK_S),), NO_HINTS, broken)
    assert (await diarize(one, recording(tmp_path, [], 12))).turns == ()


async def test_progress_rises_to_the_end(one: PyannoteDiarizer, tmp_path: Path) -> None:
    shares: list[float] = []
    heard = recording(tmp_path, random_turns(3, 120, seed=5), 120)
    await one.diarize(heard, (Span(0, 120),), SpeakerHints(), lambda done, total: shares.append(done / total))
    assert shares == sorted(shares)
    assert len(set(shares)) > 5
    assert 0.9 <= shares[-1] <= 1


async def until(share: float, diarizer: PyannoteDiarizer, heard: Recording) -> asyncio.Task[Diarization]:
    """A diarization under way that has reported this share of its work."""
    reached = asyncio.Event()

    def report(done: float, total: float) -> None:
        if done / total >= share:
            reached.set()

    speech = (Span(0, heard.duration),)
    task = asyncio.create_task(diarizer.diarize(heard, speech, SpeakerHints(), report))
    await asyncio.wait_for(reached.wait(), 60)
    return task


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
async def test_cancelled_within_two_seconds(one: PyannoteDiarizer, share: float, tmp_path: Path) -> None:
    task = await until(share, one, recording(tmp_path, random_turns(6, 600, seed=1), 600))
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 2
    assert len((await diarize(one, recording(tmp_path))).turns) >= 5


async def test_words_are_timed_while_it_diarizes(one: PyannoteDiarizer, tmp_path: Path) -> None:
    call = tmp_path / "call"
    call.mkdir()
    said = await decode(CALL, call, 100, no_report)
    heard = recording(tmp_path, random_turns(4, 900, seed=5), 900)
    alone = await diarize(one, heard)
    aligner = CtcAligner(one.process, {"en": read_aligner(TINY_ALIGNER, "tiny")})
    first = bundled_call()[0]
    clip = Clip(0, Span(first.start, first.end), Span(first.start, first.end), None, first.end - first.start)
    [before] = await aligner.align(said, [clip], [first.text], "en")
    diarizing = await until(0.01, one, heard)
    [words] = await aligner.align(said, [clip], [first.text], "en")
    assert not diarizing.done()
    assert words == before
    assert [word.text for word in words] == first.text.split()
    assert await diarizing == alone


class Killing(NoEvents):
    """Kills the process when the job's diarization has come so far, and the one after it."""

    def __init__(self, diarizer: PyannoteDiarizer, share: float, times: int = 1) -> None:
        self.killed: list[int] = []
        self._process, self._share, self._times = diarizer.process, share, times

    def progress(self, progress: Progress) -> None:
        pid = self._process.pid
        if progress.stage != "diarization" or progress.done < self._share * progress.total or pid in self.killed:
            return
        if pid is not None and len(self.killed) < self._times:
            os.kill(pid, signal.SIGKILL)
            self.killed.append(pid)


async def job(file: Path, services: Services, events: NoEvents | None = None) -> JobResult:
    return await process(parse_options({"language": "en"}), LocalAudio(file), services, events or NoEvents())


def whole(result: JobResult) -> bool:
    """Whether what is said in the first two turns of the bundled call is there, whoever said it."""
    words = " ".join(entry.text or "" for entry in result.transcriptions).split()
    return len(words) > 20 and all(entry.text is not None for entry in result.transcriptions)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9])
async def test_kill_in_any_phase_costs_nothing(
    services: Services, one: PyannoteDiarizer, share: float, tmp_path: Path
) -> None:
    events = Killing(one, share)
    result = await job(await first_turns(tmp_path), services, events)
    assert len(events.killed) == 1
    assert whole(result)
    assert "diarization_failed" not in codes(result)
    assert result.meta.models["diarization"] == "vbx-toy"


async def test_killed_twice_the_transcript_comes_without_speakers(
    services: Services, one: PyannoteDiarizer, tmp_path: Path
) -> None:
    file = await first_turns(tmp_path)
    result = await job(file, services, Killing(one, 0.01, times=2))
    assert whole(result)
    assert {entry.speaker for entry in result.transcriptions} == {None}
    assert {"stage_failed", "diarization_failed"} <= set(codes(result))
    assert "diarization_failed" not in codes(await job(file, services))


async def test_killed_or_frozen_while_it_is_idle(toy_python: str, toy_pipelines: Path, tmp_path: Path) -> None:
    heard = recording(tmp_path)
    async with running(toy_python, toy_pipelines / "vbx-toy", diarization_freeze_timeout_s=15) as diarizer:
        pids = []
        for number in (signal.SIGKILL, signal.SIGSTOP):
            pids.append(diarizer.process.pid)
            os.kill(pids[-1] or 0, number)
            assert len((await diarize(diarizer, heard)).turns) >= 5
        pids.append(diarizer.process.pid)
    assert len(set(pids)) == 3
    assert not any(alive(pid or 0) for pid in pids)


def loading() -> set[int]:
    """The processes that hold torch, ready or not."""
    return {process.pid for process in processes() if "voxtral_serverless._torch_process" in process.title}


async def test_killed_while_it_loads(toy_python: str, toy_pipelines: Path, tmp_path: Path) -> None:
    before = loading()
    async with starting(toy_python, toy_pipelines / "vbx-toy") as diarizer:
        assert await eventually(lambda: bool(loading() - before), within_s=20)
        [pid] = loading() - before
        os.kill(pid, signal.SIGKILL)
        await diarizer.process.ready()
        assert diarizer.process.pid != pid
        assert len((await diarize(diarizer, recording(tmp_path))).turns) >= 5


async def test_full_size_networks_run(toy_python: str, toy_pipelines: Path, tmp_path: Path) -> None:
    async with running(toy_python, toy_pipelines / "vbx-full") as diarizer:
        found = await diarize(diarizer, recording(tmp_path, random_turns(2, 12, seed=2), 12))
    assert len({turn.speaker for turn in found.turns}) <= 3


def unreadable(folder: Path) -> None:
    (folder / "segmentation" / "pytorch_model.bin").write_bytes(b"\x80nothing")


def nameless(folder: Path) -> None:
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("VBxClustering", "GuessClustering"))


@pytest.mark.parametrize("spoil", [unreadable, nameless])
async def test_pipeline_that_cannot_be_loaded_is_told_at_the_start(
    spoil: Callable[[Path], None], toy_python: str, toy_pipelines: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(toy_pipelines / "vbx-toy", tmp_path / "spoilt"))
    spoil(folder)
    async with starting(toy_python, folder) as diarizer:
        with pytest.raises((EngineUnavailable, ModelUnavailable)) as refusal:
            await diarizer.process.ready()
    assert str(tmp_path) not in str(refusal.value)


async def test_recording_that_is_gone_is_a_failed_stage(one: PyannoteDiarizer, tmp_path: Path) -> None:
    with pytest.raises(StageFailed):
        await diarize(one, Recording(tmp_path / "nothing", (), 16_000, 1, 16_000))
    assert len((await diarize(one, recording(tmp_path))).turns) >= 5
