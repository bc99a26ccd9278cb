from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.transcription.plan import Utterance
from voxtral_serverless.transcription.word_times import EDGE_S, WordTimes


def spans(words: list[str], span: Span, *voiced: Span) -> list[Span]:
    times = WordTimes(Utterance(span, "A", " ".join(words), voiced), words)
    return [times.span(number, number + 1) for number in range(len(words))]


def test_words_are_spread_by_their_length() -> None:
    assert spans(["a", "bcd", "e"], Span(10, 18)) == [Span(10, 12), Span(12, 16), Span(16, 18)]


def test_nothing_is_said_in_a_pause() -> None:
    found = spans(["abc", "abc"], Span(0, 20), Span(1, 3), Span(15, 17))
    assert found == [Span(1, 3), Span(15, 17)]


def test_word_goes_on_behind_a_pause() -> None:
    assert spans(["abcdefg"], Span(0, 20), Span(0, 1), Span(9, 12)) == [Span(0, 12)]


def test_several_words_at_once() -> None:
    words = ["a", "bcd", "e"]
    times = WordTimes(Utterance(Span(10, 18), "A", "a bcd e"), words)
    assert (times.span(0, 2), times.span(1, 3), times.span(0, 3)) == (Span(10, 16), Span(12, 18), Span(10, 18))
    assert [times.characters(0, 1), times.characters(1, 3), times.characters(0, 3), times.characters(2, 2)] == [
        2, 6, 8, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("voiced", [(), (Span(5, 5),), (Span(5, 5), Span(5, 5))])
def test_words_of_no_time(voiced: tuple[Span, ...]) -> None:
    assert spans(["a", "b"], Span(5, 5), *voiced) == [Span(5, 5)] * 2


words = st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=20)
steps = st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=5)


@given(words, steps)
def test_words_follow_each_other_inside_what_is_voiced(said: list[str], steps: list[tuple[float, float]]) -> None:
    voiced, now = [], 0.0
    for pause, duration in steps:
        voiced.append(Span(now + pause, now + pause + duration))
        now = voiced[-1].end
    found = spans(said, Span(0, now), *voiced)
    assert all(one.start <= one.end for one in found)
    assert all(one.end <= other.start + 2 * EDGE_S for one, other in pairwise(found))
    assert all(
        any(stretch.start <= edge <= stretch.end for stretch in voiced)
        for one in found
        for edge in (one.start, one.end)
    )
