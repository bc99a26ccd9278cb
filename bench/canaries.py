"""Line 9 of the scoreboard: what a job brings, and what is said in it, in the output of a worker of the RunPod queue."""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.fakes.runpod_queue import running_queue
from tests.runpod_worker.harness import running_worker
from tests.runpod_worker.test_privacy import life

Figures = dict[str, Any]
HANDLER = """
import runpod
runpod.serverless.start({"handler": lambda job: {"text": job["input"]["said"]}})
"""
PUBLISHED = {"runpod 1.12.0 as it comes, of one job": 2}


async def canaries() -> Figures:
    """Line 9."""
    with tempfile.TemporaryDirectory() as name:
        told = await life(Path(name) / "ours", "0")
        words = {word for turn in told.jobs["by_url"].output["transcriptions"] for word in turn["text"].split()}
        spoken = sum(told.output.count(word) for word in words if len(word) > 4)
        theirs = await _sdk_alone(Path(name) / "theirs")
    failed = sum(job.status == "FAILED" for job in told.jobs.values())
    return {
        "what": "canaries in the output of a worker: URLs, headers, keys, tokens, metadata, words that were said",
        "target": 0,
        "measured": {
            "ours": {
                "jobs": len(told.jobs) + 1, "failed": failed, "canaries": told.output.count(told.marker),
                "spoken_words": spoken, "output_bytes": len(told.output),
            },
            "the runpod SDK with a handler of one line, of one job": theirs,
        },
        "published": PUBLISHED,
    }  # fmt: skip


async def _sdk_alone(folder: Path) -> int:
    """How often its output has what one job's handler answers."""
    folder.mkdir()
    marker = f"canary{secrets.token_hex(8)}"
    command = (sys.executable, "-c", HANDLER)
    async with running_queue() as queue, running_worker(queue, folder, command=command) as worker:
        await queue.finished(queue.put({"said": marker}))
        await asyncio.sleep(1.0)  # what is left to be said of it
        return worker.output.count(marker)
