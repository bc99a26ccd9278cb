"""The real engine is killed in the middle of a job: the job finishes after the restart, and nothing is left over."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.conftest import FREEZE_S
from tests.engines.test_whole_way import ENGLISH, MOST_WRONG
from tests.media import CALL
from voxtral_serverless.audio.fetch import LocalAudio
from voxtral_serverless.contract import JobResult, parse_options
from voxtral_serverless.engine import server as supervisor
from voxtral_serverless.pipeline import process
from voxtral_serverless.progress import NoEvents
from voxtral_serverless.qualify.killing import Killing, of_session
from voxtral_serverless.services import served_services
from voxtral_serverless.settings import load_settings
from voxtral_serverless.transcription.plan import Utterance

pytestmark = pytest.mark.asyncio(loop_scope="session")

WAYS = ("core", "api_server", "freeze")
ROUNDS = 10


class AtFirstWord(NoEvents):
    """Does something once, when the first turn has been heard: a transcription is under way."""

    def __init__(self, what: Callable[[], None]) -> None:
        self.done_at = 0.0
        self._what = what

    def utterance(self, utterance: Utterance) -> None:
        if not self.done_at:
            self.done_at = time.monotonic()
            self._what()


async def killed_meanwhile(killing: Killing, way: str) -> tuple[JobResult, float]:
    """The result of a job during which the engine was killed, and how long it took from then on."""
    settings = load_settings(engine="vllm", diarizer="embedded", max_requests=2)
    events = AtFirstWord(killing.ways[way])
    job = parse_options({"language": "en", "num_speakers": 2})
    result = await process(job, LocalAudio(CALL), served_services(settings, killing.server), events)
    assert events.done_at
    return result, time.monotonic() - events.done_at


async def survived(killing: Killing, way: str) -> float:
    """Kill it; check the job and that nothing of the old engine is there. Answers how long the job took after that."""
    session, deaths, place = killing.session, killing.server.deaths, killing.place
    assert any(path.is_socket() for path in place.iterdir())
    result, took_s = await killed_meanwhile(killing, way)
    texts = [entry.text for entry in result.transcriptions]
    assert sum(one == other for one, other in zip(texts, ENGLISH, strict=True)) >= len(ENGLISH) - MOST_WRONG
    assert None not in texts
    assert killing.server.deaths == deaths + 1
    assert not of_session(session)
    assert not place.exists(), "the sockets of the old one are left"
    return took_s


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.timeout(400)
async def test_job_finishes_after_the_restart(killing: Killing, way: str) -> None:
    await survived(killing, way)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS)
async def test_again_and_again(
    killing: Killing, way: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supervisor, "RESTARTS_WITHIN_S", 1.0)  # the budget is not what is tested here
    shared_before = set(Path("/dev/shm").iterdir())
    took = [await survived(killing, way) for _ in range(ROUNDS)]
    left = set(Path("/dev/shm").iterdir()) - shared_before
    with capsys.disabled():
        print(  # noqa: T201 — figures for bench/RESULTS.md
            f"\n{way}: {ROUNDS} of {ROUNDS} jobs finished, {min(took):.0f} to {max(took):.0f} s after the kill "
            f"(freeze timeout {FREEZE_S:.0f} s), {len(left)} files more in shared memory"
        )
    assert len(left) <= 4  # those of the engine that runs now
