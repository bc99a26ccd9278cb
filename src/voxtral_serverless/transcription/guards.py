"""Whether a text that a model wrote for a clip can be what was said in it, and what to keep where it cannot.

A language model that listens may fall into a loop, run on without end, or write a text where nobody speaks. This
judges by the text, the length of the clip and the voice activity in it, in any script and without a dictionary.
People repeat themselves too ("non non non non", a telephone number said twice, an announcement on hold): what they
do in a call is no fault here, so a short loop passes. Not here: whether the words are the right ones.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal
from unicodedata import category

Fault = Literal["loop", "rate", "repetitive", "length"]
"""What is wrong with a text: a group of words over and over, more than anybody can say in the time, hardly anything
new in it although no group repeats exactly, or broken off at the greatest length that the engine allows."""

LONGEST_GROUP = 64
"""Words in the longest group whose repetition is looked for: a long sentence, or some short ones."""
INSTANCES = ((1, 12), (2, 8), (3, 6), (8, 5), (LONGEST_GROUP, 4))
"""A group of up to so many words is a loop where it is there so many times in a row. "Zéro un" five times is a
telephone number, "vous m'entendez ?" may well be asked six times."""
LONGEST_WORD = 40
"""A longer word is a loop without spaces, or may be one: each of its characters counts as a word."""
WINDOW = 1000
MIN_COMPRESSED = 500
"""Characters from which the compression of a text means anything: a bank account read twice compresses well."""
MAX_COMPRESSION = 2.4
MAX_CHARS_PER_S = 30
"""Nobody speaks faster: fast French has about 20 characters a second."""
SPARE_CHARS = 20
"""What a clip of no length may have: its edges are not exact."""
MAX_CHARS_PER_SPEECH_S = 60
SPARE_SPEECH_CHARS = 5
"""A "oui" that the voice activity missed."""
SENTENCE_END = re.compile(r"[.!?…।؟](?=\s)")
UP_TO_A_WORDS_END = re.compile(r".*\S(?=\s)", re.DOTALL)
LOOSE_END = " \t\n,;:،؛-\N{EN DASH}\N{EM DASH}"


def fault(text: str, clip_s: float, finish_reason: str | None) -> Fault | None:
    """What is wrong with the text of a clip of `clip_s` seconds, the worst first; None for what may well be said.

    `finish_reason` is the engine's: "length" where it ran into its limit of tokens.
    """
    if without_loop(text) != text:
        return "loop"
    if len(text) > _most_chars(clip_s):
        return "rate"
    if _compression(text) > MAX_COMPRESSION:
        return "repetitive"
    return "length" if finish_reason == "length" else None


def without_loop(text: str) -> str:
    """The text with each loop's first instance only; a text without a loop unchanged.

    A loop that goes to the end is dropped to the end, a last instance broken off included. What follows a loop in
    the middle is kept: the model found its way back to what is said.
    """
    shorter = _once_without_loops(text)
    while shorter != text:
        text, shorter = shorter, _once_without_loops(shorter)
    return text


def cut_to_rate(text: str, clip_s: float) -> str:
    """As much of the text as could be said in `clip_s` seconds, to the end of a sentence, or else of a word."""
    most = _most_chars(clip_s)
    if len(text) <= most:
        return text
    head = text[: most + 1]
    sentences = [match.end() for match in SENTENCE_END.finditer(head)]
    if sentences and sentences[-1] >= most / 2:
        return text[: sentences[-1]]
    words = UP_TO_A_WORDS_END.match(head)
    return (words.group() if words else text[:most]).rstrip(LOOSE_END)


def spoken_in(text: str, speech_s: float) -> bool:
    """Whether the text can have been said in `speech_s` seconds of voice activity, which may have missed a word."""
    return len(text.strip()) <= SPARE_SPEECH_CHARS + MAX_CHARS_PER_SPEECH_S * speech_s


def _most_chars(clip_s: float) -> int:
    return int(SPARE_CHARS + MAX_CHARS_PER_S * clip_s)


def _compression(text: str) -> float:
    """How many times smaller the most repetitive part of the text becomes; 0 for a short text.

    Parts, since a longer text always compresses better. A byte for each character, since UTF-8's two or three for
    one of Arabic or Devanagari would compress by themselves.
    """
    if len(text) < MIN_COMPRESSED:
        return 0.0
    numbers: dict[str, int] = {}
    coded = bytes(numbers.setdefault(char, len(numbers)) % 256 for char in text)
    starts = range(0, max(1, len(coded) - WINDOW // 2), WINDOW // 2)
    parts = [coded[start : start + WINDOW] for start in starts]
    return max(len(part) / len(zlib.compress(part)) for part in parts)


@dataclass(frozen=True)
class _Unit:
    """A word as it stands in the text, with the space after it, and what it is compared by."""

    written: str
    key: str


def _units(text: str) -> list[_Unit]:
    """The text in pieces that make it up again: its words, and the characters of words without an end."""
    units: list[_Unit] = []
    for match in re.finditer(r"\S+\s*|\s+", text):
        written = match.group()
        if len(written.strip()) > LONGEST_WORD:
            units += [_Unit(char, char.casefold()) for char in written]
            continue
        key = "".join(char for char in written.casefold() if category(char)[0] not in "PSZC")
        if key or not units:
            units.append(_Unit(written, key))
        else:
            # French sets its question marks apart: such a mark belongs to the word before.
            units[-1] = _Unit(units[-1].written + written, units[-1].key)
    return units


def _once_without_loops(text: str) -> str:
    units = _units(text)
    for size in range(1, LONGEST_GROUP + 1):
        least = next(instances for longest, instances in INSTANCES if size <= longest)
        if len(units) >= size * least:
            units = _without_runs(units, size, least)
    return "".join(unit.written for unit in units)


def _without_runs(units: list[_Unit], size: int, least: int) -> list[_Unit]:
    """Without what repeats the `size` words before it at least `least` - 1 times in a row."""
    dropped: set[int] = set()
    for start, length in _runs([one.key == other.key for one, other in zip(units, units[size:], strict=False)]):
        if length < (least - 1) * size:
            continue
        to_the_end = start + size + length == len(units)
        whole = length if to_the_end else length - length % size
        dropped.update(range(start + size, start + size + whole))
    kept = [unit for index, unit in enumerate(units) if index not in dropped]
    if len(units) - 1 in dropped:
        kept[-1] = _Unit(kept[-1].written.rstrip(LOOSE_END), kept[-1].key)
    return kept


def _runs(same: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Where, and for how long, `same` is true."""
    start = 0
    for value, run in groupby(same):
        length = len(list(run))
        if value:
            yield start, length
        start += length
