"""What a job tells while it is done.

Leaves out what is written down of it (`records`): this is gone with the process.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from voxtral_serverless.progress import NoEvents, Progress
from voxtral_serverless.transcription.plan import Utterance


@dataclass
class Live(NoEvents):
    """What is known of a job beyond its record, while this process lives: what its events tell, and who waits for it.

    Attributes:
        progress: The newest.
        utterances: Those that are done, in the order in which they came.
        told: How many of them `/stream` has given out.
        over: Set when the job is over.
        ended: When it was, on the monotonic clock.
        news: Set at every event, for who follows; cleared by them.
    """

    last: Progress | None = None
    utterances: list[Utterance] = field(default_factory=list)
    told: int = 0
    task: asyncio.Task[None] | None = None
    cancelled: bool = False
    ended: float | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def progress(self, progress: Progress) -> None:
        """Keep it."""
        self.last = progress
        self.news.set()

    def utterance(self, utterance: Utterance) -> None:
        """Keep it."""
        self.utterances.append(utterance)
        self.news.set()
