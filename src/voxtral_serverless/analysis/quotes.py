"""Where in a conversation a speaker says the words that a model quotes, if they are said at all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.plain_text import plain
from voxtral_serverless.transcription.plan import Utterance
from voxtral_serverless.transcription.word_times import WordTimes

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, Kana, Han."""
WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
"""A run of letters, marks and digits; a single character of a script without spaces."""


def find_quote(quote: str, utterances: Sequence[Utterance]) -> tuple[str, Span] | None:
    """The quoted words as the first of `utterances` that has them writes them, and when they are said.

    Letters' case and whatever is no letter or digit do not count. None where nobody says them, or nothing is quoted.
    """
    wanted = [word for word, _, _ in _words(plain(quote))]
    for utterance in utterances if wanted else ():
        text = plain(utterance.text or "")
        said = list(_words(text))
        for first in range(len(said) - len(wanted) + 1):
            found = said[first : first + len(wanted)]
            if [word for word, _, _ in found] == wanted:
                return _quoted(utterance, text, found[0][1], found[-1][2])
    return None


def _quoted(utterance: Utterance, text: str, start: int, end: int) -> tuple[str, Span]:
    """What `text` has from `start` to `end`, and when the words are said that it is of."""
    first, last = len(text[: start + 1].split()) - 1, len(text[:end].split())
    return text[start:end], WordTimes(utterance, text.split()).span(first, last)


def _words(text: str) -> Iterator[tuple[str, int, int]]:
    """Each run of letters, marks and digits, folded, with its place in `text`."""
    for run in WORD.finditer("".join(character if _is_of_words(character) else " " for character in text)):
        yield unicodedata.normalize("NFKC", run.group()).casefold(), run.start(), run.end()


def _is_of_words(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN"
