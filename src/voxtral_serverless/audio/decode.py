"""From a media file to a `Recording`, by a short-lived child that is handed nothing else (`_decoder`).

Promises: the file's own limits and faults come back as one typed error; a child that crashes, hangs or writes
garbage does not touch the worker. Not here: where the file came from (`fetch`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Any

from voxtral_serverless.audio.recording import SAMPLE_BYTES, SAMPLE_RATE, Recording
from voxtral_serverless.child import Child, running_child
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
from voxtral_serverless.reporting import Report

log = logging.getLogger(__name__)

DECODER = ("-m", "voxtral_serverless.audio._decoder")
SILENCE_TIMEOUT_S = 60.0
"""A decoder that says nothing for so long is taken for hung (it reports once per decoded minute)."""
MIN_GAP_NOTICE_S = 0.5
UNREADABLE = (
    "this is not a recording in a format that can be read (WAV, MP3, OGG, Opus, FLAC, M4A, MP4, WebM, AAC, AMR, "
    "GSM, AU, CAF, AIFF, WMA). Telephone audio without a header (.sln, .ulaw, .alaw, .raw) needs one first, "
    "e.g. sox -t ul -r 8000 -c 1 call.ulaw call.wav."
)


async def decode(file: Path, folder: Path, max_duration_s: float, report: Report) -> Recording:
    """Decode `file` into new files in `folder`; `report` hears seconds decoded of seconds announced.

    Raises:
        AudioError: by what is wrong with the file.
        DiskFull: the decoded recording does not fit.
        StageFailed: the decoder died or hung.
    """
    if file.stat().st_size == 0:
        raise AudioEmpty("the file is empty.")
    jail = folder / "jail"
    jail.mkdir()
    paths = [folder / name for name in ("mix.s16", "channel0.s16", "channel1.s16")]
    handles = [path.open("wb") for path in paths]
    outputs = [handle.fileno() for handle in handles]
    request = json.dumps({"outputs": outputs, "max_duration_s": max_duration_s})
    try:
        with file.open("rb") as audio:
            arguments = (sys.executable, "-I", *DECODER, request)
            async with running_child(arguments, folder=jail, environment={}, stdin=audio, pass_fds=outputs) as child:
                header, done = await _conversation(child, max_duration_s, report)
    finally:
        for handle in handles:
            handle.close()
    return _recording(paths, header, done)


async def _conversation(child: Child, max_duration_s: float, report: Report) -> tuple[dict[str, Any], dict[str, Any]]:
    if (await _next_message(child)) != {"event": "ready"}:
        log.error("the decoder cannot start: %s", child.complaints())
        raise StageFailed("the decoder cannot start on this machine; the worker's log has the details.")
    header: dict[str, Any] = {}
    while True:
        message = await _next_message(child)
        if message is None:
            log.warning("the decoder died: %s", child.complaints())
            raise AudioUnreadable("the decoder died on this recording, which is damaged or made to do harm.")
        match message:
            case {"event": "header"}:
                header = message
            case {"event": "progress", "decoded_s": float(decoded_s)}:
                report(decoded_s, max(header["duration_s"], decoded_s))
            case {"event": "done"}:
                return header, message
            case {"event": "error", "code": str(code), "figure": int() | float() as figure}:
                raise _refusal(code, figure, max_duration_s)
            case _:
                raise StageFailed("the decoder wrote something that is no answer.")


async def _next_message(child: Child) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(SILENCE_TIMEOUT_S):  # wait_for may swallow a cancellation, in Python 3.11
            return await child.receive()
    except TimeoutError as error:
        raise StageFailed("the decoder hung on this recording.") from error


def _refusal(code: str, figure: float, max_duration_s: float) -> VoxtralError:
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
    return errors.get(code) or StageFailed("the decoder failed on this recording.")


def _length(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} s"


def _recording(paths: list[Path], header: dict[str, Any], done: dict[str, Any]) -> Recording:
    samples, stereo = done["samples"], header["channels"] == 2
    mix, *planes = paths
    if mix.stat().st_size != samples * SAMPLE_BYTES:
        raise StageFailed("the decoder left an incomplete recording.")
    return Recording(
        mix, tuple(planes) if stereo else (), samples, header["channels"], header["sample_rate"], _notices(header, done)
    )


def _notices(header: dict[str, Any], done: dict[str, Any]) -> tuple[Notice, ...]:
    found = []
    if done["truncated"]:
        decoded_s, announced_s = done["samples"] / SAMPLE_RATE, header["duration_s"]
        of = f" of {announced_s:.1f} s" if announced_s > decoded_s + 0.1 else ""
        found.append(
            Notice("audio_truncated", f"the file seems to be cut off: {decoded_s:.1f} s{of} could be decoded.")
        )
    if done["damaged"]:
        found.append(Notice("audio_damaged", f"{done['damaged']} pieces of the file could not be decoded."))
    if done["filled_s"] >= MIN_GAP_NOTICE_S:
        found.append(
            Notice("audio_gaps", f"{done['filled_s']:.1f} s are missing inside the file; silence stands there.")
        )
    return tuple(found)
