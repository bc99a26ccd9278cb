"""The locks: exact, by hash, from nowhere in particular, of what is asked for; and the page of their licences."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.media import ROOT

REQUIREMENTS = ROOT / "requirements"
LOCKS = sorted(set(REQUIREMENTS.glob("*.txt")) - {REQUIREMENTS / "torch-overrides.txt"})
TORCH = {"torch", "torchaudio", "torchcodec", "torchvision", "triton"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def entries(lock: Path) -> list[str]:
    """A lock's entries, each on one line, without its comments."""
    lines = [line for line in lock.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    return [" ".join(entry.split()) for entry in "\n".join(lines).replace("\\\n", " ").splitlines()]


def pinned(lock: Path) -> dict[str, Version]:
    """What a lock installs, by name."""
    asked = [one for entry in entries(lock) if is_for_us(one := Requirement(entry.partition(" --hash")[0]))]
    return {canonicalize_name(one.name): Version(str(one.specifier).removeprefix("==")) for one in asked}


def is_for_us(requirement: Requirement) -> bool:
    """Whether it is for this Python."""
    return requirement.marker is None or requirement.marker.evaluate(
        {"sys_platform": "linux", "platform_system": "Linux"}
    )


def unmet(lock: Path, requirements: Iterable[str]) -> list[str]:
    """The requirements that a lock does not meet."""
    versions, asked = pinned(lock), [one for line in requirements if is_for_us(one := Requirement(line))]
    found = [(one, versions.get(canonicalize_name(one.name))) for one in asked]
    return [str(one) for one, version in found if version is None or version not in one.specifier]


@pytest.fixture(params=LOCKS, ids=lambda lock: lock.name)
def lock(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_there_are_locks() -> None:
    assert {"dev.txt", "engine.txt", "diarization.txt", "supply.txt"} <= {lock.name for lock in LOCKS}


def test_every_library_is_pinned_with_its_hashes(lock: Path) -> None:
    form = r"[A-Za-z0-9._-]+(\[[a-z,_-]+\])?==[^ ]+( ; .+?)?( --hash=sha256:[0-9a-f]{64})+"
    assert entries(lock)
    assert [entry[:60] for entry in entries(lock) if not re.fullmatch(form, entry)] == []


def test_no_address_is_in_it(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert re.findall(r"\w+://|--(?:extra-)?index|--find-links|^-[ief]|[^/ ] @ ", text, re.MULTILINE) == []


def test_torch_is_not_in_it(lock: Path) -> None:
    assert TORCH & pinned(lock).keys() == set()
    assert [name for name in pinned(lock) if name.startswith(("nvidia-", "cuda-"))] == []


def test_worker_and_its_tests_are_locked() -> None:
    extras = PROJECT["optional-dependencies"]
    assert unmet(REQUIREMENTS / "dev.txt", [*PROJECT["dependencies"], *extras["embedded"], *extras["dev"]]) == []
    assert unmet(REQUIREMENTS / "dev.txt", ["aiohttp>=999", "nothing"]) == ["aiohttp>=999", "nothing"]


@pytest.mark.parametrize("asked", sorted(REQUIREMENTS.glob("*.in")), ids=lambda path: path.name)
def test_what_is_asked_for_is_locked(asked: Path) -> None:
    lines = [line for line in asked.read_text("utf-8").splitlines() if line and not line.startswith(("#", "-"))]
    assert lines
    assert unmet(asked.with_suffix(".txt"), lines) == []


@pytest.mark.parametrize("recipe", ["Makefile", "Dockerfile", "scripts/set_up_torch.sh"])
def test_no_resolver_looks_beyond_a_lock(recipe: str) -> None:
    """With the name of an extra, pip 23 prefers the newest release to the pinned one, and refuses it for want of a hash."""
    text = (ROOT / recipe).read_text("utf-8").replace("\\\n", " ")
    if own := re.search(r"^install=\((.*)\)$", text, re.MULTILINE):
        text = text.replace("${install[@]}", own[1])
    installs = [
        command
        for command in re.split("\n|&&", text)
        if " --require-hashes" in command and "install" in command.lower()
    ]
    assert installs
    assert [line for line in installs if "--no-deps" not in line] == []


def test_licences_are_current() -> None:
    script = ROOT / "scripts" / "licences.py"
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("licences", ROOT / "scripts" / "licences.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("expression", "free"),
    [
        ("MIT", True),
        ("Apache-2.0 AND (MIT)", True),
        ("GPL-3.0-only OR Apache-2.0", True),
        ("BSD-3-Clause AND GPL-2.0-or-later", False),
        ("LGPL-2.1", False),
        ("CC-BY-NC-4.0", False),
        ("none stated", False),
    ],
)
def test_what_is_free(expression: str, free: bool, licences: ModuleType) -> None:
    assert licences.is_free(expression) is free


def test_page_that_is_not_current_says_why(licences: ModuleType) -> None:
    rows = {
        "free": {"MIT"},
        "two": {"MIT", "PSF-2.0"},
        "bound": {"AGPL-3.0-only"},
        "gone": {"MIT"},
        "named": {"LGPL-2.1"},
    }
    tail = "## Looked at by name\n- `named` (LGPL-2.1)\n## More\n`bound`"
    page = f"{licences.START}\n{licences.table(rows)}\n{licences.END}\n{tail}"
    assert licences.faults(page, ["free", "two", "bound", "new", "named"], {"free": {"BSD"}, "two": {"MIT"}}) == [
        "new is missing",
        "gone is in no lock",
        "free is BSD",
        "bound (AGPL-3.0-only) is not looked at by name",
    ]
