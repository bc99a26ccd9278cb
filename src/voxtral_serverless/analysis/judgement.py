"""The sentiment of a call, as the stages pass it on; the contract's words are in French."""

from __future__ import annotations

from dataclasses import dataclass

from voxtral_serverless.contract import ENGLISH_LABELS, Emotion, Satisfaction, Sentiment, SentimentLabel
from voxtral_serverless.settings import LabelLanguage


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
    satisfaction: Satisfaction | None

    def as_answer(self, language: LabelLanguage) -> Sentiment:
        """The contract's object, with its labels in `language`."""

        def word(label: str) -> str:
            return ENGLISH_LABELS[label] if language == "en" else label

        return Sentiment(
            sentiment=word(self.label),
            score=round(self.score, 2),
            emotions=[word(emotion) for emotion in self.emotions],
            satisfaction_client=word(self.satisfaction) if self.satisfaction else None,
        )
