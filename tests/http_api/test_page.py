"""The page at `/`: what it may load, what it shows, and that the calls on it work as they stand there."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.http_api.near import FINAL
from tests.http_api.service import Service, clip, running_service
from tests.runpod_worker.harness import running_recordings
from tests.user_readme.test_api import engines

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "the-key"
ON_THE_PAGE = "http://localhost:8000"
RECORDING = "https://example.com/audio.wav"


class Page(HTMLParser):
    """What a browser would find on the page: tags with their attributes, and the texts in `pre`."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts, self.calls, self._in = "", list[str](), ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("pre", "script", "style"):
            self._in = tag
            self.calls += [""] * (tag == "pre")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._in:
            self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "pre":
            self.calls[-1] += data
        elif self._in:
            self.scripts += data


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service with a key and engines that know French."""
    folder = tmp_path_factory.mktemp("service")
    settings = {"ENGINE": "vllm", "API_KEY": KEY} | engines(folder / "engines")
    async with running_service(folder, settings) as running:
        yield running


async def page_of(service: Service) -> Page:
    """The page, as anybody gets it."""
    return Page((await service.client.get("/")).text)


async def test_nothing_on_it_is_inline_or_from_elsewhere(service: Service) -> None:
    response = await service.client.get("/")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    page = Page(response.text)
    assert page.scripts.strip() == ""
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        for address in (attributes.get("src"), attributes.get("href")):
            assert address is None or address.startswith("/")


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/web/page.css", "text/css"), ("/web/page.js", "text/javascript"), ("/web/icon.svg", "image/svg+xml")],
)
async def test_what_it_loads_is_there_for_anybody(service: Service, path: str, kind: str) -> None:
    assert path in {attributes.get("src") or attributes.get("href") for _, attributes in (await page_of(service)).tags}
    response = await service.client.get(path)
    assert (response.status_code, response.headers["Content-Type"].partition(";")[0]) == (200, kind)


async def test_what_the_script_looks_for_is_there(service: Service) -> None:
    page, script = await page_of(service), (await service.client.get("/web/page.js")).text
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert set(re.findall(r'getElementById\("(\w+)"\)', script)) <= ids
    classes = {attributes.get("class") for _, attributes in page.tags}
    assert set(re.findall(r'querySelectorAll\("\.(\w+)"\)', script)) <= classes


async def test_every_state_of_the_engine_has_its_words(service: Service) -> None:
    script = (await service.client.get("/web/page.js")).text
    styles = (await service.client.get("/web/page.css")).text
    assert set(re.findall(r"^  (\d+): \[", script, re.MULTILINE)) == {"200", "204", "503"}
    assert {"ready", "dead"} <= set(re.findall(r"#state\.(\w+)", styles))


async def test_the_links_lead_somewhere(service: Service) -> None:
    links = [attributes["href"] for tag, attributes in (await page_of(service)).tags if tag == "a"]
    assert links
    for link in links:
        response = await service.client.get(str(link), headers={"Authorization": f"Bearer {KEY}"})
        assert response.status_code == 200, link


async def test_a_job_by_url_and_its_state(service: Service, tmp_path: Path) -> None:
    async with running_recordings(tmp_path) as recordings:
        posting, asking = (await calls(service))[0].replace(RECORDING, f"{recordings.url}/clip/2").rsplit("\ncurl", 1)
        taken = await run(posting, service, tmp_path)
        async with asyncio.timeout(60):
            job = taken
            while job["status"] not in FINAL:
                job = await run(f"curl{asking}".replace("ID", taken["id"]), service, tmp_path)
    assert job["status"] == "COMPLETED", job
    assert {"transcriptions", "summary", "sentiment"} <= job["output"].keys()


async def test_a_file(service: Service, tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(await clip(tmp_path, 2))
    job = await run((await calls(service))[1], service, tmp_path)
    assert job["status"] == "COMPLETED", job
    assert {"transcriptions", "summary"} <= job["output"].keys()


async def test_a_transcription_as_with_openai(service: Service, tmp_path: Path) -> None:
    (tmp_path / "call.wav").write_bytes(await clip(tmp_path, 2))
    answer = await run((await calls(service))[2], service, tmp_path)
    assert answer["text"]
    assert answer["text"] == " ".join(segment["text"] for segment in answer["segments"])


async def calls(service: Service) -> list[str]:
    """The calls on the page, as a browser shows them, to this service."""
    shown = [html.unescape(call).replace(ON_THE_PAGE, service.url) for call in (await page_of(service)).calls]
    assert len(shown) == 3
    return shown


async def run(call: str, service: Service, folder: Path) -> dict[str, Any]:
    """What a shell makes of a call, in a folder."""
    process = await asyncio.create_subprocess_shell(
        f"set -e; {call}", cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "API_KEY": KEY},
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err
    return dict(json.loads(out))
