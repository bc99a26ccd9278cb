from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import SAMPLE_RATE, Span
from voxtral_serverless.diarization.turns import Speech, Turn, in_order
from voxtral_serverless.transcription.plan import (
    MAX_CLIP_S,
    PADDING_S,
    Clip,
    Utterance,
    pack_speech,
    plan_by_turns,
    utterance_of,
)

CHANNELS = (None, 0, 1)


def everywhere(speech: Sequence[Span]) -> Speech:
    """The same speech in the mix and on both channels."""
    return dict.fromkeys(CHANNELS, speech)


def middle(span: Span, channel: int | None = None) -> float:
    return (span.start + span.end) / 2


def never(span: Span, channel: int | None = None) -> float:
    raise AssertionError(f"nothing needs the quietest moment of {span}")


def stretches(draw: st.DrawFn, limit: float, most: int, gaps: st.SearchStrategy[float]) -> list[Span]:
    """Stretches in order, of any length, apart by `gaps`, inside `limit` seconds."""
    found: list[Span] = []
    now = draw(st.floats(0, 5))
    lengths = st.one_of(st.floats(0.01, 3), st.floats(0.01, 200))
    for _ in range(draw(st.integers(0, most))):
        end = now + draw(lengths)
        if end > limit:
            break
        found.append(Span(now, end))
        now = end + draw(gaps)
    return found


@st.composite
def calls(draw: st.DrawFn) -> tuple[list[Turn], list[Span], float]:
    """Turns of the mix and of two channels, each channel's touching or apart; speech anywhere; the duration."""
    late = draw(st.sampled_from([0.0, 7200.1]))
    duration = late + draw(st.floats(1, 900))
    gaps = st.one_of(st.just(0.0), st.floats(0, 0.6), st.floats(0, 30))
    turns = [
        Turn(Span(late + span.start, late + span.end), "A", channel)
        for channel in draw(st.sampled_from([(None,), (0, 1), CHANNELS]))
        for span in stretches(draw, duration - late, 4, gaps)
    ]
    pauses = st.one_of(st.floats(0.01, 0.3), st.floats(0.01, 40))
    speech = [Span(late + span.start, late + span.end) for span in stretches(draw, duration - late, 12, pauses)]
    return in_order(turns), speech, duration


limits = st.sampled_from([5.0, MAX_CLIP_S, 77.7])
Call = tuple[list[Turn], list[Span], float]


def plan(call: Call, max_clip_s: float = MAX_CLIP_S, at: float = 0.5) -> list[Clip]:
    """The plan of a call whose quietest moments lie at a given share of the span that is searched."""

    def quietest(span: Span, channel: int | None) -> float:
        return min(span.start + at * span.duration, span.end)

    return plan_by_turns(call[0], everywhere(call[1]), call[2], max_clip_s=max_clip_s, quietest=quietest)


def samples(span: Span) -> tuple[int, int]:
    return round(span.start * SAMPLE_RATE), round(span.end * SAMPLE_RATE)


@given(calls(), limits, st.floats(0, 1))
def test_every_sample_of_a_turn_is_in_the_core_of_one_clip(call: Call, limit: float, at: float) -> None:
    clips = plan(call, limit, at)
    assert [clip.turn for clip in clips] == sorted(clip.turn for clip in clips)
    for index, turn in enumerate(call[0]):
        pieces = [clip for clip in clips if clip.turn == index]
        assert pieces[0].core.start == turn.span.start
        assert pieces[-1].core.end == turn.span.end
        assert all(one.core.end == other.core.start for one, other in pairwise(pieces))
        assert all(clip.core.duration > 0 and clip.channel == turn.channel for clip in pieces)


@given(calls(), limits, st.floats(0, 1))
def test_what_an_engine_hears_fits_one_window(call: Call, limit: float, at: float) -> None:
    for clip in plan(call, limit, at):
        first, last = samples(clip.audio)
        assert last - first <= limit * SAMPLE_RATE
        assert 0 <= clip.audio.start <= clip.core.start
        assert clip.core.end <= clip.audio.end <= call[2]


def test_rounding_to_samples_adds_none_to_a_window() -> None:
    start = 261.39584375
    clips = plan_by_turns([Turn(Span(start, start + 30), "A")], everywhere([]), 400, quietest=never)
    assert all(last - first <= 30 * SAMPLE_RATE for first, last in (samples(clip.audio) for clip in clips))


@given(calls(), limits)
def test_padding_is_short_at_the_ends_of_turns_only_and_in_no_other_turn(call: Call, limit: float) -> None:
    turns = call[0]
    for clip in plan(call, limit):
        turn = turns[clip.turn]
        before, after = Span(clip.audio.start, clip.core.start), Span(clip.core.end, clip.audio.end)
        assert max(before.duration, after.duration) <= PADDING_S + 1e-9
        assert before.duration == 0 or clip.core.start == turn.span.start
        assert after.duration == 0 or clip.core.end == turn.span.end
        for other in turns:
            if None in (turn.channel, other.channel) or turn.channel == other.channel:
                assert other.span.overlap(before) == other.span.overlap(after) == 0


@given(calls(), limits)
def test_padding_takes_what_is_free(call: Call, limit: float) -> None:
    turns, _, duration = call
    for clip in plan(call, limit):
        turn = turns[clip.turn]
        heard = [other.span for other in turns if turn.channel is None or other.channel in (turn.channel, None)]
        covered = any(span.start < turn.span.end < span.end for span in heard)
        nexts = [span.start for span in heard if span.start >= turn.span.end]
        room = 0.0 if covered else min([*nexts, duration]) - turn.span.end
        spare = limit - turn.span.duration
        if clip.core.end == turn.span.end and not 0 <= spare < 2 * PADDING_S + 0.001:
            assert clip.audio.end - clip.core.end == pytest.approx(min(room, PADDING_S), abs=1e-6)


@given(calls(), limits, st.floats(0, 1))
def test_no_tiny_pieces(call: Call, limit: float, at: float) -> None:
    for clip in plan(call, limit, at):
        if clip.core != call[0][clip.turn].span:
            assert clip.core.duration > limit / 4 - 2 * PADDING_S - 0.001


def silences(span: Span, speech: list[Span]) -> list[float]:
    """Seconds of each pause inside a span."""
    parts = [part for part in speech if part.overlap(span)]
    starts = [span.start, *(part.end for part in parts)]
    ends = [*(part.start for part in parts), span.end]
    return [end - start for start, end in zip(starts, ends, strict=True)]


@given(calls(), limits)
def test_cuts_lie_in_pauses_where_there_are_any(call: Call, limit: float) -> None:
    turns, speech, duration = call
    asked: list[float] = []

    def quietest(span: Span, channel: int | None) -> float:
        assert max(silences(span, speech)) < 0.1
        asked.append(middle(span))
        return asked[-1]

    for clip in plan_by_turns(turns, everywhere(speech), duration, max_clip_s=limit, quietest=quietest):
        cut = clip.core.start
        if cut != turns[clip.turn].span.start and cut not in asked:
            assert all(part.overlap(Span(cut - 0.049, cut + 0.049)) == 0 for part in speech)


@given(calls())
def test_speech_in_a_clip(call: Call) -> None:
    for clip in plan(call):
        voiced = sum(part.overlap(clip.core) for part in call[1])
        assert clip.speech_s == pytest.approx(voiced)
        assert clip.silent == (voiced == 0)


def test_long_turn_is_cut_in_the_middle_of_its_widest_late_pause() -> None:
    speech = [Span(0, 5), Span(9, 18), Span(18.2, 24), Span(25, 28), Span(28.1, 40)]
    clips = plan_by_turns([Turn(Span(0, 40), "A")], everywhere(speech), 40, quietest=never)
    assert [clip.core for clip in clips] == [Span(0, 24.5), Span(24.5, 40)]


def test_pause_at_the_edge_of_the_window_is_used_as_far_as_it_goes() -> None:
    clips = plan_by_turns(
        [Turn(Span(0.25, 100), "A")],
        everywhere([Span(0, 29), Span(34, 62), Span(62.1, 100)]),
        100,
        quietest=middle,
    )
    assert clips[0].core.end == pytest.approx(29.5, abs=0.001)


def test_a_turn_little_too_long_is_cut_near_its_middle() -> None:
    speech = [Span(0, 14), Span(14.3, 29.5), Span(30.1, 31)]
    clips = plan_by_turns([Turn(Span(0, 31), "A")], everywhere(speech), 31, quietest=never)
    assert [clip.core for clip in clips] == [Span(0, 14.15), Span(14.15, 31)]


def test_speech_without_a_pause_is_cut_at_its_quietest_moment() -> None:
    asked: list[tuple[Span, int | None]] = []

    def quietest(span: Span, channel: int | None) -> float:
        asked.append((span, channel))
        return span.start + 1

    # A pause of 0.06 s is none.
    clips = plan_by_turns(
        [Turn(Span(0.25, 70), "A", 1)], everywhere([Span(0, 20), Span(20.06, 70)]), 70, quietest=quietest
    )
    assert [round(clip.core.end, 3) for clip in clips] == [16, 32, 47.344, 70]
    assert [channel for _, channel in asked] == [1, 1, 1]
    assert asked[0][0].end == pytest.approx(MAX_CLIP_S, abs=0.001)


def test_padding_gives_way_before_a_turn_is_cut() -> None:
    [clip] = plan_by_turns([Turn(Span(1, 30.9), "A")], everywhere([Span(1, 30.9)]), 40, quietest=never)
    assert clip.audio.start == pytest.approx(0.95, abs=1e-4)
    assert clip.audio.end == pytest.approx(30.95, abs=1e-4)


@given(st.floats(0, 20_000), st.floats(28, MAX_CLIP_S - 0.0001))
def test_a_turn_that_fits_is_not_cut_for_its_padding(start: float, length: float) -> None:
    turn = Turn(Span(start, start + length), "A")
    [clip] = plan_by_turns([turn], everywhere([turn.span]), 30_000, quietest=never)
    first, last = samples(clip.audio)
    assert last - first <= MAX_CLIP_S * SAMPLE_RATE


def test_each_channel_has_speech_of_its_own() -> None:
    turns = [Turn(Span(1, 3), "A", 0), Turn(Span(1, 3), "B", 1)]
    clips = plan_by_turns(turns, {0: [Span(1, 3)], 1: [Span(3, 4)]}, 10, quietest=never)
    assert [clip.speech_s for clip in clips] == [2, 0]


def test_turns_of_two_channels_do_not_cut_each_others_padding() -> None:
    turns = [Turn(Span(1, 3), "A", 0), Turn(Span(2, 4), "B", 1)]
    clips = plan_by_turns(turns, everywhere([Span(1, 2.5)]), 10, quietest=never)
    assert clips == [
        Clip(0, Span(1, 3), Span(0.75, 3.25), 0, 1.5),
        Clip(1, Span(2, 4), Span(1.75, 4.25), 1, 0.5),
    ]


def test_a_turn_past_the_end_is_heard_as_far_as_the_recording_goes() -> None:
    [clip] = plan_by_turns([Turn(Span(8, 10.02), "A")], everywhere([]), 10, quietest=never)
    assert (clip.core, clip.audio) == (Span(8, 10.02), Span(7.75, 10))


@given(calls(), limits, st.floats(0, 8))
def test_packed_speech(call: Call, limit: float, hole: float) -> None:
    speech = call[1]
    packed = [turn.span for turn in pack_speech(speech, max_clip_s=limit, max_hole_s=hole)]
    for span in packed:
        inside = [part for part in speech if part.overlap(span)]
        assert (span.start, span.end) == (inside[0].start, inside[-1].end)
        assert all(other.start - one.end <= hole for one, other in pairwise(inside))
        assert len(inside) == 1 or span.duration <= limit - 2 * PADDING_S
    assert sum(len([part for part in speech if part.overlap(span)]) for span in packed) == len(speech)
    for one, other in pairwise(packed):
        first = next(part for part in speech if part.start == other.start)
        assert other.start - one.end > hole or first.end - one.start > limit - 2 * PADDING_S


@given(calls(), limits)
def test_packed_speech_that_fits_is_not_cut(call: Call, limit: float) -> None:
    turns = pack_speech([part for part in call[1] if part.duration < limit - 2 * PADDING_S], max_clip_s=limit)
    clips = plan_by_turns(turns, everywhere(call[1]), call[2], max_clip_s=limit, quietest=never)
    assert [clip.core for clip in clips] == [turn.span for turn in turns]


def test_packed_turn_leaves_room_for_its_padding() -> None:
    fits, too_long = [Span(0, 26), Span(28, 29.5)], [Span(0, 26), Span(28, 29.6)]
    assert [len(pack_speech(speech)) for speech in (fits, too_long)] == [1, 2]


def test_packed_speech_is_of_nobody() -> None:
    assert pack_speech([Span(0, 1), Span(5, 7), Span(13, 14)]) == [Turn(Span(0, 7), None), Turn(Span(13, 14), None)]


def test_texts_of_a_turn_are_rejoined() -> None:
    turn = Turn(Span(0, 4), "A")
    speech = {None: [Span(0, 1), Span(3, 5)], 1: [Span(2, 3)]}
    assert utterance_of(turn, ["one", " two "], speech) == Utterance(
        Span(0, 4), "A", "one two", (Span(0, 1), Span(3, 4))
    )
    assert utterance_of(replace(turn, channel=1), ["one"], speech).voiced == (Span(2, 3),)
    assert utterance_of(turn, ["one", None], speech).text == "one"
    assert utterance_of(turn, ["", ""], speech).text == ""
    assert utterance_of(turn, [None, None], speech).text is None
