"""What a transcriber answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from voxtral_serverless.errors import Notice
from voxtral_serverless.transcription.words import Word


class Heard(Protocol):
    """Told the text of each clip, by the clip's index, as it comes; and its words, where their times are known."""

    def __call__(self, index: int, text: str, words: tuple[Word, ...] = ()) -> None:
        """Take it."""


MISHAPS = {
    "text_cut": "{} texts ran in circles or too long, twice; what repeats was cut, and words may be wrong.",
    "text_dropped": "{} texts were written for next to no speech; they were dropped.",
    "clip_kills_engine": "the engine died twice over each of {} clips; they were left out.",
}
"""What may befall a clip, by its code, told with the number of clips."""


@dataclass(frozen=True)
class Transcript:
    """The text of each clip, None for a lost one.

    Attributes:
        notices: What the transcriber warns of.
        mishaps: How many clips were befallen by what, by the codes of `MISHAPS`.
    """

    texts: tuple[str | None, ...]
    notices: tuple[Notice, ...] = ()
    mishaps: Counter[str] = field(default_factory=Counter)


def mishap_notices(mishaps: Mapping[str, int]) -> Iterator[Notice]:
    """A warning for each kind of mishap."""
    for code, message in MISHAPS.items():
        if mishaps.get(code):
            yield Notice(code, message.format(mishaps[code]))
