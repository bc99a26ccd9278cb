"""`voxtral-serverless qualify`, as a user runs it: the whole of it over the embedded engine, but for the counting of
errors, which needs pyannote's Python (tests/engines/test_qualify.py).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import leftovers
from tests.fakes.vllm_server import Manners
from tests.media import CALL
from tests.runpod_worker.scenarios import own_engine
from voxtral_serverless.qualify.ledger import FILE, FORMAT

COMMAND = (sys.executable, "-m", "voxtral_serverless", "qualify")
SHORT = ("--language", "en", "--skip", "accuracy", "--minutes", "0.1", "--at-once", "1", "--at-once", "2")
QUICK = (*SHORT, "--skip", "robustness")
WAIT_S = 90.0


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The bundled call with its reference."""
    folder = tmp_path / "data"
    folder.mkdir()
    for suffix in (".ogg", ".stm", ".rttm"):
        shutil.copy(CALL.with_suffix(suffix), folder)
    return folder


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "ENGINE": "embedded", "NO_COLOR": "1", **more}


def qualified(data: Path, report: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "--data", data, "--report", report, *options],
        env=environment(), capture_output=True, text=True, check=False, timeout=WAIT_S,
    )  # fmt: skip


def units_in(report: Path) -> list[str]:
    """The units in the ledger that did not fail, in the order in which they were measured."""
    lines = [json.loads(line) for line in (report / FILE).read_text("utf-8").splitlines()]
    return [line["unit"] for line in lines if "reading" in line and "failed" not in line["reading"]]


def started(data: Path, report: Path, options: Sequence[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*COMMAND, "--data", data, "--report", report, *options],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_report_with_a_verdict_for_each_target(data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    done = qualified(data, report, *QUICK, "--gpu-price", "0.5")
    assert done.returncode in {0, 1}, done.stderr
    assert sorted(path.name for path in report.iterdir()) == sorted([FILE, "report.html", "report.json", "report.md"])
    told = json.loads((report / "report.json").read_text("utf-8"))
    assert told["situation"]["engine"] == "embedded"
    assert told["situation"]["command"].startswith("voxtral-serverless qualify --data ")
    assert told["situation"]["data"]["calls"] == 1
    assert told["situation"]["skipped_stages"] == ["accuracy", "robustness"]
    assert {"start/cold", "start/warm", "speed/turns/0.1min/1", "speed/turns/0.1min/2"} < set(told["readings"])
    assert sum(unit.startswith("analysis/") for unit in told["readings"]) == 30
    outcomes = {verdict["id"]: verdict["outcome"] for verdict in told["verdicts"]}
    assert len(done.stdout.splitlines()) == len(outcomes) >= 8
    assert done.returncode == 1, "units failed"
    again = qualified(data, report, *QUICK)
    assert "start/" not in again.stderr, "nothing is measured twice"
    assert "speed/" not in again.stderr
    assert "analysis/" in again.stderr, "what failed is tried anew: the embedded engine reads no French"


@pytest.mark.parametrize(("number", "after"), [(signal.SIGINT, 2), (signal.SIGKILL, 31)])
def test_interrupted_anywhere_it_goes_on(
    data: Path, tmp_path: Path, temporary: Path, number: signal.Signals, after: int
) -> None:
    report = tmp_path / "report"
    first = started(data, report, QUICK)
    assert first.stderr
    for line in first.stderr:
        if f"[{after}/" in line:
            break
    first.send_signal(number)
    first.communicate(timeout=WAIT_S)
    assert first.returncode == (-number if number == signal.SIGKILL else 128 + number)
    if number != signal.SIGKILL:
        assert leftovers(temporary) == []
        so_far = json.loads((report / "report.json").read_text("utf-8"))
        assert "start/warm" in so_far["situation"]["missing"], "what there is is told, and what there is not"
        assert set(so_far["readings"]) == {"start/cold"}
    before = units_in(report)
    done = qualified(data, report, *QUICK)
    assert done.returncode in {0, 1}, done.stderr
    units = units_in(report)
    assert units[: len(before)] == before, "what was measured stays"
    assert sorted(units) == [
        "speed/turns/0.1min/1",
        "speed/turns/0.1min/2",
        "start/cold",
        "start/warm",
    ], "each once; of the analysis, the embedded engine reads no French"
    assert leftovers(temporary) == []


def test_a_stage_that_was_measured_before_keeps_its_figures(data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    everything_but = ("--skip", "start", "--skip", "analysis")
    qualified(data, report, *QUICK, *everything_but)
    done = qualified(data, report, *QUICK, "--skip", "speed", "--skip", "analysis")
    told = json.loads((report / "report.json").read_text("utf-8"))
    assert set(told["readings"]) == {"start/cold", "start/warm", "speed/turns/0.1min/1", "speed/turns/0.1min/2"}, (
        done.stderr
    )


def test_what_a_later_start_asks_for_differently_is_measured_anew(data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    speed = (
        "--language",
        "en",
        "--minutes",
        "0.1",
        "--skip",
        "accuracy",
        "--skip",
        "robustness",
        "--skip",
        "start",
        "--skip",
        "analysis",
    )
    first = qualified(data, report, *speed, "--at-once", "1")
    assert "0 of 1 units are to be measured" in qualified(data, report, *speed, "--at-once", "1").stderr, first.stderr
    shutil.copy(data / "call.ogg", data / "another.ogg")
    shutil.copy(data / "call.stm", data / "another.stm")
    again = qualified(data, report, *speed, "--at-once", "1")
    assert "1 of 1 units are to be measured" in again.stderr, "there are other recordings"
    told = json.loads((report / "report.json").read_text("utf-8"))
    assert set(told["readings"]) == {"speed/turns/0.1min/1"}
    assert told["situation"]["data"]["calls"] == 2


def test_another_setting_is_another_report(data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    first = qualified(data, report, *QUICK, "--skip", "analysis", "--skip", "speed")
    assert first.returncode == 0, first.stderr
    other = subprocess.run(
        [*COMMAND, "--data", data, "--report", report, *QUICK], env=environment(MAX_CLIP_S="20"),
        capture_output=True, text=True, check=False, timeout=WAIT_S,
    )  # fmt: skip
    assert other.returncode == 1
    assert "something else (settings.max_clip_s: 30.0, now 20.0)" in other.stderr
    assert json.loads((report / "report.json").read_text("utf-8"))["situation"]["settings"]["max_clip_s"] == 30


def test_robust_as_far_as_the_embedded_engine_goes(data: Path, tmp_path: Path, temporary: Path) -> None:
    report = tmp_path / "report"
    rest = ("--skip", "start", "--skip", "analysis", "--skip", "speed", "--longest", "1.5")
    done = subprocess.run(
        [*COMMAND, "--data", data, "--report", report, *SHORT, *rest],
        env=environment(HF_ENDPOINT="http://127.0.0.1:9"), capture_output=True, text=True, check=False, timeout=WAIT_S,
    )  # fmt: skip
    readings = json.loads((report / "report.json").read_text("utf-8"))["readings"]
    assert set(readings) == {"robustness/hostile", "robustness/bad_token", "robustness/longest"}, done.stderr
    hostile = readings["robustness/hostile"]
    assert (hostile["files"], hostile["leaked_bytes"], hostile["crashed"]) == (80, 0, 0)
    assert hostile["refused"] + hostile["harmless"] == 80
    assert "the Hub has not judged the token" in readings["robustness/bad_token"]["failed"]
    assert readings["robustness/longest"]["duration_s"] == pytest.approx(90)
    assert leftovers(temporary) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--skip", "everything"), "invalid_input: --skip everything: there is no such stage; the stages are start,"),
        (("--language", "klingon"), "invalid_input:"),
        (("--data", "/nowhere/at/all"), "source_not_found:"),
    ],
)
def test_bad_input_is_told_in_one_line(data: Path, tmp_path: Path, options: tuple[str, ...], told: str) -> None:
    done = qualified(data, tmp_path / "report", *QUICK, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(told)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_nothing_to_measure_is_no_failure(data: Path, tmp_path: Path) -> None:
    done = qualified(data, tmp_path / "report", *QUICK, *("--skip", "start", "--skip", "analysis", "--skip", "speed"))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_another_machines_folder_is_refused_quickly(data: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    head = {"format": FORMAT, "began": "2026-11-23T08:00:00+00:00"}
    reading = {"unit": "start/warm", "at": "2026-11-23T08:01:00+00:00", "of": {}, "reading": {"ready_s": 1.0}}
    lines = (head, {"subject": {"version": "0.0.9"}}, reading)
    (report / FILE).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    began = time.monotonic()
    done = qualified(data, report, *QUICK)
    assert done.returncode == 1
    assert done.stderr.startswith("invalid_configuration: the folder holds measurements of something else")
    assert time.monotonic() - began < WAIT_S / 2


def test_an_engine_that_does_not_start_ends_it(data: Path, tmp_path: Path, temporary: Path) -> None:
    """It is not waited for a second and a third time, and what is known is told."""
    engine = own_engine(tmp_path, Manners(start="exit"))
    report = tmp_path / "report"
    done = subprocess.run(
        [*COMMAND, "--data", data, "--report", report, *QUICK], env=environment(**engine),
        capture_output=True, text=True, check=False, timeout=WAIT_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("engine_unavailable:")
    told = json.loads((report / "report.json").read_text("utf-8"))
    assert list(told["readings"]) == ["start/cold"]
    assert told["situation"]["missing"] == ["start/warm"]
    assert told["situation"]["unreached_stages"] == ["analysis", "speed"]
    assert leftovers(temporary) == []


def test_without_an_engine_nothing_is_measured(data: Path, tmp_path: Path) -> None:
    """`auto` never means the self-test engine here."""
    done = subprocess.run(
        [*COMMAND, "--data", data, "--report", tmp_path / "report", *QUICK],
        env=environment(ENGINE="auto", PATH=str(tmp_path)), capture_output=True, text=True, check=False, timeout=WAIT_S,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("engine_unavailable:")
