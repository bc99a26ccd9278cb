"""The stage that writes down what is said, by turns or by windows, in the language that is given or found on the way.

By turns: a clip for each turn, once the speakers are told apart. By windows: clips full of speech, whoever speaks, while
the speakers are being told apart; each word is then given to its speaker by its time. A window whose words cannot be
timed well enough is transcribed again, by turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.concurrency import together
from voxtral_serverless.diarization.stage import Conversation, Listening, tell_speakers_apart
from voxtral_serverless.diarization.turns import MERGE_GAP_S, MIN_UNCLAIMED_S, Turn
from voxtral_serverless.errors import DeadlineExceeded, Notice
from voxtral_serverless.run import Run
from voxtral_serverless.transcription.alignment import doubtful
from voxtral_serverless.transcription.attribution import attributed, utterances_of
from voxtral_serverless.transcription.language import identify
from voxtral_serverless.transcription.plan import Clip, Utterance, plan_by_turns, plan_by_windows
from voxtral_serverless.transcription.turn_texts import TurnTexts
from voxtral_serverless.transcription.word_times import WordTimes
from voxtral_serverless.transcription.words import Word
from voxtral_serverless.transcription.writing import Writing

SHARE_BEFORE_ANALYSIS = 0.8
"""Of a job's time that is left, where an analysis is to follow."""
MISSING = "not all of it was transcribed"


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
    if MISSING in run.missed and not any(utterance.text for utterance in utterances):
        raise DeadlineExceeded("the job's time was over before its first word; raise its executionTimeout.")
    return conversation, utterances


async def _heard(run: Run, recording: Recording, listening: Listening) -> tuple[Conversation, _Windows | None]:
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
    if wanted == "windows" and not suits:
        run.warn(Notice("plan_by_turns", "there is no aligner for the language: it was transcribed turn by turn."))
    return suits


async def _written_by_turns(run: Run, recording: Recording, conversation: Conversation) -> list[Utterance]:
    """One utterance for each turn of the conversation, whose words are timed where the job asks for it."""
    timed = run.job.word_timestamps
    turns, speech = conversation.turns, conversation.speech
    limit = run.services.settings.max_clip_s
    clips = plan_by_turns(turns, speech, recording.duration, max_clip_s=limit, quietest=recording.quietest)
    texts = TurnTexts(turns, clips, speech)

    def heard(index: int) -> None:
        utterance = texts.heard(index, writing.texts[index] or "")
        if utterance:
            run.events.utterance(utterance)
        report(texts.finished, texts.turns)

    writing = Writing(run, recording, clips, heard)
    async with run.in_time(MISSING, _share(run)):
        with run.meter.stage("transcription") as report:
            await writing.write_all(timed=timed)
    await _identify(run, writing)
    if texts.lost:
        run.warn(Notice("turns_lost", f"{texts.lost} clips could not be transcribed: their text is missing."))
    found = [replace(texts.utterance(turn), words=texts.words(turn, writing.words)) for turn in range(len(turns))]
    if timed and any(utterance.text and not utterance.words for utterance in found):
        run.warn(Notice("word_timestamps_unavailable", "the times of some words could not be told: words is null."))
    return found


@dataclass(frozen=True)
class _Windows:
    """What was heard in the windows of a recording.

    Attributes:
        words: With their times, in order, by channel; of the windows that are told by them.
        unclear: Windows without a text, or whose words could not be timed well enough.
    """

    words: Mapping[int | None, Sequence[Word]]
    unclear: Sequence[Clip]


async def _written_by_windows(run: Run, recording: Recording, listening: Listening) -> _Windows | None:
    """The words of the recording; None where its language, once it was found, is one that cannot be aligned."""
    limit, aligner = run.services.settings.max_clip_s, run.services.aligner
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
        return None
    await _identify(run, writing)
    words: dict[int | None, list[Word]] = {channel: [] for channel in listening.speech}
    unclear = []
    for clip, text, timed in zip(clips, writing.texts, writing.words, strict=True):
        if text and MISSING in run.missed:  # there is no time to hear it again
            words[clip.channel] += timed or _spread(text, clip)
        elif text is None or (text and (not timed or doubtful(timed))):
            unclear.append(clip)
        else:
            words[clip.channel] += timed
    return _Windows(words, unclear)


def _spread(text: str, clip: Clip) -> Iterator[Word]:
    """The words of a window without times: evenly over its speech."""
    words = text.split()
    times = WordTimes(Utterance(clip.core, None, text, clip.pieces), words)
    return (Word(word, times.span(index, index + 1)) for index, word in enumerate(words))


async def _told(run: Run, recording: Recording, conversation: Conversation, windows: _Windows) -> list[Utterance]:
    """The words of the windows as utterances of who speaks there; what is unclear, transcribed again by turns."""
    utterances: list[Utterance] = []
    for channel, words in windows.words.items():
        turns = [turn for turn in conversation.turns if turn.channel == channel]
        timeline = conversation.timeline and [turn for turn in conversation.timeline if turn.channel == channel]
        others = [turn.span.start for turn in conversation.turns if turn.channel != channel]
        speakers = attributed(words, turns, timeline)
        utterances += utterances_of(words, speakers, conversation.speech[channel], channel, others)
    if windows.unclear:
        turns = [part for clip in windows.unclear for turn in conversation.turns for part in _inside(turn, clip)]
        turns.sort(key=lambda turn: turn.span.start)
        utterances += await _written_by_turns(run, recording, replace(conversation, turns=turns))
    told = _joined(sorted(utterances, key=lambda utterance: utterance.span.start))
    for utterance in told:
        run.events.utterance(utterance)
    return told


def _joined(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Utterances in order, where one speaker's short gap lay at the edge of an unclear window, as one."""
    told: list[Utterance] = []
    for one in utterances:
        last = told[-1] if told else None
        if last is None or not _goes_on(last, one):
            told.append(one)
            continue
        texts = [text for text in (last.text, one.text) if text]
        words = last.words + one.words if all(each.words or not each.text for each in (last, one)) else ()
        told[-1] = replace(
            last,
            span=Span(last.span.start, max(last.span.end, one.span.end)),
            text=" ".join(texts),
            voiced=last.voiced + one.voiced,
            words=words,
        )
    return told


def _goes_on(last: Utterance, one: Utterance) -> bool:
    """Whether one speaker goes on in the next utterance."""
    same = (last.speaker, last.channel) == (one.speaker, one.channel)
    known = last.text is not None and one.text is not None
    return same and known and one.span.start - last.span.end <= MERGE_GAP_S


def _inside(turn: Turn, clip: Clip) -> Iterator[Turn]:
    """What of a turn is in a clip's core, where that is more than a rounding."""
    start, end = max(turn.span.start, clip.core.start), min(turn.span.end, clip.core.end)
    if turn.channel == clip.channel and end - start > MIN_UNCLAIMED_S:
        yield replace(turn, span=Span(start, end))


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
