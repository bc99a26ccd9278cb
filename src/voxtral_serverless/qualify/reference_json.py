"""References in JSON: Gecko's, with the times of words, and the answers of this worker, which somebody corrected.

Promises: what is not as it should be is refused with the file and the entry. Leaves out: how an entry without any time
could have one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import SourceUnreadable
from voxtral_serverless.qualify.reference_files import NOBODY, seconds, spanning
from voxtral_serverless.qualify.references import SaidTurn, SaidWord

TOGETHER = "+"
"""Joins the names of those who speak at once, in Gecko's."""
JOINING = ("'", "\N{RIGHT SINGLE QUOTATION MARK}", "-")
"""Punctuation after which no space follows."""


def read_json(content: str, name: str) -> list[SaidTurn]:
    """What is said, in order of start; words where all of an entry's have their times.

    Raises:
        SourceUnreadable: it is neither form, or an entry is not as it should be; `name` is the file's.
    """
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise SourceUnreadable(f"{name}{line}: it is no JSON.") from error
    for key, read in (("monologues", _monologue), ("transcriptions", _entry)):
        entries = data.get(key) if isinstance(data, Mapping) else None
        if isinstance(entries, list):
            turns = [_read(read, entry, f"{name}, {key}[{number}]") for number, entry in enumerate(entries)]
            return sorted((turn for turn in turns if turn and turn.span.duration), key=lambda turn: turn.span)
    raise SourceUnreadable(
        f'{name}: it has neither "monologues" (Gecko) nor "transcriptions" (an answer of this worker).'
    )


def _read(read: Any, entry: Any, place: str) -> SaidTurn | None:
    try:
        turn: SaidTurn | None = read(entry, place)
    except (TypeError, AttributeError, KeyError) as error:
        raise SourceUnreadable(f"{place}: it is not as it should be ({error}).") from error
    return turn


def _monologue(entry: Mapping[str, Any], place: str) -> SaidTurn | None:
    """One of Gecko's; None where there is nothing in it."""
    terms = [term for term in entry.get("terms") or () if str(term.get("text") or "").strip()]
    times = [seconds(term[key], place) for term in terms for key in ("start", "end") if term.get(key) is not None]
    edges = [entry.get("start"), entry.get("end")]
    if not times and None in edges:
        if terms:
            raise SourceUnreadable(f"{place}: neither it nor its words have times.")
        return None
    first, last = (
        seconds(edge, place) if edge is not None else found
        for edge, found in zip(edges, (min(times, default=0.0), max(times, default=0.0)), strict=True)
    )
    words = [term for term in terms if term.get("type", "WORD") == "WORD"]
    return SaidTurn(_speaker(entry.get("speaker")), spanning(first, last, place), _joined(terms), _words(words, place))


def _entry(entry: Mapping[str, Any], place: str) -> SaidTurn:
    """One of ours."""
    span = spanning(seconds(entry["start"], place), seconds(entry["end"], place), place)
    words = [{**word, "text": word["word"]} for word in entry.get("words") or ()]
    return SaidTurn(_speaker(entry.get("speaker")), span, str(entry.get("text") or ""), _words(words, place))


def _speaker(speaker: Any) -> str:
    if isinstance(speaker, Mapping):
        speaker = speaker.get("id") or speaker.get("name")
    return str(speaker or NOBODY).strip()


def _joined(terms: Sequence[Mapping[str, Any]]) -> str:
    """Words with the punctuation that follows them."""
    text, space = "", ""
    for term in terms:
        piece = str(term["text"]).strip()
        mark = term.get("type") == "PUNCTUATION"
        text += piece if mark else f"{space}{piece}"
        space = "" if piece in JOINING else " "
    return text.strip()


def _words(words: Sequence[Mapping[str, Any]], place: str) -> tuple[SaidWord, ...]:
    """The words with their times; none of them where one has none, or ends before it begins."""
    if any(word.get(key) is None for word in words for key in ("start", "end")):
        return ()
    spans = [Span(seconds(word["start"], place), seconds(word["end"], place)) for word in words]
    if any(span.duration < 0 for span in spans):
        return ()
    return tuple(SaidWord(span, str(word["text"]).strip()) for span, word in zip(spans, words, strict=True))
