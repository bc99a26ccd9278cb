"""Forced alignment: in which frames of a CTC model's output each token of a known text is spoken.

Promises the likeliest of all paths on which the tokens come in their order, each of them at least once, with blanks
between them where the model likes, and where a token follows its like, as it must (Graves et al. 2006, "Connectionist
Temporal Classification"; a single best path through it, found by Viterbi's search, as Kürzinger et al. 2020,
"CTC-Segmentation of Large Corpora", align a text). Leaves out what the tokens are, and seconds (`_aligner`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


class TokenFrames(NamedTuple):
    """Where a token lies.

    Attributes:
        first, last: Frames, both inclusive.
        probability: The model's, on average over these frames; in [0, 1].
    """

    first: int
    last: int
    probability: float


def align(log_probs: Floats, tokens: Sequence[int], blank: int) -> list[TokenFrames] | None:
    """The frames of each of the `tokens`, in order; None where they need more frames than there are.

    `log_probs` is (frames, vocabulary), natural logarithms; `tokens` and `blank` are columns of it. None also where
    the model gives every path a probability of zero, or none at all.
    """
    labels = np.array(tokens, dtype=np.intp)
    if len(labels) + np.count_nonzero(labels[1:] == labels[:-1]) > len(log_probs):
        return None
    if not tokens:
        return []
    path = _best_path(log_probs, labels, blank)
    return None if path is None else _token_frames(log_probs, labels, path)


def _best_path(log_probs: Floats, labels: NDArray[np.intp], blank: int) -> NDArray[np.intp] | None:
    """The state of each frame on the best path: 2i + 1 for token i, and the even ones for the blanks around them."""
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    # A frame stays in its state, goes to the next, or from one token to another token past the blank between them.
    past_blank = np.full(len(states), -np.inf)
    past_blank[3::2] = np.where(labels[1:] != labels[:-1], 0.0, -np.inf)
    emitted = log_probs[:, states].astype(np.float64)
    reached = np.full((3, len(states)), -np.inf)
    best = np.full(len(states), -np.inf)
    best[:2] = emitted[0, :2]
    came_by = np.zeros(emitted.shape, dtype=np.int8)
    for frame in range(1, len(emitted)):
        reached[0] = best
        reached[1, 1:] = best[:-1]
        reached[2, 2:] = best[:-2]
        reached[2] += past_blank
        came_by[frame] = reached.argmax(axis=0)
        best = reached.max(axis=0) + emitted[frame]
    state = len(states) - (1 if best[-1] > best[-2] else 2)
    return _walked_back(came_by, state) if np.isfinite(best[state]) else None


def _walked_back(came_by: NDArray[np.int8], state: int) -> NDArray[np.intp]:
    """The state of each frame on the path that ends in `state`."""
    path = np.empty(len(came_by), dtype=np.intp)
    for frame in range(len(came_by) - 1, -1, -1):
        path[frame] = state
        state -= int(came_by[frame, state])
    return path


def _token_frames(log_probs: Floats, labels: NDArray[np.intp], path: NDArray[np.intp]) -> list[TokenFrames]:
    """What the path says of each token."""
    own = np.arange(1, 2 * len(labels), 2)
    first, after = np.searchsorted(path, own, "left"), np.searchsorted(path, own, "right")
    frames = np.flatnonzero(path % 2)
    probabilities = np.exp(log_probs[frames, labels[path[frames] // 2]].astype(np.float64))
    lengths = after - first
    means = np.add.reduceat(probabilities, np.cumsum(lengths) - lengths) / lengths
    return [
        TokenFrames(int(start), int(end) - 1, min(float(mean), 1.0))
        for start, end, mean in zip(first, after, means, strict=True)
    ]
