"""What the jailed decoder knows of media files: which it opens, what they announce, and their frames.

Part of the decoder's process (`_decoder`); nothing of the worker imports it.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
from av.audio.frame import AudioFrame

FORMATS = "wav,w64,mp3,ogg,flac,mov,matroska,webm,aac,amr,amrnb,amrwb,gsm,au,caf,aiff,asf"
CODECS = (
    "pcm_u8,pcm_s8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s24be,pcm_s32le,pcm_s32be,pcm_f32le,pcm_f32be,pcm_f64le,"
    "pcm_f64be,pcm_mulaw,pcm_alaw,adpcm_ms,adpcm_ima_wav,adpcm_ima_qt,adpcm_g726,adpcm_g722,gsm,gsm_ms,"
    "mp3,mp3float,mp2,mp2float,vorbis,opus,libopus,flac,alac,aac,aac_fixed,amrnb,amrwb,wmav1,wmav2,wmapro,wmavoice"
)
SAMPLE_RATES = range(4_000, 192_001)
CHANNELS = range(1, 9)
PAUSE_BYTES = {"amrnb": 6, "amrwb": 6}
"""Packets up to this size announce a pause (discontinuous transmission), which FFmpeg's decoders leave out."""
MAX_FAULTS = 64
"""So many faults of the container in a row, without a packet between them, are its end."""
LATE_START_S = 1.0
"""Where the sound starts later than this, containers disagree on what their duration counts from."""
FRUITLESS_BYTES = 64 << 20
FRUITLESS_S = 0.7
"""So many bytes of a file, or seconds of processor time, without a packet are its end: FFmpeg may take minutes to find that
gigabytes of nothing are nothing. Opening hours of sound takes 0.02 s."""
RIFF_SLACK_BYTES = 64
"""Writers of WAV heads miscount by a header's size or two."""
UNKNOWN_RIFF_SIZE = 0x7FFFF000
"""WAV written to a pipe claims at least so many bytes."""


class Refused(Exception):
    """The file cannot be decoded: a code of `voxtral_serverless.errors`, and a figure for the message."""

    def __init__(self, code: str, figure: float = 0) -> None:
        super().__init__(code)
        self.code = code
        self.figure = figure


@dataclass
class Reading:
    """What reading a file has shown so far.

    Attributes:
        earliest_s: The first time stamp of any stream: the start of the file.
        undecodable: How many packets could not be decoded.
        lost_last: Whether the last packet is one of them.
        lost_until_s: Where the last of them ends on the file's time line.
        cut: Whether the file ends in the middle.
    """

    earliest_s: float | None = None
    undecodable: int = 0
    lost_last: bool = False
    lost_until_s: float = 0.0
    cut: bool = False


class Input:
    """Standard input as FFmpeg reads it, with an end where it gets nothing out of it.

    Attributes:
        exhausted: Whether it ended before the file did.
    """

    def __init__(self) -> None:
        self.exhausted = False
        self.rewarded()

    def read(self, size: int) -> bytes:
        """The next bytes."""
        fruitless = self._bytes >= FRUITLESS_BYTES or time.process_time() - self._since_s >= FRUITLESS_S
        self.exhausted = self.exhausted or fruitless
        data = b"" if self.exhausted else sys.stdin.buffer.read(size)
        self._bytes += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere; where there is nothing to go to, FFmpeg is told so."""
        try:
            return sys.stdin.buffer.seek(offset, whence)
        except OSError as error:
            return -(error.errno or errno.EIO)

    def tell(self) -> int:
        """Where it is."""
        return sys.stdin.buffer.tell()

    def rewarded(self, *, opened: bool = False) -> None:
        """What was read was worth it: there is a packet, or the file is `opened`, and then can be read once more."""
        self._bytes, self._since_s = 0, time.process_time()
        self.exhausted = self.exhausted and not opened


def open_audio(source: Input) -> tuple[Any, Any]:
    """The container in `source` and its first audio stream of a codec on the list."""
    # FFmpeg opens nothing by a name: there is no protocol `none`.
    options = {"format_whitelist": FORMATS, "codec_whitelist": CODECS, "protocol_whitelist": "none"}
    try:
        container = av.open(source, mode="r", options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError) as error:
        raise Refused("audio_unreadable") from error
    if not container.streams.audio:
        raise Refused("audio_missing")
    known = [stream for stream in container.streams.audio if is_allowed(stream)]
    if not known:
        raise Refused("audio_unreadable")
    known[0].codec_context.thread_count = 1
    source.rewarded(opened=True)
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
    late = (stream.start_time or 0) * stream.time_base > LATE_START_S
    alone = len(container.streams) == 1
    if late or not (stream.duration or alone):
        return 0.0
    length = stream.duration * stream.time_base if stream.duration else (container.duration or 0) / av.time_base
    if length > max_duration_s:
        raise Refused("audio_too_long", float(length))
    return float(length)


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


def read_packets(source: Input, container: Any, stream: Any, reading: Reading) -> Iterator[Any]:
    """The packets of the stream. A fault of the container is passed over, as long as packets come after it.

    What comes before the stream's first packet is looked at too: a picture that starts earlier starts the file.
    """
    faults, wanted, started = 0, stream.index, False  # the packets at the end know their stream, not its index
    while faults < MAX_FAULTS:
        try:
            for packet in container.demux():
                faults = 0
                if not started:
                    note_start(packet, reading)
                if packet.stream.index == wanted:
                    started = True
                    yield packet
                source.rewarded()  # after what became of it, which may be hours of silence
        except av.error.FFmpegError:
            faults += 1
            continue
        reading.cut = source.exhausted
        return
    reading.cut = True


def note_start(packet: Any, reading: Reading) -> None:
    """Move the start of the file to the time stamp of a packet, where that is earlier."""
    if packet.pts is not None and not is_cover(packet.stream):
        starts_s = max(0.0, float(packet.pts * packet.time_base))
        reading.earliest_s = starts_s if reading.earliest_s is None else min(starts_s, reading.earliest_s)


def is_cover(stream: Any) -> bool:
    """Whether the stream is a picture that belongs to the file as a whole, without a time."""
    return bool(stream.disposition & stream.disposition.attached_pic)


def decoded_frames(source: Input, container: Any, stream: Any, reading: Reading) -> Iterator[AudioFrame]:
    """The frames of the stream; a packet that cannot be decoded is left out and noted."""
    for packet in read_packets(source, container, stream, reading):
        try:
            yield from packet.decode()
            reading.lost_last = reading.lost_last and not packet.size
        except av.error.FFmpegError:
            reading.undecodable += packet.size > PAUSE_BYTES.get(stream.codec_context.name, 0)
            reading.lost_last = True
            if packet.pts is not None:
                reading.lost_until_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)


def riff_is_cut() -> bool:
    """Whether a WAV file is shorter than its own head says (FFmpeg corrects that in silence)."""
    head = os.pread(sys.stdin.fileno(), 8, 0)
    announced = int.from_bytes(head[4:8], "little")
    known = 0 < announced < UNKNOWN_RIFF_SIZE
    return head[:4] == b"RIFF" and known and os.fstat(sys.stdin.fileno()).st_size + RIFF_SLACK_BYTES < announced + 8
