"""Where in a conversation a speaker says the words that a model quotes, if they are said at all."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.transcription.plan import Utterance
from voxtral_serverless.transcription.word_times import WordTimes

WORD = re.compile(r"\w+")


def find_quote(quote: str, utterances: Sequence[Utterance]) -> tuple[str, Span] | None:
    """The quoted words as the first of `utterances` that has them writes them, and when they are said.

    Letters' case and whatever is no letter or digit do not count. None where nobody says them, or nothing is quoted.
    """
    wanted = [_folded(word) for word in WORD.findall(quote)]
    for utterance in utterances if wanted else ():
        words = list(WORD.finditer(utterance.text or ""))
        folded = [_folded(word.group()) for word in words]
        for first in range(len(words) - len(wanted) + 1):
            last = first + len(wanted)
            if folded[first:last] == wanted:
                text = (utterance.text or "")[words[first].start() : words[last - 1].end()]
                return text, WordTimes(utterance, [word.group() for word in words]).span(first, last)
    return None


def _folded(word: str) -> str:
    return unicodedata.normalize("NFKC", word).casefold()
