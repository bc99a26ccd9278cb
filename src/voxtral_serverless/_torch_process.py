"""The process that holds torch: imports it once, loads the models, and diarizes and aligns, side by side.

Started by `torch_process`, with a Python that has pyannote and of our package this module and what it imports. Reads
JSON lines from standard input: questions, each with its `number` and what to `do`, and `{"cancel": n}` beside them. The
first is what to load. Writes JSON lines, each with the number of the question that it is about: `ready` or `unable` after
loading; for every other question `progress`, then exactly one of `answer`, `cancelled` and `failed`. There is a thread
for each kind of work, which takes its questions in order. Whatever the libraries print goes to standard error.

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
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Any

PR_SET_PDEATHSIG = 1
WORKS = ("load", "align", "diarize")
Progress = Callable[[float], None]
"""Told how much of a question is done, in [0, 1]; raises `Cancelled` where nobody wants the answer any more."""


class Cancelled(Exception):
    """Unwinds the work on a question that was cancelled."""


class Line:
    """The conversation with the worker. A thread of its own listens, since the work may be long."""

    def __init__(self, hears: IO[bytes], says: IO[bytes]) -> None:
        self._hears, self._says, self._saying = hears, says, threading.Lock()
        self._questions: dict[str, queue.SimpleQueue[dict[str, Any]]] = {work: queue.SimpleQueue() for work in WORKS}
        self._cancelled: set[int] = set()
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, number: int, event: str, **content: Any) -> None:
        """Write one line about a question."""
        line = json.dumps({"number": number, "event": event, **content}).encode() + b"\n"
        with self._saying:
            self._says.write(line)
            self._says.flush()

    def question(self, work: str) -> tuple[int, dict[str, Any]]:
        """The next question of a kind: its number, and what is asked."""
        asked = self._questions[work].get()
        return asked.pop("number"), asked

    def progress(self, number: int) -> Progress:
        """The `Progress` of a question."""

        def tell(share: float) -> None:
            if number in self._cancelled:
                raise Cancelled
            self.say(number, "progress", share=share)

        return tell

    def _listen(self) -> None:
        for line in self._hears:
            message = json.loads(line)
            if "cancel" in message:
                self._cancelled.add(message["cancel"])
            else:
                self._questions[message.pop("do")].put(message)
        os._exit(0)  # nobody is left to hear an answer


def main() -> None:
    """Load, then answer."""
    # A thread that listens cannot run while a library holds the interpreter: the system ends us with our parent too.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    says = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    line = Line(sys.stdin.buffer, says)
    number, wanted = line.question("load")
    try:
        works, told = _loaded(wanted)
    except Exception as error:
        line.say(number, "unable", reason=_told(error))
        raise
    workers = [threading.Thread(target=_answer_all, args=(line, *work), daemon=True) for work in works.items()]
    for worker in workers:
        worker.start()
    line.say(number, "ready", **told)
    for worker in workers:
        worker.join()


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


def _answer_all(line: Line, name: str, work: Callable[..., Any]) -> None:
    """Answer the questions of one kind, in order, as long as the process lives."""
    while True:
        number, question = line.question(name)
        try:
            line.say(number, "answer", **work(**question, progress=line.progress(number)))
        except Cancelled:
            line.say(number, "cancelled")
        except Exception as error:  # noqa: BLE001 — the worker decides what becomes of it
            line.say(number, "failed", reason=_told(error))
        _release()


def _release() -> None:
    """Give back the GPU's memory that torch keeps for its next tensors: vLLM, beside us, needs all of its share to start anew.

    Without CUDA it does nothing.
    """
    import torch

    with suppress(RuntimeError):  # of a broken GPU the next question tells
        torch.cuda.empty_cache()


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
