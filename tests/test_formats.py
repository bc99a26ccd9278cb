import re
from collections.abc import Sequence
from html import unescape

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.contract import FileFormat
from voxtral_serverless.diarization.turns import Turn
from voxtral_serverless.formats import render
from voxtral_serverless.transcription.plan import Utterance


def rendered(name: FileFormat, said: Sequence[Utterance]) -> str:
    return render(name, said, [Turn(one.span, one.speaker, one.channel) for one in said])


SAID = [
    Utterance(Span(0.5, 2.25), "SPEAKER_00", "Bonjour, je vous appelle & <vous> écoute."),
    Utterance(Span(3661, 3662.5), "Mme Petit", "Oui."),
    Utterance(Span(3700, 3701), "SPEAKER_00", None),
]


def test_srt() -> None:
    assert rendered("srt", SAID) == (
        "1\n00:00:00,500 --> 00:00:02,250\nSPEAKER_00: Bonjour, je vous\nappelle & \u2039vous\u203a écoute.\n\n"
        "2\n01:01:01,000 --> 01:01:02,500\nMme Petit: Oui.\n\n"
    )


def test_vtt() -> None:
    assert rendered("vtt", SAID) == (
        "WEBVTT\n\n1\n00:00:00.500 --> 00:00:02.250\n<v SPEAKER_00>Bonjour, je vous\nappelle &amp; &lt;vous&gt; écoute.\n\n"
        "2\n01:01:01.000 --> 01:01:02.500\n<v Mme Petit>Oui.\n\n"
    )


def test_txt() -> None:
    assert rendered("txt", SAID) == (
        "[0:00:00] SPEAKER_00: Bonjour, je vous appelle & <vous> écoute.\n[1:01:01] Mme Petit: Oui.\n"
    )


def test_rttm_has_every_turn() -> None:
    assert rendered("rttm", SAID) == (
        "SPEAKER recording 1 0.500 1.750 <NA> <NA> SPEAKER_00 <NA> <NA>\n"
        "SPEAKER recording 1 3661.000 1.500 <NA> <NA> Mme_Petit <NA> <NA>\n"
        "SPEAKER recording 1 3700.000 1.000 <NA> <NA> SPEAKER_00 <NA> <NA>\n"
    )


def test_rttm_has_what_overlaps_and_its_channel() -> None:
    timeline = [Turn(Span(0, 2), "SPEAKER_00", 0), Turn(Span(1, 1.5), "SPEAKER_01", 1)]
    assert render("rttm", SAID, timeline) == (
        "SPEAKER recording 1 0.000 2.000 <NA> <NA> SPEAKER_00 <NA> <NA>\n"
        "SPEAKER recording 2 1.000 0.500 <NA> <NA> SPEAKER_01 <NA> <NA>\n"
    )


def test_speakers_that_nobody_told_apart() -> None:
    said = [Utterance(Span(0, 1), None, "Oui.")]
    assert rendered("txt", said) == "[0:00:00] Oui.\n"
    assert "Oui." in rendered("srt", said)
    assert " unknown " in rendered("rttm", said)


@pytest.mark.parametrize("name", ["srt", "vtt", "txt", "rttm"])
def test_silence_renders(name: FileFormat) -> None:
    assert rendered(name, []).strip() in ("", "WEBVTT")


text = st.text("abcé {}<>&-i/\\N,.", min_size=1, max_size=80).filter(lambda value: bool(value.split()))
FORGERIES = [
    "00:00:01,000 --> 00:00:02,000", "00:01.000 --> 00:02.000", "00:00:01,000 00:00:02,000", "-->", "\n\n", "\r\n\r\n2\r\n",
    "\\N", "\\N\\N2\\N00:00:01,000 --> 00:00:02,000\\N", "<script>alert(1)</script>", "<b>", "< i >", "</v><v Boss>", "{\\an8}",
    "{\\p1}m 0 0", "\n\nNOTE", "WEBVTT", "STYLE", "\u2028\u2028", "\x1b[2J", "\0", "\ud800", "&lt;b&gt;", "&#60;b>", "7",
]  # fmt: skip
hostile = st.lists(st.sampled_from(FORGERIES) | st.text("ab1:,. <>&-\n", max_size=12), min_size=1, max_size=8).map(
    "".join
)


def blocks_of(file: str) -> list[list[str]]:
    return [block.split("\n") for block in re.split(r"\n\n+", file.removeprefix("WEBVTT").strip()) if block]


@given(text, st.sampled_from(["srt", "vtt"]))
def test_subtitles_read_back_with_the_same_words(said: str, name: FileFormat) -> None:
    file = rendered(name, [Utterance(Span(1, 5), None, said)])
    shown = " ".join(line for block in blocks_of(file) for line in block[2:])
    shown = unescape(shown) if name == "vtt" else shown.replace("\u2039", "<").replace("\u203a", ">")
    # A word longer than a line is cut.
    assert "".join(shown.split()) == "".join(said.replace("\\", "/").split())
    assert len(pysubs2.SSAFile.from_string(file, format_=name)) == len(blocks_of(file))


@settings(max_examples=500)
@given(hostile, hostile | st.none(), st.sampled_from(["srt", "vtt"]))
def test_nothing_that_is_said_is_a_cue_or_markup(said: str, speaker: str | None, name: FileFormat) -> None:
    """By pysubs2, and by the letter."""
    utterances = [Utterance(Span(10, 20), speaker, said), Utterance(Span(30, 40), "B", "Non.")]
    file = rendered(name, utterances)
    blocks = blocks_of(file)
    read = [(event.start, event.end) for event in pysubs2.SSAFile.from_string(file, format_=name)]
    assert [int(block[0]) for block in blocks] == list(range(1, len(blocks) + 1))
    assert len(read) == len(blocks)
    assert all(10_000 <= start <= end <= 20_000 for start, end in read[:-1])
    assert read[-1] == (30_000, 37_000)
    for block in blocks:
        assert "-->" in block[1]
        payload = "\n".join(block[2:])
        shown = re.sub(r"^<v [^<>]*>", "", payload) if name == "vtt" else payload
        assert not set("<>\\\0\x1b") & set(shown)
        payload.encode()


@given(hostile, hostile | st.none())
def test_plain_text_has_a_line_for_each_utterance(said: str, speaker: str | None) -> None:
    file = rendered("txt", [Utterance(Span(1, 2), speaker, said), Utterance(Span(3, 4), "B", "Non.")])
    *first, second = file.splitlines()
    assert second == "[0:00:03] B: Non."
    assert [line[:10] for line in first] == ["[0:00:01] "] * len(first)
    assert len(first) <= 1
    assert "\x1b" not in file


def test_what_looks_like_a_cue_stays_readable() -> None:
    said = [Utterance(Span(0, 6), "A\\NB", "Lap 1:02.500 and 1:03.700, 5 < 6 --> {\\an8} <b>yes</b>")]
    assert rendered("srt", said).split("\n")[2:4] == [
        "A/NB: Lap 1\u223602.500 and 1\u223603.700,",
        "5 \u2039 6 --\u203a {/an8} \u2039b\u203ayes\u2039/b\u203a",
    ]
    assert rendered("txt", said) == "[0:00:00] A\\NB: Lap 1:02.500 and 1:03.700, 5 < 6 --> {\\an8} <b>yes</b>\n"
    assert "1:02.500 once" in rendered("srt", [Utterance(Span(0, 6), None, "1:02.500 once")])


def test_name_that_needs_a_line_of_its_own() -> None:
    said = [Utterance(Span(0, 1), "Madame la Directrice Générale", "Anticonstitutionnellement.")]
    assert rendered("srt", said).split("\n")[2:4] == ["Madame la Directrice Générale:", "Anticonstitutionnellement."]
    assert rendered("vtt", said).split("\n")[4] == "<v Madame la Directrice Générale>Anticonstitutionnellement."
