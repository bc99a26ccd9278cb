"""What the jailed decoder says, and the `Recording` or the error that comes of it.

The decoder reads files that nobody vouches for, so its word is not taken: every message is held to its type, to its
bounds and to its place in the conversation, and the files that it wrote to what it says of them. Whatever else it says
is one `StageFailed`. Not here: the process (`decode`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE, Recording
from voxtral_serverless.errors import (
    AudioEmpty,
    AudioMissing,
    AudioParameters,
    AudioTooLong,
    AudioUnreadable,
    DiskFull,
    Notice,
    StageFailed,
    VoxtralError,
)

PROGRESS_S = 60.0
"""The decoder reports after at least so many more decoded seconds, which bounds how often it is listened to."""
SLACK_S = 1.0
"""Silence is counted at the rate of the file, samples at ours."""
CODES = (
    "audio_unreadable", "audio_empty", "audio_missing", "audio_parameters", "audio_too_long", "disk_full",
    "stage_failed",
)  # fmt: skip
"""Of refusals."""
MIN_GAP_NOTICE_S = 0.5
UNREADABLE = (
    "this is not a recording in a format that can be read (WAV, MP3, OGG, Opus, FLAC, M4A, MP4, WebM, AAC, AMR, "
    "GSM, AU, CAF, AIFF, WMA). Telephone audio without a header (.sln, .ulaw, .alaw, .raw) needs one first, "
    "e.g. sox -t ul -r 8000 -c 1 call.ulaw call.wav."
)


@dataclass(frozen=True)
class Ready:
    """The decoder is in its jail."""


@dataclass(frozen=True)
class Header:
    """What the file announces; a duration of 0 is unknown."""

    duration_s: float
    channels: int
    sample_rate: int


@dataclass(frozen=True)
class Progress:
    """How far the decoder is."""

    decoded_s: float


@dataclass(frozen=True)
class Done:
    """The recording is written."""

    samples: int
    damaged: int
    filled_s: float
    truncated: bool


@dataclass(frozen=True)
class Refusal:
    """There will be no recording. `figure` is what the code's message tells of."""

    code: str
    figure: float


Check = Callable[[object], bool]


def _seconds(value: object) -> bool:
    """Neither NaN nor infinite; FFmpeg's longest is below."""
    return type(value) in (int, float) and 0 <= cast("float", value) <= 1e19


def _whole(least: int, most: int = (1 << 63) - 1) -> Check:
    return lambda value: type(value) is int and least <= value <= most


MESSAGES: dict[str, tuple[type, dict[str, Check]]] = {
    "ready": (Ready, {}),
    "header": (Header, {"duration_s": _seconds, "channels": _whole(1, 8), "sample_rate": _whole(4_000, 192_000)}),
    "progress": (Progress, {"decoded_s": _seconds}),
    "done": (
        Done,
        {"samples": _whole(1), "damaged": _whole(0), "filled_s": _seconds, "truncated": lambda v: isinstance(v, bool)},
    ),
    "error": (Refusal, {"code": lambda code: code in CODES, "figure": _seconds}),
}
"""Every event, and what its fields may be."""


class Answers:
    """The decoder's side of one conversation, message by message.

    Attributes:
        ready: Whether it has begun.
        decoded_s: How far it was when it last told.
        done: The end, once that is there.
    """

    def __init__(self, max_duration_s: float, file_bytes: int) -> None:
        self._max_duration_s = max_duration_s
        self._file_bytes = file_bytes
        self._header: Header | None = None
        self.ready = False
        self.decoded_s = 0.0
        self.done: Done | None = None

    @property
    def announced_s(self) -> float:
        """The length of the whole, as far as it is known."""
        return max(self._header.duration_s if self._header else 0.0, self.decoded_s)

    def hear(self, message: dict[str, Any]) -> None:
        """Take one message.

        Raises:
            AudioError, DiskFull: it is a refusal.
            StageFailed: it is none that could come now.
        """
        match _parsed(message):
            case Ready() if not self.ready:
                self.ready = True
            case Header() as header if self.ready and not self._header and header.duration_s <= self._max_duration_s:
                self._header = header
            case Progress(decoded_s=decoded_s) if self._header and self._is_further(decoded_s):
                self.decoded_s = decoded_s
            case Done() as done if self._header and not self.done and self._is_plausible(done):
                self.done = done
            case Refusal() as refusal if self.ready and not self.done:
                raise _error(refusal, self._max_duration_s)
            case _:
                raise _no_answer()

    def recording(self, mix: Path, planes: tuple[Path, Path]) -> Recording:
        """The recording in these files, of which a mono one has no planes.

        Raises:
            StageFailed: they do not hold what was said.
        """
        if not self._header or not self.done:
            raise _no_answer()
        written = planes if self._header.channels == 2 else ()
        if {file.stat().st_size for file in (mix, *written)} != {self.done.samples * SAMPLE_BYTES}:
            raise StageFailed("the decoder left an incomplete recording.")
        notices = _notices(self._header, self.done)
        return Recording(mix, written, self.done.samples, self._header.channels, self._header.sample_rate, notices)

    def _is_further(self, decoded_s: float) -> bool:
        return self.decoded_s + PROGRESS_S <= decoded_s <= self._max_duration_s

    def _is_plausible(self, done: Done) -> bool:
        duration_s = done.samples / SAMPLE_RATE
        filled = done.filled_s <= duration_s + SLACK_S
        return duration_s <= self._max_duration_s and filled and done.damaged <= self._file_bytes


def _parsed(message: dict[str, Any]) -> Any:
    """The message as one of the classes above."""
    event, fields = message.get("event"), {name: value for name, value in message.items() if name != "event"}
    kind, checks = MESSAGES.get(event if isinstance(event, str) else "", (None, {}))
    if kind is None or fields.keys() != checks.keys() or not all(checks[name](fields[name]) for name in fields):
        raise _no_answer()
    return kind(**fields)


def _no_answer() -> StageFailed:
    return StageFailed("the decoder wrote something that is no answer.")


def _error(refusal: Refusal, max_duration_s: float) -> VoxtralError:
    figure = refusal.figure
    errors: dict[str, VoxtralError] = {
        "audio_unreadable": AudioUnreadable(UNREADABLE),
        "audio_empty": AudioEmpty("the file holds no sound."),
        "audio_missing": AudioMissing("the file has no audio stream."),
        "audio_parameters": AudioParameters(
            f"a sample rate or channel count of {figure:.0f} is not accepted: 4000 to 192000 Hz, 1 to 8 channels."
        ),
        "audio_too_long": AudioTooLong(
            f"the recording lasts {_length(figure)} or more, the limit is {_length(max_duration_s)}: "
            "cut it, or raise MAX_DURATION_S."
        ),
        "disk_full": DiskFull("the temporary folder has no room for the decoded recording."),
    }
    return errors.get(refusal.code) or StageFailed("the decoder failed on this recording.")


def _length(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"


def _notices(header: Header, done: Done) -> tuple[Notice, ...]:
    found = []
    if done.truncated:
        decoded_s = done.samples / SAMPLE_RATE
        of = f" of {header.duration_s:.1f} s" if header.duration_s > decoded_s + 0.1 else ""
        found.append(
            Notice("audio_truncated", f"the file seems to be cut off: {decoded_s:.1f} s{of} could be decoded.")
        )
    if done.damaged:
        found.append(Notice("audio_damaged", f"{done.damaged} pieces of the file could not be decoded."))
    if done.filled_s >= MIN_GAP_NOTICE_S:
        found.append(Notice("audio_gaps", f"{done.filled_s:.1f} s are missing inside the file; silence stands there."))
    return tuple(found)
