from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from voxtral_serverless.transcription.ctc import TokenFrames, align

BLANK = 0
NEVER = -np.inf

Matrix = NDArray[np.float64]


def log_probs(frames: int, vocabulary: int, seed: int) -> Matrix:
    """Any model's output: the rows are distributions."""
    logits = np.random.default_rng(seed).normal(0, 3, (frames, vocabulary))
    return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))


def certain(labels: list[int], vocabulary: int = 4) -> Matrix:
    """A model that is quite sure of the label of each frame."""
    sure = np.full((len(labels), vocabulary), math.log(1e-4))
    sure[np.arange(len(labels)), labels] = math.log(1 - 1e-4 * (vocabulary - 1))
    return sure


def spelled(path: tuple[int, ...]) -> list[int]:
    """What a path says: its labels without repetitions, then without blanks."""
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


def likelihood(matrix: Matrix, path: list[int] | tuple[int, ...]) -> float:
    return float(matrix[np.arange(len(path)), path].sum())


def best_by_hand(matrix: Matrix, tokens: list[int]) -> float:
    """The likelihood of the best of all paths that say the tokens; minus infinity where there is none."""
    paths = itertools.product(range(matrix.shape[1]), repeat=len(matrix))
    return max((likelihood(matrix, path) for path in paths if spelled(path) == tokens), default=-math.inf)


def path_of(found: list[TokenFrames], tokens: list[int], frames: int) -> list[int]:
    """The path that an alignment stands for."""
    path = [BLANK] * frames
    for token, (first, last, _) in zip(tokens, found, strict=True):
        path[first : last + 1] = [token] * (last + 1 - first)
    return path


@st.composite
def problems(draw: Any) -> tuple[Matrix, list[int]]:
    vocabulary = draw(st.integers(2, 4))
    frames = draw(st.integers(1, 6 if vocabulary == 4 else 7))
    tokens = draw(st.lists(st.integers(1, vocabulary - 1), max_size=5))
    return log_probs(frames, vocabulary, draw(st.integers(0, 10_000))), tokens


@given(problems())
def test_is_the_best_of_all_paths(problem: tuple[Matrix, list[int]]) -> None:
    matrix, tokens = problem
    found, best = align(matrix, tokens, BLANK), best_by_hand(matrix, tokens)
    if found is None:
        assert best == -math.inf
        return
    path = path_of(found, tokens, len(matrix))
    assert spelled(tuple(path)) == tokens
    assert likelihood(matrix, path) == pytest.approx(best)


@given(st.integers(1, 200), st.lists(st.integers(1, 5), min_size=1, max_size=120), st.integers(0, 10_000))
def test_every_token_has_frames_of_its_own_in_order(frames: int, tokens: list[int], seed: int) -> None:
    matrix = log_probs(frames, 6, seed)
    found = align(matrix, tokens, BLANK)
    if found is None:
        assert frames < len(tokens) + sum(one == other for one, other in itertools.pairwise(tokens))
        return
    assert found[0].first >= 0
    assert found[-1].last < frames
    assert all(first <= last for first, last, _ in found)
    for (one, before), (other, after) in itertools.pairwise(zip(tokens, found, strict=True)):
        assert before.last + (1 if one != other else 2) <= after.first
    for token, (first, last, probability) in zip(tokens, found, strict=True):
        assert probability == pytest.approx(np.exp(matrix[first : last + 1, token]).mean())


def test_sure_model_is_followed() -> None:
    found = align(certain([0, 1, 1, 0, 0, 1, 2, 0, 3, 3, 3, 0]), [1, 1, 2, 3], BLANK)
    assert found is not None
    assert [(first, last) for first, last, _ in found] == [(1, 2), (5, 5), (6, 6), (8, 10)]
    assert [probability for _, _, probability in found] == pytest.approx([1 - 3e-4] * 4)


def test_blank_may_be_any_column_and_numbers_single() -> None:
    matrix = certain([3, 1, 3, 0, 3]).astype(np.float32)
    found = align(matrix, [1, 0], blank=3)
    assert found is not None
    assert [(first, last) for first, last, _ in found] == [(1, 1), (3, 3)]


@pytest.mark.parametrize(("frames", "tokens"), [(2, [1, 2, 3]), (3, [1, 1, 2]), (0, [1]), (4, [2, 2, 2]), (1, [1, 2])])
def test_more_tokens_than_frames_allow(frames: int, tokens: list[int]) -> None:
    assert align(log_probs(frames, 4, 0), tokens, BLANK) is None
    needed = len(tokens) + sum(one == other for one, other in itertools.pairwise(tokens))
    found = align(log_probs(needed, 4, 0), tokens, BLANK)
    assert found is not None
    assert all(first == last for first, last, _ in found)


@pytest.mark.parametrize("frames", [0, 1, 9])
def test_no_tokens(frames: int) -> None:
    assert align(log_probs(frames, 4, 0), [], BLANK) == []


def test_no_path_has_a_likelihood() -> None:
    matrix = certain([0, 1, 0])
    matrix[:, 2] = NEVER
    assert align(matrix, [2], BLANK) is None
    assert align(matrix, [1], BLANK) is not None
    assert align(np.full((3, 4), np.nan), [1], BLANK) is None


def test_half_a_minute_of_quick_speech_takes_no_time() -> None:
    matrix = log_probs(1_500, 32, 0).astype(np.float32)
    tokens = np.random.default_rng(1).integers(1, 32, 600).tolist()
    began = time.perf_counter()
    found = align(matrix, tokens, BLANK)
    assert time.perf_counter() - began < 0.6
    assert found is not None
    assert len(found) == 600
