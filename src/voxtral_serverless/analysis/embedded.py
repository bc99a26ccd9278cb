"""The embedded analyst: sentences picked by LexRank, sentiment by VADER. English only, a self-test of the path.

The summary quotes whole utterances, it does not write. The sentiment is that of the words of the whole
conversation, since nothing here can tell the customer from the agent; emotions are named only where a speaker
names them in so many words.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from voxtral_serverless.analysis.judgement import Judgement
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
MIXED_SHARE = 0.25
"""Share of words in clearly positive, and in clearly negative utterances, that makes a conversation mixed."""
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
MAX_EMOTIONS = 5
NEGATION = re.compile(r"\b(?:not|no|never|nor|hardly|without)\b|n't\b")


class EmbeddedAnalyst:
    """Summary and sentiment from word counts and a lexicon."""

    async def summarise(self, utterances: Sequence[Utterance], language: str) -> str:
        """The utterances that the others resemble most, in the order of the conversation.

        Raises:
            LanguageNotSupported: `language` is not English.
        """
        _english_only(language)
        return await asyncio.to_thread(_summary, [u.text for u in utterances if u.text])

    async def judge(self, utterances: Sequence[Utterance], language: str) -> Judgement:
        """The sentiment of the words, by VADER's lexicon.

        Raises:
            LanguageNotSupported: `language` is not English.
        """
        _english_only(language)
        speakers = {u.speaker for u in utterances}
        monologue = len(speakers) == 1 and speakers != {None}
        return await asyncio.to_thread(_judge, [u.text for u in utterances if u.text], monologue)


def _english_only(language: str) -> None:
    if language != "en":
        raise LanguageNotSupported(
            f"the embedded engine reads English only, not {language!r}; the real engine, Voxtral on vLLM, does: "
            "ENGINE=vllm, see README.md, 'The real engine'."
        )


def _summary(texts: Sequence[str]) -> str:
    candidates = [text for text in texts if len(text.split()) >= MIN_WORDS] or list(texts)
    wanted = min(MAX_QUOTED, max(1, round(len(candidates) / UTTERANCES_PER_QUOTE)))
    ranks = _lexrank(candidates)
    best = sorted(sorted(range(len(candidates)), key=lambda index: -ranks[index])[:wanted])
    return "Summary: " + " ".join(_as_sentence(candidates[index]) for index in best)


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
