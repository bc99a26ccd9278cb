"""The way of a job, from its recording to its answer.

`process` is the story; each stage is a room of its own. A stage that may fail without taking the job with it
(speakers, texts, summary, sentiment) turns its error into a warning and leaves null behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from voxtral_serverless import __version__
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.fetch import FetchLimits, InlineAudio, RemoteAudio, Source, fetch
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.audio.voice_activity import detect_speech
from voxtral_serverless.contract import JobInput, JobOptions, JobResult, Meta, Transcription
from voxtral_serverless.diarization.turns import SpeakerHints, Turn, fold_fragments, merge_gaps, without_speakers
from voxtral_serverless.errors import EngineUnavailable, InternalError, Notice, VoxtralError
from voxtral_serverless.formats import render
from voxtral_serverless.progress import Events, Meter
from voxtral_serverless.reporting import Report, in_thread
from voxtral_serverless.services import Services
from voxtral_serverless.transcription.language import identify
from voxtral_serverless.transcription.plan import Clip, Utterance, pack_speech, plan_by_turns
from voxtral_serverless.transcription.transcript import mishap_notices
from voxtral_serverless.transcription.turn_texts import TurnTexts
from voxtral_serverless.workspace import workspace

log = logging.getLogger(__name__)
Value = TypeVar("Value")

TELLING_CLIPS = 3
"""Where no language is given, the clips with the most speech are transcribed first, and their language identified."""


async def process(job: JobOptions, source: Source, services: Services, events: Events) -> JobResult:
    """Do one job. Its temporary files are gone and its children ended when this returns, raises or is cancelled.

    Raises:
        VoxtralError: the recording could not be had or read at all.
    """
    run = _Run(job, services, events, Meter(events), list(services.notices))
    limits = FetchLimits.of(services.settings)
    with workspace() as folder:
        with run.meter.stage("fetching") as report:
            file = await fetch(source, folder, limits, report)
        with run.meter.stage("decoding") as report:
            recording = await decode(file, folder, services.settings.max_duration_s, report)
        with run.meter.stage("voice_activity") as report:
            speech = await in_thread(lambda tell: detect_speech(recording, report=tell), report)
        turns = await _tell_speakers_apart(run, recording, speech)
        utterances = await _transcribe(run, recording, turns, speech)
        answers = await _analyse(run, utterances) | await _render(run, utterances)
    return _result(run, recording, speech, utterances, answers)


def source_of(job: JobInput) -> Source:
    """Where the recording of a job is."""
    return RemoteAudio(job.audio_url) if job.audio_url else InlineAudio(job.inline_audio())


@dataclass
class _Run:
    """What the stages of one job share: the job, the parts that do it, and what went wrong on the way."""

    job: JobOptions
    services: Services
    events: Events
    meter: Meter
    notices: list[Notice] = field(default_factory=list)
    language: str | None = None

    def warn(self, *notices: Notice) -> None:
        """Add warnings to the answer, each once."""
        self.notices += [notice for notice in notices if notice not in self.notices]

    async def attempt(
        self, what: str, work: Awaitable[Value], *, fatal: tuple[type[VoxtralError], ...] = ()
    ) -> Value | None:
        """The value of `work`, or None and a warning: the job goes on without it. What is `fatal` is raised."""
        try:
            return await work
        except fatal:
            raise
        except VoxtralError as error:
            self.warn(error.notice())
        except Exception:
            log.exception("%s failed unexpectedly", what)
            self.warn(InternalError(f"{what} failed unexpectedly; the worker's log has the details.").notice())
        return None


async def _tell_speakers_apart(run: _Run, recording: Recording, speech: tuple[Span, ...]) -> list[Turn]:
    """Turns in order, one speaker's short gaps merged; of nobody in particular where nobody is told apart."""
    run.warn(*recording.notices)
    if not speech:
        run.warn(Notice("no_speech", "nobody speaks in this recording."))
    if run.job.task == "transcribe":
        return pack_speech(speech, max_clip_s=run.services.settings.max_clip_s)
    of_nobody = merge_gaps(without_speakers(speech))
    if run.job.channels == "split":
        run.warn(Notice("channels_not_split", "this version does not split channels: the mix was diarized."))
    if run.services.diarizer is None:
        run.warn(
            Notice("diarization_off", "this worker does not tell speakers apart (DIARIZER=none): speaker is null.")
        )
        return of_nobody
    hints = SpeakerHints(run.job.num_speakers, run.job.min_speakers, run.job.max_speakers)
    with run.meter.stage("diarization") as report:
        work = run.services.diarizer.diarize(recording, speech, hints, report)
        found = await run.attempt("diarization", work)
    if found is None:
        run.warn(Notice("diarization_failed", "the speakers could not be told apart: speaker is null."))
        return of_nobody
    run.warn(*found.notices)
    return _labelled(merge_gaps(fold_fragments(found.turns)), run.job.speaker_labels)


def _labelled(turns: list[Turn], labels: Sequence[str]) -> list[Turn]:
    """The turns with the job's names for the speakers, by appearance, as far as there are names."""
    names = dict(zip(dict.fromkeys(turn.speaker for turn in turns), labels, strict=False))
    return [replace(turn, speaker=names.get(turn.speaker, turn.speaker)) for turn in turns]


async def _transcribe(run: _Run, recording: Recording, turns: list[Turn], speech: tuple[Span, ...]) -> list[Utterance]:
    """One utterance for each turn; its text is None where it could not be transcribed."""
    limit = run.services.settings.max_clip_s
    clips = plan_by_turns(turns, speech, recording.duration, max_clip_s=limit, quietest=recording.quietest)
    spoken = [index for index, clip in enumerate(clips) if not clip.silent]
    run.language = _given_language(run, spoken)
    with run.meter.stage("transcription") as report:
        writing = _Writing(run, recording, clips, TurnTexts(turns, clips, speech), report)
        writing.leave_empty(index for index, clip in enumerate(clips) if clip.silent)
        first = spoken if run.language else _telling(clips, spoken)
        await writing.write_down(first)
        if run.language is None:
            run.language = await asyncio.to_thread(identify, writing.texts.of_clips(first))
            await writing.write_down([index for index in spoken if index not in first])
        if run.language is None:
            run.language = await _identified(run, writing.texts.of_clips(spoken))
    run.warn(*mishap_notices(writing.mishaps))
    if writing.texts.lost:
        run.warn(Notice("turns_lost", f"{writing.texts.lost} clips could not be transcribed: their text is missing."))
    return [writing.texts.utterance(turn) for turn in range(len(turns))]


@dataclass
class _Writing:
    """The clips of a job on their way to texts."""

    run: _Run
    recording: Recording
    clips: Sequence[Clip]
    texts: TurnTexts
    report: Report
    mishaps: Counter[str] = field(default_factory=Counter)

    async def write_down(self, chosen: Sequence[int]) -> None:
        """Transcribe the clips with these indices."""
        work = self.run.services.transcriber.transcribe(
            self.recording,
            [self.clips[index] for index in chosen],
            self.run.language,
            lambda at, text: self._heard(chosen[at], text),
        )
        done = await self.run.attempt("transcription", work, fatal=(EngineUnavailable,))
        if done:
            self.run.warn(*done.notices)
            self.mishaps.update(done.mishaps)

    def leave_empty(self, silent: Iterable[int]) -> None:
        """Nobody speaks in these clips: an engine could but invent."""
        for index in silent:
            self._heard(index, "")

    def _heard(self, index: int, text: str) -> None:
        utterance = self.texts.heard(index, text)
        if utterance:
            self.run.events.utterance(utterance)
        self.report(self.texts.finished, self.texts.turns)


def _telling(clips: Sequence[Clip], spoken: Sequence[int]) -> list[int]:
    """The clips with the most speech, which tell the language best."""
    return sorted(sorted(spoken, key=lambda index: -clips[index].speech_s)[:TELLING_CLIPS])


def _given_language(run: _Run, spoken: Sequence[int]) -> str | None:
    """The job's language, or, where somebody speaks, the only one that the engine knows."""
    if run.job.language or not spoken:
        return run.job.language
    if run.services.only_language:
        run.warn(
            Notice("language_assumed", f"no language was given; the engine knows {run.services.only_language!r} only.")
        )
    return run.services.only_language


async def _identified(run: _Run, texts: Sequence[str]) -> str | None:
    """The language of all that was heard, where the first of it did not tell."""
    language = await asyncio.to_thread(identify, texts)
    if language is None and any(texts):
        run.warn(Notice("language_unsure", "the language could not be told from the text; give it as `language`."))
    return language


async def _analyse(run: _Run, utterances: list[Utterance]) -> dict[str, Any]:
    """The answers about the conversation that the job asks for, by their keys in the contract."""
    job, analyst = run.job, run.services.analyst
    answers: dict[str, Any] = {
        key: None for key in ("summary", "sentiment", "sentiment_by_speaker") if getattr(job, key)
    }
    if "sentiment_by_speaker" in answers:
        run.warn(Notice("sentiment_by_speaker_unavailable", "this version judges the conversation as a whole only."))
    if not answers:
        return answers
    if not any(utterance.text for utterance in utterances):
        run.warn(Notice("nothing_to_analyse", "there is no text to summarise or to judge."))
        return answers
    language = run.language or "en"

    async def summarise() -> None:
        work = analyst.summarise(utterances, job.output_language or language)
        answers["summary"] = await run.attempt("summary", work)

    async def judge() -> None:
        judgement = await run.attempt("sentiment", analyst.judge(utterances, language))
        answers["sentiment"] = judgement and judgement.as_answer(run.services.settings.label_language)

    with run.meter.stage("analysis"):
        async with asyncio.TaskGroup() as tasks:
            for wanted, task in ((job.summary, summarise), (job.sentiment, judge)):
                if wanted:
                    tasks.create_task(task())
    return answers


async def _render(run: _Run, utterances: list[Utterance]) -> dict[str, Any]:
    """The files that the job asks for; in a thread, since hours of subtitles take seconds."""
    files = {
        name: await run.attempt(f"the {name} file", asyncio.to_thread(render, name, utterances))
        for name in run.job.formats
    }
    return {"files": files} if files else {}


def _result(
    run: _Run, recording: Recording, speech: Sequence[Span], utterances: list[Utterance], answers: dict[str, Any]
) -> JobResult:
    """The answer, with the keys that the job asks for and no others."""
    job = run.job
    optional: dict[str, Any] = dict(answers)
    if job.task == "transcribe":
        texts = [utterance.text for utterance in utterances if utterance.text is not None]
        optional["text"] = " ".join(filter(None, texts)) if texts or not utterances else None
    if job.metadata is not None:
        optional["metadata"] = job.metadata
    if job.word_timestamps:
        run.warn(Notice("word_timestamps_unavailable", "this version has no times of words: words is null."))
    return JobResult(
        task=job.task,
        language=run.language,
        duration=round(recording.duration, 2),
        transcriptions=[_entry(job, utterance) for utterance in utterances],
        meta=_meta(run, speech, utterances),
        **optional,
    )


def _entry(job: JobOptions, utterance: Utterance) -> Transcription:
    optional: dict[str, Any] = {"speaker": utterance.speaker} if job.task == "transcribe_diarized" else {}
    if job.word_timestamps:
        optional["words"] = None
    return Transcription(
        start=round(utterance.span.start, 2), end=round(utterance.span.end, 2), text=utterance.text, **optional
    )


def _meta(run: _Run, speech: Sequence[Span], utterances: list[Utterance]) -> Meta:
    return Meta(
        version=__version__,
        engine=run.services.engine,
        models=run.services.models,
        timings=run.meter.timings,
        warnings=run.notices,
        quality={
            "speech_s": round(sum(span.duration for span in speech), 2),
            "speakers": len({utterance.speaker for utterance in utterances if utterance.speaker}),
            "turns_without_text": sum(utterance.text is None for utterance in utterances),
        },
    )
