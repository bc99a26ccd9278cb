"""The ledger of an examination: whole units or none, and never those of something else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from voxtral_serverless.errors import InvalidConfiguration, OutputUnwritable
from voxtral_serverless.qualify.ledger import FILE, open_ledger
from voxtral_serverless.qualify.situation import Facts

SUBJECT: Facts = {"version": "0.1.0", "models": {"transcription": {"name": "voxtral", "revision": "abc"}}}


def test_what_was_measured_is_there_the_next_time(tmp_path: Path) -> None:
    with open_ledger(tmp_path / "report", SUBJECT) as ledger:
        ledger.add("speed/turns/5min/1", {"took_s": 12.5})
        began = ledger.began
    with open_ledger(tmp_path / "report", SUBJECT) as ledger:
        assert ledger.readings == {"speed/turns/5min/1": {"took_s": 12.5}}
        assert ledger.began == began
        assert not ledger.lacks("speed/turns/5min/1")
        assert ledger.lacks("speed/turns/5min/4")


def test_what_failed_is_measured_anew(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SUBJECT) as ledger:
        ledger.add("start/cold", {"failed": "engine_unavailable: no."})
        assert ledger.lacks("start/cold")
        ledger.add("start/cold", {"ready_s": 1.0})
        assert not ledger.lacks("start/cold")
    with open_ledger(tmp_path, SUBJECT) as ledger:
        assert ledger.readings["start/cold"] == {"ready_s": 1.0}


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_that_was_not_finished_never_was(tmp_path: Path, cut: int) -> None:
    with open_ledger(tmp_path, SUBJECT) as ledger:
        ledger.add("analysis/one", {"sentiment": "négatif"})
        ledger.add("analysis/two", {"sentiment": "positif"})
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-cut])
    with open_ledger(tmp_path, SUBJECT) as ledger:
        assert list(ledger.readings) == ["analysis/one"]
        ledger.add("analysis/two", {"sentiment": "positif"})
    with open_ledger(tmp_path, SUBJECT) as ledger:
        assert list(ledger.readings) == ["analysis/one", "analysis/two"]


def test_killed_in_the_middle_of_everything(tmp_path: Path) -> None:
    """What was added is on the disk, whatever happens to the process."""
    program = (
        "import os, signal, sys; from pathlib import Path; from voxtral_serverless.qualify.ledger import open_ledger\n"
        f"with open_ledger(Path(sys.argv[1]), {SUBJECT!r}) as ledger:\n"
        "    ledger.add('start/cold', {'ready_s': 3.0}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == -9
    with open_ledger(tmp_path, SUBJECT) as ledger:
        assert ledger.readings == {"start/cold": {"ready_s": 3.0}}


def test_another_model_is_another_report(tmp_path: Path) -> None:
    with open_ledger(tmp_path, SUBJECT):
        pass
    other: Facts = SUBJECT | {"models": {"transcription": {"name": "voxtral", "revision": "def"}}}
    with (
        pytest.raises(InvalidConfiguration, match=r"something else \(models: .*abc.*, now .*def.*--fresh"),
        open_ledger(tmp_path, other),
    ):
        pass
    with open_ledger(tmp_path, other, fresh=True) as ledger:
        assert ledger.readings == {}


def test_what_was_not_named_yet_may_be_named_later(tmp_path: Path) -> None:
    """The data set, for one, which some stages do without."""
    data: Facts = {"data": {"name": "simsamu", "revision": "abc"}}
    for subject in (SUBJECT, SUBJECT | data, SUBJECT, SUBJECT | data):
        with open_ledger(tmp_path, subject):
            pass
    with pytest.raises(InvalidConfiguration, match=r"data: .*simsamu"), open_ledger(tmp_path, SUBJECT | {"data": None}):
        pass


def test_two_examinations_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with (
        open_ledger(tmp_path, SUBJECT),
        pytest.raises(OutputUnwritable, match="another examination"),
        open_ledger(tmp_path, SUBJECT),
    ):
        pass


@pytest.mark.parametrize(
    "content", [b"no json\n", b'{"format": 1}\n{"unit": "a"}\n', b"[]\n[]\n", b'{"format": 1}\n{"subject": 3}\n']
)
def test_a_file_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(InvalidConfiguration, match="--fresh"), open_ledger(tmp_path, SUBJECT):
        pass
    assert (tmp_path / FILE).read_bytes() == content, "nothing of somebody's is lost"


def test_another_versions_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(json.dumps({"format": 0, "began": "x"}) + "\n")
    with pytest.raises(InvalidConfiguration, match="another version"), open_ledger(tmp_path, SUBJECT):
        pass


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable, match="cannot be written"), open_ledger(tmp_path / "file", SUBJECT):
        pass
