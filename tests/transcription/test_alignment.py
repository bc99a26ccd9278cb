from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.transcription.alignment import (
    MIN_FOUND_SHARE,
    MIN_MEAN_SCORE,
    Timed,
    doubtful,
    placed,
    timed,
)
from voxtral_serverless.transcription.spelling import Spelled
from voxtral_serverless.transcription.words import Word

PIECES = (Span(10, 14), Span(20, 23), Span(30, 31))
"""Eight seconds of sound."""


def said(*words: str) -> list[Spelled]:
    """Words that are said as they are written; punctuation is not said, "dix+sept" is said in two words."""
    return [Spelled(word, tuple(word.split("+")) if word[0].isalnum() else ()) for word in words]


def times(words: Sequence[Timed]) -> list[tuple[float, float]]:
    return [(round(word.start, 6), round(word.end, 6)) for word in words]


def test_a_word_is_from_the_start_of_its_first_to_the_end_of_its_last_spoken_word() -> None:
    words = timed(said("à", "dix+sept", "ans"), [(1, 1.2, 0.9), (1.3, 1.6, 0.9), (1.7, 1.8, 0.5), (2, 2.4, 0.7)], 3)
    assert times(words) == [(1, 1.2), (1.3, 1.8), (2, 2.4)]
    assert [word.score for word in words] == [0.9, pytest.approx(0.8), 0.7]
    assert [word.text for word in words] == ["à", "dix+sept", "ans"]


def test_a_word_of_which_a_part_was_found() -> None:
    assert timed(said("dix+sept"), [None, (1.7, 1.8, 0.5)], 3) == (Timed("dix+sept", 1.7, 1.8, 0.5),)
    assert timed(said("dix+sept"), [(1, 1, 0.4), (1, 1, 0.6)], 3) == (Timed("dix+sept", 1, 1, 0.5),)
    assert timed(said("dix"), [(float("nan"), 1, 0.4)], 1) == (Timed("dix", 0, 1, None),)


@pytest.mark.parametrize(
    ("words", "found", "expected"),
    [
        # Between two words, by their lengths.
        (["ah", "b", "ccc", "oh"], [(1, 2, 1), None, None, (4, 5, 1)], [(1, 2), (2, 2.5), (2.5, 4), (4, 5)]),
        # Before the first and behind the last one: next to it, no slower than 0.1 s a character.
        (["aaaa", "b"], [None, (5, 6, 1)], [(4.6, 5), (5, 6)]),
        (["aaaa", "b"], [None, (0.2, 6, 1)], [(0, 0.2), (0.2, 6)]),
        (["a", "bb", "cc"], [(5, 6, 1), None, None], [(5, 6), (6, 6.2), (6.2, 6.4)]),
        (["a", "bb", "cc"], [(5, 7.8, 1), None, None], [(5, 7.8), (7.8, 7.9), (7.9, 8)]),
        # Nothing at all: over the whole sound.
        (["aaa", "b"], [None, None], [(0, 6), (6, 8)]),
        # Punctuation takes no time: it ends the word before, or opens the one behind.
        (["Oui", "!", "Non"], [(1, 2, 1), (5, 6, 1)], [(1, 2), (2, 2), (5, 6)]),
        (["«", "Oui", "»", "?", "«", "Non"], [(1, 2, 1), (5, 6, 1)], [(1, 1), (1, 2), (2, 2), (2, 2), (5, 5), (5, 6)]),
        (["Oui", "-", "et", "?"], [(1, 2, 1), None], [(1, 2), (2, 2), (2, 2.2), (2.2, 2.2)]),
        ([], [], []),
    ],
)  # fmt: skip
def test_what_was_not_found_is_reckoned(
    words: list[str], found: list[tuple[float, float, float] | None], expected: list[tuple[float, float]]
) -> None:
    result = timed(said(*words), found, 8)
    assert times(result) == expected
    assert [word.score for word in result if word.score is not None] == [one[2] for one in found if one]


def test_times_outside_the_sound_or_out_of_order_are_put_right() -> None:
    words = timed(said("a", "b", "c"), [(-1, 2, 2.0), (1.5, 1.8, 0.5), (7, 9, -1)], 8)
    assert words == (Timed("a", 0, 2, 1), Timed("b", 2, 2, 0.5), Timed("c", 7, 8, 0))


def test_there_is_an_entry_for_each_spoken_word() -> None:
    with pytest.raises(ValueError, match="1 entries"):
        timed(said("dix+sept"), [None], 3)


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        (0, 1, Span(10, 11)),
        (3.5, 4, Span(13.5, 14)),
        (4, 4.5, Span(20, 20.5)),
        (3, 4.5, Span(13, 14)),
        (3.5, 5, Span(20, 21)),
        (3.5, 7.5, Span(20, 23)),
        (7.5, 8, Span(30.5, 31)),
        (7.9, 8.1, Span(30.9, 31)),
        (4, 4, Span(14, 14)),
        (5, 5, Span(21, 21)),
        (8.5, 9, Span(31, 31)),
    ],
)
def test_the_way_back_to_the_recording(start: float, end: float, span: Span) -> None:
    (word,) = placed([Timed("mot,", start, end, 0.5)], PIECES)
    assert (word.text, word.score) == ("mot,", 0.5)
    assert word.span.start == pytest.approx(span.start)
    assert word.span.end == pytest.approx(span.end)


def test_no_words() -> None:
    assert placed([], PIECES) == ()
    assert placed([], []) == ()
    assert not doubtful([])


def scored(*scores: float | None) -> list[Timed | Word]:
    return [Timed("mot", 0, 1, one) if index % 2 else Word("mot", Span(0, 1), one) for index, one in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "poor"),
    [
        ([0.9, 0.8, 0.7], False),
        ([MIN_MEAN_SCORE] * 3, False),
        ([MIN_MEAN_SCORE - 0.01] * 3, True),
        ([0.9, 0.05, 0.05, 0.1], True),
        ([0.9] + [None] * 2, False),
        ([0.9] + [None] * 3, True),
        ([None], True),
    ],
)
def test_a_poor_alignment(scores: list[float | None], poor: bool) -> None:
    assert 1 / 4 < MIN_FOUND_SHARE < 1 / 3
    assert doubtful(scored(*scores)) is poor


def test_punctuation_alone_is_no_reason_for_doubt() -> None:
    mark = Timed("?", 0, 0, None)
    assert not doubtful([*scored(0.9), mark, mark, mark, mark])
    assert not doubtful([mark])


seconds = st.floats(-1, 32) | st.floats()
word_lists = st.lists(
    st.tuples(
        st.sampled_from(["oui", "?", "«", "12,50", "—", "anticonstitutionnellement"]),
        st.lists(st.none() | st.tuples(seconds, seconds, st.floats(0, 1)), max_size=3),
    ),
    max_size=12,
)


@given(word_lists, st.floats(0, 30), st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=5))
def test_times_are_in_order_inside_the_sound_and_inside_the_pieces(
    entries: list[tuple[str, list[tuple[float, float, float] | None]]],
    length_s: float,
    holes: list[tuple[float, float]],
) -> None:
    spelled = [Spelled(text, ("x",) * len(found)) for text, found in entries]
    words = timed(spelled, [one for _, found in entries for one in found], length_s)
    assert [word.text for word in words] == [word.text for word in spelled]
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert all(before <= behind for before, behind in pairwise([0, *edges, length_s]))
    assert all(word.score is None or 0 <= word.score <= 1 for word in words)

    pieces, at = [], 0.0
    for hole_s, piece_s in holes:
        pieces.append(Span(at + hole_s, at + hole_s + piece_s))
        at = pieces[-1].end
    there = placed(words, pieces)
    assert [(word.text, word.score) for word in there] == [(word.text, word.score) for word in words]
    assert all(any(piece.start <= word.span.start <= word.span.end <= piece.end for piece in pieces) for word in there)
    assert all(before.span.end <= behind.span.start + 1e-9 for before, behind in pairwise(there))
