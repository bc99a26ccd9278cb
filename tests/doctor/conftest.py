"""A machine that a test puts together: its programs, Pythons and variables are files and processes of the test's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hub import own_home
from voxtral_serverless.doctor.doctor import CHECKS
from voxtral_serverless.doctor.examination import examine, in_thread, listening
from voxtral_serverless.doctor.findings import Finding
from voxtral_serverless.doctor.situation import look_around
from voxtral_serverless.doctor.surroundings import readable_settings
from voxtral_serverless.engine import machine

L4 = "0, GPU-3c4d, NVIDIA L4, 23034, 22500"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A machine without programs, GPU, cache or Hub; the folder of its programs."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("VLLM_EXECUTABLE", str(programs / "vllm"))
    monkeypatch.setenv("DIARIZATION_PYTHON", str(programs / "python"))
    monkeypatch.setenv("RUNPOD_MODEL_CACHE", str(tmp_path / "runpod"))
    for name in ("CUDA_VISIBLE_DEVICES", "RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_INIT_TIMEOUT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with own_home(monkeypatch, tmp_path):
        yield programs


def program(path: Path, text: str, interpreter: str = sys.executable) -> Path:
    """A program of some lines."""
    path.write_text(f"#!{interpreter}\n{text}\n")
    path.chmod(0o755)
    return path


def nvidia_smi(programs: Path, table: str = L4, driver: str = "580.95.05") -> None:
    """The driver's program, for the two questions that are asked of it."""
    text = f"import sys\nprint({driver!r} if 'driver_version' in sys.argv[1] else {table!r})"
    program(programs / "nvidia-smi", text)


def python(programs: Path, *, cuda: str | None = None, modules: dict[str, str] | None = None, **versions: str) -> Path:
    """A Python with libraries of these versions (`pyannote.audio` is `pyannote_audio` here) and modules; torch has `cuda`."""
    libraries = programs.parent / "libraries"
    (libraries / "torch").mkdir(parents=True, exist_ok=True)
    (libraries / "torch" / "__init__.py").write_text("raise ImportError('nobody needs to import torch')")
    (libraries / "torch" / "version.py").write_text(f"cuda = {cuda!r}\n")
    for name, version in versions.items():
        known_as = name.replace("pyannote_audio", "pyannote.audio")
        folder = libraries / f"{name}-{version}.dist-info"
        folder.mkdir(exist_ok=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {known_as}\nVersion: {version}\n")
    for name, text in (modules or {}).items():
        (libraries / f"{name}.py").write_text(text)
    return program(programs / "python", f'PYTHONPATH="{libraries}" exec "{sys.executable}" "$@"', interpreter="/bin/sh")


def vllm(programs: Path, *, cuda: str | None = None, version: str = "0.32.0", broken: str = "") -> Path:
    """A `vllm` command, whose Python has what it needs to hear, but for what is `broken`."""
    modules = dict.fromkeys(("soundfile", "soxr", "av", "mistral_common"), "")
    modules |= {broken: "raise OSError('sndfile library not found')"} if broken else {}
    interpreter = python(programs, cuda=cuda, modules=modules, vllm=version)
    return program(programs / "vllm", "raise SystemExit('nobody starts it')", interpreter=str(interpreter))


async def finding(name: str, *, offline: bool = False) -> Finding:
    """What one check finds, by the environment as it is."""
    settings, faults = readable_settings()
    checks = [check for check in CHECKS if check.name == name]
    with listening():
        situation = await in_thread(lambda: look_around(settings, faults, offline=offline))
        (line,) = await examine(checks, situation)
    return line.finding
