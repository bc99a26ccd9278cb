"""The recogniser's process: PocketSphinx with its own US English model, clips in, words out.

`sphinx` starts it as `python -I _recogniser.py FILE…`, where each FILE holds 16 kHz signed 16-bit samples. It reads
JSON lines `{"file": …, "first": …, "last": …}` (the number of a file, and samples) on standard input, answers each with
`{"text": …}` on standard output, and ends with its input, so that it cannot outlive the worker.
"""

from __future__ import annotations

import json
import mmap
import sys
from pathlib import Path

from pocketsphinx import Decoder

SAMPLE_BYTES = 2
SHORTEST_CLIP_S = 0.2
"""A clip shorter than this holds no word."""


def main(paths: list[str]) -> None:
    """Answer clips of the files `paths` until standard input ends."""
    decoder = Decoder(samprate=16000, loglevel="FATAL")
    files = [_mapped(path) for path in paths]
    for line in sys.stdin:
        clip = json.loads(line)
        audio = files[clip["file"]][clip["first"] * SAMPLE_BYTES : clip["last"] * SAMPLE_BYTES]
        sys.stdout.write(json.dumps({"text": recognise(decoder, audio)}) + "\n")
        sys.stdout.flush()


def _mapped(path: str) -> mmap.mmap:
    with Path(path).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def recognise(decoder: Decoder, audio: bytes) -> str:
    """The words of one clip, in lower case and without punctuation, as the model writes them."""
    if len(audio) < SHORTEST_CLIP_S * 16000 * SAMPLE_BYTES:
        return ""
    decoder.start_utt()
    decoder.process_raw(audio, full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    return hypothesis.hypstr if hypothesis else ""


if __name__ == "__main__":
    main(sys.argv[1:])
