"""Which language a text is in, among those that Voxtral knows.

Voxtral does not tell the language that it heard; its text does. py3langid counts byte sequences: a model of 5 MB,
loaded once (about a second), which then takes less than a millisecond a text. An unsure answer is none: a wrong
language, given to Voxtral for the rest of a call, spoils more than none. Not here: telling that a text is in none of
the candidates; it may be taken for a related one (Urdu for Arabic).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any
from unicodedata import category

VOXTRAL_LANGUAGES = ("en", "fr", "es", "de", "it", "pt", "nl", "hi", "ar")
"""The languages that Voxtral was trained to write down (ISO 639-1)."""
MIN_LETTERS = 8
"""A greeting or a name is not enough: "allô" and "ok" are said in many languages."""
MIN_CONFIDENCE = 0.6
"""Of 1, shared among the candidates. Three sentences of a call have more than 0.9."""


def identify(texts: Sequence[str], candidates: Sequence[str] = VOXTRAL_LANGUAGES) -> str | None:
    """The one language of `texts` together; None where there is too little of them, or it is not sure.

    Blocks for about a second the first time.
    """
    text = " ".join(texts)
    if sum(category(char)[0] in "LM" for char in text) < MIN_LETTERS:
        return None
    language, confidence = _identifier(tuple(candidates)).classify(text)
    return str(language) if confidence >= MIN_CONFIDENCE else None


@cache
def _identifier(candidates: tuple[str, ...]) -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(candidates)
    return identifier
