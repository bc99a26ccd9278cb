"""pyannote's speaker diarization with the same turns for a fraction of the time.

Stock pyannote runs the embedding network once for every speaker of every chunk, though a speaker only enters at the
very end, as weights of the pooling. Here the network runs once per chunk, not at all where nobody speaks, and on a
processor one chunk at a time, channels last, so that its activations stay in the cache.

Promises stock pyannote's embeddings (to rounding) of all that speak, and its turns. Leaves out segmentation, which is
pyannote's own, as is clustering but for the distances (`fast_clustering`). Belongs to the process that has pyannote and
torch, which it imports at once, and uses nothing else of this package.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pyannote.audio
import torch
from numpy.typing import NDArray
from pyannote.audio.pipelines import SpeakerDiarization, clustering
from pyannote.audio.pipelines.speaker_verification import PyannoteAudioPretrainedSpeakerEmbedding
from pyannote.core import Segment, SlidingWindowFeature
from torch import Tensor
from torch.nn.functional import pad

from voxtral_serverless.diarization.fast_clustering import linkage

Hook = Callable[..., None]
Floats = NDArray[np.float32]

KNOWN_VERSION = "4.0."
GPU_BATCH = 16
"""Chunks at once: more gain nothing and cost gigabytes."""
CPU_BATCH = 1
UNKNOWN_VERSION = "pyannote.audio {} is not known here: speakers are told apart at its own, slower pace"
UNKNOWN_NETWORK = "the embedding network takes one speaker at a time: speakers are told apart at pyannote's slower pace"


def pipeline_class() -> tuple[type[SpeakerDiarization], str | None]:
    """The class to build the pipeline with, and a warning where the installed pyannote only allows the stock one."""
    version = pyannote.audio.__version__
    if version.startswith(KNOWN_VERSION):
        return FastSpeakerDiarization, None
    return SpeakerDiarization, UNKNOWN_VERSION.format(version)


class FastSpeakerDiarization(SpeakerDiarization):  # type: ignore[misc]
    """`SpeakerDiarization` that embeds all speakers of a chunk in one pass.

    Attributes:
        embedding_batch_size: Counts chunks, on a GPU; a processor takes them one by one.
        in_one_pass: Whether the embedding network allows it; otherwise stock pyannote embeds, one speaker at a time.
    """

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.embedding_batch_size = GPU_BATCH
        self.in_one_pass = _takes_all_speakers(self._embedding)
        if not self.in_one_pass:
            warnings.warn(UNKNOWN_NETWORK, stacklevel=2)

    def apply(self, file: Mapping[str, Any], **options: Any) -> Any:
        """Stock's, with a linkage that pyannote looks up in its module and nowhere else."""
        stock, clustering.linkage = clustering.linkage, linkage
        try:
            return super().apply(file, **options)
        finally:
            clustering.linkage = stock

    def get_embeddings(
        self,
        file: Mapping[str, Any],
        binary_segmentations: SlidingWindowFeature,
        exclude_overlap: bool = False,
        hook: Hook | None = None,
    ) -> Floats:
        """(chunks, frames, speakers) of zeros and ones to embeddings (chunks, speakers, dimension).

        The rows of a chunk without speech hold ones. They are given to nobody, but have a distance to every speaker:
        without one, VBx would score those who do not speak like the least likely of those who do, not below.
        """
        if self.training or not self.in_one_pass:
            stock: Floats = super().get_embeddings(file, binary_segmentations, exclude_overlap, hook)
            return stock
        activity, chunks = binary_segmentations.data, binary_segmentations.sliding_window
        least = self._least_frames(activity.shape[1], chunks.duration) if exclude_overlap else math.inf
        embeddings = np.ones((len(activity), activity.shape[2], self._embedding.dimension), np.float32)
        waveform, _ = self._audio(file)
        batches = self._batches(activity)
        tell = hook or _nothing
        tell("embeddings", None, total=len(batches), completed=0)
        for done, batch in enumerate(batches, 1):
            windows = torch.stack([self._window(waveform, chunks[chunk]) for chunk in batch])
            embeddings[batch] = self._embed(windows, _weights(activity[batch], least))
            tell("embeddings", embeddings[batch], total=len(batches), completed=done)
        return embeddings

    def reconstruct(
        self, segmentations: SlidingWindowFeature, hard_clusters: NDArray[np.int8], count: SlidingWindowFeature
    ) -> SlidingWindowFeature:
        """Stock's result, without its table of every frame of every chunk for every cluster."""
        return self.to_diarization(_ClusterScores(segmentations, hard_clusters), count)

    def _least_frames(self, frames: int, duration_s: float) -> int:
        """Of frames in which a speaker is alone, so many are too few for an embedding."""
        fewest: int = self._embedding.min_num_samples
        samples: float = duration_s * self._embedding.sample_rate
        return math.ceil(frames * fewest / samples)

    def _batches(self, activity: Floats) -> list[NDArray[np.intp]]:
        """The numbers of the chunks with speech, as many at once as suits the device."""
        if self._embedding.device.type == "cpu":
            self._embedding.model_.to(memory_format=torch.channels_last)
        speaking, size = np.flatnonzero(activity.any(axis=(1, 2))), self._batch_size
        return [speaking[at : at + size] for at in range(0, len(speaking), size)]

    @property
    def _batch_size(self) -> int:
        return CPU_BATCH if self._embedding.device.type == "cpu" else int(self.embedding_batch_size)

    def _window(self, waveform: Tensor, chunk: Segment) -> Tensor:
        """The chunk's samples, (1, samples), with silence after the end of the recording."""
        start, samples = (self._audio.get_num_samples(seconds) for seconds in (chunk.start, chunk.duration))
        window = waveform[:, start : start + samples]
        return pad(window, (0, samples - window.shape[1]))

    def _embed(self, windows: Tensor, weights: Tensor) -> Floats:
        """One pass, always of a full batch: cuDNN takes gigabytes for one of another size."""
        missing = (0, 0, 0, 0, 0, self._batch_size - len(windows))
        embeddings: Floats = self._embedding(pad(windows, missing), masks=pad(weights, missing))
        return embeddings[: len(windows)]


class _ClusterScores:
    """Stands in for that table while `Inference.aggregate` walks over it: a chunk is made when it is asked for."""

    def __init__(self, segmentations: SlidingWindowFeature, clusters: NDArray[np.int8]) -> None:
        self.segmentations, self.clusters = segmentations, clusters
        self.sliding_window = segmentations.sliding_window
        self.data = np.broadcast_to(np.nan, (*segmentations.data.shape[:2], clusters.max() + 1))

    def __iter__(self) -> Iterator[tuple[Segment, NDArray[np.float64]]]:
        for own, (chunk, activity) in zip(self.clusters, self.segmentations, strict=True):
            scores = self.data[0].copy()
            for cluster in np.unique(own[own >= 0]):
                scores[:, cluster] = activity[:, own == cluster].max(axis=1)
            yield chunk, scores


def _weights(activity: Floats, least_frames: float) -> Tensor:
    """What each speaker of each chunk is pooled with, (chunks, speakers, frames): alone, or everywhere if too short."""
    activity = np.nan_to_num(activity).astype(np.float32)
    alone = activity * (activity.sum(axis=2, keepdims=True) < 2)
    weights = np.where(alone.sum(axis=1, keepdims=True) > least_frames, alone, activity)
    return torch.from_numpy(weights).transpose(1, 2).contiguous()


def _takes_all_speakers(embedding: Any) -> bool:
    """Whether the network gives for several masks at once what it gives for each of them."""
    if not isinstance(embedding, PyannoteAudioPretrainedSpeakerEmbedding):
        return False
    noise = torch.randn(1, 1, embedding.sample_rate, generator=torch.Generator().manual_seed(0))
    masks = torch.tensor([[[1.0, 1.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]]])
    try:
        together = embedding(noise, masks=masks)
    except (RuntimeError, IndexError, ValueError):
        return False
    alone = np.stack([embedding(noise, masks=mask) for mask in masks.unbind(dim=1)], axis=1)
    return together.shape == alone.shape and np.allclose(together, alone, atol=1e-5)


def _nothing(*_: Any, **__: Any) -> None:
    """Where nobody asks for progress."""
