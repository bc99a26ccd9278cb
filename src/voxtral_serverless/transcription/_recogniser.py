"""The recogniser's process: PocketSphinx with its own US English model, clips in, words out.

`sphinx` starts it as `python -I _recogniser.py FILE…`, where each FILE holds 16 kHz signed 16-bit samples. It reads
JSON lines `{"file": …, "first": …, "last": …}` (the number of a file, and samples) on standard input, answers each with
`{"words": [[word, start, end], …]}` (seconds of the clip) on standard output, and ends with its input, so that it cannot
outlive the worker.
"""

from __future__ import annotations

import json
import mmap
import re
import sys
from pathlib import Path

from pocketsphinx import Decoder

SAMPLE_BYTES = 2
FRAME_S = 0.01
FILLER = re.compile(r"<.*>|\[.*\]|\+\+.*\+\+")
"""What stands for silence and noise among the words."""
VARIANT = re.compile(r"\(\d+\)$")
"""Says which pronunciation of a word it was."""
SHORTEST_CLIP_S = 0.2
"""A clip shorter than this holds no word."""


def main(paths: list[str]) -> None:
    """Answer clips of the files `paths` until standard input ends."""
    decoder = Decoder(samprate=16000, loglevel="FATAL")
    files = [_mapped(path) for path in paths]
    for line in sys.stdin:
        clip = json.loads(line)
        audio = files[clip["file"]][clip["first"] * SAMPLE_BYTES : clip["last"] * SAMPLE_BYTES]
        sys.stdout.write(json.dumps({"words": recognise(decoder, audio)}) + "\n")
        sys.stdout.flush()


def _mapped(path: str) -> mmap.mmap:
    with Path(path).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def recognise(decoder: Decoder, audio: bytes) -> list[tuple[str, float, float]]:
    """The words of one clip, in lower case and without punctuation, as the model writes them; start and end of each."""
    if len(audio) < SHORTEST_CLIP_S * 16000 * SAMPLE_BYTES:
        return []
    decoder.start_utt()
    decoder.process_raw(audio, full_utt=True)
    decoder.end_utt()
    return [
        (VARIANT.sub("", segment.word), segment.start_frame * FRAME_S, (segment.end_frame + 1) * FRAME_S)
        for segment in decoder.seg() or ()
        if not FILLER.fullmatch(segment.word)
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
