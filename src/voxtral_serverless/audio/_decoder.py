"""The jailed decoder: a process that reads a media file on standard input and writes 16 kHz PCM.

`decode` starts it as `python -I -m voxtral_serverless.audio._decoder REQUEST`, in an empty folder and with an empty
environment. It answers with JSON lines on standard output: `ready`, `header`, `progress` while it works, then
`done` or `error`.

Covered: formats and codecs by allow-list (no playlist, no network protocol, no device), limits counted while
decoding (duration, channels, sample rate, bytes written), memory, processor time, open files, no new
privileges, death with the parent. Not covered: system calls as such (no seccomp), so a parser that is taken over
can read what this user can read. `_media` reads the file, `_planes` lays it on the time line and writes it.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
from typing import Any

import av

from voxtral_serverless.audio._media import (
    PAUSE_BYTES,
    Input,
    Reading,
    Refused,
    check_header,
    decoded_frames,
    open_audio,
    riff_is_cut,
)
from voxtral_serverless.audio._planes import OUTPUT_RATE, PlaneWriter, TimeLine


def tell(event: str, **fields: Any) -> None:
    """One line to the parent; a parent that is gone ends this process."""
    sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
    sys.stdout.flush()


def jail(max_duration_s: float) -> None:
    """Give up what decoding does not need. Called after the imports, which need more."""
    file_bytes = int((max_duration_s + 60) * OUTPUT_RATE * 2)
    processor_s = 60 + int(max_duration_s / 120)
    for limit, value in (
        (resource.RLIMIT_AS, 1 << 30),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CPU, processor_s),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        lower = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lower, lower))
    if sys.platform == "linux":
        die_with_parent()


def die_with_parent() -> None:
    """Ask Linux for a kill when the parent ends, and for no new privileges (prctl(2))."""
    import ctypes

    set_parent_death_signal, set_no_new_privileges = 1, 38
    prctl = ctypes.CDLL(None).prctl
    prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    prctl(set_no_new_privileges, 1, 0, 0, 0)


def check_disk(descriptor: int, duration_s: float, planes: int) -> None:
    """Refuse before the first byte where the announced duration does not fit on the disk."""
    disk = os.fstatvfs(descriptor)
    missing = duration_s * OUTPUT_RATE * 2 * planes - disk.f_bavail * disk.f_frsize
    if missing > 0:
        raise Refused("disk_full", missing / 1e6)


def decode(outputs: list[int], max_duration_s: float) -> None:
    """Decode standard input into `outputs`: the mix, then room for two planes."""
    source = Input()
    container, stream = open_audio(source)
    announced_s = check_header(container, stream, max_duration_s)
    stereo = stream.codec_context.channels == 2
    check_disk(outputs[0], announced_s, 3 if stereo else 1)
    tell("header", duration_s=announced_s, channels=stream.codec_context.channels,
         sample_rate=stream.codec_context.sample_rate)  # fmt: skip
    reading, writer, told = Reading(), PlaneWriter(outputs, stereo, max_duration_s), 0.0
    line = TimeLine(writer, reading, announced_s + 1 if announced_s else max_duration_s)
    for frame in decoded_frames(source, container, stream, reading):
        line.place(frame)
        if writer.samples / OUTPUT_RATE >= told + 60:
            told = writer.samples / OUTPUT_RATE
            tell("progress", decoded_s=told)
    if reading.lost_last:
        line.advance(reading.lost_until_s)
    writer.close()
    pauses = stream.codec_context.name in PAUSE_BYTES
    finish(announced_s, writer.samples, reading, 0.0 if pauses else line.filled_s)


def finish(announced_s: float, samples: int, reading: Reading, filled_s: float) -> None:
    """The last line: how much was decoded, and whether the file seems to be cut or damaged."""
    if not samples:
        raise Refused("audio_unreadable" if reading.undecodable or reading.cut else "audio_empty")
    short = announced_s - samples / OUTPUT_RATE > max(0.5, 0.02 * announced_s)
    # A last packet of padding harms nobody.
    damaged = max(0, reading.undecodable - reading.lost_last)
    tell("done", samples=samples, damaged=damaged, filled_s=filled_s, truncated=reading.cut or short or riff_is_cut())


def main(request: str) -> None:
    """Run one request: a JSON object with `outputs` (file descriptors) and `max_duration_s`."""
    wanted = json.loads(request)
    jail(wanted["max_duration_s"])
    av.logging.set_level(None)
    tell("ready")
    try:
        decode(wanted["outputs"], wanted["max_duration_s"])
    except Refused as refusal:
        tell("error", code=refusal.code, figure=refusal.figure)
    except (MemoryError, av.error.FFmpegError):
        tell("error", code="audio_unreadable", figure=0)
    except OSError as error:
        tell("error", code="disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "stage_failed", figure=0)


if __name__ == "__main__":
    main(sys.argv[1])
