"""When each word of an utterance is spoken, as far as its voice activity tells."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.transcription.plan import Utterance

EDGE_S = 1e-6
"""Less than a moment: rounding."""


class WordTimes:
    """The times of the `words` of `utterance` where they are known; else the words spread evenly, by their length, over
    its voiced stretches.
    """

    def __init__(self, utterance: Utterance, words: Sequence[str]) -> None:
        known = [word.text for word in utterance.words] == list(words)
        self._spans = [word.span for word in utterance.words] if known else []
        self._stretches = utterance.voiced or (utterance.span,)
        self._voiced_s = list(accumulate((stretch.duration for stretch in self._stretches), initial=0.0))
        self._offsets = list(accumulate((len(word) + 1 for word in words), initial=0))

    def characters(self, first: int, last: int) -> int:
        """Length of the words from `first` to the one before `last`, with a space after each."""
        return self._offsets[last] - self._offsets[first]

    def span(self, first: int, last: int) -> Span:
        """From the start of word `first` to the end of the word before `last`."""
        if self._spans:
            return Span(self._spans[first].start, max(span.end for span in self._spans[first:last]))
        start, end = self._at(self._offsets[first], ending=False), self._at(self._offsets[last], ending=True)
        return Span(start, max(start, end))

    def _at(self, offset: int, *, ending: bool) -> float:
        """The time at which so many characters are spoken; at a pause, its end, or its start for an `ending`."""
        spoken_s = self._voiced_s[-1] * offset / self._offsets[-1]
        # A moment that falls on a pause up to rounding belongs before it where something ends, else behind it.
        index = bisect_right(self._voiced_s, spoken_s - EDGE_S if ending else spoken_s + EDGE_S) - 1
        index = min(max(index, 0), len(self._stretches) - 1)
        stretch = self._stretches[index]
        return min(max(stretch.start, stretch.start + spoken_s - self._voiced_s[index]), stretch.end)
