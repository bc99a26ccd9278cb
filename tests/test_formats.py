import re
from collections.abc import Sequence

import pysubs2
import pytest
from hypothesis import given
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
        "1\n00:00:00,500 --> 00:00:02,250\nSPEAKER_00: Bonjour, je vous\nappelle & <vous> écoute.\n\n"
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


@given(text, st.sampled_from(["srt", "vtt"]))
def test_subtitles_read_back_with_the_same_words(said: str, name: FileFormat) -> None:
    file = rendered(name, [Utterance(Span(1, 5), None, said)])
    blocks = re.split(r"\n\n+", file.removeprefix("WEBVTT").strip())
    shown = " ".join(line for block in blocks for line in block.split("\n")[2:])
    for mark, escaped in (("<", "&lt;"), (">", "&gt;"), ("&", "&amp;")):
        shown = shown.replace(escaped, mark) if name == "vtt" else shown
    assert shown.split() == said.replace("\\", "/").split()
    assert len(pysubs2.SSAFile.from_string(file, format_=name)) == len(blocks)


def test_name_that_needs_a_line_of_its_own() -> None:
    said = [Utterance(Span(0, 1), "Madame la Directrice Générale", "Anticonstitutionnellement.")]
    assert rendered("srt", said).split("\n")[2:4] == ["Madame la Directrice Générale:", "Anticonstitutionnellement."]
    assert rendered("vtt", said).split("\n")[4] == "<v Madame la Directrice Générale>Anticonstitutionnellement."
