from pathlib import Path

import pytest

from tests.doctor.conftest import finding, nvidia_smi, program, vllm
from tests.fakes.vllm_server import Vllm, running_vllm
from voxtral_serverless import interpreters
from voxtral_serverless.interpreters import python_of


async def test_engine_that_the_settings_mean(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fallen_back = await finding("engine")
    assert fallen_back.mark == "warning"
    assert "a vLLM with a GPU is missing" in fallen_back.found
    vllm(bare_machine)
    assert "a GPU is missing" in (await finding("engine")).found
    nvidia_smi(bare_machine)
    assert (await finding("engine")).found == "ENGINE=auto: Voxtral on a vLLM of our own."
    monkeypatch.setenv("ENGINE", "embedded")
    assert (await finding("engine")).mark == "ok"


async def test_vllm_that_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "vllm")
    missing = await finding("vLLM")
    assert missing.mark == "problem"
    assert "VLLM_EXECUTABLE" in missing.found


async def test_gpu_without_vllm_is_worth_a_word(bare_machine: Path) -> None:
    nvidia_smi(bare_machine)
    assert (await finding("vLLM")).mark == "warning"


async def test_vllm_is_asked_for_its_version_and_its_ears(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "vllm")
    vllm(bare_machine, cuda="13.0")
    idle = await finding("vLLM")
    assert (idle.mark, "--gpus all" in idle.remedy) == ("problem", True)
    assert "no GPU that it could use (there is no nvidia-smi)" in idle.found
    nvidia_smi(bare_machine)
    whole = await finding("vLLM")
    assert (whole.mark, whole.found) == ("ok", "vLLM 0.32.0, CUDA 13.0; it has what it needs to hear.")
    vllm(bare_machine, cuda="13.0", broken="soundfile")
    deaf = await finding("vLLM")
    assert deaf.mark == "problem"
    assert "vllm[audio]" in deaf.remedy
    assert "soundfile: OSError: sndfile library not found" in deaf.details


async def test_vllm_of_another_version(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "vllm")
    vllm(bare_machine, version="0.33.1")
    other = await finding("vLLM")
    assert other.mark == "warning"
    assert "0.33.1" in other.found


async def test_vllm_whose_python_says_nothing(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE", "vllm")
    vllm(bare_machine)
    program(bare_machine / "python", "raise SystemExit(1)")
    assert (await finding("vLLM")).mark == "warning"


def test_python_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreters, "ASK_S", 0.3)
    hanging = program(tmp_path / "python", "import time\ntime.sleep(60)")
    assert interpreters.ask_python(str(hanging), ("torch",)) is None


def test_python_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_s3cr3t")
    curious = "import json, os\nprint(json.dumps({'versions': dict(os.environ), 'faults': {}, 'cuda': None}))"
    answer = interpreters.ask_python(str(program(tmp_path / "python", curious)), ())
    assert answer is not None
    assert "HF_TOKEN" not in answer.versions


def test_python_of_a_command(tmp_path: Path) -> None:
    beside = program(tmp_path / "python", "")
    other = program(tmp_path / "python3.12", "")
    assert python_of(str(program(tmp_path / "vllm", "", interpreter=str(other)))) == str(other)
    assert python_of(str(program(tmp_path / "wrapper", "", interpreter="/bin/sh"))) == str(beside)
    assert python_of(str(tmp_path / "nothing")) is None


async def test_server_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await finding("server")).mark == "skipped"
    monkeypatch.setenv("VLLM_BASE_URL", "http://user:s3cr3t@127.0.0.1:9/v1")
    lost = await finding("server")
    assert lost.mark == "problem"
    assert "cannot be reached" in lost.found
    assert "s3cr3t" not in repr(lost)
    monkeypatch.setenv("VLLM_BASE_URL", "gpu.example:8000")
    assert "not an http(s) URL" in (await finding("server")).found


async def test_server_is_asked_what_it_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_vllm(Vllm()) as served:
        monkeypatch.setenv("VLLM_BASE_URL", f"{served.url}/v1")
        there = await finding("server")
        assert there.mark == "ok"
        assert f"serves {served.model!r}" in there.found
        served.manners.health = 503
        ill = await finding("server")
        assert (ill.mark, "/health: 503" in ill.found) == ("problem", True)
        served.key = "s3cr3t"
        refused = await finding("server")
        assert (refused.mark, "VLLM_API_KEY" in refused.found) == ("problem", True)


async def test_embedded_engine_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    there = await finding("embedded")
    assert there.mark == "ok"
    assert "pocketsphinx 5" in there.found
    monkeypatch.setenv("ENGINE", "vllm")
    assert (await finding("embedded")).mark == "skipped"


async def test_vllm_for_the_processor_needs_no_gpu_whatever_its_torch_is(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE", "vllm")
    vllm(bare_machine, cuda="13.0", version="0.32.0+cpu")
    assert (await finding("vLLM")).mark == "ok"


async def test_gpu_that_does_not_tell_its_memory_is_for_who_says_what_fits(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE", "vllm")
    vllm(bare_machine, cuda="13.0")
    nvidia_smi(bare_machine, "0, GPU-1a2b, NVIDIA A100-SXM4-80GB, [N/A], [N/A]")
    assert "MIG" in (await finding("vLLM")).remedy
    monkeypatch.setenv("VLLM_EXTRA_ARGS", "--gpu-memory-utilization 0.7")
    assert (await finding("vLLM")).mark == "ok"
