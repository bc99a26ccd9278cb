"""Data sets: SimSAMU from a Hub on loopback, and folders as people have them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.hub import Hosted, Hub, own_home, running_hub
from tests.qualify.simsamu import make_simsamu
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import InvalidJob, ModelUnavailable, SourceNotFound
from voxtral_serverless.qualify.data_sets import SIMSAMU_REVISION, load_data_set
from voxtral_serverless.qualify.references import DataSet, SpokenSpan
from voxtral_serverless.settings import load_settings

GECKO = {
    "monologues": [{"speaker": {"id": "medecin"}, "start": 0, "end": 60, "terms": [{"text": "Oui", "type": "WORD"}]}]
}
RTTM = "SPEAKER <NA> <NA> 0 60 <NA> <NA> medecin <NA> <NA>\n"


@pytest.fixture(autouse=True)
def own_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    with own_home(monkeypatch, tmp_path):
        yield


def loaded(chosen: Path | str, hours: float | None = None, language: str | None = None) -> DataSet:
    return load_data_set(str(chosen), load_settings(), hours, language)


def folder_of(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        place = tmp_path / "data" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return tmp_path / "data"


def test_a_call_of_simsamu_has_its_words_and_its_speakers(tmp_path: Path) -> None:
    names = make_simsamu(tmp_path / "data", [(0.0, 20.6), (20.6, 45.0)])
    data = loaded(tmp_path / "data")
    assert [call.name for call in data.calls] == names == ["call-0", "call-1"]
    assert (data.language, data.skipped) == (None, ())
    first, second = data.calls
    assert first.speakers == 2
    assert [turn.speaker for turn in first.turns] == ["agent", "customer"] * 2
    assert first.turns[0].text == "Hello, this is the garden center, my name is Robert. How can I help you today?"
    assert [word.text for word in first.turns[0].words[:3]] == ["Hello", "this", "is"]
    assert first.turns[0].words[0].span.start == pytest.approx(0.6)
    assert [one.speaker for one in second.speaking] == [turn.speaker for turn in second.turns]
    assert second.turns[0].span.start == pytest.approx(20.924 - 20.6)


async def test_simsamu_is_downloaded_once_and_used_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, bytes] = {}
    for number in range(61):
        place = f"{number:02d}/{number:02d}"
        files |= {f"{place}.m4a": b"sound" * 10, f"{place}.json": json.dumps(GECKO).encode()}
        files |= {f"{place}.rttm": RTTM.encode(), f"{place}.srt": b"1\n"}
    hosted = Hosted({**files, "README.md": b"#", "big.zip": bytes(99)}, commit=SIMSAMU_REVISION)
    async with running_hub(Hub({"datasets/medkit/simsamu": hosted})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        data = await asyncio.to_thread(loaded, "simsamu")
        asked = len(hub.requests)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        again = await asyncio.to_thread(loaded, "simsamu", 0.1)
        assert len(hub.requests) == asked
    assert (data.name, data.revision, data.language) == ("medkit/simsamu", SIMSAMU_REVISION, "fr")
    assert len(data.calls) == 61
    assert not any("README" in name or "zip" in name for name in hub.downloaded())
    assert [call.name for call in again.calls] == ["00", "10", "20", "30", "40", "50"], "six minutes, evenly spread"
    data.calls[0].audio.unlink()
    with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE"):
        await asyncio.to_thread(loaded, "simsamu")


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    srt = "1\n00:00:01,000 --> 00:00:02,000\nBonjour.\n\n2\n00:00:03,000 --> 00:00:04,000\nOui : bonsoir.\n"
    rttm = "SPEAKER a 1 0.9 1.2 <NA> <NA> Anne <NA> <NA>\nSPEAKER a 1 2.9 1.2 <NA> <NA> Paul <NA> <NA>\n"
    folder = folder_of(
        tmp_path,
        {
            "sub/été 1.WAV": "", "sub/été 1.srt": srt, "sub/été 1.rttm": rttm,
            "b.mp3": "", "b.rttm": rttm,
            "c.ogg": "", "c.stm": "c 1 x 0 1 oui\n", "c.rttm": "SPEAKER c 1 0 1 <NA> <NA> Anne <NA> <NA>\n",
            "d.flac": "",
            "e.opus": "", "e.rttm": "SPEAKER e 1 x 1.2 <NA> <NA> Anne <NA> <NA>\n",
            "f.m4a": "", "f.srt": srt.replace("Oui :", "oui"),
            "sub/b.webm": "", "sub/b.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Anne>Oui &amp; non\n",
            "g.wav": "", "g.json": json.dumps({"monologues": [{"speaker": {"id": "x+y"}, "start": 1, "end": 2}]}),
        },
    )  # fmt: skip
    data = loaded(folder, language="fr")
    calls = {call.name: call for call in data.calls}
    assert sorted(calls) == ["_t__1", "b", "b-2", "c", "g"]
    assert [(turn.speaker, turn.text) for turn in calls["_t__1"].turns] == [
        ("Anne", "Bonjour."),
        ("Paul", "Oui : bonsoir."),
    ]
    assert (calls["b"].turns, calls["b"].speakers) == ((), 2)
    assert [(turn.speaker, turn.text) for turn in calls["b-2"].turns] == [("Anne", "Oui & non")]
    assert calls["c"].turns[0].speaker == "Anne", "by the name of the timeline"
    assert calls["g"].speaking == (SpokenSpan("x", Span(1, 2)), SpokenSpan("y", Span(1, 2)))
    assert (calls["g"].speakers, data.language) == (2, "fr")
    told = "\n".join(data.skipped)
    assert "d.flac: no reference" in told
    assert "e.opus: e.rttm, line 1: 'x' is no time" in told
    assert "f.m4a: its texts name no speaker" in told


def test_a_reference_is_of_the_recording_whose_name_it_has(tmp_path: Path) -> None:
    names = ("a.wav", "a.1.wav", "a.z.wav", "[b]*.wav", "b*.wav")
    references = {"a.stm": "un", "a.1.stm": "deux", "a.z.stm": "trois", "[b]*.stm": "quatre"}
    content = {name: f"a 1 x 0 1 {said}\n" for name, said in references.items()}
    data = loaded(folder_of(tmp_path, {**content, **dict.fromkeys(names, "")}))
    assert {call.audio.name: call.turns[0].text for call in data.calls} == {
        "a.wav": "un", "a.1.wav": "deux", "a.z.wav": "trois", "[b]*.wav": "quatre",
    }  # fmt: skip
    assert [told.partition(":")[0] for told in data.skipped] == ["b*.wav"]


def test_names_in_no_utf_8(tmp_path: Path) -> None:
    """They can be told, and the files opened."""
    place = tmp_path / os.fsdecode(b"\xe9t\xe9")
    place.mkdir()
    for name, reference in ((b"appel_\xe9t\xe9", RTTM), (b"\xe9", "SPEAKER \n")):
        (place / os.fsdecode(name + b".wav")).write_text("sound")
        (place / os.fsdecode(name + b".rttm")).write_text(reference)
    data = loaded(place)
    [call] = data.calls
    assert (data.name, call.name, call.audio.read_text()) == ("?t?", "appel__t_", "sound")
    assert data.skipped == ("?.wav: ?.rttm, line 1: a SPEAKER line has at least 8 fields, this one 1.",)


def test_folders_are_told_apart_by_their_recordings(tmp_path: Path) -> None:
    files = {"a.wav": "sound", "b/c.wav": "sound", "d.wav": "", "a.rttm": RTTM, "b/c.rttm": RTTM}
    folder = folder_of(tmp_path, files)
    revision = loaded(folder).revision
    assert revision is not None
    assert len(revision) == 12
    assert revision == loaded(folder, hours=0.001).revision, "of all recordings"
    assert revision == loaded(folder_of(tmp_path / "copy", files)).revision
    others = [
        {**files, "a.wav": "longer sound"}, {**files, "d.wav": "x"}, {**files, "e.wav": ""},
        {("b/d.wav" if name == "b/c.wav" else name): content for name, content in files.items()},
    ]  # fmt: skip
    revisions = {loaded(folder_of(tmp_path / str(number), other)).revision for number, other in enumerate(others)}
    assert len(revisions - {revision}) == len(others)


def test_a_corrected_reference_has_another_digest(tmp_path: Path) -> None:
    files = {"a.wav": "sound", "a.stm": "a 1 x 0 1 oui\n", "a.rttm": RTTM, "b.wav": "sound", "b.rttm": RTTM}

    def digests() -> list[str]:
        return [call.digest for call in loaded(folder_of(tmp_path, files)).calls]

    seen = [digests()]
    assert [len(digest) for digest in seen[0]] == [12, 12]
    for changed in ({"a.stm": "a 1 x 0 1 non\n"}, {"a.rttm": RTTM.replace("60", "59")}, {"a.wav": "longer sound"}):
        files |= changed
        seen.append(digests())
    assert len({of_a for of_a, _ in seen}) == 4
    assert len({of_b for _, of_b in seen}) == 1


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="neither 'simsamu' nor a folder"):
        loaded("simsamo")
    with pytest.raises(SourceNotFound, match="no recording"):
        loaded(folder_of(tmp_path, {"a.txt": ""}))
    with pytest.raises(InvalidJob, match=r"a\.wav: no reference"):
        loaded(folder_of(tmp_path, {"a.wav": ""}))
