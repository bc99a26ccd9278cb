"""Decoding against the ffmpeg command: processor time for the same three planes, and memory.

    python bench/decoding.py [--hours 2.5] [RECORDING]

Without RECORDING, the bundled call is repeated into a 44.1 kHz stereo MP3 of that length. Needs Debian's `ffmpeg`.
Prints one JSON object: ratio of processor times (ours, worker and child, over ffmpeg's on one thread) and the
peak of anonymous memory (RssAnon) of worker and child together. A claim of the project: at most 1.3, under 150 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import tempfile
import threading
from pathlib import Path

from voxtral_serverless.audio.decode import decode

CALL = Path(__file__).parent.parent / "examples" / "call.ogg"
PLANES = "[0:a]aresample=16000,asplit=2[x][y];[x]channelsplit[left][right];[y]pan=mono|c0=0.5*c0+0.5*c1[mix]"


class MemoryWatch(threading.Thread):
    """Samples the anonymous memory of this process and its children until stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self.done = threading.Event()

    def run(self) -> None:
        """Sample twenty times a second."""
        own = os.getpid()
        while not self.done.wait(0.05):
            children = Path(f"/proc/{own}/task/{own}/children").read_text().split()
            self.peak_mb = max(self.peak_mb, sum(anonymous_mb(pid) for pid in (str(own), *children)))


def anonymous_mb(pid: str) -> float:
    """RssAnon of a process in megabytes, 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("RssAnon"))


def processor_s() -> float:
    """Processor time of this process and of its ended children."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def make_recording(folder: Path, hours: float) -> Path:
    """The bundled call, over and over, as stereo MP3."""
    file = folder / "long.mp3"
    command = ["ffmpeg", "-v", "error", "-stream_loop", "-1", "-i", str(CALL), "-t", str(hours * 3600)]
    subprocess.run([*command, "-ac", "2", "-ar", "44100", "-b:a", "128k", str(file)], check=True)
    return file


def ffmpeg_s(recording: Path, folder: Path) -> float:
    """Processor time of ffmpeg writing the mix and both channels as 16 kHz s16."""
    before = processor_s()
    command = ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", str(recording), "-filter_complex", PLANES]
    for name in ("mix", "left", "right"):
        command += ["-map", f"[{name}]", "-c:a", "pcm_s16le", "-f", "s16le", str(folder / name)]
    subprocess.run(command, check=True)
    return processor_s() - before


def ours_s(recording: Path, folder: Path) -> tuple[float, float, float]:
    """Processor time, peak of anonymous memory in megabytes, and decoded seconds of our decoder."""
    watch = MemoryWatch()
    watch.start()
    before = processor_s()
    decoded = asyncio.run(decode(recording, folder, 10 * 3600, lambda *_: None))
    taken = processor_s() - before
    watch.done.set()
    watch.join()
    return taken, watch.peak_mb, decoded.duration


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?", type=Path)
    parser.add_argument("--hours", type=float, default=2.5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = arguments.recording or make_recording(folder, arguments.hours)
        stock = ffmpeg_s(recording, folder)
        (folder / "ours").mkdir()
        ours, peak_mb, duration = ours_s(recording, folder / "ours")
    figures = {
        "audio_s": duration,
        "ours_cpu_s": ours,
        "ffmpeg_cpu_s": stock,
        "ratio": ours / stock,
        "peak_mb": peak_mb,
    }
    print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
