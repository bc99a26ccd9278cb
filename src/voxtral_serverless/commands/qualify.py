"""`voxtral-serverless qualify`: what this machine, its models and this worker are worth, as a report.

stdout has the verdicts; the folder of the report has the rest. Exit status: 0 where no target is missed and nothing
failed, 1 where one is or something did.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from voxtral_serverless.door import door, run_to_its_end
from voxtral_serverless.errors import InvalidJob

if TYPE_CHECKING:
    from voxtral_serverless.qualify.examination import Examined, Options, StageName
    from voxtral_serverless.settings import Settings


def qualify(
    *,
    model: Annotated[str | None, typer.Option(help="The Voxtral to examine; default: VOXTRAL_MODEL.")] = None,
    data: Annotated[str, typer.Option(help="simsamu, or a folder of recordings with references.")] = "simsamu",
    hours: Annotated[float, typer.Option(help="So much of the data set, in hours; 0 for all of it.", min=0)] = 1.0,
    language: Annotated[str | None, typer.Option(help="Language spoken in it, where it does not say so.")] = None,
    report: Annotated[Path, typer.Option(help="Folder of the report, and of what is measured.")] = Path(
        "qualify-report"
    ),
    skip: Annotated[
        list[str] | None,
        typer.Option(metavar="<stage>", help="Leave out start, accuracy, analysis, speed or robustness; repeat it."),
    ] = None,
    minutes: Annotated[
        list[float] | None,
        typer.Option(
            metavar="<float>",
            min=0.1,
            help="Length in minutes of the calls whose time is taken; repeat it. 1, 5 and 60.",
        ),
    ] = None,
    at_once: Annotated[
        list[int] | None,
        typer.Option(metavar="<int>", help="So many calls at the same moment; repeat it. 1, 4 and 8.", min=1),
    ] = None,
    longest: Annotated[float, typer.Option(help="Length of the longest recording, in minutes.", min=0.1)] = 150.0,
    sounds: Annotated[float, typer.Option(help="Length of silence, noise and music, in seconds.", min=5)] = 60.0,
    gpu_price: Annotated[float | None, typer.Option(help="US dollars for an hour of this machine.", min=0)] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what the folder has, and begin again.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log.")] = False,
) -> None:
    """Measure this machine, its models and this worker, and write a report."""
    with door(logging.INFO if verbose else logging.WARNING):
        from voxtral_serverless.qualify.examination import Options
        from voxtral_serverless.settings import load_settings

        settings = load_settings(**({"voxtral_model": model} if model else {}))
        options = Options(
            data=data, hours=hours or None, language=_language(language),
            minutes=tuple(dict.fromkeys(minutes or Options.minutes)),
            at_once=tuple(dict.fromkeys(at_once or Options.at_once)),
            longest_minutes=longest, sound_s=sounds, gpu_price=gpu_price,
            stages=_stages(skip or []),
        )  # fmt: skip
        raise typer.Exit(_examine(settings, options, report, fresh=fresh))


def _stages(skipped: Sequence[str]) -> tuple[StageName, ...]:
    """The stages that are left."""
    from voxtral_serverless.qualify.examination import STAGES

    if unknown := [name for name in skipped if name not in STAGES]:
        raise InvalidJob(f"--skip {unknown[0]}: there is no such stage; the stages are {', '.join(STAGES)}.")
    return tuple(stage for stage in STAGES if stage not in skipped)


def _language(given: str | None) -> str | None:
    """The language as jobs name it."""
    from voxtral_serverless.contract import parse_options

    return parse_options({"language": given} if given else {}).language


def _examine(settings: Settings, options: Options, folder: Path, *, fresh: bool) -> int:
    """Measure, and report; the exit status."""
    from voxtral_serverless.qualify.examination import examine
    from voxtral_serverless.terminal import terminal_telling

    command = shlex.join(["voxtral-serverless", *sys.argv[1:]])
    found: list[Examined] = []
    try:
        with terminal_telling() as telling:
            run_to_its_end(examine(settings, options, folder, telling, found.append, command=command, fresh=fresh))
    finally:
        statuses = [_reported(examined, folder) for examined in found]
    return max(statuses, default=0)


def _reported(examined: Examined, folder: Path) -> int:
    """Write the report, print its verdicts; the exit status."""
    from voxtral_serverless.qualify.report.report import write_report
    from voxtral_serverless.qualify.units import is_whole

    verdicts = write_report(folder, examined.readings, examined.situation, python=examined.python)
    failed = sum(not is_whole(reading) for reading in examined.readings.values())
    for verdict in verdicts:
        remark = f" ({verdict.remark})" if verdict.remark else ""
        typer.echo(f"{verdict.outcome:<10}  {verdict.target}: {verdict.measured}{remark}")
    typer.echo(f"the report is in {str(folder)!r}{f'; {failed} of its units failed' if failed else ''}.", err=True)
    return int(bool(failed) or any(verdict.outcome == "missed" for verdict in verdicts))
