"""Two networks in the shape of pyannote's, which tell tones apart instead of voices.

`ToySegmentation` answers like pyannote's powerset segmentation: three local speakers, two at once, in an order of its
own in every window. `ToyEmbedding` gives each tone a direction of its own, and takes weights like a `StatsPool`: one
row per window, or one per speaker. Both are right on `dialogue.toy_dialogue` and on nothing else. A checkpoint names
this module, so its folder must be on the PYTHONPATH of the process that loads one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pyannote.audio.core.model import Model
from pyannote.audio.models.blocks.pooling import StatsPool
from pyannote.audio.utils.powerset import Powerset
from torch import Tensor, nn

WINDOW, HOP = 991, 270
"""Of pyannote's own segmentation network, in samples."""
HEARD = 0.03
"""Loudness from which on a tone is a voice."""
LOCAL_SPEAKERS, AT_ONCE = 3, 2
SURE = 10.0
DIMENSION = 256


class Tones(nn.Module):  # type: ignore[misc]
    """How loud each tone is in every frame: (windows, 1, samples) to (windows, tones, frames)."""

    def __init__(self, frequencies: Sequence[float], rate: int) -> None:
        super().__init__()
        angles = 2 * math.pi / rate * torch.outer(torch.tensor(frequencies), torch.arange(WINDOW))
        waves = torch.cat([angles.cos(), angles.sin()]) * torch.hann_window(WINDOW)
        self.register_buffer("waves", (4 / WINDOW * waves)[:, None])

    def forward(self, waveforms: Tensor) -> Tensor:
        """The length of each tone's cosine and sine part."""
        cosine, sine = nn.functional.conv1d(waveforms, self.waves, stride=HOP).chunk(2, dim=1)
        return torch.hypot(cosine, sine)


class ToyModel(Model):  # type: ignore[misc]
    """What both share: the tones and the frames."""

    def __init__(self, frequencies: Sequence[float], sample_rate: int = 16_000, num_channels: int = 1) -> None:
        super().__init__(sample_rate=sample_rate, num_channels=num_channels)
        self.save_hyperparameters("frequencies")
        self.tones = Tones(frequencies, sample_rate)

    def num_frames(self, num_samples: int) -> int:
        """Frames that fit whole."""
        return 1 + (num_samples - WINDOW) // HOP

    def receptive_field_size(self, num_frames: int = 1) -> int:
        """Samples under so many frames."""
        return WINDOW + (num_frames - 1) * HOP

    def receptive_field_center(self, frame: int = 0) -> int:
        """Sample in the middle of a frame."""
        return (WINDOW - 1) // 2 + frame * HOP


class ToySegmentation(ToyModel):
    """Powerset scores of the three tones that are heard longest in a window."""

    def build(self) -> None:
        """The table of sets, which depends on the specifications."""
        self.powerset = Powerset(LOCAL_SPEAKERS, AT_ONCE)

    @property
    def dimension(self) -> int:
        """Number of sets."""
        return int(self.powerset.num_powerset_classes)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(windows, 1, samples) to log-probabilities (windows, frames, sets)."""
        loudness = self.tones(waveforms)
        longest = (loudness > HEARD).sum(dim=2).topk(LOCAL_SPEAKERS, dim=1).indices
        local = loudness.gather(1, longest[..., None].expand(-1, -1, loudness.shape[2])).transpose(1, 2)
        second = local.topk(AT_ONCE, dim=2).values[..., -1:]
        heard = ((local > HEARD) & (local >= second)).float()
        mapping = self.powerset.mapping.expand(len(heard), -1, -1)
        return (-SURE * torch.cdist(heard, mapping, p=1)).log_softmax(dim=-1)


class ToyEmbedding(ToyModel):
    """Mean and deviation of every tone's loudness, spread over the dimensions."""

    def __init__(self, frequencies: Sequence[float], **options: Any) -> None:
        super().__init__(frequencies, **options)
        self.pool = StatsPool()
        inputs = torch.arange(2 * len(frequencies))
        waves = torch.cos(math.pi / DIMENSION * torch.outer(torch.arange(DIMENSION) + 0.5, inputs + 1.0))
        self.register_buffer("waves", waves)
        self.register_buffer("bias", torch.full((DIMENSION,), 1e-3))

    @property
    def dimension(self) -> int:
        """As long as pyannote's."""
        return DIMENSION

    def forward(self, waveforms: Tensor, weights: Tensor | None = None) -> Tensor:
        """(windows, 1, samples), weights (windows, frames) or (windows, speakers, frames), to one row for each."""
        return nn.functional.linear(self.pool(self.tones(waveforms), weights=weights), self.waves, self.bias)
