"""The GPU sections of the READMEs say what committed reports say, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.media import ROOT
from tests.qualify.sample import readings, situation
from voxtral_serverless.qualify.report.report import as_json

SCRIPT = "scripts/gpu_figures.py"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What the script reads and writes, without any report."""
    for name in (SCRIPT, "README.md", "README.fr.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, clone / SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def commit(clone: Path, name: str, **facts: Any) -> None:
    folder = clone / "bench" / "reports" / name
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(as_json(readings(), situation(**facts)))


def sections(clone: Path) -> list[str]:
    pages = ((clone / name).read_text("utf-8") for name in ("README.md", "README.fr.md"))
    return [re.findall("<!-- gpu-figures -->(.*)<!-- /gpu-figures -->", page, re.DOTALL)[0] for page in pages]


def rows(section: str) -> list[str]:
    return [line for line in section.splitlines() if line.startswith("| [")]


def test_without_a_report_nothing_is_claimed(clone: Path) -> None:
    assert run(clone).returncode == 0
    english, french = sections(clone)
    assert "nothing has been measured on a GPU" in english
    assert "rien n\u2019a été mesuré sur un GPU" in french
    for section in (english, french):
        assert "|" not in section.replace("$PWD/report:/report", "")
        assert "voxtral-serverless qualify --report /report" in section


def test_rows_are_the_newest_of_each_machine(clone: Path) -> None:
    large = {**situation()["machine"], "gpus": [{"name": "NVIDIA H100", "total_mib": 81559}] * 2}  # type: ignore[dict-item]
    commit(clone, "a-newer", ended="2026-11-22T10:00:00+00:00")
    commit(clone, "b-older", ended="2026-11-21T10:00:00+00:00")
    commit(clone, "c-large", machine=large)
    assert run(clone).returncode == 0
    english, french = sections(clone)
    figures = "Voxtral-Mini-3B-2507, speaker-diarization-3.1 | 66.0 | $0.0105 | 6.00 % | 8.00 % | 10.00 %"
    assert rows(english) == [
        f"| [NVIDIA L4](bench/reports/a-newer/report.md) | {figures} | 12 of 12, 0 missed |",
        f"| [2 x NVIDIA H100](bench/reports/c-large/report.md) | {figures} | 11 of 12, 0 missed |",
    ]
    assert "| 66,0 | 0,0105\u00a0$ | 6,00\u00a0% | 8,00\u00a0% | 10,00\u00a0% | 12 sur 12, 0 manqués |" in french
    assert "nothing has been measured" not in english


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"machine": {"gpus": []}}, "it was not made on a GPU"),
        ({"engine": "embedded"}, "by the embedded engine"),
        ({"engine_elsewhere": True}, "its engine was elsewhere"),
    ],
)
def test_report_of_something_else_is_refused(clone: Path, facts: dict[str, Any], why: str) -> None:
    commit(clone, "processor", **facts)
    done = run(clone)
    assert done.returncode == 0
    assert why in done.stderr
    assert rows(sections(clone)[0]) == []


def test_check_says_whether_they_are_current(clone: Path) -> None:
    run(clone)
    assert run(clone, "--check").returncode == 0
    commit(clone, "new")
    before = sections(clone)
    stale = run(clone, "--check")
    assert (stale.returncode, "run make docs" in stale.stderr) == (1, True)
    assert sections(clone) == before


def test_report_of_another_format_stops_it(clone: Path) -> None:
    commit(clone, "old")
    path = clone / "bench" / "reports" / "old" / "report.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    assert run(clone).returncode == 1


def test_typography_of_the_french_rows(clone: Path) -> None:
    commit(clone, "one")
    run(clone)
    french = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", sections(clone)[1], flags=re.DOTALL)
    assert re.findall(r" [:;?!»%]|\w[;?!»]|\w'\w", french) == []
