"""Stock pyannote beside ours: the same turns?

Promises: stock pyannote runs in a process of its own, of the same Python, the same files and the same step, and nothing of
it is left afterwards. Leaves out: which recordings (`accuracy`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from itertools import permutations
from typing import Any

from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.child import GPU_ORDER, MACHINE, running_child
from voxtral_serverless.diarization.models import PipelineFiles
from voxtral_serverless.diarization.pyannote import MAX_SPEAKERS, PyannoteDiarizer
from voxtral_serverless.diarization.turns import SpeakerHints
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.qualify.units import Reading
from voxtral_serverless.reporting import unheard
from voxtral_serverless.torch_process import OFFLINE, PACKAGE
from voxtral_serverless.workspace import workspace

BOOT = """
import importlib.util, runpy, sys
spec = importlib.util.spec_from_file_location("voxtral_serverless", sys.argv[1])
sys.modules[spec.name] = importlib.util.module_from_spec(spec)
runpy.run_module("voxtral_serverless.qualify._stock", run_name="__main__")
"""
"""Lets the other Python find our package, and nothing else of our environment."""
SAME_S = 0.001
SPEAKERS_TRIED = 6
"""Up to so many speakers all renamings are tried; of more, each takes the best that is left."""
Found = tuple[float, float, str]
"""A turn: from, to, by whom."""


async def beside_stock(
    python: str, pipeline: PipelineFiles, step: float, ours: PyannoteDiarizer, recording: Recording
) -> Reading:
    """Whether stock pyannote finds the turns that ours finds, and the seconds that each takes.

    Raises:
        StageFailed: one of them failed.
    """
    began = time.monotonic()
    found = await ours.diarize(recording, (Span(0.0, recording.duration),), SpeakerHints(), unheard)
    ours_s = time.monotonic() - began
    stock, stock_s = await stock_turns(python, pipeline, step, recording)
    own = [(turn.span.start, turn.span.end, turn.speaker or "") for turn in found.timeline or ()]
    return {**compared(stock, own), "stock_s": round(stock_s, 3), "ours_s": round(ours_s, 3)}


async def stock_turns(
    python: str, pipeline: PipelineFiles, step: float, recording: Recording
) -> tuple[list[Found], float]:
    """The turns that stock pyannote finds, overlaps included, and the seconds that it takes, without its start.

    `step` is how far its window moves, as a part of it.

    Raises:
        StageFailed: it failed.
    """
    question: dict[str, Any] = {
        "config": pipeline.config, "segmentation_step": step, "audio": str(recording.mix), "samples": recording.samples,
        "most": MAX_SPEAKERS,
    }  # fmt: skip
    with workspace() as folder:
        environment = GPU_ORDER | {name: value for name in MACHINE if (value := os.environ.get(name))} | OFFLINE
        environment |= {name: str(folder) for name in ("TMPDIR", "MPLCONFIGDIR", "HF_HOME")}
        arguments = (python, "-c", BOOT, str(PACKAGE))
        async with running_child(arguments, folder=folder, environment=environment) as child:
            await child.send(question)
            answer = await child.receive()
            if answer is None or "failed" in answer:
                reason = str(answer["failed"]) if answer else (child.complaints().splitlines() or ["it ended"])[-1]
                raise StageFailed(f"stock pyannote failed: {reason}")
    turns = [(start, min(end, recording.duration), who) for start, end, who in answer["turns"]]
    return [turn for turn in turns if turn[0] < recording.duration], float(answer["took_s"])


def compared(stock: Sequence[Found], ours: Sequence[Found]) -> Reading:
    """Whether the turns are the same but for the names of the speakers, how many stock has, and the seconds of single
    speakers that only one of the two has, under the renaming that leaves the fewest.
    """
    names = _renaming(stock, ours)
    renamed: list[Found] = sorted((start, end, names.get(who, f"only ours: {who}")) for start, end, who in ours)
    identical = len(stock) == len(renamed) and all(map(_same, sorted(stock), renamed))
    alike = sum(_shared(stock, renamed, who) for who in {who for *_, who in stock})
    different = _total(stock) + _total(renamed) - 2 * alike
    return {"identical": identical, "turns": len(stock), "different_s": round(max(different, 0.0), 3)}


def _same(one: Found, other: Found) -> bool:
    return one[2] == other[2] and abs(one[0] - other[0]) <= SAME_S and abs(one[1] - other[1]) <= SAME_S


def _renaming(stock: Sequence[Found], ours: Sequence[Found]) -> dict[str, str]:
    """Our speakers by the names of stock's, so that most of the time is the same."""
    theirs, own = (sorted({who for *_, who in turns}) for turns in (stock, ours))
    shared = {
        (mine, their): _shared([(s, e, mine) for s, e, who in stock if who == their], ours, mine)
        for mine in own
        for their in theirs
    }
    if max(len(theirs), len(own)) <= SPEAKERS_TRIED:
        few, many = sorted((own, theirs), key=len)
        pairs = (
            [(one, other) if few is own else (other, one) for one, other in zip(few, order, strict=True)]
            for order in permutations(many, len(few))
        )
        return dict(max(pairs, key=lambda pairing: sum(shared[pair] for pair in pairing)))
    names: dict[str, str] = {}
    for mine, their in sorted(shared, key=shared.__getitem__, reverse=True):
        if mine not in names and their not in names.values():
            names[mine] = their
    return names


def _shared(one: Sequence[Found], other: Sequence[Found], who: str) -> float:
    """Seconds in which both have `who` speak; the turns of one speaker never overlap."""
    first, second = ([Span(start, end) for start, end, name in turns if name == who] for turns in (one, other))
    return sum(span.overlap(beside) for span in first for beside in second)


def _total(turns: Sequence[Found]) -> float:
    return sum(end - start for start, end, _ in turns)
