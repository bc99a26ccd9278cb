"""From what an aligner found in the sound of a window back to the written words, and to the recording.

The aligner looks for spoken words (`spelling`) and finds some of them, with times in the window's sound: its pieces,
one after the other. What it did not find gets its time from the words around it, and no score. Not here: the aligner;
whose the words are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, islice, pairwise
from math import isfinite
from unicodedata import category

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.transcription.spelling import Spelled
from voxtral_serverless.transcription.words import Word

MIN_MEAN_SCORE = 0.3
"""Below this mean score the text is taken to be other than the sound. The score of a word is the mean probability of
its letters: most often above 0.6 where they were said, while a letter that was not gets what the sound leaves it,
hardly a tenth, even at the best place that can be found. To be tuned on calls by telephone."""
MIN_FOUND_SHARE = 0.3
"""Of the words that can be said: with fewer, most times are guessed from words that are not even next to them."""
SLOWEST_S_PER_CHARACTER = 0.1
"""Before the first word that was found, and behind the last one, a word takes no longer: the rest is silence."""
OPENING = "¿¡-\N{EN DASH}\N{EM DASH}"
"""Punctuation that belongs to the word behind it, besides opening brackets and quotation marks."""

Found = tuple[float, float, float]
"""Start and end in seconds, and a score in [0, 1]."""


@dataclass(frozen=True)
class Timed:
    """A written word and its time in the window's sound, in seconds.

    Attributes:
        score: How sure the time is, in [0, 1]; None where it was reckoned from the words around it.
    """

    text: str
    start: float
    end: float
    score: float | None


def timed(words: Sequence[Spelled], found: Sequence[Found | None], length_s: float) -> tuple[Timed, ...]:
    """The words with their times in a sound of `length_s` seconds: in order, none before the end of the one before.

    `found` has an entry for each spoken word of all `words`, one after the other; None where it was not found.

    Raises:
        ValueError: `found` is of another length.
    """
    if len(found) != sum(len(word.spoken) for word in words):
        raise ValueError(f"{len(found)} entries are not one for each spoken word")
    entries = iter(found)
    heard = [_heard(word, list(islice(entries, len(word.spoken))), length_s) for word in words]
    result: list[Timed] = []
    at = 0.0
    for missing, run in groupby(zip(words, heard, strict=True), lambda pair: pair[1] is None):
        pairs = list(run)
        if missing:
            behind = next((one.start for one in heard[len(result) + len(pairs) :] if one), None)
            left = at if result else None
            result += _between([word for word, _ in pairs], left, None if behind is None else max(behind, at), length_s)
        else:
            result += _in_order([one for _, one in pairs if one], at)
        at = result[-1].end
    return tuple(result)


def placed(words: Sequence[Timed], pieces: Sequence[Span]) -> tuple[Word, ...]:
    """The words with their times in the recording, of which the window's sound is `pieces`, one after the other.

    A word that goes on behind a cut keeps the piece in which more of it lies.
    """
    edges = list(accumulate((piece.duration for piece in pieces), initial=0.0))
    sounds = [Span(start, end) for start, end in pairwise(edges)]
    return tuple(Word(word.text, _in_one_piece(word.start, word.end, sounds, pieces), word.score) for word in words)


def doubtful(words: Sequence[Timed | Word]) -> bool:
    """Whether a window's alignment is too poor to be trusted: a low mean score, or hardly any word that has one."""
    scores = [word.score for word in words if word.score is not None]
    sayable = sum(_has_letters(word.text) for word in words)
    if not scores:
        return sayable > 0
    return sum(scores) / len(scores) < MIN_MEAN_SCORE or len(scores) < MIN_FOUND_SHARE * sayable


def _heard(word: Spelled, entries: Sequence[Found | None], length_s: float) -> Timed | None:
    """The word from where its first spoken word was found to where its last one was; None where none was."""
    known = [
        (_within(start, length_s), _within(end, length_s), _within(score, 1.0))
        for start, end, score in filter(None, entries)
        if isfinite(start) and isfinite(end) and isfinite(score)
    ]
    if not known:
        return None
    lengths = [max(end - start, 0.0) for start, end, _ in known]
    weights = lengths if sum(lengths) > 0 else [1.0] * len(known)
    score = sum(one[2] * weight for one, weight in zip(known, weights, strict=True)) / sum(weights)
    return Timed(word.text, known[0][0], known[-1][1], _within(score, 1.0))


def _in_order(words: Sequence[Timed], at: float) -> Iterator[Timed]:
    """The words, none before the end of the one before it, the first not before `at`."""
    for word in words:
        start = max(word.start, at)
        at = max(word.end, start)
        yield Timed(word.text, start, at, word.score)


def _between(words: Sequence[Spelled], left: float | None, right: float | None, length_s: float) -> Iterator[Timed]:
    """Words that were not found, spread by their lengths between the end of the word before and the start of the next.

    `left` or `right` is None where there is no such word.
    """
    weights = [len(word.text) if word.spoken or _has_letters(word.text) else 0 for word in words]
    room = sum(weights) * SLOWEST_S_PER_CHARACTER
    if right is None:
        start = left or 0.0
        end = length_s if left is None else min(start + room, length_s)
    else:
        start, end = max(right - room, 0.0) if left is None else left, right
    total = sum(weights)
    ends = list(accumulate((weight / (total or 1) for weight in weights), initial=0.0))
    opened = left is None
    for word, (before, behind) in zip(words, pairwise(ends), strict=True):
        # Punctuation alone takes no time: it is at the end of the word before, or opens the next one.
        opened = opened or category(word.text[0]) in ("Ps", "Pi") or word.text in OPENING
        shares = (before, behind) if total else (float(opened), float(opened))
        first, last = (min(start + (end - start) * share, end) for share in shares)
        yield Timed(word.text, first, last, None)


def _within(value: float, most: float) -> float:
    """The value nearest to it in [0, `most`]."""
    return min(max(value, 0.0), most)


def _has_letters(text: str) -> bool:
    """Whether the text is more than punctuation."""
    return any(category(char)[0] in "LMN" for char in text)


def _in_one_piece(start: float, end: float, sounds: Sequence[Span], pieces: Sequence[Span]) -> Span:
    """The stretch of the recording for a word, cut to the piece of the window's sound that has most of it."""
    span = Span(_within(start, sounds[-1].end), _within(end, sounds[-1].end))
    nearest = max(range(len(sounds)), key=lambda index: (sounds[index].overlap(span), _touch(sounds[index], span)))
    sound, piece = sounds[nearest], pieces[nearest]
    first, last = (piece.start + _within(edge - sound.start, sound.duration) for edge in (span.start, span.end))
    return Span(min(first, piece.end), min(last, piece.end))


def _touch(sound: Span, span: Span) -> bool:
    """Whether they have a moment in common."""
    return sound.start <= span.end and span.start <= sound.end
