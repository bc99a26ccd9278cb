"""What processes hold at their peak, real ones; nvidia-smi is a small script that answers as it does."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.test_child import eventually
from voxtral_serverless.qualify.watch import Watch, watching
from voxtral_serverless.workspace import workspace

HELD_MIB = 150
HOLDS = f"x = bytearray(b'x' * ({HELD_MIB} << 20)); print('held', flush=True); input()"


async def held_by(*arguments: str) -> int:
    """The peaks while a child holds memory."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDS, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    await process.stdout.readline()
    watch = Watch()
    watch.look()
    process.kill()
    await process.wait()
    role = "torch" if "_torch_process" in arguments else "vllm" if "serve" in arguments else "worker"
    held = watch.peaks()[f"{role}_rss_mib"]
    assert isinstance(held, int)
    return held


@pytest.mark.parametrize("arguments", [("vllm", "serve", "model"), ("_torch_process",), ()])
async def test_memory_counts_for_whose_process_it_is(arguments: tuple[str, ...]) -> None:
    before = Watch()
    before.look()
    own = before.peaks()["worker_rss_mib"]
    assert isinstance(own, int)
    least = HELD_MIB if arguments else HELD_MIB + own // 2
    assert least <= await held_by(*arguments) <= least + own + 100


def disk_mib(watch: Watch) -> int:
    held = watch.peaks()["disk_mib"]
    return held if isinstance(held, int) else 0


async def test_a_peak_is_kept() -> None:
    with workspace() as before:
        (before / "larger").write_bytes(os.urandom(32 << 20))
        async with watching() as watch:
            with workspace() as folder:
                (folder / "large").write_bytes(os.urandom(8 << 20))
                await eventually(lambda: disk_mib(watch) >= 8, 20)
            assert 8 <= disk_mib(watch) < 16, "what was there before is nobody's"


async def test_without_a_gpu_nothing_is_told_of_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    watch = Watch()
    watch.look()
    peaks = watch.peaks()
    assert [peaks[name] for name in ("worker_gpu_mib", "vllm_gpu_mib", "torch_gpu_mib", "gpu_used_mib")] == [None] * 4


async def test_memory_of_the_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two GPUs; one of the processes is ours, one somebody else's, of one nothing is known."""
    script = tmp_path / "nvidia-smi"
    script.write_text(
        "#!/bin/sh\ncase $1 in\n"
        f"  --query-compute-apps=*) echo '{os.getpid()}, 1500'; echo '1, 700'; echo '2, [N/A]';;\n"
        "  *) echo 2500; echo 300;;\nesac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    watch = Watch()
    watch.look()
    assert watch.peaks()["worker_gpu_mib"] == 1500
    assert watch.peaks()["gpu_used_mib"] == 2800
    assert watch.peaks()["vllm_gpu_mib"] is None
