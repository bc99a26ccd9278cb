"""How fast: whole jobs, several at once, by every plan, and what they take of the machine meanwhile.

Every job is the one that the README shows: speakers, texts, a summary, the sentiment. Calls of one length start at the
same moment; a short one alone is done three times, one after the other. A job that lost a text, the summary or the
sentiment was done sooner than it should have been: it counts as failed. Leaves out: fetching, since the recordings are on
the disk, and what the figures mean (`findings`).
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from voxtral_serverless.contract import JobResult
from voxtral_serverless.errors import StageFailed, VoxtralError
from voxtral_serverless.qualify.jobs import CountedTranscriber, Done, codes_of, timed_job
from voxtral_serverless.qualify.stand import Plan, Stand
from voxtral_serverless.qualify.units import Reading, Unit
from voxtral_serverless.qualify.watch import watching
from voxtral_serverless.services import Services
from voxtral_serverless.workspace import workspace

REPEATS, REPEATED_MINUTES = 3, 5.0
"""So often a call alone of up to so many minutes is done."""


def units(stand: Stand, minutes: Sequence[float], at_once: Sequence[int]) -> Iterator[Unit]:
    """A unit for each plan, length in minutes, and number of calls at once."""
    for plan in stand.plans:
        for length in minutes:
            for calls in at_once:
                name = f"speed/{plan}/{length:g}min/{calls}"
                audio_s = 60 * length * calls * _repeats(length, calls)
                yield Unit(name, partial(_measured, stand, name, plan, length, calls), stand.recordings, audio_s)


def _repeats(minutes: float, calls: int) -> int:
    return REPEATS if calls == 1 and minutes <= REPEATED_MINUTES else 1


async def _measured(stand: Stand, name: str, plan: Plan, minutes: float, calls: int) -> Reading:
    counted = CountedTranscriber(stand.services.transcriber)
    services = replace(stand.by(plan), transcriber=counted)
    repeats = _repeats(minutes, calls)
    with workspace() as folder:
        files = [folder / f"call{number}.wav" for number in range(calls * repeats)]
        for file in files:
            await stand.material.write(file, minutes * 60, f"{name}/{file.stem}")
        before = await _first_tokens(services)
        async with watching() as watch:
            began = time.monotonic()
            tried = [outcome for number in range(repeats) for outcome in await _side_by_side(
                services, files[number * calls : (number + 1) * calls], stand.data.language
            )]  # fmt: skip
            took_s = time.monotonic() - began
        after = await _first_tokens(services)
    done = _whole_ones(tried)
    return {
        "audio_s": round(sum(one.result.duration for one in done), 3),
        "took_s": round(took_s, 3),
        "jobs_s": [round(one.took_s, 3) for one in done],
        "first_text_s": [round(one.first_text_s, 3) for one in done if one.first_text_s is not None],
        "first_token_s": _mean_between(before, after),
        "stages_s": _stages(done),
        "requests": counted.requests,
        "failed_jobs": len(tried) - len(done),
        "warnings": list(dict.fromkeys(code for one in done for code in codes_of(one.result))),
        "peaks": watch.peaks(),
    }


def _whole_ones(tried: Sequence[Done | VoxtralError]) -> list[Done]:
    """The jobs that were done as they should be.

    Raises:
        VoxtralError: there is none.
    """
    done = [one for one in tried if isinstance(one, Done) and _is_whole(one.result)]
    if not done:
        lost = {code: None for one in tried if isinstance(one, Done) for code in codes_of(one.result)}
        failures = [one for one in tried if isinstance(one, VoxtralError)]
        raise (
            failures[0]
            if failures
            else StageFailed(f"no job was answered as a whole ({', '.join(lost) or 'no text'}).")
        )
    return done


def _is_whole(result: JobResult) -> bool:
    texts = all(entry.text is not None for entry in result.transcriptions)
    return texts and result.summary is not None and result.sentiment is not None


async def _side_by_side(services: Services, files: Sequence[Path], language: str | None) -> list[Done | VoxtralError]:
    """A job for each file, all begun at once, and what became of each."""
    fields = {"language": language, "summary": True, "sentiment": True}

    async def outcome(file: Path) -> Done | VoxtralError:
        try:
            return await timed_job(services, file, fields)
        except VoxtralError as error:
            return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(outcome(file)) for file in files]
    return [task.result() for task in tasks]


async def _first_tokens(services: Services) -> tuple[float | None, float | None]:
    return await services.server.client.first_tokens() if services.server else (None, None)


def _mean_between(before: tuple[float | None, float | None], after: tuple[float | None, float | None]) -> float | None:
    """Mean seconds until the first token of the requests between two looks at the engine's counters."""
    (seconds, requests), (seconds_before, requests_before) = after, before
    if seconds is None or requests is None:
        return None
    count = requests - (requests_before or 0)
    return round((seconds - (seconds_before or 0)) / count, 4) if count > 0 else None


def _stages(done: Sequence[Done]) -> Reading:
    """Mean seconds of each stage, over the jobs that had it."""
    timings = [one.result.meta.timings for one in done]
    stages = dict.fromkeys(stage for each in timings for stage in each)
    return {stage: round(statistics.mean(each[stage] for each in timings if stage in each), 3) for stage in stages}
