"""A conversation as the model reads it: a line for each utterance, whole, or in parts that fit into its context.

Nothing is left out: every line is in exactly one part, in order; only a line that is longer than a part is cut, where
a sentence ends or at a space. Pure, but for the counting of tokens, which is the server's.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import ceil, inf

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.concurrency import together
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.plain_text import plain
from voxtral_serverless.transcription.plan import Utterance

SLACK = 0.95
"""Parts are planned for so much of the room, since characters tell only about how many tokens they are."""
THIRDS = 3
NOBODY = "?"
"""Who speaks where that is not known, beside others who are."""
SENTENCE_END = re.compile(r"[.!?…।؟。]+[\"'»”)]*\s+")


@dataclass(frozen=True)
class Line:
    """What one speaker says; `speaker` is None where nobody is told apart."""

    speaker: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.speaker}: {self.text}" if self.speaker else self.text


Part = tuple[Line, ...]
Filling = Callable[[Part], Awaitable[float]]
"""How much of the room a part takes: what takes more than 1 does not fit."""


@dataclass(frozen=True)
class Third:
    """A third of a conversation's time, and the utterances whose middle is in it."""

    span: Span
    utterances: tuple[Utterance, ...]


def lines_of(utterances: Sequence[Utterance]) -> Part:
    """A line for each utterance that has a text."""
    known = any(utterance.speaker for utterance in utterances)
    texts = [(utterance.speaker or NOBODY if known else None, plain(utterance.text or "")) for utterance in utterances]
    return tuple(Line(speaker and plain(speaker), text) for speaker, text in texts if text)


def characters(part: Sequence[Line]) -> int:
    """Length of some lines."""
    return sum(len(str(line)) + 1 for line in part)


def thirds(utterances: Sequence[Utterance]) -> list[Third]:
    """The conversation, from its first moment of speech to its last, in three parts of the same time."""
    start = min(utterance.span.start for utterance in utterances)
    end = max(utterance.span.end for utterance in utterances)
    edges = [start + (end - start) * third / THIRDS for third in range(THIRDS)] + [end]
    groups: list[list[Utterance]] = [[] for _ in range(THIRDS)]
    for utterance in utterances:
        middle = (utterance.span.start + utterance.span.end) / 2
        groups[sum(middle >= edge for edge in edges[1:-1])].append(utterance)
    return [Third(Span(*edge), tuple(group)) for edge, group in zip(pairwise(edges), groups, strict=True)]


async def parts_of(part: Part, filling: Filling) -> list[Part]:
    """`part` in parts that fit, of about the same length.

    Raises:
        StageFailed: not even a few characters fit, or what is shorter takes no less room.
    """
    return await _fitting(part, filling, inf)


async def _fitting(part: Part, filling: Filling, of_whole: float) -> list[Part]:
    """`part`, which is less than what took `of_whole`, in parts that fit."""
    taken = await filling(part)
    if taken <= 1:
        return [part]
    if taken >= of_whole or not part:
        raise StageFailed("the engine counts tokens that cannot be: the conversation was not read.")
    async with together() as tasks:
        fitting = [tasks.create_task(_fitting(piece, filling, taken)) for piece in _divided(part, ceil(taken / SLACK))]
    return [one for task in fitting for one in task.result()]


def _divided(part: Part, wanted: int) -> list[Part]:
    """`part` in `wanted` parts of about as many characters, or as many as it has lines; a single line is cut in two."""
    if len(part) == 1:
        return [(half,) for half in _halves(part[0])]
    ends = list(accumulate(len(str(line)) + 1 for line in part))
    most = min(max(wanted, 2), len(part))
    cuts = [0]
    for number in range(1, most):
        ideal = ends[-1] * number / most
        possible = range(cuts[-1] + 1, len(part) - (most - number) + 1)
        cuts.append(min(possible, key=lambda cut: abs(ends[cut - 1] - ideal)))
    return [part[first:last] for first, last in pairwise([*cuts, len(part)])]


def _halves(line: Line) -> tuple[Line, Line]:
    """A line in two, cut where a sentence, else a word, ends nearest to its middle, not too far from that."""
    text = line.text
    if len(text) < 2:
        raise StageFailed("the engine's context is too small to read a conversation in.")
    inner = range(ceil(len(text) / 4), len(text) * 3 // 4 + 1)
    sentences = [match.end() for match in SENTENCE_END.finditer(text) if match.end() in inner]
    spaces = [match.end() for match in re.finditer(r"\s", text) if match.end() in inner]
    cut = min(sentences or spaces or inner, key=lambda end: abs(end - len(text) / 2))
    return replace(line, text=text[:cut].rstrip()), replace(line, text=text[cut:].lstrip())
