"""Texts as their words are counted: without what two good transcribers would write in two ways.

Promises: one rule for references and answers; what is normal stays as it is. Leaves out: spelling (`porte-monnaie` and
`portemonnaie`), and abbreviations, unless they are the unit of a number.
"""

from __future__ import annotations

import re
from unicodedata import category, normalize

from voxtral_serverless.transcription.spelling import spelled

STATEMENT = (
    "Unicode NFKC, lower case; what stands in brackets of any kind and has no digit in it is removed ([rires], <unk>); "
    "numbers, their units and currencies are written as they are said in the language; apostrophes, hyphens and all other "
    "punctuation keep words apart and are removed; accents are kept; hesitations (euh, hum, mm, uh, um) are removed."
)
"""What the normaliser does, in a sentence for the report."""
ASIDE = re.compile(r"\[[^\[\]\d]*\]|\([^()\d]*\)|<[^<>\d]*>|\{[^{}\d]*\}")
TELLS_NUMBER = re.compile(r"[\d€$£₹%]")
LETTERS = frozenset(filter(str.isalpha, map(chr, range(0x250)))) | {"'"}
"""Those of the Latin alphabets, with their accents, and the apostrophe; those of a text are added to them."""
MURMURS = r"h+m+|m{2,}h*m*|mh+m*"
HESITATIONS = {
    "fr": r"e+u+h+|h+e+u+|h+u+m+|e+u+h*m+",
    "en": r"u+h+|u+h*m+|e+r+m*|h+u+m+",
    "de": r"ä+h*|ä+h*m+|ö+h+m*",
}
"""By language; those of any are `MURMURS`. `um` is a word in German and in Portuguese."""


def normalised(text: str, language: str | None) -> str:
    """The words of `text`, in `language` (ISO 639-1, None where it is not known), between single spaces."""
    language = (language or "").lower().partition("-")[0]
    text = ASIDE.sub(" ", _folded(text))
    hesitation = re.compile("|".join(filter(None, (MURMURS, HESITATIONS.get(language)))))
    words = _apart(_said(text, language) if TELLS_NUMBER.search(text) else text).split()
    return " ".join(word for word in words if not hesitation.fullmatch(word))


def _folded(text: str) -> str:
    """In lower case, each character in one form, without those that only tell how to set it."""
    visible = "".join(char for char in normalize("NFKC", text) if category(char) != "Cf")
    return normalize("NFKC", visible.lower())


def _said(text: str, language: str) -> str:
    """The text with its numbers in words, where the language's are known."""
    alphabet = LETTERS | frozenset(filter(str.isalpha, text))
    said: list[str] = []
    behind_number = False
    for word in spelled(text, alphabet, language):
        number = TELLS_NUMBER.search(word.text) is not None
        said += word.spoken if word.spoken and (number or behind_number) else [word.text]
        behind_number = number
    return " ".join(said).lower()


def _apart(text: str) -> str:
    """The text with a space for each character that belongs to no word."""
    return "".join(char if category(char)[0] in "LM" or category(char) == "Nd" else " " for char in text)
