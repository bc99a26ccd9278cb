"""What `fast_embeddings` does with a pyannote, or with a network, that it does not know.

    PYTHONPATH=bench PYTHON tests/engines/toy_pyannote/falling_back.py FOLDER

makes a toy pipeline in FOLDER, runs it with the toy network as it is and with one that takes one speaker at a time,
and prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from pathlib import Path
from typing import Any

from diarization import diarize, load, prepare

SECONDS = 15.3
VERSIONS = ("4.0.7", "4.1.0", "5.0.0")


def take_one_speaker_at_a_time() -> None:
    """From here on the toy network refuses the weights of several."""
    networks = importlib.import_module("networks")
    forward = networks.ToyEmbedding.forward

    def strict(self: Any, waveforms: Any, weights: Any = None) -> Any:
        if weights is not None and weights.dim() == 3:
            raise ValueError
        return forward(self, waveforms, weights)

    networks.ToyEmbedding.forward = strict


def chosen(version: str) -> tuple[str, str | None]:
    """The class for this version of pyannote, and the warning."""
    import pyannote.audio

    from voxtral_serverless.diarization.fast_embeddings import pipeline_class

    pyannote.audio.__version__ = version
    wanted, warning = pipeline_class()
    return wanted.__name__, warning


def main() -> None:
    """Run and print."""
    prepare(threads=1)
    from tests.engines.toy_pyannote.dialogue import random_turns, toy_dialogue
    from tests.engines.toy_pyannote.make import make

    folder = Path(sys.argv[1])
    make("ahc", "toy", folder)
    audio = toy_dialogue(random_turns(2, SECONDS, seed=1), SECONDS)
    known = diarize(load(folder, fast=True, device="cpu"), audio, {})
    take_one_speaker_at_a_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pipeline = load(folder, fast=True, device="cpu")
    unknown = diarize(pipeline, audio, {})
    answer = {
        "progress": [told[1:] for told in known.progress if told[0] == "embeddings"],
        "in_one_pass": pipeline.in_one_pass,
        "warnings": [str(warning.message) for warning in caught if warning.category is UserWarning],
        "same_turns": known.turns == unknown.turns,
        "versions": {version: chosen(version) for version in VERSIONS},
    }
    print(json.dumps(answer))  # noqa: T201


if __name__ == "__main__":
    main()
