"""The stage that writes down what is said, by turns or by windows, in the language that is given or found on the way.

By turns: a clip for each turn, once the speakers are told apart. By windows: clips full of speech, whoever speaks, while
the speakers are being told apart; each word is then given to its speaker by its time. A window whose words cannot be
timed well enough is transcribed again, by turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.concurrency import together
from voxtral_serverless.diarization.stage import Conversation, Listening, tell_speakers_apart
from voxtral_serverless.errors import DeadlineExceeded, Notice
from voxtral_serverless.run import Run
from voxtral_serverless.transcription.language import identify
from voxtral_serverless.transcription.plan import Utterance, plan_by_turns, plan_by_windows
from voxtral_serverless.transcription.transcript import mishap_notices
from voxtral_serverless.transcription.turn_texts import TurnTexts
from voxtral_serverless.transcription.windows import Window, told, turns_inside
from voxtral_serverless.transcription.words import Word
from voxtral_serverless.transcription.writing import Writing

SHARE_BEFORE_ANALYSIS = 0.8
"""Of a job's time that is left, where an analysis is to follow."""
MISSING = "not all of it was transcribed"
MAX_WINDOW_S = 60.0
"""Longest window, whatever `MAX_CLIP_S` allows: aligning takes memory with the square of its length."""


async def write_down(run: Run, recording: Recording, listening: Listening) -> tuple[Conversation, list[Utterance]]:
    """Who speaks when, and what is said: one utterance for each turn, without a text where that could not be had.

    Raises:
        EngineUnavailable: nobody is there to transcribe it.
        DeadlineExceeded: the job's time was over before the first word.
    """
    run.language = _given_language(run, listening)
    conversation, windows = await _heard(run, recording, listening)
    if windows is None:
        utterances = await _written_by_turns(run, recording, conversation)
    else:
        utterances = await _told(run, recording, conversation, windows)
    run.warn(*mishap_notices(run.mishaps))
    if run.job.word_timestamps and any(utterance.text and not utterance.words for utterance in utterances):
        run.warn(Notice("word_timestamps_unavailable", "the times of some words could not be told: words is null."))
    if MISSING in run.missed and not any(utterance.text for utterance in utterances):
        raise DeadlineExceeded("the job's time was over before its first word; raise its executionTimeout.")
    return conversation, utterances


async def _heard(run: Run, recording: Recording, listening: Listening) -> tuple[Conversation, list[Window] | None]:
    """Who speaks when, and, beside it, what is said in windows; None where they are of no use."""
    if not _by_windows(run):
        return await tell_speakers_apart(run, recording, listening), None
    async with together() as tasks:
        speakers = tasks.create_task(tell_speakers_apart(run, recording, listening))
        windows = tasks.create_task(_written_by_windows(run, recording, listening))
    return speakers.result(), windows.result()


def _by_windows(run: Run) -> bool:
    """Whether words may be given to speakers by their times."""
    wanted, aligner = run.services.settings.transcription_plan, run.services.aligner
    if wanted == "turns" or run.job.task == "transcribe":
        return False
    suits = aligner is not None and (run.language is None or aligner.knows(run.language))
    if not suits:
        _warn_of_turns(run)
    return suits


def _warn_of_turns(run: Run) -> None:
    if run.services.settings.transcription_plan == "windows":
        run.warn(Notice("plan_by_turns", "there is no aligner for the language: it was transcribed turn by turn."))


async def _written_by_turns(
    run: Run, recording: Recording, conversation: Conversation, within: Sequence[Span] = ()
) -> list[Utterance]:
    """One utterance for each turn of the conversation, whose words are timed where the job asks for it.

    What is heard `within` spans, one for each turn, is heard for the second time, and nobody is told of it yet.
    """
    timed, first = run.job.word_timestamps, not within
    turns, speech = conversation.turns, conversation.speech
    limit = run.services.settings.max_clip_s
    clips = plan_by_turns(turns, speech, recording.duration, max_clip_s=limit, quietest=recording.quietest)
    if within:
        clips = [replace(clip, audio=_clamped(clip.audio, within[clip.turn])) for clip in clips]
    texts = TurnTexts(turns, clips, speech)

    def heard(index: int) -> None:
        utterance = texts.heard(index, writing.texts[index] or "")
        if utterance and first:
            run.events.utterance(utterance)
        report(texts.finished, texts.turns)

    writing = Writing(run, recording, clips, heard)
    async with run.in_time(MISSING, _share(run)):
        with run.meter.stage("transcription") as report:
            await writing.write_all(timed=timed)
    await _identify(run, writing)
    run.mishaps.update(writing.mishaps)
    if texts.lost and first:
        run.warn(Notice("turns_lost", f"{texts.lost} clips could not be transcribed: their text is missing."))
    return [
        replace(utterance, words=tuple(_kept_inside(texts.words(turn, writing.words), utterance.span)))
        for turn, utterance in enumerate(map(texts.utterance, range(len(turns))))
    ]


def _clamped(span: Span, limit: Span) -> Span:
    return Span(max(span.start, limit.start), min(span.end, limit.end))


def _kept_inside(words: Sequence[Word], span: Span) -> Iterator[Word]:
    """The words of a turn, which is heard with a little of what is around it, inside it."""
    for word in words:
        start, end = (min(max(edge, span.start), span.end) for edge in (word.span.start, word.span.end))
        yield replace(word, span=Span(start, end))


async def _written_by_windows(run: Run, recording: Recording, listening: Listening) -> list[Window] | None:
    """What is said in the recording; None where its language, once it was found, is one that cannot be aligned."""
    limit, aligner = min(run.services.settings.max_clip_s, MAX_WINDOW_S), run.services.aligner
    clips = plan_by_windows(listening.speech, max_clip_s=limit, quietest=recording.quietest)

    def heard(_: int) -> None:
        report(sum(text is not None for text in writing.texts), len(clips))

    def suits(language: str | None) -> bool:
        return bool(language and aligner and aligner.knows(language))

    writing, suited = Writing(run, recording, clips, heard), True
    async with run.in_time(MISSING, _share(run)):
        with run.meter.stage("transcription") as report:
            suited = await writing.write_all(timed=True, language_suits=suits)
    if not suited:
        _warn_of_turns(run)
        return None
    await _identify(run, writing)
    run.mishaps.update({name: count for name, count in writing.mishaps.items() if name != "clip_kills_engine"})
    return [Window(*one) for one in zip(clips, writing.texts, writing.words, strict=True)]


async def _told(
    run: Run, recording: Recording, conversation: Conversation, windows: Sequence[Window]
) -> list[Utterance]:
    """What is said in the windows as utterances of who speaks there; what is unclear, heard again by turns."""
    parts = [
        (turn, index)
        for index, window in enumerate(windows)
        if not window.clear and MISSING not in run.missed
        for turn in turns_inside(conversation.turns, window.clip)
    ]
    parts.sort(key=lambda part: part[0].span.start)
    again: dict[int, list[Utterance]] = {}
    if parts:
        turns, within = [turn for turn, _ in parts], [windows[index].clip.core for _, index in parts]
        work = _written_by_turns(run, recording, replace(conversation, turns=turns), within)
        for (_, index), utterance in zip(parts, await run.attempt("transcription by turns", work) or (), strict=False):
            again.setdefault(index, []).append(utterance)
    utterances = await asyncio.to_thread(told, conversation, windows, again)
    if lost := sum(utterance.text is None for utterance in utterances):
        run.warn(Notice("turns_lost", f"{lost} turns could not be transcribed: their text is missing."))
    for utterance in utterances:
        run.events.utterance(utterance)
    return utterances


def _share(run: Run) -> float:
    """Of the job's time that is left, what the transcription may take."""
    return SHARE_BEFORE_ANALYSIS if run.job.questions else 1.0


def _given_language(run: Run, listening: Listening) -> str | None:
    """The job's language, or, where somebody speaks, the only one that the engine knows."""
    if run.job.language or not any(listening.speech.values()):
        return run.job.language
    if run.services.only_language:
        run.warn(
            Notice("language_assumed", f"no language was given; the engine knows {run.services.only_language!r} only.")
        )
    return run.services.only_language


async def _identify(run: Run, writing: Writing) -> None:
    """The language of all that was heard, where the first of it did not tell."""
    if run.language is not None:
        return
    heard = [writing.texts[index] or "" for index in writing.spoken]
    run.language = await asyncio.to_thread(identify, heard)
    if run.language is None and any(heard):
        run.warn(Notice("language_unsure", "the language could not be told from the text; give it as `language`."))
