"""A transcription as OpenAI's API answers it, in each of its formats. Pure.

Left null are figures that the engine does not tell (`avg_logprob`, `no_speech_prob`), where OpenAI's types have numbers: any
number would be made up, and 0 would read as certain. OpenAI's own clients take it. `language` is an ISO 639-1 code.
Speakers are `A`, `B`, … as OpenAI's diarizing model calls them.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any, Literal

Format = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]
FRAMES_PER_S = 100
"""Of Whisper, in which `seek` is counted."""


def answered(output: Mapping[str, Any], response_format: Format, granularities: set[str]) -> dict[str, Any] | str:
    """The answer to a request, from the output of its job: an object, or a text."""
    match response_format:
        case "text":
            return f"{text_of(output)}\n"
        case "srt" | "vtt":
            return str(output["files"][response_format] or "")
        case "json":
            return {"text": text_of(output), "usage": usage(output)}
        case "verbose_json":
            return _verbose(output, granularities)
        case "diarized_json":
            segments = [diarized_segment(index, turn) for index, turn in enumerate(_spoken(output))]
            return {"task": "transcribe", "duration": output["duration"], "text": text_of(output), "segments": segments,
                    "usage": usage(output)}  # fmt: skip


def text_of(output: Mapping[str, Any]) -> str:
    """All that is said."""
    return " ".join(turn["text"] for turn in _spoken(output) if turn["text"])


def usage(output: Mapping[str, Any]) -> dict[str, Any]:
    """What it is reckoned by: the recording's length."""
    return {"type": "duration", "seconds": output["duration"]}


def diarized_segment(index: int, turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn, with its speaker."""
    return {
        "type": "transcript.text.segment", "id": f"seg_{index:03d}", "start": turn["start"], "end": turn["end"],
        "text": turn["text"], "speaker": _letter(turn["speaker"]),
    }  # fmt: skip


def _verbose(output: Mapping[str, Any], granularities: set[str]) -> dict[str, Any]:
    spoken = _spoken(output)
    answer = {
        "task": "transcribe", "language": output["language"] or "", "duration": output["duration"],
        "text": text_of(output), "usage": usage(output),
    }  # fmt: skip
    if "segment" in granularities:
        answer["segments"] = [_segment(index, turn) for index, turn in enumerate(spoken)]
    if "word" in granularities:
        answer["words"] = [
            {"word": word["word"], "start": word["start"], "end": word["end"]}
            for turn in spoken
            for word in turn["words"] or ()
        ]
    return answer


def _segment(index: int, turn: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": index, "seek": round(turn["start"] * FRAMES_PER_S), "start": turn["start"], "end": turn["end"],
        "text": turn["text"], "tokens": [], "temperature": 0.0, "avg_logprob": None,
        "compression_ratio": _compression_ratio(turn["text"]), "no_speech_prob": None,
    }  # fmt: skip


def _compression_ratio(text: str) -> float:
    """How repetitive a text is, as Whisper reckons it."""
    raw = text.encode("utf-8", "replace")
    return round(len(raw) / len(zlib.compress(raw)), 3)


def _spoken(output: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [turn for turn in output["transcriptions"] if turn["text"] is not None]


def _letter(speaker: str | None) -> str:
    """`SPEAKER_00` as `A`, `SPEAKER_26` as `AA`; a name as it is."""
    prefix, _, number = (speaker or "unknown").rpartition("_")
    if prefix != "SPEAKER" or not number.isdecimal():
        return speaker or "unknown"
    letters, rest = "", int(number) + 1
    while rest:
        rest, last = divmod(rest - 1, len(ascii_uppercase))
        letters = ascii_uppercase[last] + letters
    return letters
