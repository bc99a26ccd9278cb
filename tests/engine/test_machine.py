import socket
import sys
from pathlib import Path

import pytest

from voxtral_serverless.engine.machine import Gpu, available_memory_mib, find_vllm, free_port, parse_gpus, seen_gpus
from voxtral_serverless.errors import EngineUnavailable

TABLE = """\
0, GPU-1a2b, NVIDIA GeForce RTX 4090, 24564, 24080
1, GPU-3c4d, NVIDIA L4, 23034, 22500
2, GPU-5e6f, NVIDIA GB10, [N/A], [N/A]
"""
FIRST, SECOND = Gpu("NVIDIA GeForce RTX 4090", 24_564, 24_080), Gpu("NVIDIA L4", 23_034, 22_500)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, (FIRST, SECOND)),
        ("1", (SECOND,)),
        ("1,0", (SECOND, FIRST)),
        ("GPU-3c", (SECOND,)),
        ("", ()),
        ("-1", ()),
        ("0,7,1", (FIRST,)),
    ],
)
def test_visible_gpus(visible: str | None, expected: tuple[Gpu, ...]) -> None:
    assert parse_gpus(TABLE, visible) == expected


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return path


def test_gpus_are_asked_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert seen_gpus() == ()
    program(tmp_path, "nvidia-smi", f"print({TABLE!r})")
    assert seen_gpus() == (FIRST, SECOND)
    program(tmp_path, "nvidia-smi", "raise SystemExit(9)")
    assert seen_gpus() == ()


def test_vllm_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "ours"))
    assert find_vllm(None) is None
    beside = tmp_path / ".venv-engine" / "bin"
    beside.mkdir(parents=True)
    program(beside, "vllm", "")
    assert find_vllm(None) == str(beside / "vllm")
    program(tmp_path, "vllm", "")
    assert find_vllm(None) == str(tmp_path / "vllm")
    assert find_vllm(str(beside / "vllm")) == str(beside / "vllm")
    assert find_vllm(str(tmp_path / "nothing")) is None


def test_available_memory_is_some_of_the_machines() -> None:
    total = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    assert 0 < available_memory_mib() <= total


def test_taken_port_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        port = free_port(taken)
    assert taken < port < taken + 100
    assert f"port {taken} (VLLM_PORT) is taken" in caplog.text


def test_no_port_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr("voxtral_serverless.engine.machine.PORTS", 1)
        with pytest.raises(EngineUnavailable, match="VLLM_PORT"):
            free_port(taken)
