"""Hostile media files, made on the spot beside a secret that they are after.

Every sound in them is silence, and the secret is noise: whatever can be heard in what became of a file was stolen.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

from voxtral_serverless.qualify.hostile.quicktime import boxes, with_external_reference
from voxtral_serverless.qualify.media import day_of_silence, encode, riff, wav, without_length

WORDS = "kAnArIe7"
"""Part of the secret's text, of its name and of all that is hidden in files."""
RATE = 16_000


@dataclass(frozen=True)
class Ground:
    """Where the files are made, and what lies there.

    Attributes:
        folder: Has a second of noise as `secret.wav` and `secret.mp3`, and `secret.txt`.
        tcp_port: A port of 127.0.0.1 where somebody listens.
        udp_port: One where nobody does, so that a file can.
    """

    folder: Path
    tcp_port: int = 9
    udp_port: int = 9

    @property
    def sound(self) -> Path:
        """The noise."""
        return self.folder / "secret.wav"

    def prepared(self) -> Ground:
        """Lay the secret out."""
        noise = np.random.default_rng(7).integers(-20_000, 20_000, (1, RATE), dtype=np.int16)
        wav(self.sound, noise)
        encode(self.folder / "secret.mp3", noise, container="mp3", codec="libmp3lame", rate=RATE)
        (self.folder / "secret.txt").write_text(f"{WORDS} is what nobody may read\n" * 500)
        return self


Maker = Callable[[Ground], Path]


def text(name: str, template: str) -> Maker:
    """A text file; `FOLDER`, `TCP` and `UDP` stand for those of the ground."""

    def make(ground: Ground) -> Path:
        ports = template.replace("TCP", str(ground.tcp_port)).replace("UDP", str(ground.udp_port))
        file = ground.folder / name
        file.write_text(ports.replace("FOLDER", str(ground.folder)))
        return file

    return make


def hls(uri: str, before: str = "") -> str:
    """A playlist of Apple's with one segment."""
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
    return f"{head}{before}#EXTINF:1,\n{uri}\n#EXT-X-ENDLIST\n"


SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio UDP RTP/AVP 0\na=rtpmap:0 PCMU/8000\n"
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
    '<Period><AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="256000">'
    "<BaseURL>file://FOLDER/secret.wav</BaseURL></Representation></AdaptationSet></Period></MPD>"
)
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    '<image xlink:href="file://FOLDER/secret.txt"/><image href="http://127.0.0.1:TCP/x"/></svg>'
)
SUBTITLE = "[Script Info]\n[Events]\nDialogue: 0,0:00:00.00,0:00:05.00,Default,,0,0,0,,FOLDER/secret.txt\n"
CONCAT = "ffconcat version 1.0\nfile "
REFERRING: dict[str, Maker] = {
    "ffconcat": text("cat.mp3", f"{CONCAT}secret.wav\n"),
    "ffconcat, absolute": text("cat.wav", f"{CONCAT}'FOLDER/secret.wav'\n"),
    "ffconcat, a URL": text("cat.ogg", f"{CONCAT}http://127.0.0.1:TCP/secret.wav\n"),
    "ffconcat, a part": text("cat.m4a", f"{CONCAT}subfile,,start,44,end,9000,,:FOLDER/secret.wav\n"),
    "HLS": text("list.m3u8", hls("file://FOLDER/secret.mp3")),
    "HLS, relative": text("list2.m3u8", hls("secret.mp3")),
    "HLS, named MP3": text("list.mp3", hls("file://FOLDER/secret.mp3")),
    "HLS, a URL": text("list3.m3u8", hls("http://127.0.0.1:TCP/secret.mp3")),
    "HLS, a key": text("list4.m3u8", hls("x.ts", '#EXT-X-KEY:METHOD=AES-128,URI="file://FOLDER/secret.txt"\n')),
    "SDP": text("call.sdp", SDP),
    "SDP, named WAV": text("sdp.wav", SDP),
    "DASH": text("manifest.mpd", DASH),
    "SVG": text("picture.svg", SVG),
    "subtitles": text("text.ass", SUBTITLE),
    "M3U": text("list.m3u", "#EXTM3U\nFOLDER/secret.wav\n"),
    "PLS": text("list.pls", "[playlist]\nFile1=file://FOLDER/secret.wav\nNumberOfEntries=1\n"),
    "ASX": text("list.asx", '<asx version="3.0"><entry><ref href="file://FOLDER/secret.wav"/></entry></asx>'),
    "RTSP": text("rtsp.mov", "RTSPtextrtsp://127.0.0.1:TCP/secret\n"),
    "two files": text("two.wav", "concat:FOLDER/secret.wav|FOLDER/secret.wav"),
    "a name": text("name.wav", "FOLDER/secret.wav"),
    "an address": text("address.wav", "http://127.0.0.1:TCP/secret.wav"),
}


SILENT: dict[str, tuple[str, str, int]] = {
    "wav": ("wav", "pcm_s16le", 16_000),
    "mp3": ("mp3", "libmp3lame", 44_100),
    "ogg": ("ogg", "libopus", 48_000),
    "flac": ("flac", "flac", 16_000),
    "m4a": ("ipod", "aac", 44_100),
    "webm": ("webm", "libopus", 48_000),
    "amr": ("amr", "libopencore_amrnb", 8_000),
    "caf": ("caf", "pcm_s16be", 16_000),
    "wma": ("asf", "wmav2", 44_100),
}


def silence(
    ground: Ground,
    name: str,
    form: tuple[str, str, int],
    duration_s: float = 2.0,
    options: dict[str, str] | None = None,
) -> Path:
    """Silence in a container, a codec and a rate."""
    container, codec, rate = form
    samples = np.zeros((1, round(duration_s * rate)), np.int16)
    bit_rate = {"wmav2": 96_000, "libopencore_amrnb": 12_200}.get(codec)
    return encode(
        ground.folder / name,
        samples,
        container=container,
        codec=codec,
        rate=rate,
        options=options,
        bit_rate=bit_rate,
    )


def external_track(ground: Ground) -> Path:
    """A QuickTime file whose sound is, it says, in the file of the secret."""
    return with_external_reference(silence(ground, "a.mov", ("mov", "pcm_s16le", RATE)), ground.sound)


def id3(body: bytes, claimed: int | None = None) -> bytes:
    """A tag of ID3v2.3; its size has seven bits a byte."""
    size = len(body) if claimed is None else claimed
    return b"ID3\x03\0\0" + bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0)) + body


def picture(size: int) -> bytes:
    """A frame of a tag with a picture."""
    body = b"\0image/jpeg\0\x03\0" + b"\xff\xd8\xff" + bytes(size)
    return b"APIC" + struct.pack(">IH", len(body), 0) + body


def tagged(head: bytes, ground: Ground) -> Path:
    """An MP3 of silence behind any tag."""
    file = silence(ground, "tagged.mp3", SILENT["mp3"])
    file.write_bytes(head + file.read_bytes())
    return file


def frame_in_frame(depth: int) -> bytes:
    """Tags in tags."""
    body = b""
    for _ in range(depth):
        body = id3(b"CHAP" + struct.pack(">IH", len(body), 0) + body)
    return body


def attached(ground: Ground) -> Path:
    """Matroska with the secret's name as an attachment, and 8 MB of another."""
    with av.open(str(ground.folder / "a.mkv"), "w", format="matroska") as file:
        stream = file.add_stream("pcm_s16le", rate=RATE, layout="mono")
        assert isinstance(stream, av.AudioStream)
        file.metadata["title"] = str(ground.sound)
        for name, data in ((str(ground.sound), b"x"), ("../../" * 20 + "etc/passwd", bytes(8 << 20))):
            file.add_attachment(name, "application/octet-stream", data)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, RATE), np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        for piece in (frame, None):
            file.mux(stream.encode(piece))
    return ground.folder / "a.mkv"


def forged(change: Callable[[bytearray], None], ground: Ground) -> Path:
    """A WAV of two seconds of silence with its bytes changed."""
    data = bytearray(riff(ground.folder / "forged.wav", RATE, bytes(64_000)).read_bytes())
    change(data)
    (ground.folder / "forged.wav").write_bytes(data)
    return ground.folder / "forged.wav"


def put(place: int, shape: str, value: int) -> Callable[[bytearray], None]:
    """Overwrite a number."""
    return lambda data: struct.pack_into(shape, data, place, value)


def sparse(name: str, head: bytes, size: int, ground: Ground) -> Path:
    """A file of `size` bytes on a few blocks of the disk."""
    with (ground.folder / name).open("wb") as file:
        file.write(head)
        file.truncate(size)
    return ground.folder / name


def wide_riff(ground: Ground) -> Path:
    """RF64 that claims 2**62 samples."""
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 1 << 62, 1 << 62, 1 << 61, 0)
    form = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    data = b"RF64\xff\xff\xff\xffWAVE" + sizes + form + b"data\xff\xff\xff\xff" + bytes(64_000)
    (ground.folder / "wide.wav").write_bytes(data)
    return ground.folder / "wide.wav"


def claiming(kind: bytes, ground: Ground) -> Path:
    """An MP4 whose table `kind` claims 2**31 - 1 entries."""
    file = silence(ground, "claims.m4a", SILENT["m4a"])
    data = bytearray(file.read_bytes())
    for _, start, _ in boxes(data, kind):
        count_at = start + (16 if kind == b"stsz" else 12)
        struct.pack_into(">I", data, count_at, 0x7FFFFFFF)
    file.write_bytes(data)
    return file


def many_streams(ground: Ground) -> Path:
    """Ogg with a thousand beginnings of Opus streams."""
    file = silence(ground, "many.ogg", SILENT["ogg"], 0.1)
    page = file.read_bytes()
    end = page.index(b"OggS", 4)
    pages = (page[:14] + struct.pack("<I", serial) + page[18:end] for serial in range(1000))
    file.write_bytes(b"".join(pages))
    return file


HOLLOW = ("wav", "mp3", "ogg", "flac", "webm", "caf")


def holes_behind(kind: str, ground: Ground) -> Path:
    """A file of silence, and gigabytes of nothing behind it."""
    options = {"write_xing": "0", "id3v2_version": "0"} if kind == "mp3" else None
    file = silence(ground, f"hollow.{kind}", SILENT[kind], options=options)
    if kind == "flac":
        without_length(file)
    return sparse(file.name, file.read_bytes(), 1 << 32, ground)


LYING: dict[str, Maker] = {
    "nothing": lambda ground: sparse("nothing.wav", b"", 0, ground),
    "a byte": lambda ground: sparse("byte.wav", b"R", 1, ground),
    "1 Hz": lambda ground: riff(ground.folder / "slow.wav", 1, bytes(20_000)),
    "4 GHz": partial(forged, put(24, "<I", 0xFFFFFFFF)),
    "no channels": partial(forged, put(22, "<H", 0)),
    "65535 channels": partial(forged, put(22, "<H", 0xFFFF)),
    "65535 bits": partial(forged, put(34, "<H", 0xFFFF)),
    "blocks of nothing": partial(forged, put(32, "<H", 0)),
    "4 GB of data": partial(forged, put(40, "<I", 0xFFFFFFFF)),
    "a head of 4 GB": partial(forged, put(16, "<I", 0xFFFFFFFF)),
    "a head of 2 GB": partial(forged, put(16, "<I", 0x7FFFFFFF)),
    "RF64 of 2**62": wide_riff,
    "a day of silence": lambda ground: day_of_silence(ground.folder / "day.flac"),
    "a day, unannounced": lambda ground: without_length(day_of_silence(ground.folder / "day.flac")),
    "4 GB of holes, WAV": lambda ground: sparse(
        "holes.wav", riff(ground.folder / "x", RATE, b"", data_size=0xFFFFFF00).read_bytes(), 1 << 32, ground
    ),
    **{f"4 GB of holes behind {kind}": partial(holes_behind, kind) for kind in HOLLOW},
    "4 GB of holes": lambda ground: sparse("holes.bin", b"", 1 << 32, ground),
    "a picture of 32 MB": lambda ground: tagged(id3(picture(32 << 20)), ground),
    "a tag of 256 MB": lambda ground: tagged(id3(b"", 0x0FFFFFFF), ground),
    "10,000 tags": lambda ground: tagged(id3(b"") * 10_000, ground),
    "tags in tags": lambda ground: tagged(frame_in_frame(1_000), ground),
    "attachments": attached,
    "an external track": external_track,
    "stsz of 2**31": partial(claiming, b"stsz"),
    "stts of 2**31": partial(claiming, b"stts"),
    "stco of 2**31": partial(claiming, b"stco"),
    "a thousand streams": many_streams,
}


def cut(kind: str, share: float, ground: Ground) -> Path:
    """The first part of a file of silence."""
    file = silence(ground, f"cut.{kind}", SILENT[kind])
    file.write_bytes(file.read_bytes()[: round(file.stat().st_size * share)])
    return file


CUT: dict[str, Maker] = {
    f"{share:.0%} of {kind}": partial(cut, kind, share) for kind in SILENT for share in (0.02, 0.3, 0.9)
}
HOSTILE: dict[str, Maker] = REFERRING | LYING | CUT
