from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import (
    MERGE_GAP_S,
    Turn,
    covered_by,
    in_order,
    merge_gaps,
    name_by_appearance,
    without_speakers,
)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    start = draw(st.integers(0, 500))
    return Span(start / 10, (start + draw(st.integers(1, 80))) / 10)


turns = st.lists(st.builds(Turn, spans(), st.sampled_from("ABC"), st.sampled_from([None, 0, 1])), max_size=15)


def covered(some: list[Turn], speaker: str, tenth: int) -> bool:
    moment = tenth / 10 + 0.05
    return any(turn.speaker == speaker and turn.span.start < moment < turn.span.end for turn in some)


def test_short_gap_of_one_speaker_is_closed() -> None:
    assert merge_gaps([Turn(Span(0, 1), "A"), Turn(Span(2, 3), "A")]) == [Turn(Span(0, 3), "A")]
    apart = [Turn(Span(0, 1), "A"), Turn(Span(2.01, 3), "A")]
    assert merge_gaps(apart) == apart


def test_turn_of_another_speaker_keeps_turns_apart() -> None:
    between = [Turn(Span(0, 1), "A"), Turn(Span(1.1, 1.4), "B"), Turn(Span(1.5, 3), "A")]
    assert merge_gaps(between) == between


@given(turns)
def test_merging_loses_no_speech_and_changes_no_speaker(some: list[Turn]) -> None:
    merged = merge_gaps(some)
    for speaker in "ABC":
        for tenth in range(600):
            if covered(some, speaker, tenth):
                assert covered(merged, speaker, tenth)
    assert len(merged) <= len(some)


@given(turns)
def test_merging_twice_changes_nothing(some: list[Turn]) -> None:
    assert merge_gaps(merge_gaps(some)) == merge_gaps(some)


@given(turns)
def test_merged_turns_are_in_order(some: list[Turn]) -> None:
    merged = merge_gaps(some)
    assert merged == in_order(merged)
    for one, other in pairwise(merged):
        same = (one.speaker, one.channel) == (other.speaker, other.channel)
        assert not same or other.span.start - one.span.end > MERGE_GAP_S


@given(turns)
def test_names_follow_appearance(some: list[Turn]) -> None:
    named = name_by_appearance(some)
    first = list(dict.fromkeys(turn.speaker for turn in named))
    assert first == [f"SPEAKER_{index:02d}" for index in range(len(first))]
    assert [turn.span for turn in named] == [turn.span for turn in in_order(some)]
    pairs = {(old.speaker, new.speaker) for old, new in zip(in_order(some), named, strict=True)}
    assert len(pairs) == len(first)


@given(st.sets(st.integers(0, 600), max_size=16), spans())
def test_covered_parts_are_what_lies_inside(edges: set[int], span: Span) -> None:
    ordered = sorted(edges)
    regions = [Span(start / 10, end / 10) for start, end in zip(ordered[::2], ordered[1::2], strict=False)]
    parts = covered_by(regions, span)
    assert all(span.start <= part.start < part.end <= span.end for part in parts)
    assert sum(part.duration for part in parts) == pytest.approx(sum(region.overlap(span) for region in regions))


def test_speech_of_nobody() -> None:
    assert without_speakers([Span(0, 1)]) == [Turn(Span(0, 1), None)]
