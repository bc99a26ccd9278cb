"""The ledger of an examination: whole units or none, and never those of something else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from voxtral_serverless.errors import InvalidConfiguration, OutputUnwritable
from voxtral_serverless.qualify.ledger import FILE, FORMAT, Ledger, open_ledger
from voxtral_serverless.qualify.situation import Facts
from voxtral_serverless.qualify.units import Reading, Unit

SUBJECT: Facts = {"version": "0.1.0", "models": {"transcription": {"name": "voxtral", "revision": "abc"}}}
HEAD = json.dumps({"format": FORMAT, "began": "2026-11-23T08:00:00+00:00"}) + "\n"


async def never() -> Reading:
    raise AssertionError


def unit(name: str, **of: int | str) -> Unit:
    return Unit(name, never, dict(of))


@contextmanager
def ledger_of(folder: Path, subject: Facts = SUBJECT, *, fresh: bool = False) -> Iterator[Ledger]:
    with open_ledger(folder, fresh=fresh) as ledger:
        ledger.examines(subject)
        yield ledger


def test_what_was_measured_is_there_the_next_time(tmp_path: Path) -> None:
    with ledger_of(tmp_path / "report") as ledger:
        ledger.add(unit("speed/turns/5min/1"), {"took_s": 12.5})
        began = ledger.began
    with ledger_of(tmp_path / "report") as ledger:
        assert ledger.readings == {"speed/turns/5min/1": {"took_s": 12.5}}
        assert ledger.began == began
        assert not ledger.lacks(unit("speed/turns/5min/1"))
        assert ledger.lacks(unit("speed/turns/5min/4"))


@pytest.mark.parametrize("reading", [{"failed": "engine_unavailable: no."}, {"failed_jobs": 1, "took_s": 2.0}])
def test_what_failed_is_measured_anew(tmp_path: Path, reading: Reading) -> None:
    with ledger_of(tmp_path) as ledger:
        ledger.add(unit("start/cold"), reading)
        assert ledger.lacks(unit("start/cold"))
        ledger.add(unit("start/cold"), {"ready_s": 1.0, "failed_jobs": 0})
        assert not ledger.lacks(unit("start/cold"))
    with ledger_of(tmp_path) as ledger:
        assert ledger.readings["start/cold"] == {"ready_s": 1.0, "failed_jobs": 0}


def test_what_was_measured_of_something_else_is_measured_anew(tmp_path: Path) -> None:
    short, long = unit("robustness/longest", minutes=5), unit("robustness/longest", minutes=150)
    with ledger_of(tmp_path) as ledger:
        ledger.plan("robustness", [short])
        ledger.add(short, {"took_s": 1.0})
        assert not ledger.lacks(short)
    with ledger_of(tmp_path) as ledger:
        assert ledger.lacks(long)
        ledger.plan("robustness", [long])
        assert (ledger.current(), ledger.missing()) == ({}, ["robustness/longest"]), "the short one is no part of it"
        ledger.add(long, {"took_s": 30.0})
        assert (ledger.current(), ledger.missing()) == ({"robustness/longest": {"took_s": 30.0}}, [])


def test_what_is_missing_is_known_to_a_start_that_skips_it(tmp_path: Path) -> None:
    with ledger_of(tmp_path) as ledger:
        ledger.plan("accuracy", [unit("accuracy/one/given"), unit("accuracy/two/given")])
        ledger.tell({"data": {"name": "ours", "calls": 2}, "plans": ["windows", "turns"]})
        ledger.add(unit("accuracy/one/given"), {"words": 3})
    with ledger_of(tmp_path) as ledger:
        ledger.plan("start", [unit("start/cold")])
        assert ledger.missing() == ["accuracy/two/given", "start/cold"]
        assert ledger.told == {"data": {"name": "ours", "calls": 2}, "plans": ["windows", "turns"]}
        ledger.plan("accuracy", [unit("accuracy/two/given")])
        assert ledger.current() == {}, "that call is no part of it any more"


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_that_was_not_finished_never_was(tmp_path: Path, cut: int) -> None:
    with ledger_of(tmp_path) as ledger:
        ledger.add(unit("analysis/one"), {"sentiment": "négatif"})
        ledger.add(unit("analysis/two"), {"sentiment": "positif"})
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-cut])
    with ledger_of(tmp_path) as ledger:
        assert list(ledger.readings) == ["analysis/one"]
        ledger.add(unit("analysis/two"), {"sentiment": "positif"})
    with ledger_of(tmp_path) as ledger:
        assert list(ledger.readings) == ["analysis/one", "analysis/two"]


def test_killed_in_the_middle_of_everything(tmp_path: Path) -> None:
    """What was added is on the disk, whatever happens to the process."""
    program = (
        "import os, signal, sys; from pathlib import Path; from tests.qualify.test_ledger import ledger_of, unit\n"
        "with ledger_of(Path(sys.argv[1])) as ledger:\n"
        "    ledger.add(unit('start/cold'), {'ready_s': 3.0}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == -9
    with ledger_of(tmp_path) as ledger:
        assert ledger.readings == {"start/cold": {"ready_s": 3.0}}


def test_another_model_is_another_report(tmp_path: Path) -> None:
    with ledger_of(tmp_path) as ledger:
        ledger.add(unit("start/cold"), {"ready_s": 1.0})
    other: Facts = SUBJECT | {"models": {"transcription": {"name": "voxtral", "revision": "def"}}}
    with (
        pytest.raises(
            InvalidConfiguration, match=r"something else \(models\.transcription\.revision: abc, now def\).*--fresh"
        ),
        ledger_of(tmp_path, other),
    ):
        pass
    with ledger_of(tmp_path, other, fresh=True) as ledger:
        assert ledger.readings == {}


def test_what_was_not_named_yet_may_be_named_later(tmp_path: Path) -> None:
    """The data set, for one, which some stages do without."""
    data: Facts = {"data": {"name": "simsamu", "language": "fr"}}
    for subject in (SUBJECT, SUBJECT | data, SUBJECT, SUBJECT | data):
        with ledger_of(tmp_path, subject) as ledger:
            ledger.add(unit("start/cold"), {"ready_s": 1.0})
    with pytest.raises(InvalidConfiguration, match=r"data: .*simsamu"), ledger_of(tmp_path, SUBJECT | {"data": None}):
        pass


def test_a_start_that_measured_nothing_binds_nobody(tmp_path: Path) -> None:
    """Refused for a flag, it is corrected by one."""
    fixed: Facts = SUBJECT | {"version": "0.2.0"}
    with ledger_of(tmp_path) as ledger:
        ledger.add(unit("start/cold"), {"failed": "engine_unavailable: no."})
    with ledger_of(tmp_path, fixed) as ledger:
        ledger.add(unit("start/cold"), {"ready_s": 1.0})
    with pytest.raises(InvalidConfiguration, match=r"version: 0\.2\.0, now 0\.1\.0"), ledger_of(tmp_path):
        pass


def test_two_examinations_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with ledger_of(tmp_path), pytest.raises(OutputUnwritable, match="another examination"), ledger_of(tmp_path):
        pass


@pytest.mark.parametrize(
    "content",
    ["no json\n", HEAD + '{"unit": "a"}\n', "[]\n[]\n", HEAD + '{"subject": 3}\n', HEAD + '{"planned": [1]}\n'],
)
def test_a_file_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    with pytest.raises(InvalidConfiguration, match="--fresh"), ledger_of(tmp_path):
        pass
    assert (tmp_path / FILE).read_text() == content, "nothing of somebody's is lost"


def test_another_versions_file(tmp_path: Path) -> None:
    reading = {"unit": "start/cold", "at": "x", "reading": {}}
    (tmp_path / FILE).write_text(f"{json.dumps({'format': 1, 'began': 'x'})}\n{json.dumps(reading)}\n")
    with pytest.raises(InvalidConfiguration, match="another version"), ledger_of(tmp_path):
        pass


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable, match="cannot be written"), ledger_of(tmp_path / "file"):
        pass
