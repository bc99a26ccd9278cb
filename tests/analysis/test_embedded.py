from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voxtral_serverless.analysis.embedded import SATISFACTION, EmbeddedAnalyst, EmbeddedReading
from voxtral_serverless.analysis.judgement import Judgement
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


async def reading(*texts: str | None, speakers: str = "AB", language: str = "en") -> EmbeddedReading:
    return await EmbeddedAnalyst().read(conversation(*texts, speakers=speakers), language)


async def judged(*texts: str | None, speakers: str = "AB") -> Judgement:
    return await (await reading(*texts, speakers=speakers)).judge()


async def summary(*texts: str | None) -> str:
    return await (await reading(*texts)).summarise("en")


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
    judgement = await judged(*texts)
    assert (judgement.label, judgement.satisfaction) == (label, satisfaction)


async def test_emotions_are_those_that_are_named() -> None:
    assert (await judged(HAPPY)).emotions[:2] == ("gratitude", "joie")
    assert (await judged(PLAIN, PLAIN)).emotions == ()


async def test_emotions_that_are_denied_are_not_named() -> None:
    assert (await judged("I am not happy, I was never satisfied, and this isn't perfect", PLAIN)).emotions == ()


async def test_monologue_has_no_customer() -> None:
    assert (await judged(HAPPY, PLAIN, speakers="A")).satisfaction is None


texts = st.lists(
    st.sampled_from([HAPPY, ANGRY, PLAIN, "yes", "", "no never", None]) | st.text(max_size=20), min_size=2, max_size=8
)


@settings(max_examples=50)
@given(texts)
async def test_any_words_are_judged_within_the_contract(texts: list[str | None]) -> None:
    judgement = await judged(*texts)
    assert 0 <= judgement.score <= 1
    assert len(judgement.emotions) <= 5
    assert set(judgement.emotions) <= set(get_args(Emotion))
    assert judgement.satisfaction in {None, SATISFACTION[judgement.label]}
    assert not judgement.contradictory
    judgement.as_answer("fr")


@settings(max_examples=50)
@given(texts)
async def test_any_speaker_is_judged_by_their_own_words(texts: list[str | None]) -> None:
    call = await reading(HAPPY, ANGRY, *texts)
    for speaker, own in (("A", [HAPPY, *texts[0::2]]), ("B", [ANGRY, *texts[1::2]])):
        tone = await call.judge_speaker(speaker)
        assert tone.quote in own
        assert tone.judgement.satisfaction is None
        assert 0 <= tone.judgement.score <= 1
        tone.as_answer("en")


@pytest.mark.parametrize(
    ("own", "label", "quote"),
    [
        ((PLAIN, HAPPY), "positif", HAPPY),
        ((ANGRY, PLAIN), "négatif", ANGRY),
        ((PLAIN, "all right"), "neutre", PLAIN),
        ((ANGRY, ANGRY, PLAIN, "not bad"), "négatif", ANGRY),
    ],
)
async def test_tone_of_a_speaker_and_the_words_that_carry_it(own: tuple[str, ...], label: str, quote: str) -> None:
    call = [Utterance(Span(2 * index, 2 * index + 1), "CLIENT", text) for index, text in enumerate(own)]
    other = Utterance(Span(100, 101), "AGENT", HAPPY if label == "négatif" else ANGRY)
    tone = await (await EmbeddedAnalyst().read([*call, other], "en", excerpt=True)).judge_speaker("CLIENT")
    assert (tone.judgement.label, tone.quote) == (label, quote)
    assert tone.span == call[own.index(quote)].span


async def test_summary_is_made_of_the_utterances_in_their_order() -> None:
    texts = [f"the {noun} was sent to the wrong address on monday" for noun in ("table", "chair", "lamp", "sofa")]
    said = [texts[0], "yes", texts[1], "one two three four five six", texts[2], "no", texts[3]]
    written = await summary(*said)
    assert written.startswith("Summary: ")
    quoted = written.removeprefix("Summary: ").removesuffix(".").split(". ")
    assert quoted
    positions = [said.index(quote) for quote in quoted]
    assert positions == sorted(positions)
    assert set(quoted) <= set(texts)


async def test_sentences_keep_their_own_marks() -> None:
    assert await summary("That is a very good thing indeed!") == "Summary: That is a very good thing indeed!"


@pytest.mark.parametrize("texts", [("yes",), ("the of and to it is",), ("yes", None, "no")])
async def test_summary_of_next_to_nothing(texts: tuple[str | None, ...]) -> None:
    assert (await summary(*texts)).startswith("Summary: ")


async def test_conversations_in_other_languages_are_refused() -> None:
    call = await reading(PLAIN, language="fr")
    for work in (call.summarise("en"), call.judge(), call.judge_speaker("A")):
        with pytest.raises(LanguageNotSupported, match="Voxtral"):
            await work


async def test_summaries_in_other_languages_are_refused() -> None:
    with pytest.raises(LanguageNotSupported, match="'fr'"):
        await (await reading(PLAIN)).summarise("fr")
