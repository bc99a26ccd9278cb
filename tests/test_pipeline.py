import asyncio
import base64
import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from tests.conftest import leftovers
from tests.fakes.origin import running_origin
from tests.media import CALL, tone
from tests.test_child import eventually
from voxtral_serverless.analysis.judgement import Judgement, SpeakerTone
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.fetch import LocalAudio, Source
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.contract import JobResult, parse_job, parse_options
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints, Turn
from voxtral_serverless.errors import AudioTooLong, DeadlineExceeded, EngineUnavailable, StageFailed, VoxtralError
from voxtral_serverless.pipeline import process, source_of
from voxtral_serverless.progress import NoEvents, Progress
from voxtral_serverless.qualify.media import wav
from voxtral_serverless.reporting import Report
from voxtral_serverless.services import Services, embedded_services
from voxtral_serverless.settings import load_settings
from voxtral_serverless.transcription.plan import Clip, Utterance
from voxtral_serverless.transcription.transcript import Transcript


class Heard(NoEvents):
    """Events that are kept."""

    def __init__(self) -> None:
        self.progresses: list[Progress] = []
        self.utterances: list[Utterance] = []

    def progress(self, progress: Progress) -> None:
        self.progresses.append(progress)

    def utterance(self, utterance: Utterance) -> None:
        self.utterances.append(utterance)


def embedded(**settings: Any) -> Services:
    return embedded_services(load_settings(engine="embedded", **settings))


async def first_turns(tmp_path: Path, seconds: float = 12.0) -> Path:
    """A short piece of the bundled call: two turns."""
    folder = tmp_path / "cut"
    folder.mkdir(parents=True)
    recording = await decode(CALL, folder, 9000, lambda done, total: None)
    return wav(tmp_path / "short.wav", np.asarray(recording.clip(Span(0, seconds)))[None])


async def run(file: Path, services: Services | None = None, events: NoEvents | None = None, **fields: Any) -> JobResult:
    options = parse_options({"language": "en", **fields})
    return await process(options, LocalAudio(file), services or embedded(), events or NoEvents())


def codes(result: JobResult) -> list[str]:
    return [warning.code for warning in result.meta.warnings]


async def test_answer_has_the_shape_of_the_contract(tmp_path: Path) -> None:
    answer = (await run(await first_turns(tmp_path), summary=True, sentiment=True)).to_json()
    assert list(answer) == ["task", "language", "duration", "transcriptions", "summary", "sentiment", "meta"]
    assert [list(entry) for entry in answer["transcriptions"]] == [["speaker", "start", "end", "text"]] * 2
    assert [entry["speaker"] for entry in answer["transcriptions"]] == ["SPEAKER_00", "SPEAKER_01"]
    assert list(answer["sentiment"]) == ["sentiment", "score", "emotions", "satisfaction_client"]
    assert answer["summary"].startswith("Summary: ")
    assert answer["meta"]["engine"] == "embedded"
    assert answer["meta"]["warnings"][0]["code"] == "embedded_engine"
    assert set(answer["meta"]["timings"]) == {
        "fetching", "decoding", "voice_activity", "diarization", "transcription", "analysis",
    }  # fmt: skip


async def test_task_transcribe_has_text_and_no_speakers(tmp_path: Path) -> None:
    answer = (await run(await first_turns(tmp_path), task="transcribe")).to_json()
    assert list(answer) == ["task", "language", "duration", "transcriptions", "text", "meta"]
    assert all(list(entry) == ["start", "end", "text"] for entry in answer["transcriptions"])
    assert answer["text"] == " ".join(entry["text"] for entry in answer["transcriptions"])
    assert "garden" in answer["text"]


async def test_other_language_gives_turns_without_text_and_says_why(tmp_path: Path) -> None:
    result = await run(await first_turns(tmp_path), language="fr", summary=True, sentiment=True)
    assert result.language == "fr"
    assert [(entry.speaker, entry.text) for entry in result.transcriptions] == [
        ("SPEAKER_00", None),
        ("SPEAKER_01", None),
    ]
    assert (result.summary, result.sentiment) == (None, None)
    assert {"language_not_supported", "nothing_to_analyse"} <= set(codes(result))
    assert "summary" in result.to_json()


async def test_language_that_was_not_given_is_assumed_with_a_warning(tmp_path: Path) -> None:
    result = await run(await first_turns(tmp_path, 6), language=None)
    assert result.language == "en"
    assert "language_assumed" in codes(result)


async def test_silence_is_a_success(tmp_path: Path) -> None:
    result = await run(wav(tmp_path / "a.wav", np.zeros((1, 48_000), np.int16)), summary=True, formats=["srt", "rttm"])
    answer = result.to_json()
    assert (answer["transcriptions"], answer["summary"], answer["duration"]) == ([], None, 3.0)
    assert answer["files"] == {"srt": "", "rttm": ""}
    assert {"no_speech", "nothing_to_analyse"} <= set(codes(result))
    assert (await run(tmp_path / "a.wav", task="transcribe")).text == ""
    assert (await run(tmp_path / "a.wav", language=None)).language is None


async def test_what_the_decoder_warns_of_is_in_the_answer(tmp_path: Path) -> None:
    file = wav(tmp_path / "a.wav", tone(2.0))
    os.truncate(file, file.stat().st_size // 2)
    assert "audio_truncated" in codes(await run(file))


async def test_file_that_cannot_be_rendered_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, utterances: Sequence[Utterance], timeline: Sequence[Turn]) -> str:
        if name == "srt":
            raise RuntimeError
        return "text"

    monkeypatch.setattr("voxtral_serverless.pipeline.render", broken)
    result = await run(wav(tmp_path / "a.wav", tone(1.0)), formats=["srt", "txt"])
    assert result.files == {"srt": None, "txt": "text"}
    assert "internal_error" in codes(result)


async def test_what_was_asked_for_comes_along(tmp_path: Path) -> None:
    result = await run(
        await first_turns(tmp_path), speaker_labels=["Agent"], formats=["txt", "rttm"], metadata={"id": [7]},
        word_timestamps=True, sentiment_by_speaker=True, channels="split",
    )  # fmt: skip
    answer = result.to_json()
    assert [entry["speaker"] for entry in answer["transcriptions"]] == ["Agent", "SPEAKER_01"]
    assert answer["files"]["txt"].startswith("[0:00:00] Agent: ")
    assert answer["metadata"] == {"id": [7]}
    assert [entry["speaker"] for entry in answer["sentiment_by_speaker"]] == ["Agent", "SPEAKER_01"]
    for entry in answer["transcriptions"]:
        assert " ".join(word["word"] for word in entry["words"]) == entry["text"]
        assert entry["start"] <= entry["words"][0]["start"] <= entry["words"][-1]["end"] <= entry["end"]
        assert list(entry["words"][0]) == ["word", "start", "end", "score"]
    assert "channels_not_split" in codes(result)


async def test_labels_in_english(tmp_path: Path) -> None:
    result = await run(await first_turns(tmp_path), embedded(label_language="en"), sentiment=True)
    assert result.sentiment is not None
    assert result.sentiment.sentiment in ("positive", "neutral", "negative", "mixed")


async def test_no_diarizer_gives_null_speakers(tmp_path: Path) -> None:
    result = await run(await first_turns(tmp_path), embedded(diarizer="none"))
    assert {entry.speaker for entry in result.transcriptions} == {None}
    assert "diarization_off" in codes(result)
    assert "speaker" in result.to_json()["transcriptions"][0]


class BrokenDiarizer:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def diarize(
        self, recording: Recording, speech: tuple[Span, ...], hints: SpeakerHints, report: Report
    ) -> Diarization:
        raise self.error


class Slow:
    """A diarizer, or a transcriber, that takes its time, and gives one text at once."""

    async def diarize(
        self, recording: Recording, speech: tuple[Span, ...], hints: SpeakerHints, report: Report
    ) -> Diarization:
        await asyncio.sleep(60)
        raise AssertionError

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Callable[[int, str], None]
    ) -> Transcript:
        if self.words:
            heard(0, self.words)
        await asyncio.sleep(60)
        raise AssertionError

    def __init__(self, words: str = "") -> None:
        self.words = words


async def hurried(file: Path, services: Services, seconds: float, **fields: Any) -> JobResult:
    deadline = asyncio.get_running_loop().time() + seconds
    options = parse_options({"language": "en", **fields})
    return await process(options, LocalAudio(file), services, NoEvents(), deadline=deadline)


async def test_diarization_gives_way_to_the_words(tmp_path: Path) -> None:
    services = dataclasses.replace(embedded(), diarizer=Slow())
    result = await hurried(await first_turns(tmp_path), services, 18)
    assert all(entry.text and entry.speaker is None for entry in result.transcriptions)
    assert {"deadline_reached", "diarization_failed"} <= set(codes(result))


async def test_what_is_there_by_the_deadline_is_answered(tmp_path: Path) -> None:
    services = dataclasses.replace(embedded(), transcriber=Slow("Hello this is the garden centre."))
    result = await hurried(await first_turns(tmp_path), services, 5, summary=True, sentiment=True)
    assert [entry.text for entry in result.transcriptions] == ["Hello this is the garden centre.", None]
    assert result.summary
    assert result.sentiment
    assert {"deadline_reached", "turns_lost"} <= set(codes(result))


async def test_nothing_is_there_by_the_deadline(tmp_path: Path, temporary: Path) -> None:
    file = await first_turns(tmp_path)
    with pytest.raises(DeadlineExceeded, match="first word"):
        await hurried(file, dataclasses.replace(embedded(), transcriber=Slow()), 4)
    with pytest.raises(DeadlineExceeded, match="was read"):
        await hurried(file, embedded(), 0.01)
    assert leftovers(temporary) == []


async def test_engine_that_never_starts_fails_the_job_at_once(tmp_path: Path) -> None:
    async def never() -> None:
        raise EngineUnavailable("no GPU.")

    services = dataclasses.replace(embedded(), ready=never, transcriber=Slow())
    with pytest.raises(EngineUnavailable, match="no GPU"):
        await hurried(await first_turns(tmp_path), services, 30)


class KnownTurns:
    """A diarizer that answers what it was given."""

    def __init__(self, *turns: Turn, timeline: tuple[Turn, ...] | None = None) -> None:
        self.found = Diarization(turns, timeline=timeline)
        self.hints: SpeakerHints | None = None

    async def diarize(
        self, recording: Recording, speech: tuple[Span, ...], hints: SpeakerHints, report: Report
    ) -> Diarization:
        self.hints = hints
        return self.found


async def told_apart(tmp_path: Path, diarizer: KnownTurns, **fields: Any) -> JobResult:
    return await run(await first_turns(tmp_path), dataclasses.replace(embedded(), diarizer=diarizer), **fields)


def by(start: float, end: float, speaker: str) -> Turn:
    return Turn(Span(start, end), speaker)


async def test_speakers_are_numbered_by_appearance_and_called_by_their_labels(tmp_path: Path) -> None:
    overlapping = (by(0, 5, "X"), by(4, 4.6, "Z"), by(5, 5.2, "Z"), by(5.2, 12, "W"))
    diarizer = KnownTurns(by(0, 5, "X"), by(5, 5.2, "Z"), by(5.2, 12, "W"), timeline=overlapping)
    result = await told_apart(tmp_path, diarizer, speaker_labels=["Agent"], formats=["rttm"], max_speakers=9)
    assert diarizer.hints == SpeakerHints(None, None, 9)
    assert [entry.speaker for entry in result.transcriptions] == ["Agent", "SPEAKER_01"]
    assert result.files is not None
    speakers = [line.split()[7] for line in (result.files["rttm"] or "").splitlines()]
    assert speakers == ["Agent", "SPEAKER_02", "SPEAKER_02", "SPEAKER_01"]
    assert result.meta.quality["overlap_share"] == pytest.approx(0.6 / 12, abs=0.001)
    assert result.meta.quality["interruptions"] == 1


async def test_count_that_is_not_met_is_a_warning(tmp_path: Path) -> None:
    slip = (by(0, 5, "X"), by(5, 5.2, "Z"), by(5.3, 12, "X"))
    result = await told_apart(tmp_path, KnownTurns(*slip), num_speakers=2)
    assert "speaker_count_not_met" in codes(result)
    assert "speaker_count_not_met" not in codes(await told_apart(tmp_path / "2", KnownTurns(*slip), max_speakers=2))


async def test_pauses_and_padding_are_no_interruptions(tmp_path: Path) -> None:
    timeline = (by(0, 5, "X"), by(4.8, 5.1, "Z"), by(5.2, 10, "X"))
    result = await told_apart(tmp_path, KnownTurns(*timeline, timeline=timeline))
    assert result.meta.quality["interruptions"] == 0


async def test_speech_that_no_speaker_is_found_for_keeps_its_words(tmp_path: Path) -> None:
    result = await told_apart(tmp_path, KnownTurns(by(0, 3.5, "X"), timeline=(by(0, 3.5, "X"),)))
    assert result.transcriptions[0].speaker == "SPEAKER_00"
    assert {entry.speaker for entry in result.transcriptions[1:]} == {None}
    assert all(entry.text for entry in result.transcriptions)
    assert "speech_without_speaker" in codes(result)
    nobody = await told_apart(tmp_path / "again", KnownTurns(timeline=()))
    assert nobody.transcriptions
    assert nobody.meta.quality["overlap_share"] == 0


@pytest.mark.parametrize("error", [StageFailed("out of memory."), ValueError("/secret/path")])
async def test_failed_diarization_never_loses_the_transcript(
    error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    services = dataclasses.replace(embedded(), diarizer=BrokenDiarizer(error))
    result = await run(await first_turns(tmp_path), services)
    assert all(entry.text and entry.speaker is None for entry in result.transcriptions)
    assert "diarization_failed" in codes(result)
    assert "secret" not in str(result.to_json())
    assert ("secret" in caplog.text) == isinstance(error, ValueError), "the log has what the caller is not told"


class BrokenAnalyst:
    """Does not even read, or fails at every question."""

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads

    async def read(self, utterances: Sequence[Utterance], language: str, *, excerpt: bool = False) -> Self:
        if not self._reads:
            raise StageFailed("the engine is gone.")
        return self

    async def summarise(self, language: str) -> str:
        raise RuntimeError

    async def judge(self) -> Judgement:
        raise StageFailed("the engine is gone.")

    async def judge_speaker(self, speaker: str) -> SpeakerTone:
        raise StageFailed("the engine is gone.")


@pytest.mark.parametrize("reads", [True, False])
async def test_failed_analysis_never_loses_the_transcript(reads: bool, tmp_path: Path) -> None:
    services = dataclasses.replace(embedded(), analyst=BrokenAnalyst(reads=reads))
    result = await run(await first_turns(tmp_path), services, summary=True, sentiment=True, sentiment_by_speaker=True)
    assert result.transcriptions[0].text
    assert (result.summary, result.sentiment, result.sentiment_by_speaker) == (None, None, None)
    assert ("internal_error" in codes(result)) == reads
    assert "stage_failed" in codes(result)


class ForgetfulTranscriber:
    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Callable[[int, str], None]
    ) -> Transcript:
        heard(0, "one")
        return Transcript(("one", None))


async def test_lost_turn_is_null_with_a_warning(tmp_path: Path) -> None:
    services = dataclasses.replace(embedded(), transcriber=ForgetfulTranscriber())
    result = await run(await first_turns(tmp_path), services)
    assert [entry.text for entry in result.transcriptions] == ["one", None]
    assert "turns_lost" in codes(result)
    assert result.meta.quality["turns_without_text"] == 1


class FrenchTranscriber:
    """Hears nothing in the clips that it is given first, French in the others, and cuts every text."""

    def __init__(self, *, everywhere: bool) -> None:
        self.languages: list[str | None] = []
        self._everywhere = everywhere

    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Callable[[int, str], None]
    ) -> Transcript:
        text = "Je vous appelle au sujet de ma dernière facture." if self._everywhere or self.languages else ""
        self.languages.append(language)
        for index in range(len(clips)):
            heard(index, text)
        return Transcript((text,) * len(clips), mishaps=Counter(text_cut=len(clips)))


def french(transcriber: FrenchTranscriber) -> Services:
    return dataclasses.replace(embedded(), transcriber=transcriber, only_language=None)


async def test_language_of_the_longest_clips_is_given_for_the_rest(tmp_path: Path) -> None:
    transcriber = FrenchTranscriber(everywhere=True)
    result = await run(await first_turns(tmp_path, 26), french(transcriber), language=None)
    assert transcriber.languages == [None, "fr"]
    assert result.language == "fr"
    cut = [warning.message for warning in result.meta.warnings if warning.code == "text_cut"]
    assert [message.split()[0] for message in cut] == [str(len(result.transcriptions))]


async def test_language_is_told_by_the_rest_where_the_longest_clips_do_not(tmp_path: Path) -> None:
    transcriber = FrenchTranscriber(everywhere=False)
    result = await run(await first_turns(tmp_path, 26), french(transcriber), language=None)
    assert transcriber.languages == [None, None]
    assert result.language == "fr"


class DeadTranscriber:
    async def transcribe(
        self, recording: Recording, clips: Sequence[Clip], language: str | None, heard: Callable[[int, str], None]
    ) -> Transcript:
        raise EngineUnavailable("it died too often.")


async def test_dead_engine_fails_the_job(tmp_path: Path) -> None:
    """Nothing of it is passed off as an answer: another worker can do it."""
    services = dataclasses.replace(embedded(), transcriber=DeadTranscriber())
    with pytest.raises(EngineUnavailable, match="died too often"):
        await run(await first_turns(tmp_path), services)


async def test_events_tell_stages_percentages_and_utterances(tmp_path: Path) -> None:
    heard = Heard()
    result = await run(await first_turns(tmp_path), events=heard, summary=True)
    percents = [progress.percent for progress in heard.progresses]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    stages = list(dict.fromkeys(progress.stage for progress in heard.progresses))
    assert stages == ["fetching", "decoding", "voice_activity", "diarization", "transcription", "analysis"]
    assert sorted(u.text or "" for u in heard.utterances) == sorted(entry.text or "" for entry in result.transcriptions)


async def test_recording_by_url_and_by_base64(tmp_path: Path) -> None:
    data = (await first_turns(tmp_path, 6)).read_bytes()
    async with running_origin(data) as origin:
        by_url = parse_job({"input": {"audio_url": f"{origin.url}/ok", "language": "en"}})
        one = await process(by_url, source_of(by_url), embedded(fetch_allow_private=True), NoEvents())
    inline = parse_job({"input": {"audio_base64": base64.b64encode(data).decode(), "language": "en"}})
    other = await process(inline, source_of(inline), embedded(), NoEvents())
    assert one.transcriptions == other.transcriptions
    assert one.transcriptions[0].text


async def test_duration_is_limited(tmp_path: Path) -> None:
    with pytest.raises(AudioTooLong):
        await run(wav(tmp_path / "a.wav", tone(3.0)), embedded(max_duration_s=2))


@pytest.mark.parametrize("source", [LocalAudio(Path("missing.wav")), LocalAudio(Path(__file__))])
async def test_nothing_is_left_behind_by_a_failure(source: Source, temporary: Path) -> None:
    with pytest.raises(VoxtralError):
        await process(parse_options({}), source, embedded(), NoEvents())
    assert leftovers(temporary) == []


@pytest.mark.parametrize("stage", ["decoding", "voice_activity", "diarization", "transcription"])
async def test_nothing_is_left_behind_by_a_cancellation(stage: str, temporary: Path) -> None:
    reached = asyncio.Event()

    class Watch(NoEvents):
        def progress(self, progress: Progress) -> None:
            if progress.stage == stage:
                reached.set()

    task = asyncio.create_task(run(CALL, events=Watch()))
    await asyncio.wait_for(reached.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 2)
    assert leftovers(temporary) == []
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    assert await eventually(lambda: children.read_text().split() == [])


async def test_jobs_run_beside_each_other(tmp_path: Path) -> None:
    file = await first_turns(tmp_path, 6)
    services = embedded()
    results = await asyncio.gather(*(run(file, services, metadata={"id": number}) for number in range(3)))
    assert [result.metadata for result in results] == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert len({result.transcriptions[0].text for result in results}) == 1
