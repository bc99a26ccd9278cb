"""A small data set in the layout of SimSAMU, cut out of the bundled call: 8 kHz m4a, RTTM, SubRip and Gecko's JSON.

Where voices are given, a tone lies under each speaker's turns, high enough to leave the words as they are (16 kHz then):
by these the toy networks of pyannote tell the speakers apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.media import CALL, ROOT
from voxtral_serverless.qualify.media import encode

RATE, VOICED_RATE = 8000, 16_000
TONE = 0.05 * 32_768
WORDS = ROOT / "tests" / "engines" / "tiny_aligner" / "call.ctm"
EDGE_S = 0.05
"""A word may begin a little before its turn."""


def make_simsamu(
    folder: Path, spans: Sequence[tuple[float, float]] | None = None, voices_hz: Sequence[float] = ()
) -> list[str]:
    """Write the calls below `folder`, each the bundled one from one time to another, with the turns that lie in it whole.

    None is all of it, called `call`; else they are called `call-0`, `call-1`, … Returns their names.
    """
    rate = VOICED_RATE if voices_hz else RATE
    samples = _voiced(_samples(rate), rate, voices_hz) if voices_hz else _samples(rate)
    whole = (0.0, samples.shape[1] / rate)
    named = {"call": whole} if spans is None else {f"call-{number}": span for number, span in enumerate(spans)}
    for name, (start, end) in named.items():
        place = folder / name / name
        place.parent.mkdir(parents=True)
        cut = samples[:, round(start * rate) : round(end * rate)]
        encode(place.with_suffix(".m4a"), cut, container="ipod", codec="aac", rate=rate)
        turns = [turn for turn in _turns(start) if turn["start"] >= 0 and turn["end"] <= end - start]
        place.with_suffix(".rttm").write_text("".join(map(_rttm, turns)))
        place.with_suffix(".srt").write_text("".join(_srt(number, turn) for number, turn in enumerate(turns, start=1)))
        gecko = {"schemaVersion": "2.0", "monologues": [_monologue(turn, start) for turn in turns]}
        place.with_suffix(".json").write_text(json.dumps(gecko, indent=1))
    return list(named)


def _voiced(samples: np.ndarray, rate: int, voices_hz: Sequence[float]) -> np.ndarray:
    """The call with the tone of each speaker under their turns."""
    turns = _turns(0.0)
    speakers = list(dict.fromkeys(turn["speaker"] for turn in turns))
    voiced = samples.astype(float)
    for turn in turns:
        own = slice(round(turn["start"] * rate), round(turn["end"] * rate))
        times = np.arange(own.start, own.stop) / rate
        voiced[0, own] += TONE * np.sin(2 * np.pi * voices_hz[speakers.index(turn["speaker"])] * times)
    return voiced.clip(-32_768, 32_767).astype(np.int16)


def _samples(rate: int) -> np.ndarray:
    """The bundled call, mono, shape `(1, samples)`."""
    resampler = av.AudioResampler("s16p", "mono", rate)
    with av.open(str(CALL)) as file:
        frames = [piece for frame in file.decode(audio=0) for piece in resampler.resample(frame)]
    frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1)


def _turns(start: float) -> list[dict[str, Any]]:
    lines = (line.split(maxsplit=5) for line in (ROOT / "examples" / "call.stm").read_text().splitlines())
    return [
        {"speaker": who, "start": round(float(since) - start, 3), "end": round(float(until) - start, 3), "text": text}
        for _, _, who, since, until, text in lines
    ]


def _rttm(turn: dict[str, Any]) -> str:
    lasts = turn["end"] - turn["start"]
    return f"SPEAKER <NA> <NA> {turn['start']:.3f} {lasts:.3f} <NA> <NA> {turn['speaker']} <NA> <NA>\n"


def _srt(number: int, turn: dict[str, Any]) -> str:
    return f"{number}\n{_clock(turn['start'])} --> {_clock(turn['end'])}\n{turn['text']}\n\n"


def _clock(time_s: float) -> str:
    minutes, rest = divmod(round(time_s * 1000), 60_000)
    return f"00:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def _monologue(turn: dict[str, Any], start: float) -> dict[str, Any]:
    """The words in order, with their times, and their punctuation, without: as Gecko keeps a call."""
    written = [part for part in turn["text"].split() if any(map(str.isalnum, part))]
    times = _times(turn, start)
    assert len(times) == len(written), (turn, times)
    terms: list[dict[str, Any]] = []
    for part, (since, until) in zip(written, times, strict=True):
        word = part.rstrip(".,?")
        terms.append({"start": since, "end": until, "text": word, "type": "WORD"})
        terms += [{"start": None, "end": None, "text": mark, "type": "PUNCTUATION"} for mark in part[len(word) :]]
    speaker = {"id": turn["speaker"], "name": turn["speaker"]}
    return {"speaker": speaker, "start": turn["start"], "end": turn["end"], "terms": terms}


def _times(turn: dict[str, Any], start: float) -> list[tuple[float, float]]:
    lines = (line.split() for line in WORDS.read_text().splitlines())
    times = [(float(since) - start, float(since) + float(lasts) - start) for _, _, since, lasts, *_ in lines]
    inside = [one for one in times if turn["start"] - EDGE_S <= one[0] < turn["end"] - EDGE_S]
    return [(round(max(since, 0.0), 3), round(until, 3)) for since, until in inside]
