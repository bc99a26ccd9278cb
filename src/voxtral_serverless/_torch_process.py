"""The process that holds torch: imports it once, loads the models, and works on one recording at a time.

Started by `torch_process`, with a Python that has pyannote and of our package this module and what it imports. Reads
JSON lines from standard input: first what is to be loaded, then one question after the other, and `{"cancel": n}`
beside them. Writes JSON lines: `ready` or `unable` after loading; for each question `progress`, then exactly one of
`answer`, `cancelled` and `failed`. Whatever the libraries print goes to standard error.

Ends when standard input does: with the worker, however that went.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

PR_SET_PDEATHSIG = 1
Progress = Callable[[float], None]
"""Told how much of a question is done, in [0, 1]; raises `Cancelled` where nobody wants the answer any more."""


class Cancelled(Exception):
    """Unwinds the work on a question that was cancelled."""


class Line:
    """The conversation with the worker. A thread of its own listens, since the work may be long."""

    def __init__(self, hears: IO[bytes], says: IO[bytes]) -> None:
        self._hears, self._says = hears, says
        self._questions: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._cancelled = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, event: str, **content: Any) -> None:
        """Write one line."""
        self._says.write(json.dumps({"event": event, **content}).encode() + b"\n")
        self._says.flush()

    def questions(self) -> Iterator[dict[str, Any]]:
        """What the worker asks, in order."""
        while True:
            yield self._questions.get()

    def progress(self, number: int) -> Progress:
        """The `Progress` of a question."""

        def tell(share: float) -> None:
            if self._cancelled >= number:
                raise Cancelled
            self.say("progress", share=share)

        return tell

    def _listen(self) -> None:
        for line in self._hears:
            message = json.loads(line)
            if "cancel" in message:
                self._cancelled = message["cancel"]
            else:
                self._questions.put(message)
        os._exit(0)  # nobody is left to hear an answer


def main() -> None:
    """Load, then answer."""
    # A thread that listens cannot run while a library holds the interpreter: the system ends us with our parent too.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    says = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    line = Line(sys.stdin.buffer, says)
    questions = line.questions()
    try:
        works, told = _loaded(next(questions))
    except Exception as error:
        line.say("unable", reason=_told(error))
        raise
    line.say("ready", **told)
    for number, question in enumerate(questions, start=1):
        _answer(line, number, works[question.pop("do")], question)


def _loaded(wanted: Mapping[str, Any]) -> tuple[dict[str, Callable[..., Any]], dict[str, Any]]:
    """What can be asked, by name, and what the worker is to know: the device that computes, and warnings."""
    from voxtral_serverless.transcription._aligner import Aligners

    device = _device()
    works: dict[str, Callable[..., Any]] = {"align": Aligners(device).align}
    warnings: list[str] = []
    if wanted.get("diarization"):
        from voxtral_serverless.diarization._pipeline import load

        pipeline = load(**wanted["diarization"])
        works["diarize"], warnings = pipeline.diarize, pipeline.warnings
    return works, {"device": device, "warnings": warnings}


def _device() -> str:
    """What computes, as torch names it; of a GPU, its model too."""
    import torch

    return f"cuda ({torch.cuda.get_device_name()})" if torch.cuda.is_available() else "cpu"


def _answer(line: Line, number: int, work: Callable[..., Any], question: Mapping[str, Any]) -> None:
    try:
        answer = work(**question, progress=line.progress(number))
    except Cancelled:
        line.say("cancelled")
    except Exception as error:  # noqa: BLE001 — the worker decides what becomes of it
        line.say("failed", reason=_told(error))
    else:
        line.say("answer", **answer)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
