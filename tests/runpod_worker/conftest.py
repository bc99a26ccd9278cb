"""The slow lives of workers begin with the first test of the folder, and are looked at when their turn comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.runpod_worker import scenarios
from tests.runpod_worker.scenarios import Fate

Scenario = Callable[[Path], Coroutine[Any, Any, Fate]]
Fates = Callable[[Scenario], Fate]
"""What became of a worker in a scenario."""

SCENARIOS: tuple[Scenario, ...] = (
    scenarios.with_a_bad_token,
    scenarios.with_an_engine_that_dies,
    scenarios.with_a_failing_queue,
    scenarios.with_a_hasty_queue,
)


@pytest.fixture(scope="session")
def fates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fates]:
    """Each scenario goes on in a thread of its own."""
    with ThreadPoolExecutor(len(SCENARIOS)) as threads:
        begun = {
            scenario: threads.submit(asyncio.run, scenario(tmp_path_factory.mktemp("scenario")))
            for scenario in SCENARIOS
        }
        yield lambda scenario: begun[scenario].result(timeout=110)


@pytest.fixture(scope="session", autouse=True)
def beginning(request: pytest.FixtureRequest) -> None:
    """Where they are going to be asked for, they begin at once."""
    if any("fates" in item.fixturenames for item in request.session.items if isinstance(item, pytest.Function)):
        request.getfixturevalue("fates")
