"""The labelled calls: what their file promises, and what it refuses."""

import json
import re
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from voxtral_serverless.analysis.prompts import FRENCH
from voxtral_serverless.errors import InternalError
from voxtral_serverless.qualify.labelled_calls import labelled_calls, read_calls
from voxtral_serverless.transcription.language import identify

CALLS = labelled_calls()
CALL: dict[str, Any] = {
    "id": "one",
    "about": "short",
    "labels": {"sentiment": ["neutre"], "satisfaction": [None]},
    "turns": [["A", "Allô ?"], ["B", "Pardon, je me suis trompé."]],
}


def test_there_are_thirty_calls_of_many_lengths() -> None:
    lengths = sorted(len(call.turns) for call in CALLS)
    assert len(CALLS) == 30
    assert lengths[0] < 12
    assert all(12 <= length <= 40 for length in lengths[1:-3])
    assert all(length >= 60 for length in lengths[-3:])


def test_each_label_is_the_best_one_often_enough() -> None:
    sentiments = Counter(call.sentiment[0] for call in CALLS)
    satisfactions = Counter(call.satisfaction[0] for call in CALLS)
    assert min(sentiments[label] for label in ("positif", "neutre", "négatif", "mixte")) >= 5
    assert min(satisfactions[label] for label in ("satisfait", "neutre", "insatisfait")) >= 5
    assert satisfactions[None] >= 4


@pytest.mark.parametrize(
    ("name", "satisfactions"),
    [
        ("sav_telephone_bonne_humeur", {"neutre", "satisfait"}),
        ("hotel_annulation", {"neutre", "insatisfait"}),
        ("mairie_nid_de_poule", {"neutre", "insatisfait"}),
        ("energie_facture_double", {"insatisfait"}),
    ],
)
def test_where_honest_people_differ_both_are_right(name: str, satisfactions: set[str]) -> None:
    [call] = [call for call in CALLS if call.id == name]
    assert {*call.satisfaction} == satisfactions


def test_a_constant_answer_is_far_from_the_target() -> None:
    """Whoever always says the same must not pass for an analyst."""
    for label in ("positif", "neutre", "négatif", "mixte"):
        assert sum(label in call.sentiment for call in CALLS) <= len(CALLS) / 2
    for satisfaction in ("satisfait", "neutre", "insatisfait", None):
        assert sum(satisfaction in call.satisfaction for call in CALLS) <= len(CALLS) / 2


def test_most_calls_have_figures_to_get_wrong() -> None:
    assert sum(bool(re.search(r"\d (?:€|euros)", call.text)) for call in CALLS) >= 20
    assert (
        sum(bool(re.search(r"\d (?:janvier|février|mars|avril|mai|juin|juillet)", call.text)) for call in CALLS) >= 12
    )


def test_all_is_french_and_none_of_it_gives_an_answer_away() -> None:
    for call in CALLS:
        assert "  " not in call.text
        assert identify([text for _, text in call.turns]) == "fr"
        if call.id != "injection_consigne":
            assert not re.search(r"\b(?:positif|négatif|mixte|(?:in)?satisfaite?s?)\b", call.text)
    assert FRENCH.sentiment not in "\n".join(call.text for call in CALLS)


def test_utterances_follow_each_other_at_the_pace_of_speech() -> None:
    for call in CALLS:
        utterances = call.utterances()
        assert [one.text for one in utterances] == [text for _, text in call.turns]
        assert all(one.span.end < other.span.start for one, other in pairwise(utterances))
        words, minutes = len(call.text.split()), sum(one.span.duration for one in utterances) / 60
        assert words / minutes == pytest.approx(150)


def test_speakers_are_called_by_the_order_in_which_they_speak() -> None:
    [call] = read_calls(json.dumps([CALL | {"turns": [["B", "Oui ?"], ["A", "Non."], ["B", "Bon."]]}]).encode())
    assert [one.speaker for one in call.utterances()] == ["SPEAKER_00", "SPEAKER_01", "SPEAKER_00"]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "Not ascii é"},
        {"turns": []},
        {"turns": [["D", "Allô ?"]]},
        {"turns": [["A", ""]]},
        {"labels": {"sentiment": [], "satisfaction": [None]}},
        {"labels": {"sentiment": ["joyeux"], "satisfaction": [None]}},
        {"labels": {"sentiment": ["positif"], "satisfaction": ["insatisfait"]}},
        {"labels": {"sentiment": ["négatif"], "satisfaction": ["satisfait"]}},
        {"more": 1},
    ],
)
def test_a_call_that_cannot_be_used_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InternalError):
        read_calls(json.dumps([CALL | change]).encode())


def test_two_calls_of_one_id_are_refused() -> None:
    with pytest.raises(InternalError, match="same id"):
        read_calls(json.dumps([CALL, CALL]).encode())
