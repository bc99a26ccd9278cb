"""A process that speaks as `voxtral_serverless._torch_process` does, without torch; what it loads are its manners.

What it does is a list, one for each question, the last for all further ones; `aligns` is another such list, where it is
to align in other ways than it diarizes: "answer", "fail", "die", "hang",
"babble" (a line that is no answer), "slow" (answers after 60 s, unless cancelled), "deaf" (the same, and cannot be
cancelled), "chatter" (reports every millisecond for two seconds, unless cancelled). The questions of one kind are
answered in order, those of different kinds side by side.
"""

# ruff: noqa: T201
from __future__ import annotations

import itertools
import json
import os
import queue
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any


def command(folder: Path) -> str:
    """An interpreter, in `folder`, that is this program whatever it is told to run."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__)} "$@"\n')
    path.chmod(0o755)
    return str(path)


SAYING = threading.Lock()


def say(number: int, event: str, **content: Any) -> None:
    with SAYING:
        print(json.dumps({"number": number, "event": event, **content}), flush=True)


class Listener:
    """Hears questions and cancellations, and ends the process with its standard input."""

    def __init__(self) -> None:
        self.questions: dict[str, queue.SimpleQueue[dict[str, Any]]] = defaultdict(queue.SimpleQueue)
        self.cancelled: dict[int, threading.Event] = defaultdict(threading.Event)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                self.cancelled[message["cancel"]].set()
            else:
                self.questions[message["do"]].put(message)
        os._exit(0)


def answer(listener: Listener, manner: str, question: dict[str, Any]) -> None:  # noqa: C901 — one case a manner
    number = question.pop("number")
    cancelled = listener.cancelled[number]
    say(number, "progress", share=0.5)
    match manner:
        case "answer":
            say(number, "answer", echo=question, pid=os.getpid())
        case "fail":
            say(number, "failed", reason="RuntimeError: out of memory")
        case "die":
            print("CUDA error: an illegal memory access was encountered", file=sys.stderr, flush=True)
            os._exit(7)
        case "babble":
            print("Found only 1 clusters", flush=True)
        case "hang":
            time.sleep(600)
        case "slow":
            say(number, "cancelled") if cancelled.wait(60) else say(number, "answer", echo=question)
        case "chatter":
            for _ in range(2000):
                if cancelled.wait(0.001):
                    say(number, "cancelled")
                    return
                say(number, "progress", share=0.5)
            say(number, "answer", echo=question)
        case "deaf":
            time.sleep(60)


def answer_all(listener: Listener, work: str, does: list[str]) -> None:
    for asked in itertools.count():
        question = listener.questions[work].get()
        answer(listener, does[min(asked, len(does) - 1)], question)


def main() -> None:
    listener = Listener()
    manners = listener.questions["load"].get()
    number = manners["number"]
    match manners.get("start", "ready"):
        case "ready":
            say(number, "ready", device="cpu", warnings=manners.get("warnings", []))
        case "unable":
            say(number, "unable", reason="ValueError: no such network in /models")
        case "die":
            sys.exit("ImportError: libcudart.so.13")
        case "hang":
            time.sleep(600)
    does = manners.get("does", ["answer"])
    for work, how in (("diarize", does), ("align", manners.get("aligns", does))):
        threading.Thread(target=answer_all, args=(listener, work, how), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
