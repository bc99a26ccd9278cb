"""What is truly said in a recording: the references that answers are measured against. Pure types."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from voxtral_serverless.audio.recording import Span


@dataclass(frozen=True, order=True)
class SaidWord:
    """A word, and when it is said."""

    span: Span
    text: str


@dataclass(frozen=True)
class SaidTurn:
    """What one speaker says in one go.

    Attributes:
        words: With their times; empty where the reference has none of single words.
    """

    speaker: str
    span: Span
    text: str
    words: tuple[SaidWord, ...] = ()


@dataclass(frozen=True)
class SpokenSpan:
    """A stretch in which somebody speaks."""

    speaker: str
    span: Span


@dataclass(frozen=True)
class ReferenceCall:
    """A recording and what is truly said in it.

    Attributes:
        turns: Who says what when, in order of start; empty where only the speakers are known.
        speaking: Who speaks when, overlaps included, for the diarization error; in order of start.
        digest: Of the recording's name and size and of what its references say: another where one of them was corrected.
    """

    name: str
    audio: Path
    turns: tuple[SaidTurn, ...]
    speaking: tuple[SpokenSpan, ...]
    digest: str = ""

    @property
    def last_s(self) -> float:
        """When the last of them has ended; the recording is at least as long."""
        return max((*(one.span.end for one in self.speaking), *(turn.span.end for turn in self.turns)), default=0.0)

    @cached_property
    def speakers(self) -> int:
        """How many people speak."""
        return len({one.speaker for one in self.speaking} | {turn.speaker for turn in self.turns})


@dataclass(frozen=True)
class DataSet:
    """Recordings with references.

    Attributes:
        revision: Of a repository, the commit; of a folder, a digest of its recordings' names and sizes; None without any.
        language: Spoken in all of them, ISO 639-1; None where that is not known.
        skipped: What was found and cannot be used, and why, a sentence each.
    """

    name: str
    revision: str | None
    language: str | None
    calls: tuple[ReferenceCall, ...]
    skipped: tuple[str, ...] = ()
