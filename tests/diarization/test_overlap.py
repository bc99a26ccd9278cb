import pytest
from hypothesis import given

from tests.diarization.test_turns import turns
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.overlap import interruptions, overlap_share
from voxtral_serverless.diarization.turns import Turn

TALK = [
    Turn(Span(0, 4), "A"),
    Turn(Span(1, 2), "B"),  # a word thrown in
    Turn(Span(3.5, 6), "B"),  # an interruption
    Turn(Span(6, 8), "A"),
    Turn(Span(9, 10), "B"),
]


def test_share_of_overlap() -> None:
    assert overlap_share(TALK) == pytest.approx(1.5 / 9)
    assert overlap_share([]) == 0
    assert overlap_share([Turn(Span(0, 1), "A"), Turn(Span(0, 1), "B")]) == 1


def test_who_takes_the_floor_interrupts() -> None:
    assert interruptions(TALK) == 1
    assert interruptions([]) == 0
    relay = [Turn(Span(0, 2), "A"), Turn(Span(1, 3), "B"), Turn(Span(2, 4), "A"), Turn(Span(5, 6), "A")]
    assert interruptions(relay) == 2


@given(turns)
def test_share_is_a_share(some: list[Turn]) -> None:
    assert 0 <= overlap_share(some) <= 1
    assert overlap_share(some) == pytest.approx(overlap_share(reversed(some)))
    assert interruptions(some) < max(len(some), 1)
