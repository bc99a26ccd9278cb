"""Files that tell who says what when: RTTM, STM, SubRip, WebVTT.

Promises: what real files have is read (a byte order mark, Windows' line ends, Latin-1, comments, times without hours); what
cannot be read is refused with the file and the line. Leaves out: JSON (`reference_json`), and whose a text is that names
nobody, which `data_sets` tells by who speaks then.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from html import unescape
from math import isfinite
from pathlib import Path

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import SourceUnreadable
from voxtral_serverless.qualify.references import SaidTurn, SpokenSpan

NOBODY = ""
"""The speaker of a text that names none."""
MARKUP = re.compile(r"\{\\[^}]*\}|</?[^<>]*>")
NOT_SCORED = "ignore_time_segment_in_scoring"
NO_SPEAKERS = frozenset({"inter_segment_gap", "excluded_region"})
"""What stands in a speaker's place in STM where nobody is heard or what is said does not count."""
VOICE = re.compile(r"<v(?:\.[^ >]*)? (?P<name>[^<>]+)>")
NAME = re.compile(r"\[(?P<bracketed>[^\[\]]{1,60})\]\s*|(?P<plain>[^\W\d][\w .'-]{0,40}?)\s?:\s+")


def read_text(file: Path) -> str:
    """The content of a text file: UTF-8, with or without a byte order mark, or else Latin-1.

    Raises:
        SourceUnreadable: it cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SourceUnreadable(f"{file.name} cannot be read ({error.strerror}).") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def read_rttm(content: str, name: str) -> list[SpokenSpan]:
    """Who speaks when, by NIST's RTTM; lines of other types than SPEAKER are passed over.

    Raises:
        SourceUnreadable: a line is not as it should be; `name` is the file's.
    """
    spans = []
    for place, fields in _lines(content, name):
        if fields[0] != "SPEAKER":
            continue
        if len(fields) < 8:
            raise SourceUnreadable(f"{place}: a SPEAKER line has at least 8 fields, this one {len(fields)}.")
        start = seconds(fields[3], place)
        # Names with spaces in them, though they should have none.
        speaker = " ".join(fields[7:-2]) if len(fields) > 10 else fields[7]
        span = spanning(start, start + seconds(fields[4], place), place)
        spans += [SpokenSpan(speaker, span)] if span.duration else []
    return sorted(spans, key=lambda one: one.span)


def read_stm(content: str, name: str) -> list[SaidTurn]:
    """What is said, by NIST's STM: file, channel, speaker, start, end, perhaps a label in angle brackets, the text.

    Lines of gaps, of regions that do not count, and without a text are passed over.

    Raises:
        SourceUnreadable: a line is not as it should be.
    """
    turns = []
    for place, fields in _lines(content, name):
        if len(fields) < 5:
            raise SourceUnreadable(f"{place}: a line has file, channel, speaker, start, end and a text.")
        span = spanning(seconds(fields[3], place), seconds(fields[4], place), place)
        words = fields[5:]
        if words and re.fullmatch("<[^<>]*,[^<>]*>", words[0]):
            words = words[1:]
        text = " ".join(words)
        if span.duration and text and text.lower() != NOT_SCORED and fields[2].lower() not in NO_SPEAKERS:
            turns.append(SaidTurn(fields[2], span, text))
    return sorted(turns, key=lambda turn: turn.span)


def read_subtitles(content: str, name: str, form: str, known: Collection[str] = ()) -> list[SaidTurn]:
    """What is said, by SubRip (`srt`) or WebVTT (`vtt`).

    Who says it is told by a voice, "Name: " or "[Name] " before the text; where names are `known`, only by one of those.
    Texts that name nobody have the speaker `NOBODY`.

    Raises:
        SourceUnreadable: it has no cue.
    """
    from pysubs2 import Pysubs2Error, SSAFile

    try:
        events = SSAFile.from_string(content, format_=form, keep_unknown_html_tags=True).events
    except (Pysubs2Error, ValueError) as error:
        raise SourceUnreadable(f"{name}: it is no {form.upper()} file ({error}).") from error
    if not events:
        raise SourceUnreadable(f"{name}, line 1: it has no cue, with a line of two times and a text.")
    turns = []
    for event in events:
        speaker, text = _named(event.text.replace("\\N", " "), known)
        text = " ".join(MARKUP.sub(" ", text).split())
        if text and event.end > event.start:
            turns.append(SaidTurn(speaker, Span(event.start / 1000, event.end / 1000), unescape(text)))
    return sorted(turns, key=lambda turn: turn.span)


def _named(text: str, known: Collection[str]) -> tuple[str, str]:
    """Who says a cue, and its text."""
    if voice := VOICE.search(text):
        return unescape(voice["name"]).strip(), text
    if found := NAME.match(text):
        name = (found["bracketed"] or found["plain"]).strip()
        for alike in (name, "_".join(name.split())):
            if not known or alike in known:
                return alike if known else name, text[found.end() :]
    return NOBODY, text


def _lines(content: str, name: str) -> Iterator[tuple[str, list[str]]]:
    """The fields of each line that has some, and where it is."""
    for number, line in enumerate(content.splitlines(), start=1):
        fields = line.split()
        if fields and not fields[0].startswith((";;", "#")):
            yield f"{name}, line {number}", fields


def seconds(value: object, place: str) -> float:
    """A time.

    Raises:
        SourceUnreadable: it is none.
    """
    try:
        time = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        time = float("nan")
    if not isfinite(time) or isinstance(value, bool):
        raise SourceUnreadable(f"{place}: {str(value)[:40]!r} is no time in seconds.")
    return time


def spanning(start: float, end: float, place: str) -> Span:
    """The stretch from one time to another.

    Raises:
        SourceUnreadable: it ends before it begins, or begins before the recording.
    """
    if start < 0 or end < start:
        raise SourceUnreadable(f"{place}: from {start:g} to {end:g} s is no stretch of a recording.")
    return Span(start, end)
