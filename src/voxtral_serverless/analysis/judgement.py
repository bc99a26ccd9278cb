"""Verdicts on how somebody speaks, as the stages pass them on; the contract's words are in French."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.contract import (
    ENGLISH_LABELS,
    Emotion,
    Quote,
    Satisfaction,
    Sentiment,
    SentimentLabel,
    SpeakerSentiment,
    ThirdSentiment,
    Tone,
)
from voxtral_serverless.settings import LabelLanguage

MAX_EMOTIONS = 5
MIXED_SHARE = 0.25
"""Share of a conversation that is positive, and share that is negative, from which it is mixed."""


@dataclass(frozen=True)
class Judgement:
    """A verdict on the customer's tone.

    Attributes:
        label: The sentiment.
        score: How clearly the label holds, in [0, 1].
        emotions: At most five, the most certain first.
        satisfaction: None where there is no customer.
    """

    label: SentimentLabel
    score: float
    emotions: tuple[Emotion, ...]
    satisfaction: Satisfaction | None = None

    @property
    def contradictory(self) -> bool:
        """Whether the label and the satisfaction exclude each other."""
        return (self.label, self.satisfaction) in {("positif", "insatisfait"), ("négatif", "satisfait")}

    def as_answer(self, language: LabelLanguage) -> Sentiment:
        """The contract's object, with its labels in `language`."""
        return Sentiment(
            sentiment=_word(self.label, language),
            score=round(self.score, 2),
            emotions=[_word(emotion, language) for emotion in self.emotions],
            satisfaction_client=_word(self.satisfaction, language) if self.satisfaction else None,
        )


@dataclass(frozen=True)
class SpeakerTone:
    """A verdict on the tone of one speaker, and the words of theirs that carry it.

    Attributes:
        quote: The words, as the transcript has them.
        span: When they are said.
    """

    judgement: Judgement
    quote: str
    span: Span

    def as_answer(self, language: LabelLanguage) -> Tone:
        """The contract's object, with its labels in `language`."""
        return Tone(
            sentiment=_word(self.judgement.label, language),
            score=round(self.judgement.score, 2),
            emotions=[_word(emotion, language) for emotion in self.judgement.emotions],
            quote=Quote(text=self.quote, start=round(self.span.start, 2), end=round(self.span.end, 2)),
        )


@dataclass(frozen=True)
class SpeakerTones:
    """How the tone of one speaker goes through a conversation.

    Attributes:
        thirds: Each third of the conversation, and the tone there; None where the speaker says nothing, or where it
            could not be judged.
        overall: Made of those of the thirds; None where one of them could not be judged.
    """

    speaker: str
    thirds: tuple[tuple[Span, SpeakerTone | None], ...]
    overall: SpeakerTone | None

    def as_answer(self, language: LabelLanguage) -> SpeakerSentiment:
        """The contract's object, with its labels in `language`."""
        return SpeakerSentiment(
            speaker=self.speaker,
            overall=self.overall.as_answer(language) if self.overall else None,
            thirds=[
                ThirdSentiment(
                    start=round(span.start, 2), end=round(span.end, 2), tone=tone.as_answer(language) if tone else None
                )
                for span, tone in self.thirds
            ],
        )


def combined(judgements: Sequence[Judgement], weights: Sequence[float]) -> Judgement:
    """One judgement from those of the parts of a conversation, in order; `weights` are how much is said in each.

    The label that most is said under, or `mixte` where much is positive and much is negative, or where the customer's
    satisfaction at the end excludes the label.
    """
    if len(judgements) == 1:
        return judgements[0]
    total = sum(weights) or 1.0
    said, clear = dict.fromkeys(get_args(SentimentLabel), 0.0), dict.fromkeys(get_args(SentimentLabel), 0.0)
    emotions: dict[Emotion, float] = defaultdict(float)
    for judgement, weight in zip(judgements, weights, strict=True):
        said[judgement.label] += weight / total
        clear[judgement.label] += judgement.score * weight / total
        for rank, emotion in enumerate(judgement.emotions):
            emotions[emotion] += weight / total * (1 - rank / MAX_EMOTIONS)
    # Where two have as much, the clearer one; and where that says nothing, the one that says something.
    most: SentimentLabel = max(said, key=lambda label: (said[label], clear[label], label != "neutre"))
    last = next((one.satisfaction for one in reversed(judgements) if one.satisfaction), None)
    clearest = sorted(emotions, key=emotions.__getitem__, reverse=True)[:MAX_EMOTIONS]
    whole = Judgement(most, min(1.0, clear[most]), tuple(clearest), last)
    if _lesser(said) >= MIXED_SHARE:
        return replace(whole, label="mixte", score=min(1.0, 2 * _lesser(clear)))
    return replace(whole, label="mixte", score=1 - whole.score) if whole.contradictory else whole


def _lesser(shares: Mapping[SentimentLabel, float]) -> float:
    """What is positive or what is negative, whichever is less; of what is mixed, half is each."""
    return min(shares["positif"], shares["négatif"]) + shares["mixte"] / 2


def combined_tone(tones: Sequence[SpeakerTone], weights: Sequence[float]) -> SpeakerTone:
    """One tone from those of the parts of a conversation; its quote is that of the part that says most of the same."""
    judgement = combined([tone.judgement for tone in tones], weights)
    telling = max(
        zip(tones, weights, strict=True),
        key=lambda pair: (pair[0].judgement.label == judgement.label, pair[0].judgement.score * pair[1]),
    )[0]
    return replace(telling, judgement=judgement)


def _word(label: str, language: LabelLanguage) -> str:
    return ENGLISH_LABELS[label] if language == "en" else label
