"""The plots of a report, drawn by a child in a Python that has matplotlib. A report without them is one all the same."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from voxtral_serverless.child import MACHINE
from voxtral_serverless.qualify.findings import Findings
from voxtral_serverless.qualify.findings_speed import LONG_MIN
from voxtral_serverless.qualify.report.tables import PEAK_NAMES, card_mib
from voxtral_serverless.qualify.targets import DER
from voxtral_serverless.qualify.units import Reading

log = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("_plots.py")
WITHIN_S = 300.0
"""Longest time for all plots; the first use of matplotlib on a machine looks for its fonts."""


def plots(python: str | None, findings: Findings, situation: Reading) -> dict[str, str]:
    """The plots as SVG, by name; none without such a Python, or where it fails, which the log tells."""
    if python is None:
        return {}
    machine = {name: os.environ[name] for name in MACHINE if name in os.environ}
    with tempfile.TemporaryDirectory() as folder:
        try:
            drawn = subprocess.run(
                [python, "-I", str(SCRIPT)], input=json.dumps(plotted(findings, situation)), timeout=WITHIN_S,
                env={**machine, "MPLCONFIGDIR": folder}, cwd=folder, capture_output=True, check=True,
                encoding="utf-8",
            )  # fmt: skip
            return {str(name): str(svg) for name, svg in json.loads(drawn.stdout).items()}
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            log.warning("the report has no plots: %s", _complaint(error))
            return {}


def _complaint(error: Exception) -> str:
    said = (error.stderr or "") if isinstance(error, subprocess.CalledProcessError) else ""
    return said.strip().rpartition("\n")[2] or str(error)


def plotted(findings: Findings, situation: Reading) -> dict[str, Any]:
    """What is drawn, by the names of the plots; only those of which there is something."""
    found = {
        "speed": _speed(findings),
        "stages": _stages(findings),
        "accuracy": _accuracy(findings),
        "start": {start.name: start.phases_s for start in findings.starts if start.phases_s},
        "memory": _memory(findings, situation),
    }
    return {name: one for name, one in found.items() if one}


def _speed(findings: Findings) -> list[dict[str, Any]]:
    return [
        {"plan": one.plan, "minutes": one.minutes, "at_once": one.at_once, "factor": one.real_time_factor}
        for one in findings.speeds
        if one.real_time_factor
    ]


def _stages(findings: Findings) -> list[dict[str, Any]]:
    """A call of five minutes alone, by each plan."""
    return [
        {"plan": one.plan, "job_s": one.job_s, "stages_s": dict(one.stages_s)}
        for one in findings.speeds
        if (one.minutes, one.at_once) == (LONG_MIN, 1) and one.stages_s
    ]


def _accuracy(findings: Findings) -> dict[str, Any]:
    each = findings.given.each
    rates = {
        "WER": sorted(one.wer for one in each if one.wer is not None),
        "DER": sorted(one.der for one in each if one.der is not None),
    }
    drawn = {name: values for name, values in rates.items() if values}
    return {"rates": drawn, "targets": {"DER": DER}} if drawn else {}


def _memory(findings: Findings, situation: Reading) -> dict[str, Any]:
    card = card_mib(situation)
    peaks = {PEAK_NAMES[one.name].removesuffix(", GPU"): one.mib for one in findings.peaks if "gpu" in one.name}
    return {"peaks": peaks, "card": card} if peaks and card else {}
