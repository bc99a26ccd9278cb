"""Decoders that were taken over, or taken away: each is one typed error, and nothing is left of it.

`tests/audio/test_decode.py` has those that crash at once, hang, or write what is no JSON.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import no_report
from tests.hostile.attempts import children, descriptors, memory_mb, reset_peak
from tests.media import tone
from tests.test_child import alive, eventually
from voxtral_serverless.audio import decode as decode_module
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.errors import AudioUnreadable
from voxtral_serverless.qualify.hostile.attempts import Attempt, attempt
from voxtral_serverless.qualify.media import wav

HEAD = """
import json, os, resource, signal, sys, time
request = json.loads(sys.argv[1])
def tell(**message):
    print(json.dumps(message), flush=True)
def write(*sizes):
    for descriptor, size in zip(request["outputs"], sizes):
        os.write(descriptor, bytes(size))
"""
READY = 'tell(event="ready")\n'
MONO = 'tell(event="header", duration_s=1.0, channels=1, sample_rate=8000)\n'
STEREO = MONO.replace("channels=1", "channels=2")
BEGUN = READY + MONO


def done(**fields: Any) -> str:
    """The last message, as it should be but for these fields."""
    message = {"event": "done", "samples": 100, "damaged": 0, "filled_s": 0.0, "truncated": False} | fields
    return f"tell(**json.loads({json.dumps(message)!r}))\n"


def says(text: str) -> str:
    """These bytes, as they are."""
    return f"sys.stdout.write({text!r}); sys.stdout.flush()\n"


def dies(name: str) -> str:
    """The end by a signal."""
    return f"os.kill(os.getpid(), signal.{name}); time.sleep(60)\n"


JAILED = "from voxtral_serverless.audio._decoder import jail\njail(9000)\n"
WAIT = "time.sleep(60)\n"
DEAD: dict[str, str] = {
    "killed half-way": BEGUN + "write(100)\n" + dies("SIGKILL"),
    "crashes half-way": BEGUN + "write(100)\n" + dies("SIGSEGV"),
    "out of processor time": BEGUN + "resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass\n",
    "eats memory": JAILED + BEGUN + "room = bytearray(2 << 30)\n" + done(),
    "writes a huge file": JAILED + BEGUN + "write(4 << 20)\nos.truncate(request['outputs'][0], 1 << 40)\n" + done(),
    "closes its output": BEGUN + "os.close(1)\n" + WAIT,
}  # fmt: skip
LIES: dict[str, str] = {
    "half of its last message": BEGUN + "write(200)\n" + says('{"event": "done", "samples": 100, ') + dies("SIGKILL"),
    "half a message": BEGUN + says('{"event": "do') + "os.close(1)\n" + WAIT,
    "brackets in brackets": BEGUN + says("[" * 3000 + "\n") + WAIT,
    "no text": BEGUN + "os.write(1, bytes(range(256)))\n" + WAIT,
    "an endless line": BEGUN + "while True: sys.stdout.write('x' * 65536)\n",
    "the same progress for ever": BEGUN + "while True: tell(event='progress', decoded_s=60.0)\n",
    "a little progress for ever": BEGUN + "for step in range(10**9): tell(event='progress', decoded_s=60 + step / 1e6)\n",
    "progress beyond the end": BEGUN + "tell(event='progress', decoded_s=1e6)\n" + WAIT,
    "progress backwards": BEGUN + "tell(event='progress', decoded_s=-60.0)\n" + WAIT,
    "progress that is no number": BEGUN + "tell(event='progress', decoded_s=float('nan'))\n" + WAIT,
    "heads for ever": READY + f"while True:\n    {MONO}",
    "ready for ever": f"while True:\n    {READY}",
    "no head": READY + "write(200)\n" + done(),
    "a head before it is ready": MONO + READY + "write(200)\n" + done(),
    "a duration below nothing": READY + MONO.replace("1.0", "-1.0") + "write(200)\n" + done(),
    "a duration that is none": READY + MONO.replace("1.0", "float('nan')") + "write(200)\n" + done(),
    "an endless duration": READY + MONO.replace("1.0", "float('inf')") + "write(200)\n" + done(),
    "a duration beyond the limit": READY + MONO.replace("1.0", "9000.1") + "write(200)\n" + done(),
    "nine channels": READY + MONO.replace("channels=1", "channels=9") + "write(200)\n" + done(),
    "a rate of nothing": READY + MONO.replace("8000", "0") + "write(200)\n" + done(),
    "more samples than there are": BEGUN + "write(200)\n" + done(samples=101),
    "fewer samples than there are": BEGUN + "write(200)\n" + done(samples=99),
    "samples below nothing": BEGUN + done(samples=-100),
    "no samples": BEGUN + done(samples=0),
    "samples that are no number": BEGUN + "write(200)\n" + done(samples="100"),
    "samples beyond any number": BEGUN + says('{"event": "done", "samples": 1' + "0" * 3000 + "}\n") + WAIT,
    "planes without a sample": READY + STEREO + "write(200)\n" + done(),
    "one plane": READY + STEREO + "write(200, 200)\n" + done(),
    "more damage than there is file": BEGUN + "write(200)\n" + done(damaged=10**9),
    "gaps longer than the recording": BEGUN + "write(200)\n" + done(filled_s=1e6),
    "more than was asked": BEGUN + "write(200)\n" + done(path="/etc/passwd"),
    "an unknown event": BEGUN + "tell(event='exec', command='id')\n" + WAIT,
    "an unknown error": BEGUN + "tell(event='error', code='internal_error', figure=0)\n" + WAIT,
    "an error with a text": BEGUN + "tell(event='error', code='audio_empty', figure='kAnArIe7')\n" + WAIT,
    "an error without a figure": BEGUN + "tell(event='error', code='audio_too_long', figure=float('nan'))\n" + WAIT,
}  # fmt: skip


async def tried(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Decode with a decoder that does this."""
    (tmp_path / "decoder.py").write_text(HEAD + script)
    monkeypatch.setattr(decode_module, "DECODER", (str(tmp_path / "decoder.py"),))
    return await attempt(wav(tmp_path / "a.wav", tone()), tmp_path / "decoded")


@pytest.mark.parametrize("name", DEAD)
async def test_dead_decoder_is_one_typed_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await tried(DEAD[name], tmp_path, monkeypatch)
    assert (found.code, found.left, children()) == ("audio_unreadable", [], []), found.outcome


@pytest.mark.parametrize("name", LIES)
async def test_lie_is_one_typed_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await tried(LIES[name], tmp_path, monkeypatch)
    assert (found.code, found.left, children()) == ("stage_failed", [], []), found.outcome
    assert "kAnArIe7" not in found.told


@pytest.mark.parametrize("channels", [1, 2])
async def test_decoder_that_tells_the_truth_is_believed(
    channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the lies above would prove nothing."""
    script = READY + (MONO if channels == 1 else STEREO) + f"write(*[200] * {2 * channels - 1})\n" + done()
    found = await tried(script, tmp_path, monkeypatch)
    assert found.code is None
    assert found.left == sorted(["mix.s16", "channel0.s16", "channel1.s16"][: 2 * channels - 1])


async def test_flood_costs_no_memory_and_no_descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "first").mkdir()
    await tried(LIES["no text"], tmp_path / "first", monkeypatch)
    before, open_before = memory_mb("VmRSS"), descriptors()
    reset_peak()
    for name in ("an endless line", "heads for ever", "the same progress for ever"):
        (tmp_path / name).mkdir()
        await tried(LIES[name], tmp_path / name, monkeypatch)
    assert memory_mb("VmHWM") - before < 8
    assert await eventually(lambda: descriptors() <= open_before)


async def test_decoder_killed_in_its_work_is_one_typed_error(tmp_path: Path) -> None:
    """The real one, by the real SIGKILL: not even the outputs so far are left."""

    def kill(decoded_s: float, announced_s: float) -> None:
        os.kill(int(children()[0]), signal.SIGKILL)

    (tmp_path / "decoded").mkdir()
    file = wav(tmp_path / "a.wav", np.zeros((1, 16_000 * 3000), np.int16))
    with pytest.raises(AudioUnreadable):
        await decode(file, tmp_path / "decoded", 9000, kill)
    assert (list((tmp_path / "decoded").iterdir()), children()) == ([], [])


async def test_cancelled_decoding_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "decoded").mkdir()
    file = wav(tmp_path / "a.wav", np.zeros((1, 16_000 * 3000), np.int16))
    task = asyncio.create_task(decode(file, tmp_path / "decoded", 9000, no_report))
    assert await eventually(lambda: bool(children()), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (list((tmp_path / "decoded").iterdir()), children()) == ([], [])


async def test_grandchild_that_keeps_the_pipe_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has left the group, and so outlives the decoder; nobody waits for its end of the pipe."""
    escape = (
        "import subprocess\n"
        f"child = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(30)'], start_new_session=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\n"
    )
    found = await tried(escape + BEGUN + says("x" * 60_000) + "os._exit(1)\n", tmp_path, monkeypatch)
    escaped = int((tmp_path / "pid").read_text())
    try:
        assert (found.code, found.left) == ("stage_failed", [])
        assert alive(escaped)
        assert found.took_s < 10
    finally:
        os.kill(escaped, signal.SIGKILL)


async def test_jail_holds_memory_files_and_their_sizes(tmp_path: Path) -> None:
    """By what the system does to who oversteps the limits of the real decoder."""
    script = HEAD + JAILED + (
        "try: room = bytearray(2 << 30)\nexcept MemoryError: print('memory')\n"
        "files = []\ntry:\n    while len(files) < 100: files.append(open('/dev/null'))\nexcept OSError: print('files')\n"
        "try: os.truncate(request['file'], 1 << 40)\nexcept OSError: print('size')\n"
    )  # fmt: skip
    (tmp_path / "out").touch()
    request = json.dumps({"file": str(tmp_path / "out")})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, request, stdout=asyncio.subprocess.PIPE
    )
    assert (await process.communicate())[0].split() == [b"memory", b"files", b"size"]
