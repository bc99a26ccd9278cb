import asyncio
from dataclasses import replace
from pathlib import Path

import jiwer
import pytest

from tests.conftest import no_report
from tests.media import CALL
from tests.test_child import alive, eventually
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.child import Child
from voxtral_serverless.errors import LanguageNotSupported, StageFailed
from voxtral_serverless.transcription import sphinx
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.sphinx import SphinxTranscriber
from voxtral_serverless.transcription.words import Word


@pytest.fixture
async def call(tmp_path: Path) -> Recording:
    folder = tmp_path / "decoded"
    folder.mkdir()
    return await decode(CALL, folder, 9000, no_report)


def clips_at(*spans: Span) -> list[Clip]:
    return [Clip(index, span, span, None, span.duration) for index, span in enumerate(spans)]


ORDER, TABLE = Span(16.5, 20.4), Span(25.4, 30.1)


async def test_each_clip_gets_its_own_words(call: Recording) -> None:
    heard: dict[int, tuple[str, tuple[Word, ...]]] = {}

    def take(index: int, text: str, words: tuple[Word, ...] = ()) -> None:
        heard[index] = text, words

    texts = (await SphinxTranscriber().transcribe(call, clips_at(TABLE, ORDER, TABLE), "en", take)).texts
    assert texts[0] == texts[2]
    assert {index: text for index, (text, _) in heard.items()} == dict(enumerate(texts))
    for index, clip in enumerate((TABLE, ORDER, TABLE)):
        words = heard[index][1]
        assert " ".join(word.text for word in words) == texts[index]
        edges = [edge for word in words for edge in (word.span.start, word.span.end)]
        assert edges == sorted(edges)
        assert clip.start <= edges[0] < edges[-1] <= clip.end
    wanted = "I would like a new table because we have a family dinner on Saturday evening"
    assert jiwer.wer(wanted.lower(), (texts[0] or "").lower()) <= 0.15
    assert "order number" in (texts[1] or "")


async def test_clip_of_a_channel_is_heard_there(call: Recording, tmp_path: Path) -> None:
    silence = tmp_path / "silence"
    silence.write_bytes(bytes(2 * call.samples))
    split = replace(call, planes=(silence, call.mix))
    clips = [Clip(channel, ORDER, ORDER, channel, 1.0) for channel in (0, 1)]
    texts = (await SphinxTranscriber().transcribe(split, clips, "en", lambda *_: None)).texts
    assert "order number" not in (texts[0] or "")
    assert "order number" in (texts[1] or "")


async def test_no_language_means_english(call: Recording) -> None:
    assert (await SphinxTranscriber().transcribe(call, clips_at(ORDER), None, lambda *_: None)).texts[0]


async def test_other_languages_are_refused_with_the_way_on(call: Recording) -> None:
    with pytest.raises(LanguageNotSupported, match="Voxtral"):
        await SphinxTranscriber().transcribe(call, clips_at(ORDER), "fr", lambda *_: None)


async def test_clips_without_words(call: Recording) -> None:
    assert (await SphinxTranscriber().transcribe(call, [], "en", lambda *_: None)).texts == ()
    texts = (
        await SphinxTranscriber().transcribe(call, clips_at(Span(0, 0.05), Span(0, 0.4)), "en", lambda *_: None)
    ).texts
    assert texts[0] == ""


async def test_recogniser_that_dies_takes_one_clip_with_it(
    call: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "dies.py"
    script.write_text(
        "import json, os, sys\n"
        "for line in sys.stdin:\n"
        "    clip = json.loads(line)\n"
        "    if clip['first'] == 16000: os.kill(os.getpid(), 9)\n"
        "    print(json.dumps({'words': [[str(clip['first']), 0, 1]]}), flush=True)\n"
    )
    monkeypatch.setattr(sphinx, "RECOGNISER", script)
    spans = [Span(second, second + 1) for second in range(5)]
    texts = (await SphinxTranscriber().transcribe(call, clips_at(*spans), "en", lambda *_: None)).texts
    assert texts == ("0", None, "32000", "48000", "64000")


@pytest.mark.parametrize("script", ["import no_such_module", "raise SystemExit", "import time; time.sleep(600)"])
async def test_recogniser_that_never_works_is_given_up(
    script: str, call: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never.py").write_text(script)
    monkeypatch.setattr(sphinx, "RECOGNISER", tmp_path / "never.py")
    monkeypatch.setattr(sphinx, "START_S", 0.3)
    monkeypatch.setattr(sphinx, "SLOWEST", 0.0)
    spans = [Span(second / 10, second / 10 + 1) for second in range(600)]
    with pytest.raises(StageFailed):
        await SphinxTranscriber().transcribe(call, clips_at(*spans), "en", lambda *_: None)


async def test_cancelling_ends_the_recognisers(call: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    pids: list[int] = []
    original = sphinx._recognise

    async def note(child: Child, clip: Clip) -> tuple[Word, ...]:
        pids.append(child.process.pid)
        return await original(child, clip)

    monkeypatch.setattr(sphinx, "_recognise", note)
    work = SphinxTranscriber().transcribe(call, clips_at(Span(0, 60), Span(0, 60)), "en", lambda *_: None)
    task = asyncio.create_task(work)
    assert await eventually(lambda: bool(pids), 10)
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await eventually(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize(
    ("words", "written"),
    [("i think i can", "I think I can"), ("", ""), ("it is in it", "It is in it"), ("i'm here", "I'm here")],
)
def test_words_as_written(words: str, written: str) -> None:
    timed = sphinx._written([(word, index, index + 1) for index, word in enumerate(words.split())], 10.0)
    assert " ".join(word.text for word in timed) == written
