from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import (
    FOLD_GAP_S,
    FRAGMENT_S,
    MERGE_GAP_S,
    SpeakerHints,
    Turn,
    count_notices,
    covered_by,
    fold_fragments,
    in_order,
    merge_gaps,
    names_by_appearance,
    renamed,
    unclaimed,
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


def test_word_spoken_over_a_turn_does_not_cut_it() -> None:
    over = [Turn(Span(0, 2), "A", 0), Turn(Span(1, 1.5), "B", 1), Turn(Span(2.5, 4), "A", 0)]
    assert merge_gaps(over) == [Turn(Span(0, 4), "A", 0), over[1]]


def test_pause_of_one_does_not_keep_the_others_turns_apart() -> None:
    both = [
        Turn(Span(0, 1), "A", 0),
        Turn(Span(0.2, 1.2), "B", 1),
        Turn(Span(1.3, 3), "B", 1),
        Turn(Span(1.5, 2), "A", 0),
    ]
    assert merge_gaps(both) == [Turn(Span(0, 2), "A", 0), Turn(Span(0.2, 3), "B", 1)]


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


def test_fragment_goes_to_its_nearer_neighbour() -> None:
    assert fold_fragments([Turn(Span(0, 1), "A"), Turn(Span(1.1, 1.3), "B"), Turn(Span(1.5, 9), "C")]) == [
        Turn(Span(0, 1.3), "A"),
        Turn(Span(1.5, 9), "C"),
    ]
    assert fold_fragments([Turn(Span(0, 1), "A"), Turn(Span(1.3, 1.5), "B"), Turn(Span(1.6, 2), "C")]) == [
        Turn(Span(0, 1), "A"),
        Turn(Span(1.3, 2), "C"),
    ]


def test_fragment_between_two_goes_to_the_longer() -> None:
    long_before = [Turn(Span(0, 3), "A"), Turn(Span(3, 3.125), "B"), Turn(Span(3.125, 4), "C")]
    assert fold_fragments(long_before) == [Turn(Span(0, 3.125), "A"), Turn(Span(3.125, 4), "C")]
    long_after = [Turn(Span(2, 3), "A"), Turn(Span(3, 3.125), "B"), Turn(Span(3.125, 5), "C")]
    assert fold_fragments(long_after) == [Turn(Span(2, 3), "A"), Turn(Span(3, 5), "C")]


def test_fragment_in_one_speakers_turn_joins_it_after_merging() -> None:
    slip = [Turn(Span(0, 3), "A"), Turn(Span(3.1, 3.2), "B"), Turn(Span(3.4, 5), "A")]
    assert merge_gaps(fold_fragments(slip)) == [Turn(Span(0, 5), "A")]


def test_lone_fragment_and_a_short_word_stay() -> None:
    apart = [Turn(Span(0, 1), "A"), Turn(Span(1.51, 1.6), "B"), Turn(Span(2.2, 3), "A")]
    assert fold_fragments(apart) == apart
    word = [Turn(Span(0, 1), "A"), Turn(Span(1, 1.25), "B"), Turn(Span(1.25, 3), "A")]
    assert fold_fragments(word) == word


def test_two_fragments_become_one_of_the_longer() -> None:
    assert fold_fragments([Turn(Span(0, 0.2), "A"), Turn(Span(0.5, 0.6), "B")]) == [Turn(Span(0, 0.6), "A")]
    assert fold_fragments([Turn(Span(0, 0.1), "A"), Turn(Span(0.2, 0.4), "B")]) == [Turn(Span(0, 0.4), "B")]


def test_speech_that_no_turn_claims() -> None:
    speech = [Span(0, 4), Span(5, 6), Span(8, 10)]
    found = [Turn(Span(0.05, 2.5), "A"), Turn(Span(8, 11), "B")]
    free = unclaimed(speech, found)
    assert free == [Turn(Span(2.5, 4), None), Turn(Span(5, 6), None)]
    assert unclaimed(speech, []) == without_speakers(speech)
    assert fold_fragments([*found, *free]) == in_order([*found, *free])


def test_little_of_nobodys_goes_to_the_turn_beside_it() -> None:
    assert fold_fragments([Turn(Span(0, 0.3), "A"), Turn(Span(0.3, 1.2), None)]) == [Turn(Span(0, 1.2), "A")]
    assert fold_fragments([Turn(Span(0, 0.2), "A"), Turn(Span(0.2, 5.2), None)]) == [Turn(Span(0, 5.2), None)]
    assert fold_fragments([Turn(Span(0, 0.2), "A"), Turn(Span(0.2, 0.9), None)]) == [Turn(Span(0, 0.9), "A")]
    alone = [Turn(Span(0, 1), "A"), Turn(Span(1.6, 2.2), None)]
    assert fold_fragments(alone) == alone


def test_fragment_inside_a_turn_vanishes_in_it() -> None:
    over = [Turn(Span(0, 9), "A"), Turn(Span(1, 2), "B"), Turn(Span(4, 4.2), "B"), Turn(Span(4.3, 5), "B")]
    assert fold_fragments(over) == [over[0], over[1], over[3]]


def test_turn_of_another_channel_takes_no_fragment() -> None:
    split = [Turn(Span(0, 3), "A", 0), Turn(Span(3, 3.1), "B", 1), Turn(Span(3.2, 5), "A", 0)]
    assert fold_fragments(split) == split


@st.composite
def fragments(draw: st.DrawFn) -> list[Turn]:
    """Many turns of about a fragment's length, near each other, touching and overlapping; on some channels."""
    lengths = st.one_of(st.integers(1, 6), st.integers(1, 80))
    some, now = [], 0
    for _ in range(draw(st.integers(0, 20))):
        now += draw(st.one_of(st.integers(0, 3), st.integers(0, 14)))
        span = Span(now / 16, (now + draw(lengths)) / 16)
        some.append(Turn(span, draw(st.sampled_from("ABC")), draw(st.sampled_from([None, 0, 1]))))
        now = draw(st.sampled_from([now, round(span.end * 16)]))
    return draw(st.permutations(some))


def gap(one: Turn, other: Turn) -> float:
    return max(one.span.start, other.span.start) - min(one.span.end, other.span.end)


@given(fragments())
def test_no_fragment_is_left_near_another_turn(some: list[Turn]) -> None:
    folded = fold_fragments(some)
    for index, turn in enumerate(folded):
        others = [other for at, other in enumerate(folded) if at != index and other.channel == turn.channel]
        assert turn.span.duration >= FRAGMENT_S or all(gap(turn, other) > FOLD_GAP_S for other in others)
    assert fold_fragments(folded) == folded == in_order(folded)


@given(fragments())
def test_folding_changes_fragments_and_their_neighbours_only(some: list[Turn]) -> None:
    folded = fold_fragments(some)
    fragments = [turn for turn in some if turn.span.duration < FRAGMENT_S]
    for turn in some:
        if turn not in fragments:
            kept = [one for one in folded if (one.speaker, one.channel) == (turn.speaker, turn.channel)]
            assert any(one.span.start <= turn.span.start and turn.span.end <= one.span.end for one in kept)
        if all(gap(turn, other) > FOLD_GAP_S for other in some if other is not turn and other.channel == turn.channel):
            assert turn in folded
    assert len(some) - len(fragments) <= len(folded) <= len(some)
    edges = {edge for turn in some for edge in (turn.span.start, turn.span.end)}
    assert {edge for turn in folded for edge in (turn.span.start, turn.span.end)} <= edges


@given(fragments())
def test_folding_loses_no_moment_of_a_channel(some: list[Turn]) -> None:
    folded = fold_fragments(some)
    for turn in some:
        reaches = [one for one in folded if one.channel == turn.channel]
        assert any(one.span.start <= turn.span.start and turn.span.end <= one.span.end for one in reaches)


@given(turns)
def test_names_follow_appearance(some: list[Turn]) -> None:
    named = renamed(some, names_by_appearance(some))
    first = list(dict.fromkeys(turn.speaker for turn in named))
    assert first == [f"SPEAKER_{index:02d}" for index in range(len(first))]
    assert [turn.span for turn in named] == [turn.span for turn in some]
    assert len({(old.speaker, new.speaker) for old, new in zip(some, named, strict=True)}) == len(first)


def test_who_has_no_name_stays_nameless() -> None:
    of_nobody = without_speakers([Span(0, 1)])
    assert renamed(of_nobody, names_by_appearance(of_nobody)) == of_nobody
    assert renamed([Turn(Span(0, 1), "late")], {}) == [Turn(Span(0, 1), "late")]


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        (SpeakerHints(), None),
        (SpeakerHints(2), None),
        (SpeakerHints(least=1, most=2), None),
        (SpeakerHints(3), "3 speakers were asked for, 2 could be told apart."),
        (SpeakerHints(least=4), "at least 4 speakers were asked for, 2"),
        (SpeakerHints(1), "1 speakers were asked for, 2"),
        (SpeakerHints(most=1), "at most 1 speakers"),
    ],
)
def test_count_that_is_not_met_is_told(hints: SpeakerHints, words: str | None) -> None:
    notices = count_notices([Turn(Span(0, 1), "A"), Turn(Span(1, 2), "B"), Turn(Span(2, 3), "A")], hints)
    assert len(notices) == (words is not None)
    assert all((words or "") in notice.message for notice in notices)
    assert not count_notices([], hints)


@given(st.sets(st.integers(0, 600), max_size=16), spans())
def test_covered_parts_are_what_lies_inside(edges: set[int], span: Span) -> None:
    ordered = sorted(edges)
    regions = [Span(start / 10, end / 10) for start, end in zip(ordered[::2], ordered[1::2], strict=False)]
    parts = covered_by(regions, span)
    assert all(span.start <= part.start < part.end <= span.end for part in parts)
    assert sum(part.duration for part in parts) == pytest.approx(sum(region.overlap(span) for region in regions))


def test_speech_of_nobody() -> None:
    assert without_speakers([Span(0, 1)]) == [Turn(Span(0, 1), None)]
