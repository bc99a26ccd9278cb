"""By turns or by windows: whose words they are, when they are said, and what happens where one of the two fails."""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.test_pipeline import Heard as HeardEvents
from tests.test_pipeline import embedded
from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span
from voxtral_serverless.contract import parse_options
from voxtral_serverless.diarization.channels import Verdict
from voxtral_serverless.diarization.stage import Listening
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints, Turn
from voxtral_serverless.errors import DeadlineExceeded, EngineUnavailable, StageFailed
from voxtral_serverless.progress import Meter
from voxtral_serverless.reporting import Report
from voxtral_serverless.run import Run
from voxtral_serverless.services import Services
from voxtral_serverless.transcription.plan import Clip, Utterance
from voxtral_serverless.transcription.stage import write_down
from voxtral_serverless.transcription.transcript import Heard, Transcript
from voxtral_serverless.transcription.words import Word

TURNS = ["Bonjour, que puis-je pour vous ?", "Ma table est arrivée cassée.", "Je suis désolé.", "Oui, moi aussi."]
TURN_S = 10.0


def script(texts: Sequence[str] = TURNS) -> list[tuple[Word, str]]:
    """The words of turns of 10 s by two speakers in turn, a word a second, and whose they are."""
    return [
        (Word(text, Span(TURN_S * turn + 1 + place, TURN_S * turn + 1.9 + place), 0.9), f"{turn % 2}")
        for turn, said in enumerate(texts)
        for place, text in enumerate(said.split())
    ]


def spoken(words: Sequence[tuple[Word, str]], clip: Clip) -> tuple[Word, ...]:
    """What can be heard in a clip."""
    return tuple(
        word
        for word, speaker in words
        if clip.channel in (None, int(speaker))
        and any(piece.start <= (word.span.start + word.span.end) / 2 < piece.end for piece in clip.pieces)
    )


class Knowing:
    """A transcriber, an aligner and a diarizer that know the script."""

    def __init__(self, words: Sequence[tuple[Word, str]], *, languages: str = "fr", timeline: bool = True) -> None:
        self.words, self.languages = words, languages.split()
        self.clips: list[Clip] = []
        self.aligned: list[str] = []
        self.spoil: Callable[[Clip, tuple[Word, ...]], tuple[Word, ...]] = lambda _, words: words
        self.loses: Callable[[Clip], bool] = lambda _: False
        self.writes_after: asyncio.Event | None = None
        self.diarizing = asyncio.Event()

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Heard
    ) -> Transcript:
        if self.writes_after:
            await self.writes_after.wait()
        self.clips += clips
        texts = [
            None if self.loses(clip) else " ".join(word.text for word in spoken(self.words, clip)) for clip in clips
        ]
        for index, text in enumerate(texts):
            if text is not None:
                heard(index, text)
        return Transcript(tuple(texts))

    def knows(self, language: str) -> bool:
        return language in self.languages

    async def align(
        self, recording: Recording, clips: Sequence[Clip], texts: Sequence[str], language: str
    ) -> list[tuple[Word, ...]]:
        self.aligned += texts
        found = [self.spoil(clip, spoken(self.words, clip)) for clip in clips]
        assert [" ".join(word.text for word in spoken(self.words, clip)) for clip in clips] == list(texts)
        return found

    async def diarize(
        self, recording: Recording, speech: tuple[Span, ...], hints: SpeakerHints, report: Report
    ) -> Diarization:
        self.diarizing.set()
        turns = tuple(
            Turn(Span(TURN_S * turn + 0.8, TURN_S * turn + 9.2), f"S{turn % 2}") for turn in range(len(TURNS))
        )
        return Diarization(turns, timeline=turns)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    """Forty seconds of nothing, in two channels."""
    file = tmp_path / "silence"
    file.write_bytes(bytes(2 * 40 * SAMPLE_RATE))
    return Recording(file, (file, file), 40 * SAMPLE_RATE, 2, SAMPLE_RATE)


def services_of(knowing: Knowing, **settings: Any) -> Services:
    return dataclasses.replace(
        embedded(**settings), diarizer=knowing, transcriber=knowing, aligner=knowing, only_language=None
    )


def speech_of(*turns: int) -> list[Span]:
    return [Span(TURN_S * turn + 0.9, TURN_S * turn + 9) for turn in turns]


MIX = Listening({None: speech_of(0, 1, 2, 3)}, Verdict(split=False, reason="mono"))
SPLIT = Listening({0: speech_of(0, 2), 1: speech_of(1, 3)}, Verdict(split=True, reason="two_parties"))


async def written(
    services: Services,
    recording: Recording,
    listening: Listening = MIX,
    *,
    deadline_s: float | None = None,
    **fields: Any,
) -> tuple[Run, list[Utterance]]:
    deadline = None if deadline_s is None else asyncio.get_running_loop().time() + deadline_s
    events = HeardEvents()
    run = Run(parse_options(fields), services, events, Meter(events), deadline)
    _, utterances = await write_down(run, recording, listening)
    return run, utterances


def told(utterances: Sequence[Utterance]) -> list[tuple[str | None, str | None]]:
    return [(utterance.speaker, utterance.text) for utterance in utterances]


RIGHT = list(zip(["SPEAKER_00", "SPEAKER_01"] * 2, TURNS, strict=True))


def codes(run: Run) -> list[str]:
    return [notice.code for notice in run.notices]


@pytest.mark.parametrize("language", ["fr", None])
async def test_words_of_windows_are_their_speakers(language: str | None, recording: Recording) -> None:
    knowing = Knowing(script())
    run, utterances = await written(services_of(knowing), recording, language=language)
    assert told(utterances) == RIGHT
    assert (run.language, codes(run)) == ("fr", [])
    assert len(knowing.clips) == 2, "two windows, not four turns"
    assert [utterance.words for utterance in utterances] == [
        tuple(word for word, _ in script()[start:end]) for start, end in ((0, 6), (6, 11), (11, 14), (14, 17))
    ]
    assert [utterance.text for utterance in run.events.utterances] == TURNS  # type: ignore[attr-defined]


async def test_speakers_and_words_are_found_side_by_side(recording: Recording) -> None:
    knowing = Knowing(script())
    knowing.writes_after = knowing.diarizing
    async with asyncio.timeout(10):
        _, utterances = await written(services_of(knowing), recording, language="fr")
    assert told(utterances) == RIGHT


async def test_each_channel_has_windows_of_its_own(recording: Recording) -> None:
    knowing = Knowing(script())
    _, utterances = await written(services_of(knowing), recording, SPLIT, language="fr")
    assert told(utterances) == RIGHT
    assert sorted(clip.channel or 0 for clip in knowing.clips) == [0, 1]
    assert [utterance.channel for utterance in utterances] == [0, 1, 0, 1]


@pytest.mark.parametrize("fault", ["doubtful", "untimed", "lost"])
async def test_unclear_window_is_transcribed_by_turns(fault: str, recording: Recording) -> None:
    knowing = Knowing(script())

    def spoil(clip: Clip, words: tuple[Word, ...]) -> tuple[Word, ...]:
        if clip.core.start > 10:
            return words
        return () if fault == "untimed" else tuple(dataclasses.replace(word, score=0.0) for word in words)

    if fault == "lost":
        knowing.loses = lambda clip: clip.core.start < 10 and clip.core.duration > 15
    else:
        knowing.spoil = spoil
    run, utterances = await written(services_of(knowing), recording, language="fr", word_timestamps=fault == "lost")
    assert told(utterances) == RIGHT
    assert len(knowing.clips) > 4
    assert "turns_lost" not in codes(run)
    assert [utterance.text for utterance in run.events.utterances] == TURNS, "each is told once"  # type: ignore[attr-defined]


@pytest.mark.parametrize("failure", [EngineUnavailable("it is gone."), None])
async def test_known_text_outlives_a_second_hearing_that_brings_nothing(
    failure: EngineUnavailable | None, recording: Recording
) -> None:
    knowing = Knowing(script())
    knowing.spoil = lambda _, words: tuple(dataclasses.replace(word, score=0.0) for word in words)
    first = knowing.transcribe

    async def once(*arguments: Any) -> Transcript:
        if len(knowing.clips) < 2:
            return await first(*arguments)
        if failure:
            raise failure
        return Transcript((None,) * len(arguments[1]))

    knowing.transcribe = once  # type: ignore[assignment,method-assign]
    run, utterances = await written(services_of(knowing), recording, language="fr")
    assert " ".join(utterance.text or "" for utterance in utterances) == " ".join(TURNS)
    assert codes(run) == (["engine_unavailable"] if failure else [])


async def test_nothing_is_heard_twice_at_the_edge_of_an_unclear_window(tmp_path: Path) -> None:
    """One speaker without a pause; the middle window is unclear."""
    file = tmp_path / "silence"
    file.write_bytes(bytes(2 * 90 * SAMPLE_RATE))
    long = Recording(file, (), 90 * SAMPLE_RATE, 1, SAMPLE_RATE)
    words = [(Word(f"mot{at}", Span(at / 5, at / 5 + 0.19), 0.9), "0") for at in range(5, 445)]
    knowing = Knowing(words)
    knowing.spoil = lambda clip, found: () if clip.core.start > 10 and clip.core.end < 80 else found
    listening = Listening({None: [Span(0.9, 89.1)]}, Verdict(split=False, reason="mono"))

    async def one_turn(*_: Any) -> Diarization:
        turn = Turn(Span(0.9, 89.1), "S")
        return Diarization((turn,), timeline=(turn,))

    knowing.diarize = one_turn  # type: ignore[assignment,method-assign]
    _, utterances = await written(services_of(knowing), long, listening, language="fr")
    said = " ".join(utterance.text or "" for utterance in utterances).split()
    assert len(knowing.clips) > 4, "a part was heard again"
    assert said == [word.text for word, _ in words]
    assert len(utterances) == 1


async def test_language_without_an_aligner_is_transcribed_by_turns(recording: Recording) -> None:
    for language in ("fr", None):
        knowing = Knowing(script(), languages="en")
        run, utterances = await written(services_of(knowing), recording, language=language)
        assert told(utterances) == RIGHT
        assert len(knowing.clips) >= 4
        assert not knowing.aligned
        assert (run.language, codes(run)) == ("fr", [])


@pytest.mark.parametrize(("plan", "warnings"), [("turns", []), ("windows", ["plan_by_turns"])])
@pytest.mark.parametrize("language", ["fr", None])
async def test_plan_by_turns(plan: str, warnings: list[str], language: str | None, recording: Recording) -> None:
    knowing = Knowing(script(), languages="en" if plan == "windows" else "fr")
    run, utterances = await written(services_of(knowing, transcription_plan=plan), recording, language=language)
    assert told(utterances) == RIGHT
    assert len(knowing.clips) >= 4
    assert codes(run) == warnings


async def test_passages_without_speakers_are_not_cut_by_pauses(recording: Recording) -> None:
    knowing = Knowing(script())
    _, utterances = await written(services_of(knowing), recording, language="fr", task="transcribe")
    assert {utterance.speaker for utterance in utterances} == {None}
    assert " ".join(utterance.text or "" for utterance in utterances) == " ".join(TURNS)
    assert not knowing.aligned


async def test_times_of_words_beside_the_plan_by_turns(recording: Recording) -> None:
    knowing = Knowing(script())
    run, utterances = await written(
        services_of(knowing, transcription_plan="turns"), recording, language="fr", word_timestamps=True
    )
    assert [word for utterance in utterances for word in utterance.words] == [word for word, _ in script()]
    assert codes(run) == []


async def test_times_of_words_that_nobody_can_tell(recording: Recording) -> None:
    services = dataclasses.replace(services_of(Knowing(script())), aligner=None)
    run, utterances = await written(services, recording, language="fr", word_timestamps=True)
    assert all(utterance.words == () for utterance in utterances)
    assert codes(run) == ["word_timestamps_unavailable"]


async def test_aligner_that_fails_costs_no_word(recording: Recording) -> None:
    knowing = Knowing(script())

    async def broken(*_: Any) -> list[tuple[Word, ...]]:
        raise StageFailed("out of memory.")

    knowing.align = broken  # type: ignore[assignment,method-assign]
    run, utterances = await written(services_of(knowing), recording, language="fr")
    assert told(utterances) == RIGHT
    assert codes(run) == ["stage_failed"]


async def test_words_that_are_not_timed_by_the_deadline_keep_their_place(recording: Recording) -> None:
    """Spread over the speech of their window, where no time is left to hear it again."""
    knowing = Knowing(script())

    async def endless(*_: Any) -> list[tuple[Word, ...]]:
        await asyncio.sleep(60)
        return []

    knowing.align = endless  # type: ignore[assignment,method-assign]
    run, utterances = await written(services_of(knowing), recording, language="fr", deadline_s=2)
    assert " ".join(utterance.text or "" for utterance in utterances) == " ".join(TURNS)
    assert {utterance.speaker for utterance in utterances} == {"SPEAKER_00", "SPEAKER_01"}
    assert codes(run) == ["deadline_reached"]


async def test_aligner_that_fails_is_not_asked_again(recording: Recording) -> None:
    knowing, asked = Knowing(script()), 0

    async def broken(*_: Any) -> list[tuple[Word, ...]]:
        nonlocal asked
        asked += 1
        raise StageFailed("out of memory.")

    knowing.align = broken  # type: ignore[assignment,method-assign]
    await written(services_of(knowing), recording, SPLIT, language="fr", word_timestamps=True)
    assert asked <= 2, "once by windows, once by turns"


async def test_nothing_was_heard_by_the_deadline(recording: Recording) -> None:
    knowing = Knowing(script())
    knowing.writes_after = asyncio.Event()
    with pytest.raises(DeadlineExceeded):
        await written(services_of(knowing), recording, language="fr", deadline_s=0.3)
