"""From a media file to a `Recording`, by a short-lived child that is handed nothing else (`_decoder`).

Promises: the file's own limits and faults come back as one typed error; a child that crashes, hangs or writes
garbage does not touch the worker; no file of a failed decoding stays. Not here: where the file came from (`fetch`), what
the child may say (`decoder_answers`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from voxtral_serverless.audio.decoder_answers import Answers
from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.child import Child, running_child
from voxtral_serverless.errors import AudioEmpty, AudioUnreadable, StageFailed
from voxtral_serverless.reporting import Report

log = logging.getLogger(__name__)

DECODER = ("-m", "voxtral_serverless.audio._decoder")
SILENCE_TIMEOUT_S = 60.0
"""A decoder that says nothing for so long is taken for hung (it reports once per decoded minute)."""
LINE_BYTES = 4096
"""The longest message has 120."""


async def decode(file: Path, folder: Path, max_duration_s: float, report: Report) -> Recording:
    """Decode `file` into new files in `folder`; `report` hears seconds decoded of seconds announced.

    Raises:
        AudioError: by what is wrong with the file.
        DiskFull: the decoded recording does not fit.
        StageFailed: the decoder died or hung.
    """
    file_bytes = file.stat().st_size
    if file_bytes == 0:
        raise AudioEmpty("the file is empty.")
    mix, *planes = (folder / name for name in ("mix.s16", "channel0.s16", "channel1.s16"))
    answers = Answers(max_duration_s, file_bytes)
    with _kept_if_whole(mix, *planes), _jail(folder) as jail:
        with ExitStack() as opened:
            outputs = [opened.enter_context(path.open("wb")).fileno() for path in (mix, *planes)]
            audio = opened.enter_context(file.open("rb"))
            request = json.dumps({"outputs": outputs, "max_duration_s": max_duration_s})
            async with running_child(
                (sys.executable, "-I", *DECODER, request),
                folder=jail, environment={}, stdin=audio, pass_fds=outputs, line_bytes=LINE_BYTES,
            ) as child:  # fmt: skip
                await _listen(child, answers, report)
        recording = answers.recording(mix, (planes[0], planes[1]))
    for unused in set(planes) - set(recording.planes):
        unused.unlink()
    return recording


@contextmanager
def _kept_if_whole(*files: Path) -> Iterator[None]:
    """Delete what a decoder left that did not come to its end."""
    try:
        yield
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise


@contextmanager
def _jail(folder: Path) -> Iterator[Path]:
    """An empty folder for the decoder to be in."""
    jail = folder / "jail"
    jail.mkdir()
    try:
        yield jail
    finally:
        shutil.rmtree(jail, ignore_errors=True)


async def _listen(child: Child, answers: Answers, report: Report) -> None:
    """Hear the decoder out."""
    while not answers.done:
        message = await _next_message(child)
        if message is None and not answers.ready:
            log.error("the decoder cannot start: %s", child.complaints())
            raise StageFailed("the decoder cannot start on this machine; the worker's log has the details.")
        if message is None:
            log.warning("the decoder died: %s", child.complaints())
            raise AudioUnreadable("the decoder died on this recording, which is damaged or made to do harm.")
        told_s = answers.decoded_s
        answers.hear(message)
        if answers.decoded_s > told_s:
            report(answers.decoded_s, answers.announced_s)


async def _next_message(child: Child) -> dict[str, Any] | None:
    try:
        async with asyncio.timeout(SILENCE_TIMEOUT_S):  # wait_for may swallow a cancellation, in Python 3.11
            return await child.receive()
    except TimeoutError as error:
        raise StageFailed("the decoder hung on this recording.") from error
