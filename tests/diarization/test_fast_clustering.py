"""Distances and dendrograms are scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist

from voxtral_serverless.diarization.fast_clustering import BLOCK, distances, linkage


def embeddings(count: int) -> NDArray[np.float32]:
    """Around four voices, of length one."""
    random = np.random.default_rng(count)
    voices = random.standard_normal((4, 64))
    points: NDArray[np.float64] = voices[random.integers(0, 4, count)] + 0.5 * random.standard_normal((count, 64))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32)


@pytest.mark.parametrize("count", [2, 3, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_distances_are_scipys(count: int) -> None:
    points = embeddings(count)
    np.testing.assert_allclose(distances(points), pdist(points), rtol=0, atol=1e-13)


def test_the_same_point_twice_is_at_no_distance() -> None:
    points = embeddings(5)[[0, 1, 1, 2, 0]]
    np.testing.assert_allclose(distances(points), pdist(points), rtol=0, atol=1e-7)


def test_dendrogram_is_scipys() -> None:
    points = embeddings(700)
    ours, scipys = linkage(points, "centroid", "euclidean"), hierarchy.linkage(points, "centroid", "euclidean")
    np.testing.assert_array_equal(ours[:, [0, 1, 3]], scipys[:, [0, 1, 3]])
    np.testing.assert_allclose(ours[:, 2], scipys[:, 2], rtol=0, atol=1e-12)


def test_other_metrics_are_left_to_scipy() -> None:
    points = embeddings(50)
    np.testing.assert_array_equal(linkage(points, "average", "cosine"), hierarchy.linkage(points, "average", "cosine"))
