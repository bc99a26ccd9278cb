"""`voxtral-serverless doctor`: whether this machine has what the worker needs, and what to do where not.

stdout has the findings. Exit status: 0 where jobs can be done (warnings included), 1 where a check found a problem.
"""

from __future__ import annotations

import json
import logging
from typing import Annotated

import typer

from voxtral_serverless.door import door


def doctor(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show details, and the log.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not ask the Hugging Face Hub.")] = False,
) -> None:
    """Look whether this machine has what the worker needs, and say what to do where not."""
    with door(logging.INFO if verbose else logging.WARNING):
        from voxtral_serverless.doctor import report
        from voxtral_serverless.doctor.doctor import examined
        from voxtral_serverless.doctor.findings import worst

        lines = examined(offline=offline)
        told = json.dumps(report.as_json(lines), ensure_ascii=False, indent=2) if as_json else None
        typer.echo(told or report.as_text(lines, verbose=verbose), nl=told is not None)
        raise typer.Exit(int(worst(lines) == "problem"))
