"""When each word is spoken and by whom, with the real aligner in its process: over the real vLLM, by turns and by windows,
and over a transcriber that knows the words, whatever the engine hears.
"""

import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from tests.engines.conftest import TINY_ALIGNER
from tests.media import CALL
from tests.reference import bundled_call
from voxtral_serverless.audio.fetch import LocalAudio
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.contract import parse_options
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.pipeline import process
from voxtral_serverless.progress import NoEvents
from voxtral_serverless.services import Services, Transcriber, embedded_services, served_services
from voxtral_serverless.settings import load_settings
from voxtral_serverless.torch_parts import TorchParts, running_torch_parts
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.transcript import Heard, Transcript

pytestmark = pytest.mark.asyncio(loop_scope="session")

MEDIAN_S, MOST_S = 0.06, 0.3


def true_words() -> list[tuple[str, Span]]:
    """The words of the bundled call as its reference writes them, and when they are truly spoken."""
    rows = [line.split() for line in (TINY_ALIGNER / "call.ctm").read_text("utf-8").splitlines()]
    spans = [Span(float(start), float(start) + float(length)) for _, _, start, length, _ in rows]
    written = [word for turn in bundled_call() for word in turn.text.split()]
    assert len(written) == len(spans)
    return list(zip(written, spans, strict=True))


def speaker_at(moment: float) -> str:
    """Who speaks then, as the answer calls them."""
    [turn] = [turn for turn in bundled_call() if turn.start <= moment <= turn.end]
    return "SPEAKER_00" if turn.speaker == bundled_call()[0].speaker else "SPEAKER_01"


class Listener:
    """A transcriber that knows the words of the call."""

    def __init__(self) -> None:
        self.clips: list[Clip] = []

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Heard
    ) -> Transcript:
        self.clips += clips
        texts = []
        for index, clip in enumerate(clips):
            texts.append(" ".join(word for word, span in true_words() if _is_in(span, clip)))
            heard(index, texts[-1])
        return Transcript(tuple(texts))


def _is_in(span: Span, clip: Clip) -> bool:
    return any(piece.start <= (span.start + span.end) / 2 < piece.end for piece in clip.pieces)


class Counted:
    """A transcriber whose clips are counted."""

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber
        self.clips: list[Clip] = []

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Heard
    ) -> Transcript:
        self.clips += clips
        return await self._transcriber.transcribe(recording, clips, language, heard)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts(diarization_python: str) -> AsyncIterator[TorchParts]:
    settings = load_settings(
        engine="vllm", diarizer="embedded", diarization_python=diarization_python,
        alignment_models={"en": str(TINY_ALIGNER)},
    )  # fmt: skip
    async with running_torch_parts(settings, diarizes=False, aligns=True) as parts:
        await parts.ready()
        yield parts


async def answered(services: Services, **fields: Any) -> dict[str, Any]:
    options = parse_options({"language": "en", "num_speakers": 2, "word_timestamps": True, **fields})
    return (await process(options, LocalAudio(CALL), services, NoEvents())).to_json()


def edges_off(answer: dict[str, Any]) -> list[float]:
    """How far the edges of the words are from the true ones, in seconds."""
    timed = [word for entry in answer["transcriptions"] for word in entry["words"]]
    assert [word["word"] for word in timed] == [word for word, _ in true_words()]
    return [
        abs(found - truth)
        for word, (_, span) in zip(timed, true_words(), strict=True)
        for found, truth in ((word["start"], span.start), (word["end"], span.end))
    ]


async def test_words_by_windows_are_their_speakers_and_on_time(parts: TorchParts) -> None:
    listener = Listener()
    services = replace(
        embedded_services(load_settings(engine="embedded")),
        transcriber=listener,
        aligner=parts.aligner,
        only_language=None,
    )
    answer = await answered(services)
    assert len(listener.clips) <= 3, "windows, not the fourteen turns"
    off = edges_off(answer)
    assert statistics.median(off) <= MEDIAN_S
    assert sorted(off)[round(0.99 * len(off))] <= MOST_S
    wrong = [
        word["word"]
        for entry in answer["transcriptions"]
        for word, (_, span) in zip(entry["words"], _those_of(entry), strict=True)
        if entry["speaker"] != speaker_at((span.start + span.end) / 2)
    ]
    assert wrong == []
    assert [entry["text"] for entry in answer["transcriptions"]] == [turn.text for turn in bundled_call()]


def _those_of(entry: dict[str, Any]) -> list[tuple[str, Span]]:
    """The true words of an entry, which are in the order of all of them."""
    said = true_words()
    first = next(
        index
        for index in range(len(said))
        if [word for word, _ in said[index : index + len(entry["words"])]] == entry["text"].split()
    )
    return said[first : first + len(entry["words"])]


async def test_words_by_turns_over_the_real_engine(parts: TorchParts, engine: VllmServer) -> None:
    settings = load_settings(engine="vllm", diarizer="embedded", transcription_plan="turns")
    services = replace(served_services(settings, engine), aligner=parts.aligner)
    answer = await answered(services)
    entries = [entry for entry in answer["transcriptions"] if entry["words"]]
    assert len(entries) >= len(answer["transcriptions"]) - 1
    for entry in entries:
        assert " ".join(word["word"] for word in entry["words"]) == entry["text"]
    right = [entry for entry in entries if entry["text"] in {turn.text for turn in bundled_call()}]
    assert len(right) >= len(bundled_call()) - 1
    off = [
        abs(found - truth)
        for entry in right
        for word, (_, span) in zip(entry["words"], _those_of(entry), strict=True)
        for found, truth in ((word["start"], span.start), (word["end"], span.end))
    ]
    assert statistics.median(off) <= MEDIAN_S


async def test_words_by_windows_over_the_real_engine(parts: TorchParts, engine: VllmServer) -> None:
    """Three windows of up to 30 s, of several turns each, of which none has to be heard again by turns."""
    settings = load_settings(engine="vllm", diarizer="embedded", transcription_plan="windows")
    served = served_services(settings, engine)
    counted = Counted(served.transcriber)
    answer = await answered(replace(served, transcriber=counted, aligner=parts.aligner))
    assert len(counted.clips) <= 3
    assert max(clip.sound_s for clip in counted.clips) > 25
    texts = [turn.text for turn in bundled_call()]
    right = [entry for entry in answer["transcriptions"] if entry["text"] in texts]
    assert len(right) >= len(texts) - 1
    off = []
    for entry in right:
        assert entry["words"]
        for word, (_, span) in zip(entry["words"], _those_of(entry), strict=True):
            assert entry["speaker"] == speaker_at((span.start + span.end) / 2)
            off += [abs(word["start"] - span.start), abs(word["end"] - span.end)]
    assert statistics.median(off) <= MEDIAN_S


async def test_subtitles_follow_the_words(parts: TorchParts) -> None:
    services = replace(
        embedded_services(load_settings(engine="embedded")),
        transcriber=Listener(),
        aligner=parts.aligner,
        only_language=None,
    )
    answer = await answered(services, formats=["srt"])
    first = answer["files"]["srt"].splitlines()[1].split(" --> ")[0]
    start = answer["transcriptions"][0]["words"][0]["start"]
    assert float(first.removeprefix("00:00:").replace(",", ".")) == pytest.approx(start, abs=0.006)
