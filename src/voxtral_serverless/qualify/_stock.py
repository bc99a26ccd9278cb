"""Stock pyannote on one recording, in a process of the Python that has it.

Started by `stock`, as the torch process is, with the question as the JSON object of one line on standard input; writes one
line: the overlapping turns and the seconds that they took without the loading, or `failed`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import warnings
from typing import Any

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer one question."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    says = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    try:
        answer = diarized(**json.loads(sys.stdin.buffer.readline()))
    except Exception as error:  # noqa: BLE001 — the worker decides what becomes of it
        answer = {"failed": f"{type(error).__name__}: {error}"}
    says.write(json.dumps(answer).encode() + b"\n")
    says.flush()


def diarized(
    *, config: dict[str, Any], segmentation_step: float, audio: str, samples: int, most: int
) -> dict[str, Any]:
    """The turns of the recording in the file `audio`, 16-bit PCM at 16 kHz, by the pipeline of `config`, all of it stock."""
    from voxtral_serverless.diarization._pipeline import LoadedPipeline

    pipeline = LoadedPipeline(_stock(config, segmentation_step), [])
    began = time.monotonic()
    found = pipeline.diarize(
        audio=audio, samples=samples, exact=None, least=None, most=most, progress=lambda _share: None
    )
    return {"turns": found["overlapping"], "took_s": time.monotonic() - began}


def _stock(config: dict[str, Any], segmentation_step: float) -> Any:
    """The pipeline as `diarization._pipeline.load` loads it, but of pyannote's own class."""
    from pyannote.audio import Pipeline
    from pyannote.audio.core.plda import PLDA

    from voxtral_serverless.diarization.fast_embeddings import GPU_BATCH

    params = config["pipeline"]["params"]
    config["pipeline"]["name"] = "pyannote.audio.pipelines.SpeakerDiarization"
    params |= {"embedding_batch_size": GPU_BATCH, "segmentation_step": segmentation_step, "legacy": False}
    if params.get("clustering", "VBxClustering") != "VBxClustering":
        # pyannote.audio 4 asks for one that no other clustering uses, from a third repository.
        params["plda"] = object.__new__(PLDA)
    return Pipeline.from_pretrained(config)


if __name__ == "__main__":
    main()
