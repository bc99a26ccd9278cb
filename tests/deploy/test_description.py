"""Files and flags."""

import json
from pathlib import Path

import pytest

from voxtral_serverless.deploy.description import described
from voxtral_serverless.errors import DeploymentInvalid, SourceNotFound, SourceUnreadable

TOML = """
image = "ghcr.io/example/voxtral-serverless:0.1.0"
gpu = ["ADA_24"]
workers_max = 5
job_defaults = {language = "fr", num_speakers = 2}

[env]
MAX_CONCURRENCY = 8
LABEL_LANGUAGE = "en"
"""


def file(folder: Path, text: str, name: str = "deploy.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_file_says_it_all(tmp_path: Path) -> None:
    found = described(file(tmp_path, TOML), {})
    assert (found.gpu, found.workers_max, found.env["MAX_CONCURRENCY"]) == (["ADA_24"], 5, "8")
    assert found.job_defaults == {"language": "fr", "num_speakers": 2}


def test_flags_count_more_and_variables_are_merged_by_name(tmp_path: Path) -> None:
    flags = {"workers_max": 1, "env": {"MAX_CONCURRENCY": "2"}, "gpu": ["AMPERE_48"]}
    found = described(file(tmp_path, TOML), flags)
    assert (found.gpu, found.workers_max) == (["AMPERE_48"], 1)
    assert found.env == {"MAX_CONCURRENCY": "2", "LABEL_LANGUAGE": "en"}


def test_json_is_understood_too(tmp_path: Path) -> None:
    path = file(tmp_path, json.dumps({"image": "a/b:1", "workers_max": 2}), "deploy.json")
    assert described(path, {}).workers_max == 2


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ('image = "a/b:1"\nwrokers_max = 3', "d.toml", "unknown key 'wrokers_max': did you mean 'workers_max'?"),
        ('image = "a/b:1"\ngpu-count = 2', "d.toml", "did you mean 'gpu_count'?"),
        ('image = "a/b:1"\nzzz = 2', "d.toml", "known are image, name"),
        ("image = ", "d.toml", "'d.toml' is not valid"),
        ("[1]", "d.json", "holds no object"),
        ("{}", "d.json", "image: is needed, as --image or in the file"),
        ("", "d.yaml", "neither .toml nor .json"),
    ],
)
def test_faults_of_files(text: str, name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(DeploymentInvalid) as refused:
        described(file(tmp_path, text, name), {})
    assert reason in refused.value.message


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        described(tmp_path / "missing.toml", {})
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(SourceUnreadable):
        described(tmp_path / "folder.toml", {})
