"""The canary: nothing of what a job brings, or of what is said in it, is in any output of the worker."""

import asyncio
import base64
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.runpod_queue import Job
from tests.runpod_worker.harness import Stand, codes, running_stand

pytestmark = pytest.mark.asyncio(loop_scope="module")

BANNER = "--- Starting Serverless Worker |"
"""The one line of the SDK's that is no JSON."""


@dataclass(frozen=True)
class Told:
    """What a worker was told, what it answered, and all that it wrote about it."""

    marker: str
    jobs: dict[str, Job]
    output: str

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.output.splitlines() if not line.startswith(BANNER)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """The lives of a worker that says what it has to, and of one that says all that it may."""
    folders = {debug: tmp_path_factory.mktemp("privacy") for debug in ("0", "1")}
    told = await asyncio.gather(*(life(folder, debug) for debug, folder in folders.items()))
    return dict(zip(folders, told, strict=True))


@pytest.fixture(params=["0", "1"], ids=["info", "debug"])
def told(request: pytest.FixtureRequest, lives: dict[str, Told]) -> Told:
    """One of them."""
    return lives[request.param]


async def life(folder: Path, debug: str) -> Told:
    """A worker's whole life, with jobs that go well and jobs that fail in every way."""
    marker = f"canary{secrets.token_hex(8)}"
    settings = {name: f"{marker}-{name}" for name in ("HF_TOKEN", "VLLM_API_KEY", "API_KEY", "BUCKET_ACCESS_KEY_ID")}
    settings |= {"RUNPOD_DEBUG": debug, "DEADLINE_MARGIN_S": "2"}
    async with running_stand(folder, settings, key=f"rpa_{marker}") as stand:
        jobs = {name: stand.queue.put(job, **beside) for name, (job, beside) in told_jobs(stand, marker).items()}
        dripping = stand.queue.put({"audio_url": f"{stand.recordings.url}/drip?key={marker}"})
        await stand.queue.finished(*jobs.values())
        assert await stand.queue.until(lambda: dripping.progress)
        stand.queue.cancel(dripping)
        await asyncio.sleep(0.5)
        assert (await stand.worker.stop()).status == 0
        return Told(marker, jobs, stand.worker.output)


def told_jobs(stand: Stand, marker: str) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Jobs by what becomes of them, with the marker wherever they can hold it."""
    origin, clip = stand.recordings.url, stand.recordings.wav(6.2)
    marked = {"metadata": {marker: [marker]}, "speaker_labels": [marker], "language": "en"}
    everything = {"summary": True, "sentiment": True, "formats": ["srt", "txt"], "task": "transcribe_diarized"}
    said = base64.b64encode(clip).decode()
    junk = base64.b64encode(marker.encode() * 9).decode()
    headers = {"audio_headers": {"Authorization": f"Bearer {marker}", "X-Key": marker}}
    bucket = {"endpointUrl": f"http://127.0.0.1:9/{marker}", "bucketName": marker, "accessId": marker}
    return {
        "by_url": (
            {"audio_url": f"{origin}/clip/6.2?sig={marker}"} | headers | marked | everything,
            {"webhook": marker},
        ),
        "redirected": ({"audio_url": f"{origin}/to?url=/clip/6.2?sig={marker}"} | marked | everything, {}),
        "by_base64": ({"audio_base64": said} | marked | everything, {"s3Config": bucket | {"accessSecret": marker}}),
        "not_there": ({"audio_url": f"{origin}/{marker}/a.wav?sig={marker}"} | marked, {}),
        "nobody_there": ({"audio_url": f"http://127.0.0.1:9/{marker}.wav?{marker}"} | headers | marked, {}),
        "password": ({"audio_url": f"{origin.replace('//', f'//user:{marker}@')}/ok"} | marked, {}),
        "no_host": ({"audio_url": f"https://nowhere.invalid/{marker}?{marker}"} | marked, {}),
        "no_audio": ({"audio_url": f"{origin}/html?{marker}"} | marked, {}),
        "no_url": ({"audio_url": f"ftp://example.com/{marker}"} | marked, {}),
        "garbage": ({"audio_base64": junk} | marked, {}),
        "no_base64": ({"audio_base64": f"%%{marker}"} | marked, {}),
        "wrong_language": ({"audio_base64": junk} | marked | {"language": marker}, {}),
        "wrong_types": ({"audio_url": [marker], "task": marker, "metadata": marker, "speaker_labels": marker}, {}),
        "unknown_field": ({"audio_url": f"{origin}/ok?{marker}", marker: marker}, {}),
        "too_late": ({"audio_url": f"{origin}/drip?{marker}"} | marked, {"policy": {"executionTimeout": 5_000}}),
    }


async def test_jobs_became_what_they_are_called(told: Told) -> None:
    """Else the rest would prove nothing."""
    for name in ("by_url", "redirected", "by_base64"):
        output = told.jobs[name].output
        assert "garden" in output["transcriptions"][0]["text"], name
        assert (output["transcriptions"][0]["speaker"], output["metadata"]) == (
            told.marker,
            {told.marker: [told.marker]},
        )
        assert output["summary"]
        assert "internal_error" not in codes(output)
    failures = {name: job.error.partition(":")[0] for name, job in told.jobs.items() if job.status == "FAILED"}
    assert failures == {
        "not_there": "fetch_rejected", "nobody_there": "fetch_failed", "password": "fetch_refused", "no_host": "fetch_failed",
        "no_audio": "fetch_not_audio", "no_url": "invalid_input", "garbage": "audio_unreadable",
        "no_base64": "invalid_input", "wrong_language": "invalid_input", "wrong_types": "invalid_input",
        "unknown_field": "invalid_input", "too_late": "deadline_exceeded",
    }  # fmt: skip


async def test_marker_is_nowhere(told: Told) -> None:
    junk = base64.b64encode(told.marker.encode() * 9).decode()
    hits = [line for line in told.output.splitlines() if told.marker in line or junk[:20] in line]
    assert hits == []


async def test_no_word_that_was_said_is_in_the_log(told: Told) -> None:
    output = told.jobs["by_url"].output
    texts = [output["summary"], *(turn["text"] for turn in output["transcriptions"])]
    words = {word for text in texts for word in text.split() if len(word) > 4}
    assert {"Hello", "garden", "robert"} <= words
    assert [(word, line) for word in words for line in told.output.splitlines() if word in line] == []


async def test_errors_hold_neither_tokens_nor_queries(told: Told) -> None:
    named = {"wrong_language", "wrong_types", "unknown_field"}  # these quote what is wrong with them
    answers = {name: job.error for name, job in told.jobs.items() if job.status == "FAILED" and name not in named}
    assert {name: error for name, error in answers.items() if told.marker in error or "/tmp" in error} == {}


async def test_lines_of_the_log_belong_to_their_jobs(told: Told) -> None:
    assert all({"requestId", "level", "message"} <= line.keys() for line in told.log)
    of_jobs = {name: [line for line in told.log if line["requestId"] == job.id] for name, job in told.jobs.items()}
    for name, lines in of_jobs.items():
        assert {"done", "failed"} & {line.get("status") for line in lines}, name
    stages = {
        line["stage"]: line["duration_s"] for line in of_jobs["by_url"] if line.get("stage", "first_job") != "first_job"
    }
    assert list(stages) == ["fetching", "decoding", "voice_activity", "diarization", "transcription", "analysis"]
    assert all(duration >= 0 for duration in stages.values())
    counts = {name for line in of_jobs["by_url"] for name in ("turns", "clips", "audio_s") if name in line}
    assert counts, "the log has no counts"


async def test_debug_is_of_our_own_log_alone(told: Told) -> None:
    levels = {line["level"] for line in told.log if "logger" not in line}
    assert "DEBUG" not in levels, "the SDK's DEBUG holds transcripts"
