"""The stage that reads the conversation: everything that a job asks about it, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voxtral_serverless.analysis.judgement import SpeakerTone, SpeakerTones, combined_tone
from voxtral_serverless.analysis.transcript import Third, plain, thirds
from voxtral_serverless.concurrency import together
from voxtral_serverless.errors import Notice
from voxtral_serverless.run import Run
from voxtral_serverless.transcription.plan import Utterance

UNKNOWN_LANGUAGE = "en"
"""Where the language of a conversation could not be told."""
Tones = dict[str, SpeakerTone | None]
"""The tone of everybody who speaks in a third; None where it could not be judged."""


async def analyse(run: Run, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """The answers about the conversation that the job asks for, by their keys in the contract; null what failed."""
    answers: dict[str, Any] = dict.fromkeys(run.job.questions)
    spoken = [utterance for utterance in utterances if plain(utterance.text or "")]
    if answers and not spoken:
        run.warn(Notice("nothing_to_analyse", "there is no text to summarise or to judge."))
    if not answers or not spoken:
        return answers
    async with run.in_time("the summary or the sentiment is missing"):
        with run.meter.stage("analysis"):
            async with together() as tasks:
                if answers.keys() & {"summary", "sentiment"}:
                    tasks.create_task(_read_whole(run, spoken, answers))
                if "sentiment_by_speaker" in answers:
                    tasks.create_task(_read_by_speaker(run, spoken, answers))
    return answers


async def _read_whole(run: Run, utterances: Sequence[Utterance], answers: dict[str, Any]) -> None:
    """The summary and the sentiment, both over one reading of the conversation."""
    language = run.language or UNKNOWN_LANGUAGE
    reading = await run.attempt("the analysis", run.services.analyst.read(utterances, language))
    if reading is None:
        return

    async def summarise() -> None:
        answers["summary"] = await run.attempt("the summary", reading.summarise(run.job.output_language or language))

    async def judge() -> None:
        judgement = await run.attempt("the sentiment", reading.judge())
        answers["sentiment"] = judgement and judgement.as_answer(run.services.settings.label_language)

    async with together() as tasks:
        for key, work in (("summary", summarise), ("sentiment", judge)):
            if key in answers:
                tasks.create_task(work())


async def _read_by_speaker(run: Run, utterances: Sequence[Utterance], answers: dict[str, Any]) -> None:
    """The tone of each speaker in each third of the conversation, and from these over the whole of it."""
    speakers = _speakers(utterances)
    if not speakers:
        run.warn(Notice("no_speakers", "nobody is told apart: there is no sentiment by speaker."))
        return
    stretches = thirds(utterances)
    async with together() as tasks:
        judged = [tasks.create_task(_judge_third(run, third)) for third in stretches]
    tones = [task.result() for task in judged]
    if not any(tone for third in tones for tone in third.values()):
        return
    labels = run.services.settings.label_language
    answers["sentiment_by_speaker"] = [_through(speaker, stretches, tones).as_answer(labels) for speaker in speakers]


async def _judge_third(run: Run, third: Third) -> Tones:
    speakers = _speakers(third.utterances)
    if not speakers:
        return {}
    language = run.language or UNKNOWN_LANGUAGE
    reading = await run.attempt("the analysis", run.services.analyst.read(third.utterances, language, excerpt=True))
    if reading is None:
        return dict.fromkeys(speakers)
    async with together() as tasks:
        judged = {
            speaker: tasks.create_task(run.attempt("the sentiment by speaker", reading.judge_speaker(speaker)))
            for speaker in speakers
        }
    return {speaker: task.result() for speaker, task in judged.items()}


def _through(speaker: str, stretches: Sequence[Third], judged: Sequence[Tones]) -> SpeakerTones:
    """One speaker's tone in each third, and over those in which they speak."""
    there = [(third, tones[speaker]) for third, tones in zip(stretches, judged, strict=True) if speaker in tones]
    found = [tone for _, tone in there if tone]
    weights = [_said(third, speaker) for third, _ in there]
    return SpeakerTones(
        speaker,
        tuple((third.span, tones.get(speaker)) for third, tones in zip(stretches, judged, strict=True)),
        combined_tone(found, weights) if len(found) == len(there) else None,
    )


def _speakers(utterances: Sequence[Utterance]) -> list[str]:
    """Who speaks, in order of appearance."""
    return list(dict.fromkeys(utterance.speaker for utterance in utterances if utterance.speaker))


def _said(third: Third, speaker: str) -> int:
    """How many characters the speaker says."""
    return sum(len(utterance.text or "") for utterance in third.utterances if utterance.speaker == speaker)
