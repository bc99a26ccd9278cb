"""The embedded analyst: sentences picked by LexRank, sentiment by VADER. English only, a self-test of the path.

The summary quotes whole utterances, it does not write. The sentiment is that of the words of the whole
conversation, since nothing here can tell the customer from the agent; emotions are named only where a speaker
names them in so many words.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from voxtral_serverless.analysis.answers import labelled
from voxtral_serverless.analysis.judgement import MAX_EMOTIONS, MIXED_SHARE, Judgement, SpeakerTone
from voxtral_serverless.contract import Emotion, Satisfaction, SentimentLabel
from voxtral_serverless.errors import LanguageNotSupported
from voxtral_serverless.transcription.plan import Utterance

MIN_WORDS = 5
"""An utterance with fewer words does not stand for itself in a summary."""
MAX_QUOTED = 8
UTTERANCES_PER_QUOTE = 4
DAMPING = 0.85
POLAR = 0.2
"""Mean of VADER's compound value beyond which a conversation is positive or negative."""
SATISFACTION: dict[SentimentLabel, Satisfaction] = {
    "positif": "satisfait", "négatif": "insatisfait", "neutre": "neutre", "mixte": "neutre",
}  # fmt: skip
NAMED_EMOTIONS: dict[Emotion, str] = {
    "gratitude": r"thanks?|thank you|grateful|appreciate",
    "politesse": r"please|you're welcome|you are welcome",
    "joie": r"happy|glad|delighted",
    "satisfaction": r"satisfied|perfect|wonderful|excellent",
    "soulagement": r"relieved|what a relief",
    "inquiétude": r"worried|afraid|anxious",
    "confusion": r"confused|confusing",
    "frustration": r"frustrated|frustrating|annoyed|annoying",
    "déception": r"disappointed|disappointing",
    "colère": r"angry|furious|unacceptable",
    "tristesse": r"sad|upset",
}
NEGATION = re.compile(r"\b(?:not|no|never|nor|hardly|without)\b|n't\b")


class EmbeddedAnalyst:
    """Reads conversations by word counts and a lexicon."""

    async def read(self, utterances: Sequence[Utterance], language: str, *, excerpt: bool = False) -> EmbeddedReading:  # noqa: ARG002
        """What can be asked about `utterances`. An excerpt is read like the whole."""
        return EmbeddedReading(tuple(utterance for utterance in utterances if utterance.text), language)


@dataclass(frozen=True)
class EmbeddedReading:
    """A conversation that can be asked about."""

    _utterances: tuple[Utterance, ...]
    _language: str

    async def summarise(self, language: str) -> str:
        """The utterances that the others resemble most, in the order of the conversation.

        Raises:
            LanguageNotSupported: the conversation or the summary is not in English.
        """
        _english_only(self._language, language)
        return await asyncio.to_thread(_summary, [utterance.text or "" for utterance in self._utterances])

    async def judge(self) -> Judgement:
        """The sentiment of the words, by VADER's lexicon.

        Raises:
            LanguageNotSupported: the conversation is not in English.
        """
        _english_only(self._language)
        speakers = {utterance.speaker for utterance in self._utterances}
        monologue = len(speakers) == 1 and speakers != {None}
        texts = [utterance.text or "" for utterance in self._utterances]
        return await asyncio.to_thread(_judge, texts, monologue)

    async def judge_speaker(self, speaker: str) -> SpeakerTone:
        """The sentiment of the words of `speaker`, carried by the utterance that leans most to that side.

        Raises:
            LanguageNotSupported: the conversation is not in English.
        """
        _english_only(self._language)
        return await asyncio.to_thread(_tone, [one for one in self._utterances if one.speaker == speaker])


def _english_only(*languages: str) -> None:
    for language in languages:
        if language == "en":
            continue
        raise LanguageNotSupported(
            f"the embedded engine reads English only, not {language!r}; the real engine, Voxtral on vLLM, does: "
            "ENGINE=vllm, see README.md, 'The real engine'."
        )


def _summary(texts: Sequence[str]) -> str:
    candidates = [text for text in texts if len(text.split()) >= MIN_WORDS] or list(texts)
    wanted = min(MAX_QUOTED, max(1, round(len(candidates) / UTTERANCES_PER_QUOTE)))
    ranks = _lexrank(candidates)
    best = sorted(sorted(range(len(candidates)), key=lambda index: -ranks[index])[:wanted])
    return labelled(" ".join(_as_sentence(candidates[index]) for index in best), "en")


def _as_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _lexrank(texts: Sequence[str]) -> list[float]:
    """LexRank (Erkan and Radev, 2004): the stationary distribution of a walk over similar sentences."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        vectors = TfidfVectorizer(stop_words="english").fit_transform(texts)
    except ValueError:  # nothing but stop words
        return [1.0] * len(texts)
    similarity = (vectors @ vectors.T).toarray() + 1e-6
    transition = DAMPING * similarity / similarity.sum(axis=1, keepdims=True) + (1 - DAMPING) / len(texts)
    ranks = np.full(len(texts), 1 / len(texts))
    for _ in range(50):
        ranks = ranks @ transition
    return [float(rank) for rank in ranks]


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


def _judge(texts: Sequence[str], monologue: bool) -> Judgement:
    weights = [len(text.split()) for text in texts]
    compounds = [float(_vader().polarity_scores(text)["compound"]) for text in texts]
    total = sum(weights) or 1
    mean = sum(w * c for w, c in zip(weights, compounds, strict=True)) / total
    positive = sum(w for w, c in zip(weights, compounds, strict=True) if c > POLAR) / total
    negative = sum(w for w, c in zip(weights, compounds, strict=True) if c < -POLAR) / total
    label, score = _label(mean, positive, negative)
    return Judgement(label, score, _emotions(" ".join(texts)), None if monologue else SATISFACTION[label])


def _tone(utterances: Sequence[Utterance]) -> SpeakerTone:
    texts = [utterance.text or "" for utterance in utterances]
    judgement = replace(_judge(texts, monologue=False), satisfaction=None)
    side = {"positif": 1, "négatif": -1}.get(judgement.label, 0)
    compounds = [float(_vader().polarity_scores(text)["compound"]) for text in texts]
    telling = max(range(len(texts)), key=lambda index: side * compounds[index] or -abs(compounds[index]))
    return SpeakerTone(judgement, texts[telling], utterances[telling].span)


def _label(mean: float, positive: float, negative: float) -> tuple[SentimentLabel, float]:
    if abs(mean) < POLAR and min(positive, negative) >= MIXED_SHARE:
        return "mixte", min(1.0, 2 * min(positive, negative))
    if mean >= POLAR:
        return "positif", min(1.0, mean)
    if mean <= -POLAR:
        return "négatif", min(1.0, -mean)
    return "neutre", 1 - abs(mean) / POLAR / 2


def _emotions(text: str) -> tuple[Emotion, ...]:
    counts = {name: _named(words, text.lower()) for name, words in NAMED_EMOTIONS.items()}
    named = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    return tuple(named[:MAX_EMOTIONS])


def _named(words: str, text: str) -> int:
    """How often one of `words` stands in `text` without a negation shortly before it."""
    found = re.finditer(rf"\b(?:{words})\b", text)
    return sum(not NEGATION.search(" ".join(text[: match.start()].split()[-3:])) for match in found)
