"""The analysis stage: what honest analysts with planted faults are told to be."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from voxtral_serverless.analysis.judgement import Judgement, SpeakerTone
from voxtral_serverless.contract import Satisfaction, SentimentLabel
from voxtral_serverless.errors import AnswerUnusable, EngineUnavailable, LanguageNotSupported, StageFailed, VoxtralError
from voxtral_serverless.qualify.analysis import sentences, units
from voxtral_serverless.qualify.labelled_calls import LabelledCall, labelled_calls
from voxtral_serverless.qualify.units import Reading
from voxtral_serverless.services import Services, embedded_services
from voxtral_serverless.settings import load_settings
from voxtral_serverless.transcription.plan import Utterance

CALLS = labelled_calls()
CALL = next(call for call in CALLS if call.id == "energie_facture_double")
HONEST = (
    "Résumé: Mme Odile Perrin appelle Volta Énergie au sujet d'une facture de 187,40 € du 12 mars, prélevée deux fois. "
    "M. Karim annonce huit semaines."
)


@dataclass
class Told:
    """An analyst, and its reading, that answers what it was told to."""

    summary: str | VoxtralError = HONEST
    sentiment: SentimentLabel | VoxtralError = "neutre"
    satisfaction: Satisfaction | None = "insatisfait"
    asked: list[Any] = field(default_factory=list)

    async def read(self, utterances: Sequence[Utterance], language: str, *, excerpt: bool = False) -> "Told":
        self.asked.append((list(utterances), language, excerpt))
        return self

    async def summarise(self, language: str) -> str:
        self.asked.append(language)
        if isinstance(self.summary, VoxtralError):
            raise self.summary
        return self.summary

    async def judge(self) -> Judgement:
        if isinstance(self.sentiment, VoxtralError):
            raise self.sentiment
        return Judgement(self.sentiment, 0.9, (), self.satisfaction)

    async def judge_speaker(self, speaker: str) -> SpeakerTone:
        raise AssertionError(f"nobody asks for {speaker}")


class Waiting(Told):
    """Answers a question only once the other is asked too."""

    def __init__(self) -> None:
        super().__init__()
        self._both = asyncio.Barrier(2)

    async def summarise(self, language: str) -> str:
        await self._both.wait()
        return await super().summarise(language)

    async def judge(self) -> Judgement:
        await self._both.wait()
        return await super().judge()


class Unreadable(Told):
    """Cannot even read a call."""

    async def read(self, utterances: Sequence[Utterance], language: str, *, excerpt: bool = False) -> Told:
        raise EngineUnavailable("the engine is gone.")


def embedded() -> Services:
    return embedded_services(load_settings(engine="embedded"))


async def measured(analyst: Told, call: LabelledCall = CALL) -> Reading:
    [unit] = units(replace(embedded(), analyst=analyst), [call])
    return await unit.measure()


def test_there_is_a_unit_for_each_call() -> None:
    assert [unit.name for unit in units(embedded(), CALLS)] == [f"analysis/{call.id}" for call in CALLS]


async def test_an_honest_analyst_is_found_honest() -> None:
    analyst = Told()
    reading = await measured(analyst)
    took = reading.pop("took_s")
    assert isinstance(took, float)
    assert 0 <= took < 60
    assert reading == {
        "sentiment": "neutre",
        "satisfaction": "insatisfait",
        "sentiment_right": True,
        "satisfaction_right": True,
        "invented": {"names": [], "amounts": [], "dates": []},
        "summary": HONEST,
        "prefixed": True,
        "words": 24,
        "sentences": 2,
        "asked_sentences": 3,
        "failures": [],
    }
    assert analyst.asked == [(list(CALL.utterances()), "fr", False), "fr"]


async def test_both_questions_are_asked_side_by_side() -> None:
    assert (await asyncio.wait_for(measured(Waiting()), 60))["failures"] == []


async def test_inventions_are_counted() -> None:
    planted = HONEST.replace("Odile", "Sophie").replace("187,40", "178,40").replace("12 mars", "13 mars")
    reading = await measured(Told(planted))
    assert reading["invented"] == {"names": ["Sophie"], "amounts": ["178,40 €"], "dates": ["13 mars"]}


async def test_a_summary_that_is_too_long_shows() -> None:
    reading = await measured(Told("Résumé: " + " ".join(f"La phrase {number} ne dit rien." for number in range(30))))
    assert reading["sentences"] == 30
    assert isinstance(reading["asked_sentences"], int)
    assert reading["asked_sentences"] < 10


async def test_a_summary_without_its_word_shows() -> None:
    reading = await measured(Told(HONEST.removeprefix("Résumé: ")))
    assert (reading["prefixed"], reading["words"], reading["sentences"]) == (False, 24, 2)


@pytest.mark.parametrize(
    ("sentiment", "satisfaction", "right"),
    [
        ("neutre", "insatisfait", (True, True)),
        ("négatif", "insatisfait", (False, True)),
        ("neutre", "satisfait", (True, False)),
        ("positif", None, (False, False)),
    ],
)
async def test_wrong_labels_are_wrong(sentiment: Any, satisfaction: Any, right: tuple[bool, bool]) -> None:
    reading = await measured(Told(sentiment=sentiment, satisfaction=satisfaction))
    assert (reading["sentiment_right"], reading["satisfaction_right"]) == right


async def test_each_acceptable_label_is_right() -> None:
    for call in CALLS:
        for sentiment in call.sentiment:
            for satisfaction in call.satisfaction:
                reading = await measured(Told(sentiment=sentiment, satisfaction=satisfaction), call)
                assert reading["sentiment_right"] is reading["satisfaction_right"] is True


async def test_a_verdict_that_fails_is_wrong_and_leaves_the_summary() -> None:
    reading = await measured(Told(sentiment=AnswerUnusable("the sentiment failed.")))
    assert (reading["sentiment"], reading["satisfaction"]) == (None, None)
    assert (reading["sentiment_right"], reading["satisfaction_right"]) == (False, False)
    assert (reading["summary"], reading["failures"]) == (HONEST, ["answer_unusable"])


async def test_null_is_right_only_where_it_was_said() -> None:
    """A verdict that failed is no verdict that nobody is a customer."""
    nobody = next(call for call in CALLS if call.satisfaction == (None,))
    assert (await measured(Told(satisfaction=None), nobody))["satisfaction_right"] is True
    assert (await measured(Told(sentiment=StageFailed("gone.")), nobody))["satisfaction_right"] is False


async def test_a_summary_that_fails_is_null_and_leaves_the_verdict() -> None:
    reading = await measured(Told(AnswerUnusable("the summary failed.")))
    assert (reading["summary"], reading["prefixed"], reading["words"], reading["sentences"]) == (None, False, 0, 0)
    assert reading["invented"] == {"names": [], "amounts": [], "dates": []}
    assert (reading["sentiment_right"], reading["failures"]) == (True, ["answer_unusable"])


async def test_where_both_fail_the_unit_fails() -> None:
    with pytest.raises(StageFailed):
        await measured(Told(StageFailed("gone."), StageFailed("gone.")))


async def test_a_call_that_cannot_be_read_fails() -> None:
    with pytest.raises(EngineUnavailable):
        await measured(Unreadable())


async def test_the_embedded_analyst_reads_no_french() -> None:
    [unit] = units(embedded(), [CALL])
    with pytest.raises(LanguageNotSupported):
        await unit.measure()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("Sans point", 1),
        ("Une. Deux ! Trois ? Quatre…", 4),
        ("M. Karim parle à Mme. Perrin et au Dr. Roux.", 1),
        ("Il paie 3.50 € vers 14 h 30. C'est tout.", 2),
        ("« C'est honteux ! » dit-il. Il raccroche.", 2),
        ("Il hésite... puis accepte, etc. et raccroche.", 1),
        ("Il habite av. Foch, chez J. Roux. Il (l'agent.) Rien", 3),
        ("Il habite salle B. Olivier vient.", 2),
        ("Il parle à J. Roux, madame A. Huet et Jean C. Roussel.", 1),
        ("Le dossier est le n. 12.", 1),
        ("Il ne dit que n. Rien.", 2),
        ("C'est à 10 h, cf. Mme Huet.", 1),
    ],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert sentences(text) == count
