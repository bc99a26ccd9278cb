"""The jailed decoder: a script of its own that reads a media file on standard input and writes 16 kHz PCM.

`decode` starts it as `python -I _decoder.py REQUEST` in an empty folder with an empty environment. It answers
with JSON lines on standard output: `ready`, `header`, `progress` while it works, then `done` or `error`.

Covered: formats and codecs by allow-list (no playlist, no network protocol, no device), limits counted while
decoding (duration, channels, sample rate, bytes written), memory, processor time, open files, no new
privileges, death with the parent; times stay true where the file announces a late start or a gap, or where a
packet cannot be decoded: silence fills the hole. Not covered: system calls as such (no seccomp), so a parser that
is taken over can read what this user can read.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

FORMATS = "wav,w64,mp3,ogg,flac,mov,matroska,webm,aac,amr,amrnb,amrwb,gsm,au,caf,aiff,asf"
CODECS = (
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,"
    "pcm_f64be,pcm_mulaw,pcm_alaw,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_g726,adpcm_g722,gsm,gsm_ms,"
    "mp3,mp3float,mp2,mp2float,vorbis,opus,libopus,flac,alac,aac,aac_fixed,amrnb,amrwb,wmav1,wmav2,wmapro,wmavoice"
)
SAMPLE_RATES = range(4_000, 192_001)
CHANNELS = range(1, 9)
OUTPUT_RATE = 16_000
GROUP_SAMPLES = 65_536
"""Input samples handed to the resampler at once: frame by frame costs twice the processor time."""
PAUSE_BYTES = {"amrnb": 6, "amrwb": 6}
"""Packets up to this size announce a pause (discontinuous transmission), which FFmpeg's decoders leave out."""
GAP_S = 0.05
"""A hole in the time line longer than this is filled with silence; less is jitter of the container's clock."""
MAX_FAULTS = 64
"""So many faults of the container in a row, without a packet between them, are its end."""
UNKNOWN_RIFF_SIZE = 0x7FFFF000
"""WAV written to a pipe claims at least so many bytes."""


class Refused(Exception):
    """The file cannot be decoded: a code of `voxtral_serverless.errors`, or `damaged`, and a figure for the text."""

    def __init__(self, code: str, figure: float = 0) -> None:
        super().__init__(code)
        self.code = code
        self.figure = figure


@dataclass
class Damage:
    """What was wrong in the file and could be passed over.

    Attributes:
        packets: How many packets could not be decoded.
        last: Whether the last packet is one of them.
        lost_until_s: Where the last of them ends on the file's time line.
        cut: Whether the file ends in the middle.
    """

    packets: int = 0
    last: bool = False
    lost_until_s: float = 0.0
    cut: bool = False


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


def open_audio() -> tuple[Any, Any]:
    """The container on standard input and its first audio stream."""
    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS, "protocol_whitelist": "file"}
    try:
        container = av.open(sys.stdin.buffer, mode="r", options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        raise Refused("audio_unreadable") from error
    if not container.streams.audio:
        raise Refused("audio_missing")
    known = [stream for stream in container.streams.audio if is_allowed(stream)]
    if not known:
        raise Refused("audio_unreadable")
    known[0].codec_context.thread_count = 1
    return container, known[0]


def is_allowed(stream: Any) -> bool:
    """Whether the stream's codec is on the list."""
    return stream.codec_context is not None and stream.codec_context.codec.name in CODECS.split(",")


def check_header(container: Any, stream: Any, max_duration_s: float) -> float:
    """The duration that the file announces, in seconds; 0 where it announces none, or only lets it be guessed."""
    if stream.codec_context.sample_rate not in SAMPLE_RATES:
        raise Refused("audio_parameters", stream.codec_context.sample_rate)
    if stream.codec_context.channels not in CHANNELS:
        raise Refused("audio_parameters", stream.codec_context.channels)
    if not announces_duration(container.format.name):
        return 0.0
    if stream.duration:
        duration_s = starts_at_s(container, stream) + float(stream.duration * stream.time_base)
    else:
        alone = len(container.streams) == 1
        duration_s = float(container.duration or 0) / av.time_base if alone else 0.0
    if duration_s > max_duration_s:
        raise Refused("audio_too_long", duration_s)
    return duration_s


def starts_at_s(container: Any, stream: Any) -> float:
    """How long after the start of the file the stream starts (a video may begin without sound)."""
    return max(0.0, float((stream.start_time or 0) * stream.time_base) - zero_s(container))


def zero_s(container: Any) -> float:
    """The time stamp of the start of the file. What is alone in a file starts with it; beside a picture, which is
    not looked at, time stamps count from 0.
    """
    return float(container.start_time or 0) / av.time_base if len(container.streams) == 1 else 0.0


def announces_duration(format_name: str) -> bool:
    """Whether FFmpeg read the duration in the file, rather than divide its size by a bit rate."""
    if format_name != "mp3":
        return format_name not in ("aac", "amr")
    head = os.pread(sys.stdin.fileno(), 10, 0)
    tag_bytes = 0
    if head[:3] == b"ID3":  # its size has seven bits a byte
        tag_bytes = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    first_frame = os.pread(sys.stdin.fileno(), 4096, tag_bytes)
    return any(name in first_frame for name in (b"Xing", b"Info", b"VBRI"))


def read_packets(container: Any, stream: Any, damage: Damage) -> Iterator[Any]:
    """The packets of the stream. A fault of the container is passed over, as long as packets come after it."""
    faults = 0
    while faults < MAX_FAULTS:
        try:
            for packet in container.demux(stream):
                faults = 0
                yield packet
        except av.error.FFmpegError:
            faults += 1
            continue
        return
    damage.cut = True


def decoded_frames(container: Any, stream: Any, damage: Damage) -> Iterator[AudioFrame]:
    """The frames of the stream; a packet that cannot be decoded is left out and noted."""
    for packet in read_packets(container, stream, damage):
        try:
            yield from packet.decode()
            damage.last = damage.last and not packet.size
        except av.error.FFmpegError:
            damage.packets += packet.size > PAUSE_BYTES.get(stream.codec_context.name, 0)
            damage.last = True
            if packet.pts is not None:
                damage.lost_until_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)


class TimeLine:
    """Hands frames on at the time at which the file places them: holes become silence, overlaps stay as they are.

    Without time stamps, or where they leap beyond what the file announces, frames follow each other.

    Attributes:
        filled_s: Seconds of silence that were put between frames.
    """

    def __init__(self, writer: PlaneWriter, zero_s: float, end_s: float) -> None:
        self._writer = writer
        self._zero_s = zero_s
        self._end_s = end_s
        self._now_s = 0.0
        self._like: AudioFrame | None = None
        self.filled_s = 0.0

    def place(self, frame: AudioFrame) -> None:
        """Write a frame, and before it the silence that leads up to it."""
        self._like = self._like or frame
        if frame.time is not None:
            self.advance(frame.time)
        self._now_s += frame.samples / frame.sample_rate
        self._writer.write(frame)

    def advance(self, to_s: float) -> None:
        """Write silence up to a time of the file, if that is ahead and plausible."""
        missing_s = to_s - self._zero_s - self._now_s
        if missing_s <= GAP_S or to_s - self._zero_s > self._end_s or self._like is None:
            return
        self.filled_s += missing_s if self._now_s else 0.0
        self._now_s += missing_s
        rate = self._like.sample_rate
        samples = round(missing_s * rate)
        while samples > 0:
            self._writer.write(silence_like(self._like, min(samples, rate)))
            samples -= rate


def silence_like(frame: AudioFrame, samples: int) -> AudioFrame:
    """A silent frame of the same format, layout and rate."""
    silent = AudioFrame(format=frame.format.name, layout=frame.layout.name, samples=samples)
    for plane in silent.planes:
        plane.update((b"\x80" if frame.format.name.startswith("u8") else b"\0") * plane.buffer_size)
    silent.sample_rate = frame.sample_rate
    return silent


class PlaneWriter:
    """Resamples frames to 16 kHz and writes the mix and, of a stereo stream, both channels."""

    def __init__(self, descriptors: list[int], stereo: bool, max_duration_s: float) -> None:
        self.files = [os.fdopen(descriptor, "wb", buffering=1 << 20) for descriptor in descriptors]
        self.stereo = stereo
        self.max_samples = int(max_duration_s * OUTPUT_RATE)
        self.samples = 0
        self._shape: tuple[str, str, int] | None = None

    def write(self, frame: AudioFrame) -> None:
        """Take one frame of any shape; one that differs from the last starts a new resampler."""
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            self.flush()
            self._start(shape)
        frame.pts = None
        self._fifo.write(frame)
        while group := self._fifo.read(GROUP_SAMPLES):
            self._resample(group)

    def flush(self) -> None:
        """Write what the resampler still holds."""
        if self._shape is None:
            return
        if rest := self._fifo.read(0, partial=True):
            self._resample(rest)
        self._resample(None)
        for mixed in self._mixer.resample(None) if self.stereo else []:
            self._put(0, mixed.planes[0], mixed.samples)
        self._shape = None

    def close(self) -> None:
        """Flush and close all files."""
        self.flush()
        for file in self.files:
            file.close()

    def _start(self, shape: tuple[str, str, int]) -> None:
        if shape[2] not in SAMPLE_RATES:
            raise Refused("audio_parameters", shape[2])
        self._shape = shape
        self._fifo = AudioFifo()
        self._resampler = AudioResampler("s16p", "stereo" if self.stereo else "mono", OUTPUT_RATE)
        self._mixer = AudioResampler("s16", "mono", OUTPUT_RATE)

    def _resample(self, group: AudioFrame | None) -> None:
        if group is not None:
            group.pts = None
        for frame in self._resampler.resample(group):
            self.samples += frame.samples
            if self.samples > self.max_samples:
                raise Refused("audio_too_long", self.samples / OUTPUT_RATE)
            if not self.stereo:
                self._put(0, frame.planes[0], frame.samples)
                continue
            self._put(1, frame.planes[0], frame.samples)
            self._put(2, frame.planes[1], frame.samples)
            frame.pts = None
            for mixed in self._mixer.resample(frame):
                self._put(0, mixed.planes[0], mixed.samples)

    def _put(self, index: int, plane: Any, samples: int) -> None:
        self.files[index].write(memoryview(plane)[: 2 * samples])


def check_disk(descriptor: int, duration_s: float, planes: int) -> None:
    """Refuse before the first byte where the announced duration does not fit on the disk."""
    disk = os.fstatvfs(descriptor)
    missing = duration_s * OUTPUT_RATE * 2 * planes - disk.f_bavail * disk.f_frsize
    if missing > 0:
        raise Refused("disk_full", missing / 1e6)


def decode(outputs: list[int], max_duration_s: float) -> None:
    """Decode standard input into `outputs`: the mix, then room for two planes."""
    container, stream = open_audio()
    announced_s = check_header(container, stream, max_duration_s)
    stereo = stream.codec_context.channels == 2
    check_disk(outputs[0], announced_s, 3 if stereo else 1)
    tell("header", duration_s=announced_s, channels=stream.codec_context.channels,
         sample_rate=stream.codec_context.sample_rate)  # fmt: skip
    damage, writer, told = Damage(), PlaneWriter(outputs, stereo, max_duration_s), 0.0
    line = TimeLine(writer, zero_s(container), announced_s + 1 if announced_s else max_duration_s)
    for frame in decoded_frames(container, stream, damage):
        line.place(frame)
        if writer.samples / OUTPUT_RATE >= told + 60:
            told = writer.samples / OUTPUT_RATE
            tell("progress", decoded_s=told)
    if damage.last:
        line.advance(damage.lost_until_s)
    writer.close()
    pauses = stream.codec_context.name in PAUSE_BYTES
    finish(container.format.name, announced_s, writer.samples, damage, 0.0 if pauses else line.filled_s)


def finish(format_name: str, announced_s: float, samples: int, damage: Damage, filled_s: float) -> None:
    """The last line: how much was decoded, and whether the file seems to be cut or damaged."""
    if not samples:
        raise Refused("audio_unreadable" if damage.packets or damage.cut else "audio_empty")
    missing_s = announced_s - samples / OUTPUT_RATE
    short = missing_s > max(0.5, 0.02 * announced_s)
    broken_end = format_name == "mp3" and damage.last
    # A last packet of padding harms nobody.
    damaged = damage.packets - (1 if damage.last and damage.packets else 0)
    truncated = damage.cut or short or broken_end or riff_is_cut()
    tell("done", samples=samples, damaged=damaged, filled_s=filled_s, truncated=truncated)


def riff_is_cut() -> bool:
    """Whether a WAV file is shorter than its own head says (FFmpeg corrects that in silence)."""
    head = os.pread(sys.stdin.fileno(), 8, 0)
    announced = int.from_bytes(head[4:8], "little")
    known = 0 < announced < UNKNOWN_RIFF_SIZE
    return head[:4] == b"RIFF" and known and os.fstat(sys.stdin.fileno()).st_size + 1 < announced + 8


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
    except MemoryError:
        tell("error", code="audio_unreadable", figure=0)
    except OSError as error:
        tell("error", code="disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "stage_failed", figure=0)


if __name__ == "__main__":
    main(sys.argv[1])
