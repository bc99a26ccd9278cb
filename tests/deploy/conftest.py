from collections.abc import Iterator

import pytest

from tests.fakes.runpod_api import RunPodApi, running_runpod_api


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPodApi]:
    """An empty account, where the SDK looks for RunPod."""
    with running_runpod_api() as api:
        monkeypatch.setenv("RUNPOD_API_BASE_URL", api.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield api
