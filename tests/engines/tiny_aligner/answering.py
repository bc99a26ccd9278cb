"""Answers questions of alignment as the process that holds torch does: one line of JSON each, on standard input.

Run by `test_aligner` with the Python that has pyannote. Says first whether transformers was loaded too early. A
question may have `stops_at`, the progress at which nobody wants the answer any more.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any


class Unwanted(Exception):
    """Unwinds the work on a question."""


def progress(shares: list[float], stops_at: float) -> Callable[[float], None]:
    """Notes in `shares` what it is told."""

    def tell(share: float) -> None:
        shares.append(share)
        if share >= stops_at:
            raise Unwanted

    return tell


def main() -> None:
    """Answer until the input ends."""
    says = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from voxtral_serverless.transcription._aligner import Aligners

    def say(**message: Any) -> None:
        print(json.dumps(message), file=says, flush=True)

    aligners = Aligners("cpu")
    say(early="transformers" in sys.modules)
    for line in sys.stdin:
        question = json.loads(line)
        shares: list[float] = []
        tell = progress(shares, question.pop("stops_at", 2.0))
        try:
            say(shares=shares, **aligners.align(**question, progress=tell))
        except Exception as error:  # noqa: BLE001 — told, as the process does
            say(shares=shares, failed=type(error).__name__)


if __name__ == "__main__":
    main()
