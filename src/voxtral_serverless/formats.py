"""Files made of a conversation: SubRip, WebVTT, plain text, RTTM.

Subtitles are cut by `subtitles` and written by pysubs2. An utterance without a text is in none of them; the RTTM holds
who speaks when, overlaps included, whatever became of the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from voxtral_serverless.contract import FileFormat
from voxtral_serverless.diarization.turns import Turn
from voxtral_serverless.subtitles import Cue, cues
from voxtral_serverless.transcription.plan import Utterance


def render(name: FileFormat, utterances: Sequence[Utterance], timeline: Sequence[Turn]) -> str:
    """The file `name` of a conversation, as text that ends with a line break (empty where there is nothing)."""
    match name:
        case "srt" | "vtt":
            return _subtitles(name, cues(utterances))
        case "txt":
            return _plain_text(utterances)
        case "rttm":
            return _rttm(timeline)


def _subtitles(name: str, all_cues: Sequence[Cue]) -> str:
    from pysubs2 import SSAEvent, SSAFile

    file = SSAFile()
    for cue in all_cues:
        file.append(
            SSAEvent(start=round(cue.span.start * 1000), end=round(cue.span.end * 1000), text=_cue_text(name, cue))
        )
    return file.to_string(name, keep_ssa_tags=True)


def _cue_text(name: str, cue: Cue) -> str:
    # A backslash would be read as one of pysubs2's own codes; an empty line would end the cue.
    lines = [line.replace("\\", "/") for line in cue.lines]
    if name == "vtt":
        text = "\\N".join(escape(line, quote=False) for line in lines if line)
        return f"<v {escape(cue.speaker)}>{text}" if cue.speaker else text
    text = "\\N".join(lines)
    return f"{cue.speaker}: {text}".replace(": \\N", ":\\N") if cue.speaker else text


def _plain_text(utterances: Sequence[Utterance]) -> str:
    """One line an utterance: `[0:00:05] SPEAKER_00: …`."""
    lines = []
    for utterance in utterances:
        if utterance.text:
            minutes, seconds = divmod(int(utterance.span.start), 60)
            name = f"{utterance.speaker}: " if utterance.speaker else ""
            lines.append(f"[{minutes // 60}:{minutes % 60:02d}:{seconds:02d}] {name}{utterance.text}\n")
    return "".join(lines)


def _rttm(timeline: Sequence[Turn]) -> str:
    """NIST's Rich Transcription Time Marked: one SPEAKER line a turn, `unknown` where nobody is named."""
    return "".join(
        f"SPEAKER recording {1 + (turn.channel or 0)} {turn.span.start:.3f} {turn.span.duration:.3f} <NA> <NA> "
        f"{'_'.join((turn.speaker or 'unknown').split())} <NA> <NA>\n"
        for turn in timeline
    )
