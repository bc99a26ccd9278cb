from itertools import permutations

import pytest

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import Turn
from voxtral_serverless.transcription.plan import Clip
from voxtral_serverless.transcription.turn_texts import TurnTexts
from voxtral_serverless.transcription.words import Word

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
    assert [texts.utterance(turn).text for turn in range(2)] == ["I help?", None]


def test_words_of_a_turn_are_those_of_its_clips() -> None:
    texts = TurnTexts(TURNS, CLIPS, {None: []})
    for index, text in enumerate(("How can", "I help?", "")):
        texts.heard(index, text)
    how, can, i, helping = (
        Word(text, Span(index, index + 1)) for index, text in enumerate(["How", "can", "I", "help?"])
    )
    assert texts.words(0, [(how, can), (i, helping), ()]) == (how, can, i, helping)
    assert texts.words(0, [(how, can), (), ()]) == (), "of half of the turn they are not told"
    assert texts.words(1, [(), (), ()]) == ()
