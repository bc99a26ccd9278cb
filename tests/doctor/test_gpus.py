from pathlib import Path

import pytest

from tests.doctor.conftest import finding, nvidia_smi, program, vllm
from voxtral_serverless.doctor.findings import Mark
from voxtral_serverless.doctor.gpus import driver_finding


@pytest.mark.parametrize(
    ("environment", "mark", "words"),
    [
        ({}, "warning", "ENGINE=embedded"),
        ({"ENGINE": "vllm"}, "warning", "vLLM runs on the processor"),
        ({"ENGINE": "vllm", "VLLM_BASE_URL": "http://gpu.example"}, "warning", "pyannote runs on the processor"),
        ({"VLLM_BASE_URL": "http://gpu.example", "DIARIZER": "none"}, "skipped", "served elsewhere"),
        ({"ENGINE": "embedded"}, "skipped", "needs none"),
    ],
)
async def test_no_gpu_is_told_with_what_it_means(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], mark: Mark, words: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = await finding("GPU")
    assert found.mark == mark
    assert found.found.startswith("there is no GPU (there is no nvidia-smi)")
    assert words in found.found + found.remedy


async def test_gpus_are_named(bare_machine: Path) -> None:
    nvidia_smi(bare_machine)
    found = await finding("GPU")
    assert (found.mark, found.found) == ("ok", "NVIDIA L4 (22 GB, 22 free).")


async def test_driver_that_says_nothing_is_a_problem(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(bare_machine / "nvidia-smi", "raise SystemExit(9)")
    assert (await finding("GPU")).mark == "problem"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    hidden = await finding("GPU")
    assert hidden.mark == "warning"
    assert "CUDA_VISIBLE_DEVICES hides all" in hidden.found


@pytest.mark.parametrize(
    ("driver", "cuda", "mark", "words"),
    [
        ("580.95.05", "13.0", "ok", "580 or newer"),
        ("575.57.08", "13.0", "problem", "cu129"),
        ("575.57.08", "12.9", "ok", "525 or newer"),
        ("470.256.02", "12.9", "problem", "too old"),
        ("580.95.05", None, "problem", "without CUDA"),
        (None, "13.0", "warning", "unknown"),
        ("580.95.05", "14.1", "warning", "not known"),
        ("580.95.05", "nonsense", "warning", "not known"),
    ],
)
def test_driver_against_the_cuda_of_vllm(driver: str | None, cuda: str | None, mark: Mark, words: str) -> None:
    found = driver_finding(driver, cuda)
    assert found.mark == mark
    assert words in found.found + found.remedy


async def test_driver_is_held_against_the_vllm_in_use(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(bare_machine, driver="550.54.14")
    vllm(bare_machine, cuda="13.0")
    old = await finding("driver")
    assert old.mark == "problem"
    assert "driver 550.54.14 is too old for vLLM's CUDA 13.0" in old.found
    assert "allowedCudaVersions" in old.remedy
    vllm(bare_machine, cuda="12.9")
    assert (await finding("driver")).mark == "ok"
    monkeypatch.setenv("ENGINE", "embedded")
    assert (await finding("driver")).mark == "skipped"


async def test_model_that_does_not_fit_is_told_with_the_ways_out(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(bare_machine)
    vllm(bare_machine, cuda="13.0")
    mini = await finding("model")
    assert mini.mark == "ok"
    assert "of the GPU" in mini.found
    monkeypatch.setenv("VOXTRAL_MODEL", "mistralai/Voxtral-Small-24B-2507")
    small = await finding("model")
    assert small.mark == "problem"
    assert "this machine has 22 GB" in small.found
    monkeypatch.setenv("VLLM_EXTRA_ARGS", "--cpu-offload-gb 40")
    assert "not checked" in (await finding("model")).found


async def test_gpu_of_which_nothing_tells(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without the driver's tools."""
    monkeypatch.setenv("ENGINE", "vllm")
    (bare_machine.parent / "nvidia0").touch()
    untold = await finding("GPU")
    assert (untold.mark, "no nvidia-smi to tell of it" in untold.found) == ("problem", True)
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in untold.remedy
