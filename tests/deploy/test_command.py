"""The command as its owner runs it."""

import json
import os
import pty
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.fakes.runpod_api import KEY, RunPodApi
from tests.media import ROOT
from voxtral_serverless.cli import app
from voxtral_serverless.deploy.deployment import Deployment

IMAGE = ["--image", "ghcr.io/example/voxtral-serverless:0.1.0"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["deploy", *arguments])


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    return KEY


def test_dry_run_sends_nothing_needs_no_key_and_tells_no_secret(
    runpod: RunPodApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (tmp_path / "deploy.toml").write_text('image = "a/b:1"\nworkers_max = 7\n[env]\nMAX_CONCURRENCY = 6\n')
    done = run("--file", str(tmp_path / "deploy.toml"), "--workers-max", "2", "--env", "HF_TOKEN", "--dry-run")
    assert (done.exit_code, runpod.requests) == (0, 0), done.stderr
    shown = json.loads(done.stdout)
    assert shown["saveTemplate"]["env"]["HF_TOKEN"] == "***"
    assert shown["saveTemplate"]["env"]["MAX_CONCURRENCY"] == "6"
    assert (shown["saveEndpoint"]["workersMax"], shown["saveEndpoint"]["scalerValue"]) == (2, 6)
    assert "hf_secret" not in done.output
    assert "note: HF_TOKEN will stand in the template as plain text" in done.stderr


def test_dry_run_is_what_is_sent(runpod: RunPodApi, key: str) -> None:
    shown = json.loads(run(*IMAGE, "--dry-run").stdout)
    run(*IMAGE)
    template, endpoint = runpod.templates[0], runpod.endpoints[0]
    assert {pair["key"]: pair["value"] for pair in template["env"]} == shown["saveTemplate"].pop("env")
    assert {name: template[name] for name in shown["saveTemplate"]} == shown["saveTemplate"]
    shown["saveEndpoint"]["templateId"] = template["id"]
    assert {name: endpoint[name] for name in shown["saveEndpoint"]} == shown["saveEndpoint"]


def test_every_field_is_a_flag_and_documented() -> None:
    page, options = (ROOT / "docs" / "deploy-runpod.md").read_text(), run("--help").stdout
    for field in Deployment.model_fields:
        flag = "--" + field.replace("_", "-").replace("centers", "center")
        assert f"`{field}`" in page
        assert flag in page or flag.replace("--", "--no-") in page
        assert flag in options


def test_file_of_the_documents_is_one() -> None:
    [example] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "deploy-runpod.md").read_text(), re.DOTALL)
    found = Deployment.model_validate(tomllib.loads(example))
    assert (found.gpu_count, found.pools, found.env) == (2, ["AMPERE_48", "ADA_48_PRO"], {"MAX_CONCURRENCY": "8"})


def test_every_flag_reaches_what_is_sent() -> None:
    done = run(
        *IMAGE, "--name", "calls", "--model", "someone/voxtral", "--no-cached-model", "--gpu", "AMPERE_80", "--gpu",
        "-NVIDIA A100 80GB PCIe", "--gpu-count", "2", "--cuda", "13.0", "--cuda", "13.1", "--container-disk-gb", "123",
        "--network-volume", "vol1", "--data-center", "EU-RO-1", "--registry-auth", "reg1", "--hf-token-secret", "hf",
        "--env", "LABEL_LANGUAGE=en", "--env", "A=b=c", "--job-defaults", '{"language": "fr"}', "--init-timeout-s", "900",
        "--execution-timeout-s", "3600", "--idle-timeout-s", "30", "--workers-min", "1", "--workers-max", "9",
        "--scaler", "queue_delay", "--scaler-value", "7", "--no-flashboot", "--dry-run",
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == {
        "dry_run": True,
        "saveTemplate": {
            "name": "calls", "imageName": IMAGE[1], "dockerArgs": "", "containerDiskInGb": 123, "volumeInGb": 0,
            "ports": "", "isServerless": True, "isPublic": False, "readme": "", "containerRegistryAuthId": "reg1",
            "env": {
                "A": "b=c", "HF_TOKEN": "{{ RUNPOD_SECRET_hf }}", "JOB_DEFAULTS": '{"language": "fr"}',
                "LABEL_LANGUAGE": "en", "RUNPOD_INIT_TIMEOUT": "900", "VOXTRAL_MODEL": "someone/voxtral",
            },
        },
        "saveEndpoint": {
            "name": "calls", "templateId": "(the new template's id)", "gpuIds": "AMPERE_80,-NVIDIA A100 80GB PCIe",
            "gpuCount": 2, "allowedCudaVersions": "13.0,13.1", "networkVolumeId": "vol1", "locations": "EU-RO-1",
            "idleTimeout": 30, "scalerType": "QUEUE_DELAY", "scalerValue": 7, "workersMin": 1, "workersMax": 9,
            "executionTimeoutMs": 3_600_000, "flashBootType": "OFF", "modelReferences": [],
        },
    }  # fmt: skip


def test_created_then_changed_only_with_yes(runpod: RunPodApi, key: str) -> None:
    created = run(*IMAGE)
    assert json.loads(created.stdout) == {
        "template": {"id": "tpl0", "name": "voxtral-serverless", "action": "created"},
        "endpoint": {"id": "ep0", "name": "voxtral-serverless", "action": "created"},
        "run_url": "https://api.runpod.ai/v2/ep0/run",
    }
    refused = run(*IMAGE, "--workers-max", "8")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "  workersMax: 3 → 8\n" in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("deployment_unconfirmed: ")
    assert runpod.endpoints[0]["workersMax"] == 3
    assert json.loads(run(*IMAGE, "--workers-max", "8", "--yes").stdout)["endpoint"]["action"] == "updated"
    assert runpod.endpoints[0]["workersMax"] == 8
    assert json.loads(run(*IMAGE, "--workers-max", "8").stdout)["endpoint"]["action"] == "unchanged"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], "deployment_invalid"),
        ([*IMAGE, "--workers-min", "9"], "deployment_invalid"),
        ([*IMAGE, "--job-defaults", "{"], "deployment_invalid"),
        ([*IMAGE, "--env", "NOT_SET_ANYWHERE"], "deployment_invalid"),
        ([*IMAGE, "--scaler", "random"], "deployment_invalid"),
        (["--file", "missing.toml"], "source_not_found"),
        (IMAGE, "runpod_key_refused"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments: list[str], code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    done = run(*arguments)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert (done.exit_code, done.stdout, len(lines)) == (2, "", 1)
    assert lines[0].startswith(f"{code}: ")


def test_key_that_cannot_be_sent_is_refused_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_“quoted”")
    done = run(*IMAGE)
    assert done.exit_code == 2
    assert "runpod_key_refused: " in done.stderr
    assert "quoted" not in done.stderr


def test_process_of_its_own_tells_no_key_and_no_traceback(runpod: RunPodApi) -> None:
    environment = {**os.environ, "RUNPOD_API_KEY": "rpa_wrong_key"}
    arguments = [sys.executable, "-m", "voxtral_serverless", "deploy", *IMAGE, "--hf-token-secret", "hf"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=100, env=environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == ["note", "runpod_key_refused"]
    assert "rpa_wrong_key" not in done.stderr


def test_on_a_terminal_it_asks(runpod: RunPodApi, key: str) -> None:
    run(*IMAGE)
    ours, theirs = pty.openpty()
    arguments = [sys.executable, "-m", "voxtral_serverless", "deploy", *IMAGE, "--workers-max", "8"]
    with subprocess.Popen(arguments, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        told = b""
        while b"Change it?" not in told:
            told += os.read(ours, 4096)
        os.write(ours, b"n\n")
        assert process.wait(60) == 2
    os.close(ours)
    assert b"workersMax: 3 \xe2\x86\x92 8" in told
    assert runpod.endpoints[0]["workersMax"] == 3
