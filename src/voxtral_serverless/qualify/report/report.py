"""The report in its three forms, and on the disk.

Promises: all three say the same; a file is there as a whole or as it was before. Leaves out: measuring (`examination`).
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxtral_serverless.errors import OutputUnwritable
from voxtral_serverless.qualify.findings import Findings, find
from voxtral_serverless.qualify.findings_values import Readings, plain
from voxtral_serverless.qualify.report.blocks import Document
from voxtral_serverless.qualify.report.content import document
from voxtral_serverless.qualify.report.markdown import markdown
from voxtral_serverless.qualify.report.page import page
from voxtral_serverless.qualify.report.plots import plots
from voxtral_serverless.qualify.targets import Verdict, verdicts
from voxtral_serverless.qualify.units import Reading

FORMAT = 2


def write_report(
    folder: Path, readings: Readings, situation: Reading, *, python: str | None = None
) -> tuple[Verdict, ...]:
    """Write report.json, report.md and report.html into the folder, which is made; the verdicts in them.

    `python` is one that has matplotlib, for the plots, whose drawing takes seconds; without it there are none.

    Raises:
        OutputUnwritable: the folder does not take them.
    """
    drawn = plots(python, find(readings, situation), situation)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "report.json", as_json(readings, situation))
        _write(folder / "report.md", as_markdown(readings, situation))
        _write(folder / "report.html", as_html(readings, situation, drawn))
    except OSError as error:
        raise OutputUnwritable(f"the report cannot be written: {error.strerror or error}.") from error
    return verdicts(find(readings, situation), situation)


def as_json(readings: Readings, situation: Reading) -> str:
    """All of it, for machines: every reading, the figures made of them, the verdicts."""
    findings, found, _ = _told(readings, situation)
    content: dict[str, Any] = {
        "format": FORMAT,
        "situation": situation,
        "verdicts": plain(found),
        "findings": plain(findings),
        "readings": dict(sorted(readings.items())),
    }
    return json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def as_markdown(readings: Readings, situation: Reading) -> str:
    """For a terminal, and for GitHub."""
    return markdown(_told(readings, situation)[2])


def as_html(readings: Readings, situation: Reading, drawn: Mapping[str, str] | None = None) -> str:
    """One page, with the plots that are given."""
    return page(_told(readings, situation)[2], drawn or {})


def _told(readings: Readings, situation: Reading) -> tuple[Findings, tuple[Verdict, ...], Document]:
    findings = find(readings, situation)
    found = verdicts(findings, situation)
    return findings, found, document(findings, found, situation)


def _write(path: Path, content: str) -> None:
    """Beside it first, then in its place."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        # A name in a command line may be no text at all.
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
