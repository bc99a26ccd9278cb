"""The contract, read from `contract.md`: its rows by name, its JSON, and which tests show what.

Promises nothing of the product itself: `test_rows` asks that every row is shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

TEXT = Path(__file__).with_name("contract.md").read_text("utf-8")
SHOWN: dict[str, list[str]] = {}
"""By row, the tests that show it."""
Test = TypeVar("Test", bound=Callable[..., object])


def shows(*rows: str) -> Callable[[Test], Test]:
    """Marks a test as one that shows these rows, named `Section: row`."""

    def marked(test: Test) -> Test:
        assert test.__name__.startswith("test_"), "only what pytest runs shows anything"
        for row in rows:
            SHOWN.setdefault(row, []).append(f"{test.__module__}.{test.__name__}")
        return test

    return marked


def rows() -> list[str]:
    """Every row of a table, by its first cell, and every line of a list, by its bold words."""
    found = []
    for section in TEXT.split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        found += [f"{title}: {name}" for name in re.findall(r"^(?:\| `|- \*\*)(.+?)(?:`|\*\*)", body, re.MULTILINE)]
    return found


def cells(section: str) -> dict[str, list[str]]:
    """The other cells of a section's table, by the first."""
    body = TEXT.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("| `")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {first.strip("`"): rest for first, *rest in split}


def _example(number: int) -> Any:
    return json.loads(re.findall(r"```json\n(.+?)```", TEXT, re.DOTALL)[number])


REQUEST: dict[str, Any] = _example(0)
ANSWER: dict[str, Any] = _example(1)
