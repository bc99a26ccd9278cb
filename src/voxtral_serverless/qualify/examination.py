"""The story of an examination: the stages in their order, unit by unit, each measured once and written down.

Promises: what is measured is on the disk before the next unit begins, so that whoever interrupts it loses one unit; a unit
that fails is told as failed, and tried anew with the next start; nothing of the services is left when it ends, and then,
once anything was measured, there is a report, whatever ended it. Leaves
out: what is measured in a stage (its own module), and what the readings mean (`findings`, `targets`).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from voxtral_serverless import __version__
from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.errors import EngineUnavailable, VoxtralError
from voxtral_serverless.qualify import accuracy, analysis, robustness, speed, start
from voxtral_serverless.qualify.data_sets import SIMSAMU, load_data_set
from voxtral_serverless.qualify.labelled_calls import labelled_calls
from voxtral_serverless.qualify.ledger import Ledger, open_ledger
from voxtral_serverless.qualify.material import Material
from voxtral_serverless.qualify.measuring import Measuring, Telling
from voxtral_serverless.qualify.normaliser import STATEMENT
from voxtral_serverless.qualify.prices import price_of
from voxtral_serverless.qualify.references import DataSet
from voxtral_serverless.qualify.scores import Scorer, find_scoring_python, running_scorer
from voxtral_serverless.qualify.situation import Facts, Situation, find_models, look_around, on_used_gpus
from voxtral_serverless.qualify.stand import Stand
from voxtral_serverless.qualify.units import Reading, Unit
from voxtral_serverless.services import running_services
from voxtral_serverless.settings import Settings
from voxtral_serverless.torch_parts import find_python
from voxtral_serverless.workspace import sweep_leftovers, workspace

log = logging.getLogger(__name__)

StageName = Literal["start", "accuracy", "analysis", "speed", "robustness"]
STAGES: tuple[StageName, ...] = get_args(StageName)
ON_RECORDINGS: frozenset[StageName] = frozenset({"accuracy", "speed", "robustness"})


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


Conclude = Callable[[Examined], None]


async def examine(
    settings: Settings,
    options: Options,
    folder: Path,
    telling: Telling,
    conclude: Conclude,
    *,
    command: str,
    fresh: bool = False,
) -> None:
    """Measure what is not measured yet; `folder` keeps it. `conclude` is told what there is at the end, be it an early one.

    What is cheap comes first, so that whoever waits for gigabytes has no other mistake to hear of afterwards.

    Raises:
        VoxtralError: it cannot begin, or go on: a model, the data set or the engine is missing, or the folder is another's.
    """
    sweep_leftovers()
    python = await _scoring_python(settings, options)
    situation = await look_around(settings)
    data = await _data_set(settings, options, telling)
    with open_ledger(folder, fresh=fresh) as ledger:
        ledger.examines(situation.subject(data))
        telling.says("looking for the models; what is not on this machine is downloaded …")
        models = await find_models(settings)
        ledger.examines({"models": models})
        situation = await on_used_gpus(settings, situation)
        examiner = _Examiner(options, ledger, telling, python)
        try:
            await examiner.measure_all(settings, data)
        finally:
            if ledger.readings:
                facts = _described(situation, models, options, command) | _told(ledger)
                facts["unreached_stages"] = [stage for stage in options.stages if stage not in examiner.reached]
                conclude(Examined(facts, ledger.current(), python))


@dataclass(frozen=True)
class _Examiner:
    """Goes through the stages.

    Attributes:
        reached: Those of which it is known what is to be measured.
    """

    options: Options
    ledger: Ledger
    telling: Telling
    python: str | None
    reached: set[StageName] = field(default_factory=set)

    async def measure_all(self, settings: Settings, data: DataSet) -> None:
        """Every stage, each with what it needs."""
        if settings.vllm_base_url:
            self.reached.add("start")  # of which there is nothing to be measured
        elif "start" in self.options.stages:
            await self._measure_starts(settings)
        if set(self.options.stages) - {"start"}:
            self.telling.says("starting the engine …")
            async with _stand(settings, data) as stand:
                await self._measure_on(stand)

    async def _measure_starts(self, settings: Settings) -> None:
        with workspace() as caches:
            units = list(start.units(settings, caches))
            self._plan("start", units)
            measuring = Measuring(self.ledger, self.telling, units)
            for unit in units:
                await measuring.measure([unit])
                _give_up_without_engine(self.ledger.readings[unit.name])

    async def _measure_on(self, stand: Stand) -> None:
        """The stages that need the parts, ready. The process that counts errors ends with the stage that needs it."""
        if stand.data.calls:
            self.ledger.tell({"data": _data_facts(stand.data), "plans": list(stand.plans)})
        async with _scorer(self.python, self.options) as scorer:
            stages = _stages(stand, scorer, self.options)
            for stage, units in stages.items():
                self._plan(stage, units)
            measuring = Measuring(self.ledger, self.telling, [unit for units in stages.values() for unit in units])
            self.telling.says(measuring.outlook())
            await measuring.measure(stages.pop("accuracy", []))
        for units in stages.values():
            await measuring.measure(units)

    def _plan(self, stage: StageName, units: list[Unit]) -> None:
        self.ledger.plan(stage, units)
        self.reached.add(stage)


def _give_up_without_engine(reading: Reading) -> None:
    """An engine that did not start will not start the next time; waiting for it takes as long as it did.

    Raises:
        EngineUnavailable: it did not.
    """
    code, _, message = str(reading.get("failed", "")).partition(": ")
    if code == EngineUnavailable.code:
        raise EngineUnavailable(message)


async def _scoring_python(settings: Settings, options: Options) -> str | None:
    """The Python that counts errors: without one there is no accuracy; the plots are drawn by any that has matplotlib."""
    try:
        return await in_daemon_thread(partial(find_scoring_python, settings))
    except VoxtralError:
        if "accuracy" in options.stages:
            raise
        return find_python(settings.diarization_python)


async def _data_set(settings: Settings, options: Options, telling: Telling) -> DataSet:
    """The recordings, where a stage needs some."""
    if not ON_RECORDINGS & set(options.stages):
        return DataSet("none", None, options.language, ())
    if options.data == SIMSAMU:
        telling.says("looking for SimSAMU, which is downloaded where it is not on this machine …")
    return await in_daemon_thread(partial(load_data_set, options.data, settings, options.hours, options.language))


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


def _stages(stand: Stand, scorer: Scorer | None, options: Options) -> dict[StageName, list[Unit]]:
    """The units of each stage but the start; what ends the engine comes last."""
    stages: dict[StageName, list[Unit]] = {}
    if scorer is not None:
        stages["accuracy"] = list(accuracy.units(stand, scorer, options.sound_s))
    if "analysis" in options.stages:
        stages["analysis"] = analysis.units(stand.services, labelled_calls())
    if "speed" in options.stages:
        stages["speed"] = list(speed.units(stand, options.minutes, options.at_once))
    if "robustness" in options.stages:
        stages["robustness"] = list(robustness.units(stand, options.longest_minutes))
    return stages


def _described(situation: Situation, models: Facts, options: Options, command: str) -> Facts:
    """What a report tells of this start, besides what was measured."""
    price = price_of(() if situation.elsewhere else situation.gpus, options.gpu_price)
    return {
        "version": __version__,
        "command": command,
        "machine": situation.machine,
        "other_gpus": situation.other_gpus,
        "versions": situation.versions,
        "settings": situation.settings,
        "max_concurrency": situation.max_concurrency,
        "models": models,
        "engine": situation.engine,
        "engine_elsewhere": situation.elsewhere is not None,
        "options": {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()
        },
        "gpu_price": {"usd_per_hour": price.usd_per_hour, "source": price.source},
        "normaliser": STATEMENT,
        "skipped_stages": [stage for stage in STAGES if stage not in options.stages],
        "ended": _now(),
    }


def _told(ledger: Ledger) -> Facts:
    """What a report tells of all starts together."""
    plans = ledger.told.get("plans")
    return {
        "began": ledger.began,
        "data": ledger.told.get("data"),
        "plans": plans,
        "plan": plans[0] if isinstance(plans, list) and plans else "turns",
        "missing": list(ledger.missing()),
    }


def _data_facts(data: DataSet) -> Facts:
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
