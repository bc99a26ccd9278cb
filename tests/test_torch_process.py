import asyncio
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.conftest import leftovers, no_report
from tests.fakes.hub import write
from tests.fakes.torch_library import python_with_torch, released
from tests.fakes.torch_process import command
from tests.test_child import alive, eventually
from voxtral_serverless.errors import EngineUnavailable, ModelUnavailable, StageFailed
from voxtral_serverless.torch_process import TorchProcess, torch_process

FREEZE_S = 1.0


class Starts:
    """Tells each process that is started how to behave: the first one first, the last one for all that follow."""

    def __init__(self, *manners: Mapping[str, Any] | Exception) -> None:
        self.manners, self.count = manners, 0

    def __call__(self) -> Mapping[str, Any]:
        manner = self.manners[min(self.count, len(self.manners) - 1)]
        self.count += 1
        if isinstance(manner, Exception):
            raise manner
        return manner


def does(*what: str, **others: Any) -> dict[str, Any]:
    return {"does": what, **others}


def process(folder: Path, *manners: Mapping[str, Any] | Exception, freeze_s: float = 20.0) -> Any:
    return torch_process(command(folder), Starts(*manners), freeze_timeout_s=freeze_s)


async def ask(asked: TorchProcess, number: int = 0) -> dict[str, Any]:
    return await asked.ask("diarize", {"asked": number}, no_report)


@pytest.fixture(autouse=True)
def nothing_is_left(temporary: Path) -> Iterator[None]:
    yield
    assert not leftovers(temporary)


async def test_one_process_answers_all_questions(tmp_path: Path) -> None:
    shares: list[float] = []
    async with process(tmp_path, does("answer")) as asked:
        assert await asked.ready() == "cpu"
        answers = await asyncio.gather(*(ask(asked, number) for number in range(5)))
        assert [answer["echo"] for answer in answers] == [{"do": "diarize", "asked": number} for number in range(5)]
        await asked.ask("diarize", {}, lambda done, total: shares.append(done / total))
    assert len({answer["pid"] for answer in answers}) == 1
    assert shares == [0.5]
    assert await eventually(lambda: not alive(answers[0]["pid"]))


async def test_models_are_found_beside_the_block(tmp_path: Path) -> None:
    found = asyncio.Event()
    loop = asyncio.get_running_loop()

    def find() -> dict[str, Any]:
        asyncio.run_coroutine_threadsafe(found.wait(), loop).result(10)
        return does("answer")

    async with torch_process(command(tmp_path), find, freeze_timeout_s=20) as asked:
        found.set()
        await asked.ready()


@pytest.mark.parametrize("failure", ["fail", "die", "babble", "hang"])
async def test_failure_is_asked_again_of_a_fresh_process(
    failure: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with process(tmp_path, does("answer", failure), does("answer"), freeze_s=FREEZE_S) as asked:
        first, second, third = [await ask(asked, number) for number in range(3)]
    assert first["pid"] != second["pid"] == third["pid"]
    assert second["echo"]["asked"] == 1
    assert "attempt 1 of 2" in caplog.text
    assert not alive(first["pid"])


async def test_second_failure_is_told_and_the_next_question_answered(tmp_path: Path) -> None:
    async with process(tmp_path, does("die"), does("fail"), does("answer")) as asked:
        with pytest.raises(StageFailed, match="failed on this recording twice"):
            await ask(asked)
        assert (await ask(asked, 1))["echo"]["asked"] == 1


async def test_it_aligns_while_it_diarizes(tmp_path: Path) -> None:
    async with process(tmp_path, does("slow", "answer", aligns=["answer"])) as asked:
        diarizing = await under_way(asked)
        for number in range(3):
            answer = await asked.ask("align", {"asked": number}, no_report)
            assert answer["echo"] == {"do": "align", "asked": number}
        assert not diarizing.done()
        diarizing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await diarizing
        assert (await ask(asked))["pid"] == answer["pid"]


async def test_who_is_asked_beside_a_failure_does_not_pay_twice(tmp_path: Path) -> None:
    """The alignment is lost with the first process; it is asked again only when the failing question is not there."""
    async with process(tmp_path, does("die", aligns=["slow"]), does("die", aligns=["answer"])) as asked:
        aligning = await under_way(asked, "align")
        with pytest.raises(StageFailed, match="to diarize failed on this recording twice"):
            await ask(asked)
        assert (await aligning)["echo"] == {"do": "align"}


async def test_process_that_both_lost_is_replaced_once(tmp_path: Path) -> None:
    async with process(tmp_path, does("die", aligns=["slow"]), does("answer")) as asked:
        aligning = await under_way(asked, "align")
        diarized, aligned = await asyncio.gather(ask(asked), aligning)
    assert diarized["pid"] == aligned["pid"]


async def test_deaf_question_takes_none_other_with_it(tmp_path: Path) -> None:
    async with process(tmp_path, does("deaf", aligns=["slow"]), does("answer")) as asked:
        diarizing, aligning = await under_way(asked), await under_way(asked, "align")
        diarizing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await diarizing
        assert (await aligning)["echo"] == {"do": "align"}


async def under_way(asked: TorchProcess, work: Literal["align", "diarize"] = "diarize") -> asyncio.Task[dict[str, Any]]:
    """A question that is being worked on."""
    started = asyncio.Event()
    task = asyncio.create_task(asked.ask(work, {}, lambda done, total: started.set()))
    await asyncio.wait_for(started.wait(), 20)
    return task


async def cancelled(asked: TorchProcess) -> float:
    """Cancel a question under way; the seconds until it is left."""
    task = await under_way(asked)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return time.monotonic() - began


async def test_cancelled_question_is_left_and_the_process_kept(tmp_path: Path) -> None:
    async with process(tmp_path, does("answer", "slow", "answer")) as asked:
        before = await ask(asked)
        assert await cancelled(asked) < 1
        assert (await ask(asked))["pid"] == before["pid"]


async def test_process_that_does_not_hear_is_replaced(tmp_path: Path) -> None:
    async with process(tmp_path, does("answer", "deaf"), does("answer")) as asked:
        before = await ask(asked)
        assert await cancelled(asked) < 2
        assert (await ask(asked))["pid"] != before["pid"]
        assert await eventually(lambda: not alive(before["pid"]))


async def test_second_cancellation_does_not_wait(tmp_path: Path) -> None:
    async with process(tmp_path, does("deaf"), does("answer")) as asked:
        task = await under_way(asked)
        task.cancel()
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ask(asked)


async def test_question_that_waits_its_turn_is_cancelled_at_once(tmp_path: Path) -> None:
    async with process(tmp_path, does("slow", "answer")) as asked:
        first = asyncio.create_task(ask(asked))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(ask(asked))
        await asyncio.sleep(0.1)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await ask(asked)


@pytest.mark.parametrize("start", ["unable", "die", "hang"])
async def test_process_that_cannot_start(start: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with process(tmp_path, does(start=start), freeze_s=FREEZE_S) as asked:
        with pytest.raises(EngineUnavailable, match="cannot be started") as refusal:
            await asked.ready()
    assert "/models" not in str(refusal.value)
    reasons = {"unable": "no such network", "die": "libcudart", "hang": "said nothing for 1 s"}
    assert reasons[start] in caplog.text


@pytest.mark.parametrize("start", ["die", "hang"])
async def test_start_that_dies_or_hangs_is_tried_once_more(start: str, tmp_path: Path) -> None:
    async with process(tmp_path, does(start=start), does("answer"), freeze_s=FREEZE_S) as asked:
        assert await asked.ready() == "cpu"
        await ask(asked)


async def test_death_while_idle_costs_no_attempt(tmp_path: Path) -> None:
    async with process(tmp_path, does("answer"), does("die"), does("answer")) as asked:
        first = (await ask(asked))["pid"]
        os.kill(first, signal.SIGKILL)
        assert await eventually(lambda: asked.pid is None)
        assert (await ask(asked))["pid"] != first


async def test_answer_that_nobody_reads_is_not_the_next_one(tmp_path: Path) -> None:
    def broken(done: float, total: float) -> None:
        raise BrokenPipeError

    async with process(tmp_path, does("answer")) as asked:
        with pytest.raises(BrokenPipeError):
            await asked.ask("diarize", {"asked": 1}, broken)
        assert (await ask(asked, 2))["echo"]["asked"] == 2


async def test_cancellation_is_never_swallowed(tmp_path: Path) -> None:
    """With many reports a second one is often there already when the cancellation comes."""
    async with process(tmp_path, does("chatter")) as asked:
        for _ in range(20):
            task = asyncio.create_task(ask(asked))
            await asyncio.sleep(0.03)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_start_that_failed_is_tried_again(tmp_path: Path) -> None:
    async with process(tmp_path, ModelUnavailable("gone."), does("answer")) as asked:
        with pytest.raises(ModelUnavailable):
            await asked.ready()
        await ask(asked)


async def test_warnings_reach_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        async with process(tmp_path, does("answer", warnings=["an unknown version"])) as asked:
            await asked.ready()
    assert "an unknown version" in caplog.text


async def test_block_left_while_it_loads(tmp_path: Path) -> None:
    async with process(tmp_path, does(start="hang")):
        await asyncio.sleep(0.3)


async def test_command_that_is_no_python(tmp_path: Path) -> None:
    async with torch_process(str(tmp_path / "nothing"), lambda: does("answer"), freeze_timeout_s=5) as asked:
        with pytest.raises(EngineUnavailable):
            await asked.ready()


async def test_nothing_of_ours_but_the_machine_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from voxtral_serverless.torch_process import _environment

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    seen = _environment(tmp_path)
    assert not {"HF_TOKEN", "PYTHONPATH"} & seen.keys()
    assert seen["PYANNOTE_METRICS_ENABLED"] == "0"
    assert seen["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(("chosen", "order"), [(None, "PCI_BUS_ID"), ("FASTEST_FIRST", "FASTEST_FIRST")])
def test_gpus_are_numbered_as_nvidia_smi_and_the_engine_do_it(
    chosen: str | None, order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voxtral_serverless.torch_process import _environment

    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    if chosen:
        monkeypatch.setenv("CUDA_DEVICE_ORDER", chosen)
    assert _environment(tmp_path)["CUDA_DEVICE_ORDER"] == order


@pytest.mark.parametrize("broken", [False, True])
async def test_memory_of_the_gpu_is_given_back_after_each_question(broken: bool, tmp_path: Path) -> None:
    """vLLM needs its share to start anew. Where it cannot be given back, the process goes on all the same."""
    model = str(write(tmp_path / "aligner", {"vocab.json": b"{}"}))
    python, pids = python_with_torch(tmp_path, broken=broken), set()
    async with torch_process(python, lambda: {"diarization": None}, freeze_timeout_s=20) as asked:
        for _ in range(2):
            assert (await asked.ask("align", {"model": model, "windows": []}, no_report))["windows"] == []
            pids.add(asked.pid)
        assert await eventually(lambda: released(tmp_path) == 2)
    assert len(pids) == 1
