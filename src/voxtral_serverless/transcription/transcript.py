"""What a transcriber answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from voxtral_serverless.errors import Notice

Heard = Callable[[int, str], None]
"""Told the text of each clip, by the clip's index, as it comes."""


@dataclass(frozen=True)
class Transcript:
    """The text of each clip, None for a lost one, and what the transcriber warns of."""

    texts: tuple[str | None, ...]
    notices: tuple[Notice, ...] = ()
