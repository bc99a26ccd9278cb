"""How well the embedded engine hears: word error rate of a recording against its reference.

    python bench/embedded_engine.py examples/call.ogg examples/call.stm
    python bench/embedded_engine.py RECORDING REFERENCE.txt

A reference is STM, or plain text with one turn a line. Prints one JSON object; case and punctuation do not count.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import jiwer

from voxtral_serverless.audio.fetch import LocalAudio
from voxtral_serverless.contract import parse_options
from voxtral_serverless.pipeline import process
from voxtral_serverless.progress import NoEvents
from voxtral_serverless.services import embedded_services
from voxtral_serverless.settings import load_settings

NORMAL = jiwer.Compose(
    [jiwer.ToLowerCase(), jiwer.RemovePunctuation(), jiwer.RemoveMultipleSpaces(), jiwer.Strip(),
     jiwer.ReduceToListOfListOfWords()]
)  # fmt: skip


def reference(path: Path) -> str:
    """The words of a reference, one after the other."""
    lines = path.read_text("utf-8").splitlines()
    return " ".join(line.split(maxsplit=5)[5] if path.suffix == ".stm" else line for line in lines)


def main(recording: Path, path: Path) -> None:
    """Transcribe, compare, print."""
    options = parse_options({"language": "en", "num_speakers": 2})
    services = embedded_services(load_settings(engine="embedded"))
    result = asyncio.run(process(options, LocalAudio(recording), services, NoEvents()))
    heard = " ".join(turn.text or "" for turn in result.transcriptions)
    spoken = reference(path)
    rate = jiwer.wer(spoken, heard, reference_transform=NORMAL, hypothesis_transform=NORMAL)
    print(json.dumps({"word_error_rate": round(float(rate), 3), "words": len(spoken.split()),
                      "audio_s": result.duration, "stages_s": result.meta.timings}))  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
