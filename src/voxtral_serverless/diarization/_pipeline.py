"""pyannote's pipeline, in the process that holds torch: loaded from files that are here, asked for turns.

Promises turns in seconds as pyannote gives them: the exclusive ones, of which no two overlap, and all of them. Leaves
out: where the files are (`models`), names for the speakers and bounds on their number (`pyannote`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from pyannote.audio import Pipeline
from pyannote.audio.core.plda import PLDA

from voxtral_serverless.diarization.fast_embeddings import (
    GPU_BATCH,
    UNKNOWN_NETWORK,
    FastSpeakerDiarization,
    pipeline_class,
)

if TYPE_CHECKING:
    from voxtral_serverless._torch_process import Progress

SAMPLE_RATE = 16_000
SHARES = {
    "segmentation": (0.0, 0.2), "speaker_counting": (0.2, 0.2), "embeddings": (0.2, 0.9),
    "discrete_diarization": (0.95, 0.95),
}  # fmt: skip
"""What part of the work each step is, from and to. Between the last two it clusters, and says nothing."""


class LoadedPipeline:
    """A pipeline on its device.

    Attributes:
        device: As torch names it, a GPU with its model.
        warnings: What whoever runs the worker should know.
    """

    def __init__(self, pipeline: Any, warnings: list[str]) -> None:
        self._pipeline = pipeline
        self.warnings = warnings
        self.device = "cpu"
        if torch.cuda.is_available():
            pipeline.to(torch.device("cuda"))
            self.device = f"cuda ({torch.cuda.get_device_name()})"

    def diarize(
        self, *, audio: str, samples: int, exact: int | None, least: int | None, most: int, progress: Progress
    ) -> dict[str, Any]:
        """Turns of the recording in the file `audio`, 16-bit PCM at 16 kHz; each `(start, end, speaker)`."""
        bounds = {"num_speakers": exact, "min_speakers": least, "max_speakers": most}
        try:
            found = self._found(audio, samples, bounds, progress)
        except ValueError:
            if not exact and not least:
                raise
            # So many cannot be told apart in so little speech (k-means then has fewer points than clusters).
            found = self._found(audio, samples, {"max_speakers": most}, progress)
        return {
            "exclusive": _turns(found.exclusive_speaker_diarization),
            "overlapping": _turns(found.speaker_diarization),
        }

    def _found(self, audio: str, samples: int, bounds: dict[str, int | None], progress: Progress) -> Any:
        file = {"waveform": _waveform(audio, samples), "sample_rate": SAMPLE_RATE, "uri": "recording"}
        known = isinstance(self._pipeline, FastSpeakerDiarization)
        return self._pipeline(file, hook=_hook(progress, frees_waveform=known), **bounds)


def load(config: dict[str, Any], segmentation_step: float) -> LoadedPipeline:
    """The pipeline of a pyannote `config`, whose models are named by their places on this machine."""
    wanted, warning = pipeline_class()
    params = config["pipeline"]["params"]
    config["pipeline"]["name"] = f"{wanted.__module__}.{wanted.__qualname__}"
    params |= {"embedding_batch_size": GPU_BATCH, "segmentation_step": segmentation_step, "legacy": False}
    if params.get("clustering", "VBxClustering") != "VBxClustering":
        # pyannote.audio 4 asks for one that no other clustering uses, from a third repository.
        params["plda"] = object.__new__(PLDA)
    with catch_warnings(record=True) as complaints:
        simplefilter("always")
        pipeline = Pipeline.from_pretrained(config)
    told = [str(complaint.message) for complaint in complaints if str(complaint.message) == UNKNOWN_NETWORK]
    return LoadedPipeline(pipeline, [*([warning] if warning else []), *told])


def _waveform(audio: str, samples: int) -> torch.Tensor:
    """Shape `(1, samples)`, in [-1, 1): of 16-bit samples, so none of them is infinite or no number."""
    mapped = np.memmap(audio, dtype="<i2", mode="r", shape=(samples,))
    return torch.from_numpy(np.multiply(mapped, np.float32(1 / 32_768), dtype=np.float32))[None]


def _hook(progress: Progress, *, frees_waveform: bool) -> Any:
    """A hook of pyannote, which may also raise: the work is left then, and the pipeline stays of use.

    Steps of a version that is not known here say that it lives, and no more.
    """
    reached = 0.0

    def hook(step: str, _artifact: Any, file: dict[str, Any], total: int = 1, completed: int | None = None) -> None:
        nonlocal reached
        start, end = SHARES.get(step, (reached, reached))
        reached = start + (end - start) * min((total if completed is None else completed) / max(total, 1), 1.0)
        progress(reached)
        if frees_waveform and step == "embeddings" and completed is None:
            del file["waveform"]  # what comes next needs the memory, and no more sound

    return hook


def _turns(annotation: Any) -> list[tuple[float, float, str]]:
    return [
        (round(turn.start, 6), round(turn.end, 6), speaker)
        for turn, _, speaker in annotation.itertracks(yield_label=True)
    ]
