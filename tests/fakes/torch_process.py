"""A process that speaks as `voxtral_serverless._torch_process` does, without torch; what it loads are its manners.

What it is to do is a list, one for each question, the last for all further ones: "answer", "fail", "die", "hang",
"babble" (a line that is no answer), "slow" (answers after 60 s, unless cancelled), "deaf" (the same, and cannot be
cancelled), "chatter" (reports every millisecond for two seconds, unless cancelled).
"""

# ruff: noqa: T201
from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any


def command(folder: Path) -> str:
    """An interpreter, in `folder`, that is this program whatever it is told to run."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__)} "$@"\n')
    path.chmod(0o755)
    return str(path)


def say(event: str, **content: Any) -> None:
    print(json.dumps({"event": event, **content}), flush=True)


class Listener:
    """Hears questions and cancellations, and ends the process with its standard input."""

    def __init__(self) -> None:
        self.questions: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.cancelled = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                self.cancelled.set()
            else:
                self.questions.put(message)
        os._exit(0)


def answer(listener: Listener, manner: str, question: dict[str, Any]) -> None:  # noqa: C901 — one case a manner
    say("progress", share=0.5)
    match manner:
        case "answer":
            say("answer", echo=question, pid=os.getpid())
        case "fail":
            say("failed", reason="RuntimeError: out of memory")
        case "die":
            print("CUDA error: an illegal memory access was encountered", file=sys.stderr, flush=True)
            os._exit(7)
        case "babble":
            print("Found only 1 clusters", flush=True)
        case "hang":
            time.sleep(600)
        case "slow":
            say("cancelled") if listener.cancelled.wait(60) else say("answer", echo=question)
        case "chatter":
            for _ in range(2000):
                if listener.cancelled.wait(0.001):
                    say("cancelled")
                    return
                say("progress", share=0.5)
            say("answer", echo=question)
        case "deaf":
            time.sleep(60)


def main() -> None:
    listener = Listener()
    manners = listener.questions.get()
    match manners.get("start", "ready"):
        case "ready":
            say("ready", device="cpu", warnings=manners.get("warnings", []))
        case "unable":
            say("unable", reason="ValueError: no such network in /models")
        case "die":
            sys.exit("ImportError: libcudart.so.13")
        case "hang":
            time.sleep(600)
    does = manners.get("does", ["answer"])
    for number in range(1_000_000):
        question = listener.questions.get()
        listener.cancelled.clear()
        answer(listener, does[min(number, len(does) - 1)], question)


if __name__ == "__main__":
    main()
