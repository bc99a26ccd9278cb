"""Counts errors, in a process of the Python that has meeteval and pyannote.metrics.

Started by `scores`; imports nothing else of this package. Reads a question per line of standard input and writes an answer
per line to standard output, both JSON objects. A question has the `reference` and the `hypothesis` as segments of normal
words, the reference once more as `timed` ones, who is `speaking` in truth and who was `found` to, and the `duration`; an
answer has the numbers, or `failed`. What the libraries print goes to standard error. Ends when standard input does.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

PR_SET_PDEATHSIG = 1
TCP_COLLAR_S = 5.0
DER_COLLAR_S = 0.5
"""As pyannote.metrics counts it, both sides of an edge together: 0.25 s at either."""
Segments = Sequence[Mapping[str, Any]]
Timeline = Sequence[tuple[float, float, str]]


def main() -> None:
    """Answer until nobody asks."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    says = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    for line in sys.stdin.buffer:
        try:
            answer = scored(**json.loads(line))
        except Exception as error:  # noqa: BLE001 — the worker decides what becomes of it
            answer = {"failed": f"{type(error).__name__}: {error}"}
        says.write(json.dumps(answer).encode() + b"\n")
        says.flush()


def scored(
    *, reference: Segments, timed: Segments, hypothesis: Segments, speaking: Timeline, found: Timeline | None,
    duration: float,
) -> dict[str, Any]:  # fmt: skip
    """The answer to a question; the errors of words are null without a reference of them, those of time without `found`."""
    return {
        **(_word_errors(reference, timed, hypothesis) if reference else dict.fromkeys(("wer", "cpwer", "tcpwer"))),
        "der": None if found is None else _diarization_errors(speaking, found, duration, 0.0),
        "der_collar": None if found is None else _diarization_errors(speaking, found, duration, DER_COLLAR_S),
    }


def _word_errors(reference: Segments, timed: Segments, hypothesis: Segments) -> dict[str, int]:
    from meeteval.io import SegLST
    from meeteval.wer.wer.cp import cp_word_error_rate
    from meeteval.wer.wer.di_cp import greedy_di_cp_word_error_rate
    from meeteval.wer.wer.orc import greedy_orc_word_error_rate
    from meeteval.wer.wer.time_constrained import time_constrained_minimum_permutation_word_error_rate

    said, by_word, heard = (SegLST([dict(one) for one in each]) for each in (reference, timed, hypothesis))
    tcp = time_constrained_minimum_permutation_word_error_rate(
        by_word, heard, collar=TCP_COLLAR_S, reference_pseudo_word_level_timing="character_based",
        hypothesis_pseudo_word_level_timing="character_based_points",
    )  # fmt: skip
    whoever = (greedy_orc_word_error_rate(said, heard), greedy_di_cp_word_error_rate(said, heard))
    return {
        "wer": min(int(each.errors) for each in whoever),
        "cpwer": int(cp_word_error_rate(said, heard).errors),
        "tcpwer": int(tcp.errors),
    }


def _diarization_errors(speaking: Timeline, found: Timeline, duration: float, collar: float) -> dict[str, float]:
    """Seconds, over the whole recording; stretches in which several speak count once for each of them."""
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    metric = DiarizationErrorRate(collar=collar, skip_overlap=False)
    whole = Timeline([Segment(0, duration)])
    parts = metric(_annotation(speaking), _annotation(found), uem=whole, detailed=True)
    names = {
        "speech_s": "total",
        "missed_s": "missed detection",
        "false_alarm_s": "false alarm",
        "confusion_s": "confusion",
    }
    return {name: round(float(parts[part]), 6) for name, part in names.items()}


def _annotation(turns: Timeline) -> Any:
    from pyannote.core import Annotation, Segment

    annotation = Annotation()
    for number, (start, end, speaker) in enumerate(turns):
        annotation[Segment(start, end), number] = speaker
    return annotation.support()  # of one speaker, what touches or overlaps is one


if __name__ == "__main__":
    main()
