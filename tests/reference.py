"""The reference of the bundled call, and how an answer is measured against it."""

from __future__ import annotations

from dataclasses import dataclass

import jiwer

from tests.media import ROOT

NORMAL = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.Strip(), jiwer.ReduceToListOfListOfWords()]
)


@dataclass(frozen=True)
class SpokenTurn:
    """One line of the reference."""

    speaker: str
    start: float
    end: float
    text: str


def bundled_call() -> list[SpokenTurn]:
    """The turns of `examples/call.stm`."""
    lines = (ROOT / "examples" / "call.stm").read_text().splitlines()
    parts = [line.split(maxsplit=5) for line in lines]
    return [SpokenTurn(speaker, float(start), float(end), text) for _, _, speaker, start, end, text in parts]


def word_error_rate(references: list[str], hypotheses: list[str]) -> float:
    """Wrong, missing and added words over spoken words, case and punctuation aside."""
    return float(jiwer.wer(references, hypotheses, reference_transform=NORMAL, hypothesis_transform=NORMAL))
