import asyncio
import hashlib
import logging
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

from tests.fakes.hub import Hosted, Hub, cache, own_home, running_hub, write
from voxtral_serverless.errors import ModelUnavailable
from voxtral_serverless.hub import download
from voxtral_serverless.hub.repository import Family, Repository

FAMILY = Family("models", "MODEL", "REVISION", ways="MODEL may name a folder", refused_ways="Or do without.")
ONE, TWO = "someone/one", "someone/two"
LARGE, SMALL = bytes(20_000), b"{}"


def needs_large(names: Collection[str], model: str) -> None:
    if "large.bin" not in names:
        raise ModelUnavailable(f"{model!r} has no large.bin.")


def wanted(name: str) -> Repository:
    return Repository(
        name, "main", chosen=False, token=None, family=FAMILY, files=("*.bin", "small"), check=needs_large
    )


@pytest.fixture(autouse=True)
def own_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_home(monkeypatch, tmp_path):
        yield


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    models = {name: Hosted({"large.bin": LARGE, "small": SMALL, "README.md": b"#"}) for name in (ONE, TWO)}
    async with running_hub(Hub(models)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The Hugging Face cache."""
    return tmp_path / "home" / "hub"


async def downloaded(*names: str) -> list[Path]:
    return await asyncio.to_thread(download.download, [wanted(name) for name in names])


async def fetched() -> Path:
    """The folder of one repository, which is whole."""
    (folder,) = await downloaded(ONE)
    assert (folder / "large.bin").read_bytes() == LARGE
    assert {file.name for file in folder.iterdir()} == {"large.bin", "small"}
    return folder


async def refused(*names: str) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        await downloaded(*names or (ONE,))
    return caught.value.message


def blobs(home: Path) -> Path:
    return home / f"models--{ONE.replace('/', '--')}" / "blobs"


async def test_only_what_is_wanted_comes_the_small_files_first(hub: Hub) -> None:
    await fetched()
    assert hub.downloaded() == [f"{ONE}/small", f"{ONE}/large.bin"]


async def test_nothing_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert await downloaded() == []


async def test_several_repositories(hub: Hub) -> None:
    one, two = await downloaded(ONE, TWO)
    assert "one" in str(one)
    assert (two / "large.bin").read_bytes() == LARGE


async def test_nothing_comes_before_all_let_us_in(hub: Hub) -> None:
    hub.models[TWO].gated = True
    message = await refused(ONE, TWO, "some/where")
    assert message == (
        f"'{TWO}' is gated: accept its conditions on https://huggingface.co/{TWO} with an account, and set its token as "
        "HF_TOKEN. 'some/where' asks for a token, or is not there; set HF_TOKEN, and see MODEL. Or do without."
    )
    assert hub.downloaded() == []


async def test_gates_are_told_together(hub: Hub) -> None:
    hub.models[ONE].gated = hub.models[TWO].gated = True
    assert f"'{ONE}' and '{TWO}' are gated: accept their conditions on" in await refused(ONE, TWO)


async def test_failure_of_the_hub_itself_is_told_at_once(hub: Hub) -> None:
    hub.status = 502
    assert await refused(ONE, TWO) == (
        f"the Hugging Face Hub answered 502 for '{ONE}'; a retry may help. MODEL may name a folder."
    )


# How it goes.


async def test_progress_is_told_every_tenth(
    hub: Hub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.models[ONE].files = {"large.bin": bytes(3_000_000)}
    with caplog.at_level(logging.INFO, "voxtral_serverless.hub.download"):
        await downloaded(ONE)
    told = [record.getMessage() for record in caplog.records if " of 3.0 MB" in record.getMessage()]
    assert 10 <= len(told) <= 12
    assert told[-1] == "models: 3.0 of 3.0 MB"


def test_progress_over_xet(caplog: pytest.LogCaptureFixture) -> None:
    """Xet itself needs its own servers; what the library does with our bar while it runs does not."""
    from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter

    bar = download._bar(download._Progress("models", 10**10))
    with (
        caplog.at_level(logging.INFO, "voxtral_serverless.hub.download"),
        XetDownloadProgressReporter(reconstruction_desc="", total=10**10, log_level=30, tqdm_class=bar) as reporter,
    ):
        for done in (3 * 10**9, 10**10):
            reporter.update_progress(
                SimpleNamespace(
                    total_bytes=10**10,
                    total_bytes_completed=done,
                    total_transfer_bytes_completed=done // 2,
                    total_bytes_completion_rate=1e8,
                    total_transfer_bytes_completion_rate=None,
                )
            )
    assert caplog.messages == ["models: 3.0 of 10.0 GB", "models: 10.0 of 10.0 GB"]


async def test_broken_download_goes_on_where_it_broke(hub: Hub) -> None:
    chunk = 10 * 2**20  # the library keeps whole ones of these
    hub.models[ONE].files = {"large.bin": bytes(chunk + 100_000)}
    hub.cuts = [chunk + 1000]
    await downloaded(ONE)
    ranges = [headers.get("Range") for method, path, headers in hub.requests if path.startswith("/cdn/")]
    assert ranges == [None, f"bytes={chunk}-"]


async def test_download_that_breaks_for_good(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub.cuts, hub.cdn_status = [1000], 503
    message = await refused()
    assert "503" in message
    assert "retry may help" in message
    assert "Signature" not in caplog.text + message
    hub.cdn_status = None
    await fetched()


async def test_partial_download_of_a_living_worker_is_left_alone(hub: Hub, home: Path) -> None:
    partial = write(blobs(home), {"etag.01234567.incomplete": b"x"}) / "etag.01234567.incomplete"
    await fetched()
    assert partial.exists()


async def test_truncated_file_in_the_cache_is_fetched_again(hub: Hub) -> None:
    folder = await fetched()
    os.truncate(folder / "large.bin", 1000)
    hub.requests.clear()
    assert await fetched() == folder
    assert hub.downloaded() == [f"{ONE}/large.bin"]


async def test_truncated_copy_without_links_is_fetched_again(hub: Hub, home: Path) -> None:
    folder = cache(home, {"large.bin": LARGE[:-1], "small": SMALL}, name=ONE)
    assert await fetched() == folder
    assert hub.downloaded() == [f"{ONE}/large.bin"]


# What stops it.


async def test_hub_that_does_not_answer(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "METADATA_TIMEOUT_S", 0.2)
    hub.silent = True
    assert await refused(ONE, TWO) == f"'{ONE}': the Hugging Face Hub cannot be reached. MODEL may name a folder."


async def test_something_else_than_a_hub_answers(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A captive portal, for one."""
    monkeypatch.setattr(hub, "_refusal", lambda request: web.Response(text="log in"))
    assert "cannot be reached" in await refused()


async def test_too_little_room(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.models[ONE].files = {"large.bin": bytes(400_000)}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=300_000))
    message = await refused()
    assert "needs 0.4 MB more" in message
    assert "0.3 MB free" in message
    assert "HF_HOME" in message
    assert hub.downloaded() == []


async def test_disk_that_fills_up_on_the_way(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The library makes the name of its partial file from this.
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=0))
    partial = write(blobs(home), {}) / f"{hashlib.sha256(LARGE).hexdigest()}.00000000.incomplete"
    partial.symlink_to("/dev/full")
    assert "enlarge that disk" in await refused()


async def test_cache_that_cannot_be_written(hub: Hub, home: Path) -> None:
    home.parent.touch()
    assert "cannot be written" in await refused()


async def test_a_data_set_has_a_place_of_its_own(hub: Hub, home: Path) -> None:
    hub.models[f"datasets/{ONE}"] = Hosted({"large.bin": LARGE, "small": b"[]"})
    asked = replace(wanted(ONE), kind="dataset")
    (folder,) = await asyncio.to_thread(download.download, [asked])
    assert folder.parent.parent == home / f"datasets--{ONE.replace('/', '--')}"
    assert (folder / "small").read_bytes() == b"[]"
    assert (await fetched() / "small").read_bytes() == SMALL, "the model of that name is another"
    hub.models[f"datasets/{TWO}"] = Hosted({"large.bin": LARGE}, gated=True)
    with pytest.raises(ModelUnavailable, match=f"https://huggingface.co/datasets/{TWO} "):
        await asyncio.to_thread(download.download, [replace(asked, name=TWO)])
