"""What the readings of the stages `start` and `speed` say, and the peaks of memory of all of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from voxtral_serverless.qualify.findings_values import (
    Readings,
    Tally,
    Values,
    by_name,
    count,
    measured,
    median,
    number,
    numbers,
    of_stage,
    part,
    ratio,
    tally,
)

LONG_MIN = 5.0
"""Calls shorter than this say little about how much a worker can carry."""
AT_ONCE = 8
PEAKS = (
    "worker_rss_mib", "vllm_rss_mib", "torch_rss_mib", "worker_gpu_mib", "vllm_gpu_mib", "torch_gpu_mib", "gpu_used_mib",
    "disk_mib",
)  # fmt: skip
SPEED_UNIT = re.compile(r"speed/(?P<plan>[^/]+)/(?P<minutes>[\d.]+)min/(?P<at_once>\d+)")


@dataclass(frozen=True)
class Start:
    """A start, cold or warm, until jobs can be done. Its phases run side by side."""

    name: str
    ready_s: float | None
    phases_s: Mapping[str, float]
    peaks_mib: Mapping[str, float]


@dataclass(frozen=True)
class Speed:
    """How fast calls of one length are done, so many at once.

    Attributes:
        audio_s: Of all calls together; and `took_s`, the wall time for all of them.
        job_s, first_text_s: Medians over the calls.
        first_token_s: Mean over the requests, by the engine's own count.
        stages_s: Mean over the calls. Stages may run side by side.
        usd_per_audio_hour: None where the price of the machine is not known.
    """

    plan: str
    minutes: float
    at_once: int
    audio_s: float | None
    took_s: float | None
    jobs: int
    failed_jobs: int
    job_s: float | None
    first_text_s: float | None
    first_token_s: float | None
    stages_s: Mapping[str, float]
    requests: int
    usd_per_audio_hour: float | None
    peaks_mib: Mapping[str, float]

    @property
    def real_time_factor(self) -> float | None:
        """Wall time by audio time."""
        return ratio(self.took_s, self.audio_s)

    @property
    def times_real_time(self) -> float | None:
        """Audio time by wall time."""
        return ratio(self.audio_s, self.took_s)

    @property
    def requests_per_audio_hour(self) -> float | None:
        """Requests to the engine for an hour of audio."""
        return ratio(self.requests, ratio(self.audio_s, 3600))

    @property
    def stages(self) -> dict[str, float]:
        """Real-time factors of the stages."""
        each_s = ratio(self.audio_s, self.jobs)
        return {name: factor for name, took_s in self.stages_s.items() if (factor := ratio(took_s, each_s)) is not None}


@dataclass(frozen=True)
class Peak:
    """The most that was seen of something, in any reading."""

    name: str
    mib: float
    unit: str


@dataclass(frozen=True)
class Loaded:
    """The calls that tell what a worker can carry: `AT_ONCE` at once, of `LONG_MIN` minutes or more, by the usual plan.

    Attributes:
        slowest: Of all lengths; None where none was measured.
        lengths: How many there are.
        failed_jobs: Jobs that failed in those that did not fail as a whole.
    """

    slowest: Speed | None
    lengths: Tally
    failed_jobs: int


def starts(readings: Readings) -> tuple[Start, ...]:
    """Cold before warm."""
    found = measured(of_stage(readings, "start"))
    return tuple(
        Start(
            unit.partition("/")[2],
            number(one, "ready_s"),
            by_name(part(one, "phases_s")),
            by_name(part(one, "peaks")),
        )
        for unit, one in sorted(found.items())
    )


def speeds(readings: Readings, usd_per_hour: float | None) -> tuple[Speed, ...]:
    """By plan, length and number at once."""
    return tuple(sorted(_speeds(readings, usd_per_hour), key=lambda one: (one.plan, one.minutes, one.at_once)))


def _speeds(readings: Readings, usd_per_hour: float | None) -> Iterator[Speed]:
    for unit, one in measured(of_stage(readings, "speed")).items():
        if name := SPEED_UNIT.fullmatch(unit):
            yield _speed(name["plan"], float(name["minutes"]), int(name["at_once"]), one, usd_per_hour)


def _speed(plan: str, minutes: float, at_once: int, one: Values, usd_per_hour: float | None) -> Speed:
    jobs_s, audio_s, took_s = numbers(one, "jobs_s"), number(one, "audio_s"), number(one, "took_s")
    price = None if usd_per_hour is None or took_s is None else usd_per_hour * took_s
    return Speed(
        plan, minutes, at_once, audio_s, took_s, len(jobs_s), count(one, "failed_jobs"),
        job_s=median(jobs_s), first_text_s=median(numbers(one, "first_text_s")),
        first_token_s=number(one, "first_token_s"), stages_s=by_name(part(one, "stages_s")),
        requests=count(one, "requests"),
        usd_per_audio_hour=ratio(price, audio_s),
        peaks_mib=by_name(part(one, "peaks")),
    )  # fmt: skip


def alone(rows: tuple[Speed, ...], plan: str) -> Speed | None:
    """A call of five minutes, by itself."""
    return next((one for one in rows if (one.plan, one.minutes, one.at_once) == (plan, LONG_MIN, 1)), None)


def loaded(readings: Readings, rows: tuple[Speed, ...], plan: str, missing: Collection[str]) -> Loaded:
    """What a worker can carry; some units may be missing."""
    found = {unit: reading for unit, reading in readings.items() if _loads(unit, plan)}
    told = [one for one in rows if (one.plan, one.at_once) == (plan, AT_ONCE) and one.minutes >= LONG_MIN]
    timed = [(speed, one) for one in told if (speed := one.times_real_time) is not None]
    slowest = min(timed, key=lambda pair: pair[0])[1] if timed else None
    lengths = tally(found, [unit for unit in missing if _loads(unit, plan)])
    return Loaded(slowest, lengths, sum(one.failed_jobs for one in told))


def _loads(unit: str, plan: str) -> bool:
    name = SPEED_UNIT.fullmatch(unit)
    return name is not None and (
        name["plan"] == plan and int(name["at_once"]) == AT_ONCE and float(name["minutes"]) >= LONG_MIN
    )


def peaks(readings: Readings) -> tuple[Peak, ...]:
    """The highest of each, and in which reading."""
    seen = [(unit, by_name(part(one, "peaks"))) for unit, one in sorted(readings.items())]
    found = []
    for name in PEAKS:
        values = [Peak(name, each[name], unit) for unit, each in seen if name in each]
        found += [max(values, key=lambda peak: peak.mib)] if values else []
    return tuple(found)
