"""The findings for people, one line each, and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voxtral_serverless import __version__
from voxtral_serverless.doctor.findings import Line, worst


def as_text(lines: Sequence[Line], *, verbose: bool = False) -> str:
    """One line for each: mark, check, what was found, and what to do; `verbose` adds the details below."""
    width = max(len(line.name) for line in lines)
    told = []
    for line in lines:
        finding = line.finding
        told.append(
            f"{finding.mark:<7}  {line.name:<{width}}  {' '.join(filter(None, (finding.found, finding.remedy)))}"
        )
        told += [f"{'':{width + 11}}{detail}" for detail in finding.details] if verbose else []
    return "\n".join([*(" ".join(one.splitlines()) if "\n" in one else one for one in told), _summary(lines), ""])


def _summary(lines: Sequence[Line]) -> str:
    counts = {mark: sum(line.finding.mark == mark for line in lines) for mark in ("problem", "warning")}
    told = [f"{count} {mark}{'' if count == 1 else 's'}" for mark, count in counts.items() if count]
    return f"{', '.join(told)}." if told else "all is well."


def as_json(lines: Sequence[Line]) -> dict[str, Any]:
    """The same as plain values."""
    checks = [
        {
            "check": line.name,
            "mark": line.finding.mark,
            "found": line.finding.found,
            "remedy": line.finding.remedy or None,
            "details": list(line.finding.details),
        }
        for line in lines
    ]
    return {"version": __version__, "worst": worst(lines), "ok": worst(lines) != "problem", "checks": checks}
