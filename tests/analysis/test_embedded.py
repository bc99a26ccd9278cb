from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.analysis import embedded
from voxtral_serverless.analysis.embedded import SATISFACTION, EmbeddedAnalyst
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.contract import Emotion
from voxtral_serverless.errors import LanguageNotSupported
from voxtral_serverless.transcription.plan import Utterance

HAPPY = "thank you so much that is wonderful and I am very happy"
ANGRY = "this is terrible I am angry and your service is awful and bad"
PLAIN = "the parcel is on the second shelf next to the door"


def conversation(*texts: str | None, speakers: str = "AB") -> list[Utterance]:
    return [
        Utterance(Span(index, index + 1), speakers[index % len(speakers)], text) for index, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("texts", "label", "satisfaction"),
    [
        ((HAPPY, PLAIN), "positif", "satisfait"),
        ((ANGRY, PLAIN), "négatif", "insatisfait"),
        ((PLAIN, PLAIN), "neutre", "neutre"),
        ((HAPPY, ANGRY), "mixte", "neutre"),
    ],
)
async def test_sentiment(texts: tuple[str, ...], label: str, satisfaction: str) -> None:
    judgement = await EmbeddedAnalyst().judge(conversation(*texts), "en")
    assert (judgement.label, judgement.satisfaction) == (label, satisfaction)


async def test_emotions_are_those_that_are_named() -> None:
    assert (await EmbeddedAnalyst().judge(conversation(HAPPY), "en")).emotions[:2] == ("gratitude", "joie")
    assert (await EmbeddedAnalyst().judge(conversation(PLAIN, PLAIN), "en")).emotions == ()


async def test_emotions_that_are_denied_are_not_named() -> None:
    said = "I am not happy, I was never satisfied, and this isn't perfect"
    assert (await EmbeddedAnalyst().judge(conversation(said, PLAIN), "en")).emotions == ()


async def test_monologue_has_no_customer() -> None:
    assert (await EmbeddedAnalyst().judge(conversation(HAPPY, PLAIN, speakers="A"), "en")).satisfaction is None


@given(st.lists(st.sampled_from([HAPPY, ANGRY, PLAIN, "yes", "", "no never"]) | st.text(max_size=20), max_size=8))
def test_any_words_are_judged_within_the_contract(texts: list[str]) -> None:
    judgement = embedded._judge(texts, monologue=False)
    assert 0 <= judgement.score <= 1
    assert len(judgement.emotions) <= 5
    assert set(judgement.emotions) <= set(get_args(Emotion))
    assert judgement.satisfaction == SATISFACTION[judgement.label]
    judgement.as_answer("fr")


async def test_summary_is_made_of_the_utterances_in_their_order() -> None:
    texts = [f"the {noun} was sent to the wrong address on monday" for noun in ("table", "chair", "lamp", "sofa")]
    said = [texts[0], "yes", texts[1], "one two three four five six", texts[2], "no", texts[3]]
    summary = await EmbeddedAnalyst().summarise(conversation(*said), "en")
    assert summary.startswith("Summary: ")
    quoted = summary.removeprefix("Summary: ").removesuffix(".").split(". ")
    assert quoted
    positions = [said.index(quote) for quote in quoted]
    assert positions == sorted(positions)
    assert set(quoted) <= set(texts)


async def test_sentences_keep_their_own_marks() -> None:
    summary = await EmbeddedAnalyst().summarise(conversation("That is a very good thing indeed!"), "en")
    assert summary == "Summary: That is a very good thing indeed!"


@pytest.mark.parametrize("texts", [("yes",), ("the of and to it is",), ("yes", None, "no")])
async def test_summary_of_next_to_nothing(texts: tuple[str | None, ...]) -> None:
    assert (await EmbeddedAnalyst().summarise(conversation(*texts), "en")).startswith("Summary: ")


async def test_other_languages_are_refused() -> None:
    for work in (EmbeddedAnalyst().summarise, EmbeddedAnalyst().judge):
        with pytest.raises(LanguageNotSupported, match="Voxtral"):
            await work(conversation(PLAIN), "fr")
