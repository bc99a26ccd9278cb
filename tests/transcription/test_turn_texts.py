from itertools import permutations

import pytest

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import Turn
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.turn_texts import TurnTexts

TURNS = [Turn(Span(0, 40), "SPEAKER_00"), Turn(Span(41, 43), "SPEAKER_01")]
CLIPS = [
    Clip(turn, span, span, None, span.duration)
    for turn, span in ((0, Span(0, 20)), (0, Span(20, 40)), (1, Span(41, 43)))
]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_an_utterance_comes_with_the_last_clip_of_its_turn(order: tuple[int, ...]) -> None:
    texts = TurnTexts(TURNS, CLIPS, {None: []})
    words = ("How can", "I help?", "Thank you.")
    told = [utterance.text for index in order if (utterance := texts.heard(index, words[index]))]
    assert sorted(text or "" for text in told) == ["How can I help?", "Thank you."]
    assert (texts.finished, texts.turns, texts.lost) == (2, 2, 0)
    assert [texts.utterance(turn).text for turn in range(2)] == ["How can I help?", "Thank you."]


def test_lost_clips() -> None:
    texts = TurnTexts(TURNS, CLIPS, {None: []})
    assert texts.heard(1, "I help?") is None
    assert (texts.finished, texts.lost) == (0, 2)
    assert texts.of_clips([0, 1]) == ["", "I help?"]
    assert [texts.utterance(turn).text for turn in range(2)] == ["I help?", None]
