"""References as real files have them, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import SourceUnreadable
from voxtral_serverless.qualify.reference_files import read_rttm, read_stm, read_subtitles, read_text
from voxtral_serverless.qualify.reference_json import read_json
from voxtral_serverless.qualify.references import SaidTurn, SpokenSpan


def test_texts_of_any_coding(tmp_path: Path) -> None:
    for coding in ("utf-8", "utf-8-sig", "latin-1"):
        (tmp_path / "a").write_bytes("été\r\n".encode(coding))
        assert read_text(tmp_path / "a") == "été\r\n"
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        read_text(tmp_path)


def test_rttm() -> None:
    content = ";; who\r\nSPKR-INFO a 1 <NA>\r\nSPEAKER <NA> <NA> 2.5 1 <NA> <NA> patient <NA> <NA>\r\n\r\n"
    content += "SPEAKER a 1 0 1.5 <NA> <NA> Dr No <NA> <NA>\nSPEAKER a 1 9 0 <NA> <NA> x <NA> <NA>\n"
    assert read_rttm(content, "a") == [SpokenSpan("Dr No", Span(0, 1.5)), SpokenSpan("patient", Span(2.5, 3.5))]


@pytest.mark.parametrize("line", ["SPEAKER a 1 0", "SPEAKER a 1 0 -1 <NA> <NA> x", "SPEAKER a 1 nan 1 <NA> <NA> x"])
def test_rttm_refused(line: str) -> None:
    with pytest.raises(SourceUnreadable, match=r"a\.rttm, line 2: "):
        read_rttm(f";; \n{line}\n", "a.rttm")


def test_stm() -> None:
    content = ";; c\na 1 x 0 1.5 <o,f0,male> Oui, <unk> oui.\na 1 y 2 3 <rire> non\na 1 z 4 5 IGNORE_TIME_SEGMENT_IN_SCORING\n"
    assert read_stm(content, "a") == [
        SaidTurn("x", Span(0, 1.5), "Oui, <unk> oui."),
        SaidTurn("y", Span(2, 3), "<rire> non"),
    ]
    with pytest.raises(SourceUnreadable, match="a, line 1: from 2 to 1 s"):
        read_stm("a 1 x 2 1 oui", "a")


def test_stm_of_nobody() -> None:
    """Gaps and regions that do not count, as NIST's files and TEDLIUM's have them, and speakers who say nothing."""
    content = "a 1 inter_segment_gap 0 1.5 <o,,unknown> bruit\na 1 Excluded_Region 2 3 bonjour\n"
    content += "a 1 y 3 4\na 1 y 4 5 <o,f0,male>\na 1 x 5 6 oui\n"
    assert read_stm(content, "a") == [SaidTurn("x", Span(5, 6), "oui")]


def cue(text: str) -> str:
    return f"1\n00:00:01,000 --> 00:00:02,500\n{text}\n"


@pytest.mark.parametrize(
    ("text", "known", "speaker", "said"),
    [
        ("Anne Marie: <i>Oui.</i>\nEt non", (), "Anne Marie", "Oui. Et non"),
        ("[Anne] oui", (), "Anne", "oui"),
        ("[rires] oui", ("Anne",), "", "[rires] oui"),
        ("Attention : oui", ("Anne",), "", "Attention : oui"),
        ("Anne Marie : oui", ("Anne_Marie",), "Anne_Marie", "oui"),
        ("il est 14:30 ici", (), "", "il est 14:30 ici"),
    ],
)
def test_subtitles(text: str, known: tuple[str, ...], speaker: str, said: str) -> None:
    assert read_subtitles(cue(text), "a", "srt", known) == [SaidTurn(speaker, Span(1, 2.5), said)]


def test_subtitles_refused() -> None:
    with pytest.raises(SourceUnreadable, match=r"a\.srt, line 1: it has no cue"):
        read_subtitles("bonjour", "a.srt", "srt")


def test_gecko_with_times_that_are_missing() -> None:
    terms = [
        {"text": "L", "start": 1, "end": 1.2, "type": "WORD"}, {"text": "'", "type": "PUNCTUATION"},
        {"text": "eau", "start": 1.2, "end": 2, "type": "WORD"}, {"text": ".", "type": "PUNCTUATION"},
    ]  # fmt: skip
    content = {
        "schemaVersion": "2.0",
        "monologues": [
            {"speaker": {"id": "b", "name": "B"}, "start": 3, "end": 4, "terms": [{"text": "oui"}]},
            {"speaker": {"id": "a"}, "terms": terms},
            {"speaker": None, "terms": []},
        ],
    }
    first, second = read_json(json.dumps(content), "a")
    assert (first.speaker, first.span, first.text) == ("a", Span(1, 2), "L'eau.")
    assert [word.text for word in first.words] == ["L", "eau"]
    assert second == SaidTurn("b", Span(3, 4), "oui")


def test_an_answer_of_ours() -> None:
    words = [{"word": "Oui.", "start": 1, "end": 1.5, "score": None}]
    content = {"transcriptions": [{"speaker": "A", "start": 1, "end": 2, "text": "Oui.", "words": words}]}
    (turn,) = read_json(json.dumps(content), "a")
    assert (turn.speaker, turn.text, turn.words[0].span) == ("A", "Oui.", Span(1, 1.5))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{\n"a": }', "a, line 2: it is no JSON"),
        ("[]", "neither"),
        ('{"monologues": [3]}', r"monologues\[0\]: it is not as it should be"),
        ('{"monologues": [{"terms": [{"text": "a"}]}]}', r"monologues\[0\]: neither it nor its words have times"),
        ('{"transcriptions": [{"start": "x", "end": 2}]}', r"transcriptions\[0\]: 'x' is no time"),
    ],
)
def test_json_refused(content: str, told: str) -> None:
    with pytest.raises(SourceUnreadable, match=told):
        read_json(content, "a")
