"""French calls in text, with what honest people say about the customer's tone: what analyses are measured against.

The calls are written for this project, by hand, and no real ones; each is hard in a way of its own. A label says how
the customer speaks, not what about, as the analyst is asked to judge. Leaves out: sound, and what makes a transcript
of a real call worse than the call.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from voxtral_serverless.analysis.judgement import Judgement
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.contract import Satisfaction, SentimentLabel
from voxtral_serverless.errors import InternalError
from voxtral_serverless.transcription.plan import Utterance

FILE = "calls_fr.json"
WORD_S = 0.4
"""150 words a minute."""
PAUSE_S = 0.3
"""Between two turns."""


@dataclass(frozen=True)
class LabelledCall:
    """A call and its labels.

    Attributes:
        about: Why it is hard, in English.
        turns: Who says what, in order.
        sentiment: What may be said of the customer's tone; the first is the best.
        satisfaction: What may be said of the customer's satisfaction at the end, likewise; None: nobody is a customer.
    """

    id: str
    about: str
    turns: tuple[tuple[str, str], ...]
    sentiment: tuple[SentimentLabel, ...]
    satisfaction: tuple[Satisfaction | None, ...]

    @property
    def text(self) -> str:
        """Everything that is said, a line for each turn."""
        return "\n".join(text for _, text in self.turns)

    def utterances(self) -> tuple[Utterance, ...]:
        """The turns as a transcript has them, with made-up times: one after the other, at 150 words a minute."""
        names: dict[str, str] = {}
        said, at = [], 0.0
        for speaker, text in self.turns:
            name = names.setdefault(speaker, f"SPEAKER_{len(names):02d}")
            span = Span(at, at + WORD_S * len(text.split()))
            said.append(Utterance(span, name, text))
            at = span.end + PAUSE_S
        return tuple(said)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Labels(_Strict):
    sentiment: Annotated[tuple[SentimentLabel, ...], Field(min_length=1, max_length=2)]
    satisfaction: Annotated[tuple[Satisfaction | None, ...], Field(min_length=1, max_length=2)]


class _Call(_Strict):
    """A call as the file has it."""

    id: Annotated[str, Field(pattern="^[a-z0-9_]+$")]
    about: Annotated[str, Field(min_length=1)]
    labels: _Labels
    turns: Annotated[
        tuple[tuple[Literal["A", "B", "C"], Annotated[str, Field(min_length=1)]], ...], Field(min_length=1)
    ]


def labelled_calls() -> tuple[LabelledCall, ...]:
    """All of them, in the order of the file.

    Raises:
        InternalError: the package's file is damaged.
    """
    return read_calls(files("voxtral_serverless.qualify").joinpath(FILE).read_bytes())


def read_calls(written: bytes) -> tuple[LabelledCall, ...]:
    """The calls of a file of this kind.

    Raises:
        InternalError: it is no such file, has an id twice, or labels of which no answer is free of contradictions.
    """
    try:
        found = TypeAdapter(tuple[_Call, ...]).validate_json(written)
    except ValidationError as error:
        raise InternalError(f"the labelled calls cannot be read: {error.error_count()} faults.") from error
    calls = tuple(
        LabelledCall(one.id, one.about, one.turns, one.labels.sentiment, one.labels.satisfaction) for one in found
    )
    if len({call.id for call in calls}) < len(calls):
        raise InternalError("two of the labelled calls have the same id.")
    for call in calls:
        if Judgement(call.sentiment[0], 1.0, (), call.satisfaction[0]).contradictory:
            raise InternalError(f"the labels of the call {call.id} contradict each other.")
    return calls
