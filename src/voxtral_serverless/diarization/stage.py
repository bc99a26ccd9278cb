"""The stages that tell who speaks when: by channel where each party has one of its own, else by the diarizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.audio.voice_activity import PADDING_S, detect_speech
from voxtral_serverless.contract import JobOptions
from voxtral_serverless.diarization.channels import Verdict, channel_turns, judge, screen, without_crosstalk
from voxtral_serverless.diarization.turns import (
    Diarization,
    SpeakerHints,
    Speech,
    Turn,
    count_notices,
    fold_fragments,
    in_order,
    merge_gaps,
    names_by_appearance,
    renamed,
    unclaimed,
    without_speakers,
)
from voxtral_serverless.errors import Notice
from voxtral_serverless.reporting import Report
from voxtral_serverless.run import Run
from voxtral_serverless.transcription.plan import pack_speech

MIXED = Notice(
    "channels_mixed", "the channels were split, as asked, and both carry both voices: what is said may be there twice."
)
DIARIZATION_SHARE = 0.5
"""Of a job's time that is left; the words matter more than who said them."""


@dataclass(frozen=True)
class Listening:
    """Where somebody speaks: in the mix, or in each channel where each is a party of its own."""

    speech: Speech
    channels: Verdict
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True)
class Conversation:
    """Who speaks when.

    Attributes:
        turns: In order, one speaker's short gaps merged; of nobody in particular where nobody is told apart.
        timeline: The turns as they were found, overlaps included; None where overlaps are not known.
    """

    listening: Listening
    turns: Sequence[Turn]
    timeline: Sequence[Turn] | None = None

    @property
    def speech(self) -> Speech:
        """The stretches of speech of each channel that turns are of."""
        return self.listening.speech


def listen(recording: Recording, job: JobOptions, report: Report) -> Listening:
    """Find the speech, and decide whether to split the channels. Blocks."""
    verdict: Verdict | None = Verdict(split=False, reason="not_diarized")
    if job.task == "transcribe_diarized":
        verdict = screen(recording, job.channels, _hints(job))
    if verdict is None or verdict.split:
        sides = (
            detect_speech(recording, channel=0, report=_part(report, 0, 3)),
            detect_speech(recording, channel=1, report=_part(report, 1, 3)),
        )
        judged = judge(recording, sides)
        doubts = (MIXED,) if verdict and judged.reason == "mixed" else ()
        verdict = replace(verdict, apart_db=judged.apart_db) if verdict else judged
        if verdict.split:
            return Listening(dict(enumerate(without_crosstalk(recording, sides))), verdict, doubts)
        report = _part(report, 2, 3)
    return Listening({None: detect_speech(recording, report=report)}, verdict)


async def tell_speakers_apart(run: Run, recording: Recording, listening: Listening) -> Conversation:
    """The turns of the job's recording. Where they cannot be told apart a warning says why."""
    run.warn(*listening.notices)
    if not any(listening.speech.values()):
        run.warn(Notice("no_speech", "nobody speaks in this recording."))
    if run.job.task == "transcribe":
        packed = pack_speech(listening.speech[None], max_clip_s=run.services.settings.max_clip_s)
        return Conversation(listening, packed)
    if listening.channels.split:
        found: Diarization | None = _by_channel(listening.speech)
    else:
        if run.job.channels == "split":
            run.warn(_not_split(listening.channels))
        found = await _diarized(run, recording, listening.speech[None])
    if found is None:
        return Conversation(listening, merge_gaps(without_speakers(listening.speech[None])))
    run.warn(*found.notices)
    conversation = _named(found, listening, run.job.speaker_labels)
    run.warn(*count_notices(conversation.turns, _hints(run.job)))
    unknown = sum(turn.span.duration for turn in conversation.turns if turn.speaker is None)
    if unknown:
        run.warn(
            Notice(
                "speech_without_speaker",
                f"{unknown:.1f} s of speech could be given to nobody; where its words are not timed, speaker is null.",
            )
        )
    return conversation


def _hints(job: JobOptions) -> SpeakerHints:
    return SpeakerHints(job.num_speakers, job.min_speakers, job.max_speakers)


def _part(report: Report, index: int, parts: int) -> Report:
    """Reports of one of equal parts, as reports of the whole."""
    return lambda done, total: report(index * total + done, parts * total)


def _by_channel(speech: Speech) -> Diarization:
    """Each channel's speech as its speaker's turns; the timeline without the padding, which is no overlap."""
    turns = channel_turns((tuple(speech[0]), tuple(speech[1])))
    bare = (replace(turn, span=Span(turn.span.start + PADDING_S, turn.span.end - PADDING_S)) for turn in turns)
    return Diarization(tuple(turns), timeline=tuple(turn for turn in bare if turn.span.duration > 0))


def _not_split(verdict: Verdict) -> Notice:
    why = "both channels carry the same sound" if verdict.reason == "alike" else "the file does not have two channels"
    return Notice("channels_not_split", f"the channels were not split, since {why}: the mix was diarized.")


async def _diarized(run: Run, recording: Recording, speech: Sequence[Span]) -> Diarization | None:
    """What the diarizer finds, and the speech that it leaves; None, and a warning, where there is none or it fails."""
    if run.services.diarizer is None:
        run.warn(
            Notice("diarization_off", "this worker does not tell speakers apart (DIARIZER=none): speaker is null.")
        )
        return None
    found = None
    async with run.in_time("the speakers were not told apart to the end", share=DIARIZATION_SHARE):
        with run.meter.stage("diarization") as report:
            work = run.services.diarizer.diarize(recording, tuple(speech), _hints(run.job), report)
            found = await run.attempt("diarization", work)
    if found is None:
        run.warn(Notice("diarization_failed", "the speakers could not be told apart: speaker is null."))
        return None
    return replace(found, turns=(*found.turns, *unclaimed(speech, found.turns)))


def _named(found: Diarization, listening: Listening, labels: Sequence[str]) -> Conversation:
    """The conversation with the speakers' names: numbered by channel or by appearance, then as the job calls them."""
    turns = merge_gaps(fold_fragments(found.turns))
    timeline = None if found.timeline is None else in_order(found.timeline)
    if not listening.channels.split:
        names = names_by_appearance([*turns, *(timeline or ())])
        turns, timeline = renamed(turns, names), timeline and renamed(timeline, names)
    called = {f"SPEAKER_{number:02d}": label for number, label in enumerate(labels)}
    return Conversation(listening, renamed(turns, called), timeline and renamed(timeline, called))
