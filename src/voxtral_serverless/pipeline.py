"""The way of a job, from its recording to its answer.

`process` is the story; each stage is a room of its own. A stage that may fail without taking the job with it
(speakers, texts, summary, sentiment) turns its error into a warning and leaves null behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from voxtral_serverless import __version__
from voxtral_serverless.analysis.stage import analyse
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.download import FetchLimits
from voxtral_serverless.audio.fetch import InlineAudio, RemoteAudio, Source, fetch
from voxtral_serverless.audio.recording import Recording
from voxtral_serverless.concurrency import together
from voxtral_serverless.contract import JobInput, JobOptions, JobResult, Meta, TimedWord, Transcription
from voxtral_serverless.diarization.overlap import interruptions, overlap_share
from voxtral_serverless.diarization.stage import Conversation, Listening, listen
from voxtral_serverless.diarization.turns import merge_gaps, union
from voxtral_serverless.errors import DeadlineExceeded
from voxtral_serverless.formats import render
from voxtral_serverless.progress import Events, Meter
from voxtral_serverless.reporting import in_thread
from voxtral_serverless.run import Run
from voxtral_serverless.services import Services
from voxtral_serverless.transcription.plan import Utterance
from voxtral_serverless.transcription.stage import write_down
from voxtral_serverless.workspace import workspace


async def process(
    job: JobOptions, source: Source, services: Services, events: Events, *, deadline: float | None = None
) -> JobResult:
    """Do one job. Its temporary files are gone and its children ended when this returns, raises or is cancelled.

    The services may still be starting. By the `deadline`, on the clock of the event loop, what is done by then is
    answered.

    Raises:
        VoxtralError: the recording could not be had or read at all, or nobody is there to transcribe it.
    """
    run = Run(job, services, events, Meter(events), deadline, list(services.notices))
    async with together() as tasks:
        ready = tasks.create_task(services.ready())
        result = await _answer(run, source)
        ready.cancel()
        return result


async def _answer(run: Run, source: Source) -> JobResult:
    """The story."""
    with workspace() as folder:
        recording, listening = await _heard(run, source, folder)
        conversation, utterances = await write_down(run, recording, listening)
        answers = await analyse(run, utterances) | await _render(run, utterances, conversation)
    return _result(run, recording, conversation, utterances, answers)


async def _heard(run: Run, source: Source, folder: Path) -> tuple[Recording, Listening]:
    """The recording, and where somebody speaks in it."""
    settings, cores = run.services.settings, run.services.cores
    async with run.in_time("the recording was not even read"):
        with run.meter.stage("fetching") as report:
            file = await fetch(source, folder, FetchLimits.of(settings), report)
        async with cores:
            with run.meter.stage("decoding") as report:
                recording = await decode(file, folder, settings.max_duration_s, report)
            with run.meter.stage("voice_activity") as report:
                listening = await in_thread(lambda tell: listen(recording, run.job, tell), report)
        run.warn(*recording.notices)
        return recording, listening
    raise DeadlineExceeded("the job's time was over before its recording was read; raise its executionTimeout.")


def source_of(job: JobInput) -> Source:
    """Where the recording of a job is."""
    if job.audio_url:
        return RemoteAudio(job.audio_url, job.audio_headers or {})
    return InlineAudio(job.inline_audio())


async def _render(run: Run, utterances: list[Utterance], conversation: Conversation) -> dict[str, Any]:
    """The files that the job asks for; in a thread, since hours of subtitles take seconds."""
    timeline = conversation.timeline or conversation.turns
    files = {
        name: await run.attempt(f"the {name} file", asyncio.to_thread(render, name, utterances, timeline))
        for name in run.job.formats
    }
    return {"files": files} if files else {}


def _result(
    run: Run,
    recording: Recording,
    conversation: Conversation,
    utterances: list[Utterance],
    answers: dict[str, Any],
) -> JobResult:
    """The answer, with the keys that the job asks for and no others."""
    job, channels = run.job, conversation.listening.channels
    optional: dict[str, Any] = dict(answers)
    if job.task == "transcribe":
        texts = [utterance.text for utterance in utterances if utterance.text is not None]
        optional["text"] = " ".join(filter(None, texts)) if texts or not utterances else None
    if job.metadata is not None:
        optional["metadata"] = job.metadata
    return JobResult(
        task=job.task,
        language=run.language,
        duration=round(recording.duration, 2),
        transcriptions=[_entry(job, utterance) for utterance in utterances],
        meta=Meta(
            version=__version__,
            engine=run.services.engine,
            models=run.services.models | ({"diarization": "none: by channel"} if channels.split else {}),
            channels=asdict(channels),
            timings=run.meter.timings,
            warnings=run.notices,
            quality=_quality(conversation, utterances),
        ),
        **optional,
    )


def _entry(job: JobOptions, utterance: Utterance) -> Transcription:
    optional: dict[str, Any] = {"speaker": utterance.speaker} if job.task == "transcribe_diarized" else {}
    if job.word_timestamps:
        optional["words"] = _words(utterance)
    return Transcription(
        start=round(utterance.span.start, 2), end=round(utterance.span.end, 2), text=utterance.text, **optional
    )


def _words(utterance: Utterance) -> list[TimedWord] | None:
    """The words with their times; None where they have none."""
    if utterance.text is None or (utterance.text and not utterance.words):
        return None
    return [
        TimedWord(
            word=word.text,
            start=round(word.span.start, 2),
            end=round(word.span.end, 2),
            score=None if word.score is None else round(word.score, 2),
        )
        for word in utterance.words
    ]


def _quality(conversation: Conversation, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Figures by which a reader may judge the answer; those of overlaps are null where overlaps are not known."""
    timeline = conversation.timeline
    speech = union(span for spans in conversation.speech.values() for span in spans)
    return {
        "speech_s": round(sum(span.duration for span in speech), 2),
        "speakers": len({utterance.speaker for utterance in utterances if utterance.speaker}),
        "turns_without_text": sum(utterance.text is None for utterance in utterances),
        "overlap_share": None if timeline is None else round(overlap_share(timeline), 3),
        "interruptions": None if timeline is None else interruptions(merge_gaps(timeline)),
    }
