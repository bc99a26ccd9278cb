"""What another Python has: asked of itself, in a process of its own, with a time limit and none of our secrets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxtral_serverless.child import MACHINE

ASK_S = 45.0
"""Importing from a cold disk takes seconds."""
QUESTION = """
import importlib, importlib.metadata, importlib.util, json, os, runpy, sys
def version(name):
    try: return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError: return None
def fault(name):
    try: importlib.import_module(name)
    except BaseException as error: return f"{type(error).__name__}: {error}"
def cuda():
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin:
        return runpy.run_path(os.path.join(os.path.dirname(spec.origin), "version.py")).get("cuda")
libraries, imports = json.loads(sys.argv[1])
versions = {name: version(name) for name in libraries}
faults = {name: told for name in imports if (told := fault(name))}
print()
print(json.dumps({"versions": versions, "faults": faults, "cuda": cuda()}))
"""
"""torch itself is not imported: that takes many seconds, and its version of CUDA stands in a file of its own."""


@dataclass(frozen=True)
class Python:
    """What a Python answers.

    Attributes:
        versions: Of the libraries that it was asked about; None of one that it has not.
        faults: Why a library cannot be imported, by its name.
        cuda: The CUDA that its torch is built for.
    """

    path: str
    versions: Mapping[str, str | None]
    faults: Mapping[str, str]
    cuda: str | None


def ask_python(python: str, libraries: Sequence[str], imports: Sequence[str] = ()) -> Python | None:
    """What `python` has of `libraries`, and whether it can import `imports`; None where it does not answer."""
    environment = {name: os.environ[name] for name in MACHINE if name in os.environ}
    # Read at import by onnxruntime.
    environment |= {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "ORT_DISABLE_TELEMETRY": "1"}
    try:
        done = subprocess.run(
            [python, "-c", QUESTION, json.dumps([libraries, imports])], capture_output=True, text=True, check=True,
            timeout=ASK_S, stdin=subprocess.DEVNULL, cwd="/", env=environment,
        )  # fmt: skip
        answer = json.loads(done.stdout.splitlines()[-1])
        return Python(python, answer["versions"], answer["faults"], answer["cuda"])
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
        return None


def python_of(command: str) -> str | None:
    """The Python that runs a command: that of its first line, or the one beside it; None where neither is there."""
    try:
        with Path(command).open("rb") as source:
            first = source.readline(4096).decode(errors="replace").strip()
    except OSError:
        return None
    interpreter = first.removeprefix("#!").strip() if first.startswith("#!") else ""
    if Path(interpreter).name.startswith("python") and shutil.which(interpreter):
        return interpreter
    return shutil.which("python", path=str(Path(command).parent))
