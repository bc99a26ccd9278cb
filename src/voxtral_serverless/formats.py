"""Files made of a conversation: SubRip, WebVTT, plain text, RTTM.

Subtitles are cut by `subtitles` and written by pysubs2. An utterance without a text is in none of them; the RTTM holds
who speaks when, overlaps included, whatever became of the texts.

Texts and names are anybody's, and none of them is markup, a cue or a line of its own: WebVTT is escaped; SubRip, which has
no escapes, gets angle quotes for angle brackets; controls, which a terminal may obey, are left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape

from voxtral_serverless.contract import FileFormat
from voxtral_serverless.diarization.turns import Turn
from voxtral_serverless.subtitles import Cue, cues
from voxtral_serverless.transcription.plan import Utterance

ANGLES = str.maketrans(
    "<>", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
)
TIME = re.compile(r"\d\d?:\d\d?[.,]\d")
COLON_OF_A_TIME = re.compile(r"(?<=\d):(?=\d)")


def render(name: FileFormat, utterances: Sequence[Utterance], timeline: Sequence[Turn]) -> str:
    """The file `name` of a conversation, as text that ends with a line break (empty where there is nothing)."""
    match name:
        case "srt" | "vtt":
            return _subtitles(name, cues(_cleaned(utterances)))
        case "txt":
            return _plain_text(_cleaned(utterances))
        case "rttm":
            return _rttm(timeline)


def _cleaned(utterances: Iterable[Utterance]) -> list[Utterance]:
    """The same with texts and names that are one line of characters."""
    return [replace(one, speaker=_one_line(one.speaker), text=_one_line(one.text)) for one in utterances]


def _one_line(text: str | None) -> str | None:
    if text is None:
        return None
    return "".join(one for one in " ".join(text.split()) if unicodedata.category(one) not in ("Cc", "Cs"))


def _subtitles(name: str, all_cues: Sequence[Cue]) -> str:
    from pysubs2 import SSAEvent, SSAFile

    file = SSAFile()
    for cue in all_cues:
        text = "\\N".join(map(_harmless, _vtt_lines(cue) if name == "vtt" else _srt_lines(cue)))
        file.append(SSAEvent(start=round(cue.span.start * 1000), end=round(cue.span.end * 1000), text=text))
    return file.to_string(name, keep_ssa_tags=True)


def _harmless(line: str) -> str:
    """A line that neither pysubs2 nor a player takes for anything else.

    A backslash begins a code of pysubs2's. A line with two times in it passes for the head of a cue, to pysubs2 without an
    arrow too: its colons become the sign of a ratio, which looks the same.
    """
    line = line.replace("\\", "/")
    return COLON_OF_A_TIME.sub("\N{RATIO}", line) if len(TIME.findall(line)) > 1 else line


def _srt_lines(cue: Cue) -> list[str]:
    first, *others = cue.lines
    named = f"{cue.speaker}: {first}".rstrip() if cue.speaker else first
    return [line.translate(ANGLES) for line in (named, *others)]


def _vtt_lines(cue: Cue) -> list[str]:
    first, *others = [escape(line, quote=False) for line in cue.lines if line]  # an empty one would end the cue
    return [f"<v {escape(cue.speaker)}>{first}" if cue.speaker else first, *others]


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
