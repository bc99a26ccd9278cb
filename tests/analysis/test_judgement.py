from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.analysis.judgement import Judgement, SpeakerTone, SpeakerTones, combined, combined_tone
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.contract import Emotion, Satisfaction, SentimentLabel
from voxtral_serverless.settings import LabelLanguage

JUDGEMENT = Judgement("négatif", 0.756, ("colère", "frustration"), "insatisfait")
TONE = SpeakerTone(Judgement("positif", 0.904, ("joie",)), "c'est parfait", Span(1.234, 2.345))

judgements = st.builds(
    Judgement,
    st.sampled_from(get_args(SentimentLabel)),
    st.floats(0, 1),
    st.lists(st.sampled_from(get_args(Emotion)), max_size=5, unique=True).map(tuple),
    st.none() | st.sampled_from(get_args(Satisfaction)),
).filter(lambda judgement: not judgement.contradictory)
weighed = st.lists(st.tuples(judgements, st.integers(1, 10_000)), min_size=1, max_size=8)


def test_labels_are_french_by_default() -> None:
    assert JUDGEMENT.as_answer("fr").model_dump() == {
        "sentiment": "négatif", "score": 0.76, "emotions": ["colère", "frustration"],
        "satisfaction_client": "insatisfait",
    }  # fmt: skip


def test_labels_in_english() -> None:
    assert JUDGEMENT.as_answer("en").model_dump() == {
        "sentiment": "negative", "score": 0.76, "emotions": ["anger", "frustration"],
        "satisfaction_client": "dissatisfied",
    }  # fmt: skip


def test_no_customer_is_null() -> None:
    assert Judgement("neutre", 1, (), None).as_answer("fr").satisfaction_client is None


@pytest.mark.parametrize(
    ("language", "sentiment", "emotions"), [("fr", "positif", ["joie"]), ("en", "positive", ["joy"])]
)
def test_tone_has_its_words_and_their_time(language: LabelLanguage, sentiment: str, emotions: list[str]) -> None:
    assert TONE.as_answer(language).model_dump() == {
        "sentiment": sentiment, "score": 0.9, "emotions": emotions,
        "quote": {"text": "c'est parfait", "start": 1.23, "end": 2.35},
    }  # fmt: skip


@pytest.mark.parametrize("language", ["fr", "en"])
def test_tones_of_a_speaker(language: LabelLanguage) -> None:
    tones = SpeakerTones("A", ((Span(0, 1.006), None), (Span(1.006, 2.5), TONE)), TONE)
    tone = TONE.as_answer(language).model_dump()
    assert tones.as_answer(language).model_dump() == {
        "speaker": "A", "overall": tone,
        "thirds": [{"start": 0, "end": 1.01, "tone": None}, {"start": 1.01, "end": 2.5, "tone": tone}],
    }  # fmt: skip
    assert SpeakerTones("A", (), None).as_answer(language).overall is None


def test_every_word_of_the_contract_has_an_english_one_of_its_own() -> None:
    labels = [Judgement(label, 0, ()).as_answer("en").sentiment for label in get_args(SentimentLabel)]
    emotions = [Judgement("neutre", 0, (emotion,)).as_answer("en").emotions[0] for emotion in get_args(Emotion)]
    assert (len(set(labels)), len(set(emotions))) == (4, 16)
    assert all(word.isascii() for word in labels + emotions)


@pytest.mark.parametrize(
    ("label", "satisfaction", "contradictory"),
    [
        ("positif", "insatisfait", True),
        ("négatif", "satisfait", True),
        ("positif", "satisfait", False),
        ("négatif", "insatisfait", False),
        ("positif", "neutre", False),
        ("négatif", None, False),
        ("mixte", "satisfait", False),
        ("neutre", "insatisfait", False),
    ],
)
def test_label_and_satisfaction_that_exclude_each_other(
    label: SentimentLabel, satisfaction: Satisfaction | None, contradictory: bool
) -> None:
    assert Judgement(label, 0.5, (), satisfaction).contradictory is contradictory


def verdict(label: SentimentLabel, score: float = 0.8, *emotions: Emotion, satisfaction: Any = None) -> Judgement:
    return Judgement(label, score, emotions, satisfaction)


def test_one_part_is_the_whole() -> None:
    assert combined([JUDGEMENT], [17]) == JUDGEMENT


def test_the_label_that_most_is_said_under() -> None:
    parts = [verdict("positif"), verdict("neutre"), verdict("neutre", 0.4)]
    assert combined(parts, [90, 30, 30]).label == "positif"
    assert combined(parts, [50, 30, 30]).label == "neutre"
    assert combined(parts, [40, 60, 60]).score == pytest.approx((0.8 + 0.4) * 60 / 160)


@pytest.mark.parametrize(("positive", "negative", "label"), [(3, 1, "mixte"), (4, 1, "positif"), (1, 4, "négatif")])
def test_mixed_where_a_quarter_is_positive_and_a_quarter_negative(positive: int, negative: int, label: str) -> None:
    assert combined([verdict("positif"), verdict("négatif")], [positive, negative]).label == label


@pytest.mark.parametrize(("mixed", "neutral", "label"), [(1, 1, "mixte"), (2, 3, "neutre"), (3, 2, "mixte")])
def test_half_of_what_is_mixed_is_each(mixed: int, neutral: int, label: str) -> None:
    assert combined([verdict("mixte"), verdict("neutre")], [mixed, neutral]).label == label


def test_score_of_what_is_mixed() -> None:
    assert combined([verdict("positif", 0.6), verdict("négatif", 0.9)], [1, 1]).score == pytest.approx(0.6)
    assert combined([verdict("mixte", 0.7), verdict("mixte", 0.9)], [1, 1]).score == pytest.approx(0.8)


def test_satisfaction_is_that_of_the_end() -> None:
    first, last = verdict("neutre", satisfaction="insatisfait"), verdict("neutre", satisfaction="satisfait")
    assert combined([first, last], [9, 1]).satisfaction == "satisfait"
    assert combined([first, verdict("neutre")], [1, 9]).satisfaction == "insatisfait"
    assert combined([verdict("neutre")] * 2, [1, 1]).satisfaction is None


def test_mixed_where_the_end_excludes_the_label() -> None:
    parts = [verdict("négatif", 0.9, satisfaction="insatisfait"), verdict("neutre", 0.9, satisfaction="satisfait")]
    whole = combined(parts, [9, 1])
    assert (whole.label, whole.satisfaction) == ("mixte", "satisfait")
    assert whole.score == pytest.approx(1 - 0.81)


def test_clearest_emotions_of_the_longest_parts_come_first() -> None:
    parts = [verdict("neutre", 0.5, "joie", "surprise"), verdict("neutre", 0.5, "colère", "surprise", "joie")]
    assert combined(parts, [1, 3]).emotions == ("surprise", "colère", "joie")
    assert combined(parts, [3, 1]).emotions == ("joie", "surprise", "colère")


@given(weighed)
def test_verdicts_on_parts_make_one_within_the_contract(parts: list[tuple[Judgement, int]]) -> None:
    whole = combined([judgement for judgement, _ in parts], [weight for _, weight in parts])
    assert 0 <= whole.score <= 1
    assert len(whole.emotions) == len(set(whole.emotions)) <= 5
    assert set(whole.emotions) <= {emotion for judgement, _ in parts for emotion in judgement.emotions}
    assert not whole.contradictory
    assert whole.satisfaction in {None, *(judgement.satisfaction for judgement, _ in parts)}
    whole.as_answer("fr")


@given(judgements, st.lists(st.integers(1, 10_000), min_size=1, max_size=8))
def test_parts_that_agree_make_the_same(judgement: Judgement, weights: list[int]) -> None:
    whole = combined([judgement] * len(weights), weights)
    assert (whole.label, whole.emotions, whole.satisfaction) == (
        judgement.label,
        judgement.emotions,
        judgement.satisfaction,
    )
    assert whole.score == pytest.approx(judgement.score)


def tone(label: SentimentLabel, score: float, quote: str) -> SpeakerTone:
    return SpeakerTone(Judgement(label, score, ()), quote, Span(len(quote), len(quote) + 1))


def test_one_tone_is_the_whole() -> None:
    assert combined_tone([TONE], [1]) == TONE


def test_quote_is_of_the_part_that_says_most_of_the_same() -> None:
    tones = [tone("neutre", 1, "a"), tone("positif", 0.9, "bb"), tone("positif", 0.5, "ccc")]
    whole = combined_tone(tones, [3, 2, 4])
    assert (whole.judgement.label, whole.quote, whole.span) == ("positif", "ccc", Span(3, 4))
    assert combined_tone(tones, [3, 3, 4]).quote == "bb"


def test_quote_of_what_is_mixed_is_the_clearest_of_the_most() -> None:
    tones = [tone("positif", 0.9, "a"), tone("négatif", 0.8, "bb")]
    assert combined_tone(tones, [1, 1]).quote == "a"
    assert combined_tone(tones, [2, 3]).quote == "bb"
    assert combined_tone([*tones, tone("mixte", 0.1, "ccc")], [2, 3, 1]).quote == "ccc"


@given(weighed)
def test_tone_of_the_whole_quotes_a_part(parts: list[tuple[Judgement, int]]) -> None:
    weights = [weight for _, weight in parts]
    tones = [SpeakerTone(judgement, str(number), Span(number, number)) for number, (judgement, _) in enumerate(parts)]
    whole = combined_tone(tones, weights)
    assert whole.judgement == combined([judgement for judgement, _ in parts], weights)
    assert (whole.quote, whole.span) in {(one.quote, one.span) for one in tones}


@pytest.mark.parametrize("label", ["positif", "négatif"])
def test_half_of_a_call_that_says_something_outweighs_the_half_that_does_not(label: SentimentLabel) -> None:
    for order in (1, -1):
        halves = [Judgement(label, 0.8, ()), Judgement("neutre", 0.8, ())][::order]
        assert combined(halves, [1, 1]).label == label
