"""The OpenAPI document holds: schemathesis finds no fault of the service, and no answer that the document does not have.

One of its checks is left out: that what fits the document is taken. A document cannot say what is a recording, or
that `min_speakers` is not above `max_speakers`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.http_api.service import running_service

KEY = "the-key"
SETTINGS = {"API_KEY": KEY, "FETCH_HOSTS": "nobody.invalid", "FETCH_ALLOW_PRIVATE": "false"}
"""Nobody is called: neither for a recording, nor by a webhook."""
OPTIONS = (
    "--exclude-checks=positive_data_acceptance", f"--header=Authorization: Bearer {KEY}", "--max-examples=10", "--seed=1",
    "--generation-database=none", "--request-timeout=60", "--continue-on-failure", "--no-color",
)  # fmt: skip
LIMIT_S = 100


async def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    async with running_service(tmp_path, SETTINGS, headers={"Authorization": f"Bearer {KEY}"}) as service:
        document = (await service.client.get("/openapi.json")).json()
        report = await asyncio.to_thread(schemathesis, service.url, tmp_path)
    assert report.returncode == 0, report.stdout
    operations = sum(len(path) for path in document["paths"].values())
    assert f"Tested: {operations}\n" in report.stdout


def schemathesis(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What it says of the service."""
    command = (sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", *OPTIONS)
    return subprocess.run(
        command, cwd=folder, timeout=LIMIT_S, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
