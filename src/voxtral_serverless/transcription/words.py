"""Words of a transcript, and when they are spoken."""

from __future__ import annotations

from dataclasses import dataclass

from voxtral_serverless.audio.recording import Span


@dataclass(frozen=True)
class Word:
    """A written word with its punctuation, and its stretch of the recording.

    Attributes:
        score: How sure the time is, in [0, 1]; None where it was reckoned from the words around it.
    """

    text: str
    span: Span
    score: float | None = None
