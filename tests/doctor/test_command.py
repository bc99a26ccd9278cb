"""The command as it is run: a process of its own, on this machine, whose GPU and vLLM, if there are any, it does not find."""

import json
import os
import subprocess
import sys

NAMES = [
    "settings", "RunPod", "engine", "GPU", "driver", "model", "vLLM", "weights", "server", "pyannote", "diarization",
    "aligners", "Hugging Face", "downloads", "disk", "memory", "files", "decoding", "ports", "HTTP API", "embedded",
]  # fmt: skip
SECRETS = {"HF_TOKEN": "hf_s3cr3ts3cr3t", "API_KEY": "s3cr3tk3y", "VLLM_API_KEY": "s3cr3t0th3r"}


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voxtral_serverless", "doctor", *arguments],
        capture_output=True, text=True, check=False, timeout=100, env={**os.environ, "PORT": "0", **environment},
    )  # fmt: skip


def test_machine_without_a_gpu_is_told_what_to_do() -> None:
    done = doctor()
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines) == len(NAMES) + 1
    (gpu,) = (line for line in lines if line.split()[:2] == ["warning", "GPU"])
    assert "there is no GPU" in gpu
    assert all(way in gpu for way in ("ENGINE=embedded", "VLLM_BASE_URL", "ENGINE=vllm", "slow"))


def test_embedded_engine_needs_nothing() -> None:
    done = doctor(ENGINE="embedded", **SECRETS)
    assert done.returncode == 0
    assert "problem" not in done.stdout
    assert "GPU           there is no GPU (there is no nvidia-smi); the embedded engine needs none." in done.stdout


def test_problem_is_an_exit_status_and_json() -> None:
    done = doctor("--json", "--offline", ENGINE="vllm", **SECRETS)
    told = json.loads(done.stdout)
    assert (done.returncode, told["worst"], told["ok"]) == (1, "problem", False)
    assert [check["check"] for check in told["checks"]] == NAMES
    marks = {check["check"]: check["mark"] for check in told["checks"]}
    assert (marks["vLLM"], marks["weights"], marks["Hugging Face"]) == ("problem", "warning", "skipped")


def test_no_secret_is_shown() -> None:
    done = doctor("--verbose", ENGINE="vllm", VLLM_BASE_URL="http://user:s3cr3tpw@127.0.0.1:9/v1?k=s3cr3tq", **SECRETS)
    assert done.returncode == 1
    assert "s3cr3t" not in done.stdout + done.stderr


def test_wrong_use_is_no_finding() -> None:
    assert doctor("--nonsense").returncode == 2
