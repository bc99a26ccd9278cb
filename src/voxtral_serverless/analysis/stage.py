"""The stage that reads the conversation: everything that a job asks about it, side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from voxtral_serverless.analysis.judgement import SpeakerTone, SpeakerTones, combined_tone
from voxtral_serverless.analysis.transcript import Third, thirds
from voxtral_serverless.concurrency import together
from voxtral_serverless.errors import KillsEngine, Notice
from voxtral_serverless.plain_text import plain
from voxtral_serverless.run import Run
from voxtral_serverless.transcription.plan import Utterance

UNKNOWN_LANGUAGE = "en"
"""Where the language of a conversation could not be told."""
Value = TypeVar("Value")
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
    async with run.in_time("not all that was asked about the conversation was answered"):
        with run.meter.stage("analysis"):
            try:
                async with together() as tasks:
                    if answers.keys() & {"summary", "sentiment"}:
                        tasks.create_task(_read_whole(run, spoken, answers))
                    if "sentiment_by_speaker" in answers:
                        tasks.create_task(_read_by_speaker(run, spoken, answers))
            except KillsEngine as error:  # so may the other questions: the engine's restarts are for all jobs
                run.warn(error.notice())
    return answers


async def _read_whole(run: Run, utterances: Sequence[Utterance], answers: dict[str, Any]) -> None:
    """The summary and the sentiment, both over one reading of the conversation."""
    language = run.language or UNKNOWN_LANGUAGE
    reading = await _asked(run, "the analysis", run.services.analyst.read(utterances, language))
    if reading is None:
        return

    async def summarise() -> None:
        work = reading.summarise(run.job.output_language or language)
        answers["summary"] = await _asked(run, "the summary", work)

    async def judge() -> None:
        judgement = await _asked(run, "the sentiment", reading.judge())
        answers["sentiment"] = judgement and judgement.as_answer(run.services.settings.label_language)

    async with together() as tasks:
        for key, work in (("summary", summarise), ("sentiment", judge)):
            if key in answers:
                tasks.create_task(work())


async def _asked(run: Run, what: str, work: Awaitable[Value]) -> Value | None:
    """The answer to a question; None and a warning where there is none. What kills the engine ends all questions."""
    return await run.attempt(what, work, fatal=(KillsEngine,))


async def _read_by_speaker(run: Run, utterances: Sequence[Utterance], answers: dict[str, Any]) -> None:
    """The tone of each speaker in each third of the conversation, and from these over the whole of it.

    The model is told SPEAKER_00 and so on: what the job calls its speakers would stand among our instructions.
    """
    speakers = _speakers(utterances)
    if not speakers:
        run.warn(Notice("no_speakers", "nobody is told apart: there is no sentiment by speaker."))
        return
    aliases: dict[str | None, str | None] = {name: f"SPEAKER_{number:02d}" for number, name in enumerate(speakers)}
    stretches = thirds([replace(one, speaker=aliases.get(one.speaker)) for one in utterances])
    judged: list[Tones] = [dict.fromkeys(_speakers(third.utterances)) for third in stretches]
    try:
        async with together() as tasks:
            for third, tones in zip(stretches, judged, strict=True):
                if tones:
                    tasks.create_task(_judge_third(run, third, tones))
    finally:
        labels = run.services.settings.label_language
        through = {name: _through(str(aliases[name]), stretches, judged) for name in speakers}
        if any(tone for tones in judged for tone in tones.values()):
            answers["sentiment_by_speaker"] = [
                replace(tones, speaker=name).as_answer(labels) for name, tones in through.items()
            ]


async def _judge_third(run: Run, third: Third, tones: Tones) -> None:
    """Fill in the tone of each of those who speak in a third."""
    language = run.language or UNKNOWN_LANGUAGE
    reading = await _asked(run, "the analysis", run.services.analyst.read(third.utterances, language, excerpt=True))
    if reading is None:
        return

    async def judge(speaker: str) -> None:
        tones[speaker] = await _asked(run, "the sentiment by speaker", reading.judge_speaker(speaker))

    async with together() as tasks:
        for speaker in tones:
            tasks.create_task(judge(speaker))


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
