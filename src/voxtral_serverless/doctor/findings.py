"""What a check finds, and what can be done about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Mark = Literal["ok", "warning", "problem", "skipped"]
"""`problem`: jobs will fail. `warning`: they can be done, worse, slower or later. `skipped`: not looked at, or not needed."""
SEVERITY: Sequence[Mark] = ("skipped", "ok", "warning", "problem")


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        remedy: What to do about it, where something should be done.
        details: For who wants to know more: paths, versions.
    """

    mark: Mark
    found: str
    remedy: str = ""
    details: tuple[str, ...] = ()

    def with_details(self, *details: str) -> Finding:
        """The same, told in more detail."""
        return replace(self, details=(*self.details, *details))


@dataclass(frozen=True)
class Line:
    """A finding, by the name of its check."""

    name: str
    finding: Finding


def ok(found: str) -> Finding:
    """All is well."""
    return Finding("ok", found)


def warning(found: str, remedy: str) -> Finding:
    """It will do, and could be better."""
    return Finding("warning", found, remedy)


def problem(found: str, remedy: str = "") -> Finding:
    """It will not do. An error of ours says itself what to do."""
    return Finding("problem", found, remedy)


def skipped(found: str) -> Finding:
    """It does not matter here."""
    return Finding("skipped", found)


def worst(lines: Sequence[Line]) -> Mark:
    """The worst mark of all."""
    return max((line.finding.mark for line in lines), key=SEVERITY.index, default="skipped")


def amount(count: float) -> str:
    """Bytes as they are told: in GB (10⁹ bytes), or in MB where they are few."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
