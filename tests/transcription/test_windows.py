"""The plan by windows: all speech once, in clips as full as they can be."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import SAMPLE_RATE, Span
from voxtral_serverless.transcription.plan import WINDOW_PAUSE_S, Clip, plan_by_windows

MOST = 30 * SAMPLE_RATE


def middle(span: Span, channel: int | None) -> float:
    return (span.start + span.end) / 2


def samples(clip: Clip) -> int:
    """What the engine is given."""
    return sum(round(piece.end * SAMPLE_RATE) - round(piece.start * SAMPLE_RATE) for piece in clip.pieces)


def planned(*spans: tuple[float, float]) -> list[Clip]:
    return plan_by_windows({None: [Span(*span) for span in spans]}, quietest=middle)


def speech(draws: list[tuple[float, float]]) -> list[Span]:
    """Stretches from pairs of a pause and a length."""
    spans, at = [], 0.0
    for pause, length in draws:
        spans.append(Span(at + pause, at + pause + length))
        at = spans[-1].end
    return spans


STRETCHES = st.lists(st.tuples(st.floats(0.15, 20), st.floats(0.2, 100)), max_size=40).map(speech)


@settings(max_examples=60)
@given(STRETCHES, STRETCHES)
def test_all_speech_is_in_exactly_one_window(left: list[Span], right: list[Span]) -> None:
    clips = plan_by_windows({0: left, 1: right}, quietest=middle)
    assert [clip.turn for clip in clips] == list(range(len(clips)))
    assert clips == sorted(clips, key=lambda clip: clip.core.start)
    for channel, spans in enumerate((left, right)):
        pieces = [piece for clip in clips if clip.channel == channel for piece in clip.pieces]
        assert all(one.end <= other.start + 1e-9 for one, other in pairwise(pieces))
        for span in spans:
            assert sum(piece.overlap(span) for piece in pieces) == pytest.approx(span.duration)
        assert sum(clip.speech_s for clip in clips if clip.channel == channel) == pytest.approx(
            sum(span.duration for span in spans)
        )
    assert all(samples(clip) <= MOST for clip in clips)
    assert all(clip.sound_s <= 30 for clip in clips)


def test_short_stretches_share_a_window() -> None:
    [clip] = planned((1, 3), (3.1, 8), (8.1, 12))
    assert (clip.core, clip.audio, clip.pieces) == (Span(1, 12), Span(1, 12), (Span(1, 12),))
    assert clip.speech_s == pytest.approx(10.8)


def test_long_silences_are_left_out_but_for_a_pause() -> None:
    [clip] = planned((1, 3), (63, 65))
    kept = WINDOW_PAUSE_S / 2
    assert clip.pieces == (Span(1, 3 + kept), Span(63 - kept, 65))
    assert clip.sound_s == pytest.approx(4 + WINDOW_PAUSE_S)


def test_stretch_that_does_not_fit_goes_into_the_next_window() -> None:
    assert [clip.core for clip in planned((0, 27), (28, 40))] == [Span(0, 27), Span(28, 40)]


def test_stretch_is_cut_where_much_of_a_window_would_stay_empty() -> None:
    first, second = planned((0, 15), (16, 40))
    assert first.core.start == 0
    assert first.core.end == second.core.start
    assert 20 < first.core.end < 31


def test_long_stretch_is_cut_at_its_quietest_moments() -> None:
    asked: list[Span] = []

    def quietest(span: Span, channel: int | None) -> float:
        asked.append(span)
        return span.end - 1

    clips = plan_by_windows({None: [Span(0, 100)]}, quietest=quietest)
    assert len(asked) == len(clips) - 1
    assert all(0 < clip.sound_s <= 30 for clip in clips)


def test_nothing_is_said() -> None:
    assert planned() == []


def test_telephone_calls_take_hardly_more_windows_than_their_speech() -> None:
    """Stretches of 2.4 s in the mean, pauses of 0.4 s."""
    spans = speech([(0.2 + 0.4 * (index % 2), 0.4 + index % 5) for index in range(1000)])
    clips = plan_by_windows({None: spans}, quietest=middle)
    assert len(clips) <= 1.15 * sum(span.duration for span in spans) / 30 + 1
