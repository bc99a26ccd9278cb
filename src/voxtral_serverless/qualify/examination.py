"""The story of an examination: the stages in their order, unit by unit, each measured once and written down.

Promises: what is measured is on the disk before the next unit begins, so that whoever interrupts it loses one unit; a unit
that fails is told as failed, and tried anew with the next start; nothing of the services is left when it ends. Leaves
out: what is measured in a stage (its own module), and what the readings mean (`findings`, `targets`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, get_args

from voxtral_serverless import __version__
from voxtral_serverless.concurrency import in_daemon_thread, together
from voxtral_serverless.contract import JobResult
from voxtral_serverless.engine.machine import seen_gpus
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.errors import VoxtralError, public_error
from voxtral_serverless.progress import Events
from voxtral_serverless.qualify import accuracy, analysis, robustness, speed, start
from voxtral_serverless.qualify.data_sets import load_data_set
from voxtral_serverless.qualify.jobs import run_job
from voxtral_serverless.qualify.labelled_calls import labelled_calls
from voxtral_serverless.qualify.ledger import Ledger, open_ledger
from voxtral_serverless.qualify.material import Material
from voxtral_serverless.qualify.normaliser import STATEMENT
from voxtral_serverless.qualify.prices import price_of
from voxtral_serverless.qualify.references import DataSet
from voxtral_serverless.qualify.scores import Scorer, find_scoring_python, running_scorer
from voxtral_serverless.qualify.situation import Facts, Situation, look_around
from voxtral_serverless.qualify.stand import Stand
from voxtral_serverless.qualify.units import Reading, Unit
from voxtral_serverless.qualify.watch import watching
from voxtral_serverless.services import running_services
from voxtral_serverless.settings import Settings
from voxtral_serverless.workspace import sweep_leftovers, workspace

log = logging.getLogger(__name__)

StageName = Literal["start", "accuracy", "analysis", "speed", "robustness"]
STAGES: tuple[StageName, ...] = get_args(StageName)
ON_RECORDINGS: frozenset[StageName] = frozenset({"accuracy", "speed", "robustness"})
KILLED_S = 120.0
"""Length of the call in whose middle the engine is killed."""


@dataclass(frozen=True)
class Options:
    """What is to be measured.

    Attributes:
        data: `simsamu`, or a folder of recordings with references.
        hours: So much of the data set; None for all of it.
        language: Spoken in it; None where the data set says so, or nobody does.
        minutes: Lengths of the calls whose time is taken.
        at_once: How many of them at the same moment.
        longest_minutes: Length of the longest recording.
        sound_s: Length of each sound without speech.
        gpu_price: US dollars for an hour of the machine; None where the list is to tell.
        stages: Those that are not skipped.
    """

    data: str = "simsamu"
    hours: float | None = 1.0
    language: str | None = None
    minutes: tuple[float, ...] = (1.0, 5.0, 60.0)
    at_once: tuple[int, ...] = (1, 4, 8)
    longest_minutes: float = 150.0
    sound_s: float = 60.0
    gpu_price: float | None = None
    stages: tuple[StageName, ...] = STAGES


class Telling(Protocol):
    """Who hears how far an examination is."""

    def begun(self, unit: str, number: int, total: int) -> None:
        """A unit begins, so manieth of those of its stages that there are."""

    def ended(self, unit: str, reading: Reading) -> None:
        """It was measured, or has failed."""


@dataclass(frozen=True)
class Examined:
    """What an examination has found so far.

    Attributes:
        situation: On what it was, of what, and how.
        readings: By the names of their units.
        python: The one that counts errors and draws; None where there is none.
    """

    situation: Facts
    readings: Mapping[str, Reading]
    python: str | None


async def examine(
    settings: Settings, options: Options, folder: Path, telling: Telling, *, command: str, fresh: bool = False
) -> Examined:
    """Measure what is not measured yet; `folder` keeps it.

    Raises:
        VoxtralError: it cannot begin: a model, the data set or the engine is missing, or the folder is another's.
    """
    sweep_leftovers()
    python = await _scoring_python(settings, options)
    situation = await look_around(settings)
    data = await _data_set(settings, options)
    with open_ledger(folder, situation.subject(data), fresh=fresh) as ledger:
        if "start" in options.stages and not settings.vllm_base_url:
            await _measure(ledger, list(start.units(settings, folder)), telling)
            start.forget_caches(folder)
        plan = "turns"
        if set(options.stages) - {"start"}:
            async with _stand(settings, data) as stand, _scorer(python, options) as scorer:
                plan = stand.plans[0]
                await _measure(ledger, list(_units(stand, scorer, options)), telling)
        facts = _described(situation, data, options, command) | {"began": ledger.began, "ended": _now(), "plan": plan}
        return Examined(facts, dict(ledger.readings), python)


async def _scoring_python(settings: Settings, options: Options) -> str | None:
    """The Python that counts errors: without one there is no accuracy; the plots alone can be done without."""
    try:
        return await in_daemon_thread(partial(find_scoring_python, settings))
    except VoxtralError:
        if "accuracy" in options.stages:
            raise
        return None


async def _data_set(settings: Settings, options: Options) -> DataSet:
    """The recordings, where a stage needs some."""
    if not ON_RECORDINGS & set(options.stages):
        return DataSet("none", None, options.language, ())
    return await in_daemon_thread(partial(load_data_set, options.data, settings, options.hours, options.language))


async def _measure(ledger: Ledger, units: list[Unit], telling: Telling) -> None:
    """Measure the units that are not in the ledger, one after the other."""
    for number, unit in enumerate(units, start=1):
        if not ledger.lacks(unit.name):
            continue
        telling.begun(unit.name, number, len(units))
        async with together() as tasks:  # a context of its own
            measured = tasks.create_task(_reading(unit))
        ledger.add(unit.name, measured.result())
        telling.ended(unit.name, measured.result())


async def _reading(unit: Unit) -> Reading:
    try:
        return await unit.measure()
    except VoxtralError as error:
        return {"failed": str(error)}
    except Exception as error:
        log.exception("%s failed unexpectedly", unit.name)
        return {"failed": str(public_error(error))}


@asynccontextmanager
async def _stand(settings: Settings, data: DataSet) -> AsyncIterator[Stand]:
    """The parts, ready, with the material."""
    with workspace() as folder:
        async with running_services(settings, may_fall_back=False) as services:
            await services.ready()
            yield Stand(services, data, Material(data.calls, folder))


@asynccontextmanager
async def _scorer(python: str | None, options: Options) -> AsyncIterator[Scorer | None]:
    if python is None or "accuracy" not in options.stages:
        yield None
        return
    async with running_scorer(python) as scorer:
        yield scorer


def _units(stand: Stand, scorer: Scorer | None, options: Options) -> Iterator[Unit]:
    """All units but those of the start; what ends the engine comes last."""
    if scorer is not None:
        yield from accuracy.units(stand, scorer, options.sound_s)
    if "analysis" in options.stages:
        yield from analysis.units(stand.services, labelled_calls())
    if "speed" in options.stages:
        yield from speed.units(stand, options.minutes, options.at_once)
    if "robustness" in options.stages:
        yield from _robustness(stand, options)


def _robustness(stand: Stand, options: Options) -> Iterator[Unit]:
    yield robustness.hostile_unit()
    yield robustness.bad_token_unit()
    yield Unit("robustness/longest", partial(_longest, stand, options.longest_minutes))
    if isinstance(stand.services.server, VllmServer):
        job = partial(_written, stand, KILLED_S, "robustness/killed_engine")
        yield robustness.killed_engine_unit(job, stand.services.server)


async def _longest(stand: Stand, minutes: float) -> Reading:
    async with watching() as watch:
        job = partial(_written, stand, minutes * 60, "robustness/longest")
        return await robustness.longest_unit(job, minutes, watch.peaks).measure()


async def _written(stand: Stand, seconds: float, name: str, events: Events) -> JobResult:
    """A job over so many seconds of the material."""
    with workspace() as folder:
        file = folder / "call.wav"
        await stand.material.write(file, seconds, name)
        fields = {"language": stand.data.language, "summary": True, "sentiment": True}
        return await run_job(stand.services, file, fields, events)


def _described(situation: Situation, data: DataSet, options: Options, command: str) -> Facts:
    """All that a report tells of an examination, besides what was measured."""
    price = price_of(seen_gpus(), options.gpu_price)
    return {
        "version": __version__,
        "command": command,
        "machine": situation.machine,
        "versions": situation.versions,
        "models": situation.models,
        "engine": situation.engine,
        "data": _data_facts(data),
        "options": {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()
        },
        "gpu_price": {"usd_per_hour": price.usd_per_hour, "source": price.source},
        "normaliser": STATEMENT,
        "skipped_stages": [stage for stage in STAGES if stage not in options.stages],
    }


def _data_facts(data: DataSet) -> Facts | None:
    if not data.calls:
        return None
    spoken_s = sum(call.last_s for call in data.calls)
    return {
        "name": data.name,
        "revision": data.revision,
        "calls": len(data.calls),
        "hours": round(spoken_s / 3600, 3),
        "language": data.language,
        "skipped": list(data.skipped),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
