from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import Turn
from voxtral_serverless.transcription.plan import (
    MAX_CLIP_S,
    PADDING_S,
    Clip,
    Utterance,
    cut_at_pauses,
    plan_by_turns,
    utterance_of,
)

DURATION = 400.0


@st.composite
def timelines(draw: st.DrawFn) -> tuple[list[Turn], list[Span]]:
    """Turns without overlap, and the speech inside them."""
    turns, speech, now = [], [], 0.0
    for _ in range(draw(st.integers(0, 6))):
        start = now + draw(st.integers(0, 20)) / 10
        now = start
        for _ in range(draw(st.integers(1, 5))):
            region = Span(now, now + draw(st.integers(1, 250)) / 10)
            speech.append(region)
            now = region.end + draw(st.integers(1, 10)) / 10
        turns.append(Turn(Span(start, speech[-1].end), draw(st.sampled_from("AB"))))
        now = speech[-1].end
    return turns, speech


@given(timelines())
def test_every_moment_of_a_turn_is_in_the_core_of_one_clip(timeline: tuple[list[Turn], list[Span]]) -> None:
    turns, speech = timeline
    clips = plan_by_turns(turns, speech, DURATION)
    for index, turn in enumerate(turns):
        cores = [clip.core for clip in clips if clip.turn == index]
        assert cores[0].start == turn.span.start
        assert cores[-1].end == turn.span.end
        assert all(one.end == other.start for one, other in pairwise(cores))


@given(timelines())
def test_clips_are_in_order_and_short(timeline: tuple[list[Turn], list[Span]]) -> None:
    clips = plan_by_turns(*timeline, DURATION)
    assert [clip.core.start for clip in clips] == sorted(clip.core.start for clip in clips)
    assert all(0 < clip.core.duration <= MAX_CLIP_S + 1e-9 for clip in clips)


@given(timelines())
def test_padding_is_short_and_touches_no_other_turn(timeline: tuple[list[Turn], list[Span]]) -> None:
    turns, speech = timeline
    for clip in plan_by_turns(turns, speech, DURATION):
        assert clip.core.start - PADDING_S <= clip.audio.start <= clip.core.start
        assert clip.core.end <= clip.audio.end <= clip.core.end + PADDING_S
        for index, turn in enumerate(turns):
            if index != clip.turn:
                assert turn.span.overlap(clip.audio) == 0


def test_long_turn_is_cut_in_its_widest_pause() -> None:
    speech = [Span(0, 18), Span(18.2, 24), Span(25, 28), Span(28.1, 40)]
    assert cut_at_pauses(Span(0, 40), speech) == [Span(0, 24.5), Span(24.5, 40)]


def test_speech_without_a_pause_is_cut_all_the_same() -> None:
    assert cut_at_pauses(Span(0, 70), [Span(0, 70)]) == [Span(0, 30), Span(30, 60), Span(60, 70)]


def test_overlapping_turns_of_two_channels_do_not_cut_each_others_padding() -> None:
    turns = [Turn(Span(1, 3), "A", 0), Turn(Span(2, 4), "B", 1)]
    clips = plan_by_turns(turns, [Span(1, 4)], 10)
    assert clips == [
        Clip(0, Span(1, 3), Span(0.75, 3.25), 0),
        Clip(1, Span(2, 4), Span(1.75, 4.25), 1),
    ]


def test_texts_of_a_turn_are_rejoined() -> None:
    turn = Turn(Span(0, 4), "A")
    speech = [Span(0, 1), Span(3, 5)]
    assert utterance_of(turn, ["one", " two "], speech) == Utterance(
        Span(0, 4), "A", "one two", (Span(0, 1), Span(3, 4))
    )
    assert utterance_of(turn, ["one", None], speech).text == "one"
    assert utterance_of(turn, ["", ""], speech).text == ""
    assert utterance_of(turn, [None, None], speech).text is None
