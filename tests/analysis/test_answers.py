import json
import time
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.analysis.answers import (
    LANGUAGES,
    QUOTE_CHARACTERS,
    SENTIMENT_SCHEMA,
    TONE_SCHEMA,
    Fault,
    Unusable,
    labelled,
    read_judgement,
    read_summary,
    read_tone,
    without_label,
)
from voxtral_serverless.analysis.judgement import Judgement, SpeakerTone
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.contract import Emotion, Satisfaction, SentimentLabel
from voxtral_serverless.engine.client import Answer
from voxtral_serverless.transcription.plan import Utterance

MARK = "a1b2c3d4e5f6"
SAID = [Utterance(Span(0, 2), "A", "Bonjour."), Utterance(Span(4, 6), "A", "Ma table est cassée, c'est inadmissible !")]
VERDICT: dict[str, Any] = {
    "sentiment": "négatif",
    "score": 0.8,
    "emotions": ["colère", "déception"],
    "satisfaction_client": "insatisfait",
}
TONE: dict[str, Any] = {"quote": "table est CASSÉE", "sentiment": "négatif", "score": 0.8, "emotions": ["colère"]}
BROKEN: dict[str, Any] = {
    "label in English": {"sentiment": "negative"},
    "label of two words": {"sentiment": "très négatif"},
    "label in capitals": {"sentiment": "Négatif"},
    "no label": {"sentiment": None},
    "list of labels": {"sentiment": ["négatif"]},
    "score over 1": {"score": 1.0001},
    "score in percent": {"score": 80},
    "score below 0": {"score": -0.01},
    "score as a text": {"score": "0.8"},
    "score as a truth": {"score": True},
    "no score": {"score": None},
    "emotion unknown": {"emotions": ["amour"]},
    "emotion in English": {"emotions": ["anger"]},
    "six emotions": {"emotions": ["joie", "colère", "surprise", "confusion", "tristesse", "intérêt"]},
    "emotions as a text": {"emotions": "colère"},
    "emotions as an object": {"emotions": {"colère": 1}},
    "no emotions": {"emotions": None},
    "key too many": {"reason": "because"},
    "key that Python has": {"__class__": "x"},
}
"""Faults that either verdict can have."""


def answer(value: object, finish_reason: str | None = "stop") -> Answer:
    return Answer(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), finish_reason)


def fault_of_judgement(given: Answer) -> Fault | None:
    try:
        read_judgement(given)
    except Unusable as error:
        return error.fault
    return None


def fault_of_tone(given: Answer) -> Fault | None:
    try:
        read_tone(given, SAID)
    except Unusable as error:
        return error.fault
    return None


def fault_of_summary(given: Answer, language: str = "fr") -> Fault | None:
    try:
        read_summary(given, MARK)
    except Unusable as error:
        return error.fault
    return None


def follows(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether JSON schema, as far as ours use it, allows the value."""
    if "anyOf" in schema:
        return any(follows(one, value) for one in schema["anyOf"])
    assert not schema.keys() - {
        "type", "enum", "minimum", "maximum", "items", "maxItems", "minLength", "maxLength",
        "properties", "required", "additionalProperties",
    }  # fmt: skip
    if schema["type"] == "null":
        return value is None
    if schema["type"] == "number":
        return type(value) in {int, float} and bool(schema["minimum"] <= value <= schema["maximum"])
    if schema["type"] == "string":
        fits = isinstance(value, str) and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
        return fits and ("enum" not in schema or value in schema["enum"])
    if schema["type"] == "array":
        fits = isinstance(value, list) and len(value) <= schema["maxItems"]
        return fits and all(follows(schema["items"], item) for item in value)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    fits = isinstance(value, dict) and value.keys() <= schema["properties"].keys()
    return (
        fits
        and set(schema["required"]) <= value.keys()
        and all(follows(schema["properties"][key], one) for key, one in value.items())
    )


@pytest.mark.parametrize("schema", [SENTIMENT_SCHEMA, TONE_SCHEMA])
def test_schemas_have_the_words_of_the_contract(schema: dict[str, Any]) -> None:
    properties = schema["properties"]
    assert properties["sentiment"]["enum"] == list(get_args(SentimentLabel))
    assert properties["emotions"]["items"]["enum"] == list(get_args(Emotion))
    assert properties["emotions"]["maxItems"] == 5
    assert (properties["score"]["minimum"], properties["score"]["maximum"]) == (0, 1)
    assert schema["required"] == list(properties)
    assert schema["additionalProperties"] is False
    json.dumps(schema, allow_nan=False)


def test_schema_of_satisfaction() -> None:
    either = SENTIMENT_SCHEMA["properties"]["satisfaction_client"]["anyOf"]
    assert either == [{"type": "string", "enum": list(get_args(Satisfaction))}, {"type": "null"}]


def test_quote_comes_before_the_verdict() -> None:
    assert list(TONE_SCHEMA["properties"]) == ["quote", "sentiment", "score", "emotions"]
    assert (TONE_SCHEMA["properties"]["quote"]["minLength"], QUOTE_CHARACTERS) == (1, 200)


def test_judgement_is_read() -> None:
    assert read_judgement(answer(VERDICT)) == Judgement("négatif", 0.8, ("colère", "déception"), "insatisfait")


def test_tone_is_read_with_the_words_as_they_were_said() -> None:
    found = read_tone(answer(TONE), SAID)
    assert found == SpeakerTone(Judgement("négatif", 0.8, ("colère",)), "table est cassée", found.span)
    assert 4 < found.span.start < found.span.end < 6


def test_emotions_are_named_once() -> None:
    assert read_judgement(answer(VERDICT | {"emotions": ["joie", "colère", "joie"]})).emotions == ("joie", "colère")
    assert read_tone(answer(TONE | {"emotions": ["joie"] * 5}), SAID).judgement.emotions == ("joie",)


GOOD: list[dict[str, Any]] = [
    {},
    {"score": 0},
    {"score": 1},
    {"score": 1e-9},
    {"emotions": []},
    {"emotions": list(get_args(Emotion))[:5]},
    {"emotions": ["joie", "joie"]},
]


@pytest.mark.parametrize("changes", [*GOOD, {"satisfaction_client": None}, {"satisfaction_client": "neutre"}])
def test_schema_and_reader_take_the_same_judgements(changes: dict[str, Any]) -> None:
    assert follows(SENTIMENT_SCHEMA, VERDICT | changes)
    assert fault_of_judgement(answer(VERDICT | changes)) is None


@pytest.mark.parametrize("changes", [*GOOD, {"quote": "«Bonjour !»" + " " * 189}, {"quote": "x"}])
def test_schema_and_reader_take_the_same_tones(changes: dict[str, Any]) -> None:
    assert follows(TONE_SCHEMA, TONE | changes)
    assert fault_of_tone(answer(TONE | changes)) is (Fault.MISQUOTED if changes.get("quote") == "x" else None)


@pytest.mark.parametrize(
    "changes",
    [*BROKEN.values(), {"satisfaction_client": "satisfied"}, {"satisfaction_client": "null"}, {"quote": "Bonjour"}],
)
def test_schema_and_reader_reject_the_same_judgements(changes: dict[str, Any]) -> None:
    assert not follows(SENTIMENT_SCHEMA, VERDICT | changes)
    assert fault_of_judgement(answer(VERDICT | changes)) is Fault.MALFORMED


@pytest.mark.parametrize(
    "changes",
    [*BROKEN.values(), {"quote": ""}, {"quote": None}, {"quote": "Bonjour" + " " * 194}, {"satisfaction_client": None}],
)
def test_schema_and_reader_reject_the_same_tones(changes: dict[str, Any]) -> None:
    assert not follows(TONE_SCHEMA, TONE | changes)
    assert fault_of_tone(answer(TONE | changes)) is Fault.MALFORMED


@pytest.mark.parametrize("key", VERDICT)
def test_judgement_lacks_nothing(key: str) -> None:
    verdict = {name: value for name, value in VERDICT.items() if name != key}
    assert not follows(SENTIMENT_SCHEMA, verdict)
    assert fault_of_judgement(answer(verdict)) is Fault.MALFORMED


@pytest.mark.parametrize("key", TONE)
def test_tone_lacks_nothing(key: str) -> None:
    tone = {name: value for name, value in TONE.items() if name != key}
    assert not follows(TONE_SCHEMA, tone)
    assert fault_of_tone(answer(tone)) is Fault.MALFORMED


WRITTEN = json.dumps(VERDICT, ensure_ascii=False)
GARBAGE = {
    "nothing": "",
    "spaces": " \n\t",
    "prose": "Le client est en colère.",
    "Markdown": f"```json\n{WRITTEN}\n```",
    "prose in front": f"Voici : {WRITTEN}",
    "prose behind": f"{WRITTEN} Voilà.",
    "twice": WRITTEN * 2,
    "in a list": f"[{WRITTEN}]",
    "in an object": f'{{"answer": {WRITTEN}}}',
    "in a text": json.dumps(WRITTEN),
    "null": "null",
    "cut off": WRITTEN[:-5],
    "single quotes": WRITTEN.replace('"', "'"),
    "not a number": WRITTEN.replace("0.8", "NaN"),
    "infinite": WRITTEN.replace("0.8", "Infinity"),
    "out of all bounds": WRITTEN.replace("0.8", "1e999"),
    "many digits": WRITTEN.replace("0.8", "9" * 10_000),
    "half a character": WRITTEN.replace("colère", "\ud83d"),
    "half a character, escaped": WRITTEN.replace("colère", "\\ud83d"),
    "nothing but half a character": "\ud83d",
    "control characters": WRITTEN.replace("colère", "col\x00ère"),
    "deep": "[" * 100_000,
    "deep objects": '{"sentiment":' * 100_000,
    "page": "<html><body>Sign in</body></html>",
    "accents apart": WRITTEN.replace("négatif", "ne\u0301gatif"),
}


@pytest.mark.parametrize("written", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_verdict(written: str) -> None:
    assert fault_of_judgement(answer(written)) is Fault.MALFORMED
    assert fault_of_tone(answer(written)) is Fault.MALFORMED


@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_whatever_is_answered_is_no_verdict_by_chance(written: str) -> None:
    assert fault_of_judgement(answer(written)) is Fault.MALFORMED
    assert fault_of_tone(answer(written)) is Fault.MALFORMED


@pytest.mark.parametrize("written", ["blah " * 2_000_000, " " * 10**7, f'{{"quote": "{"x" * 10**7}"}}', "[1," * 10**6])
def test_ten_megabytes_are_seen_through_at_once(written: str) -> None:
    started = time.monotonic()
    assert fault_of_judgement(answer(written)) is Fault.MALFORMED
    assert fault_of_tone(answer(written)) is Fault.MALFORMED
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("finish_reason", [None, "length", "repetition", "abort", "content_filter", "STOP", ""])
def test_what_does_not_come_to_its_own_end_is_not_read(finish_reason: str | None) -> None:
    assert fault_of_judgement(answer(VERDICT, finish_reason)) is Fault.UNFINISHED
    assert fault_of_tone(answer(TONE, finish_reason)) is Fault.UNFINISHED
    assert fault_of_summary(answer("Le client rappelle.", finish_reason)) is Fault.UNFINISHED


@pytest.mark.parametrize(("label", "satisfaction"), [("positif", "insatisfait"), ("négatif", "satisfait")])
def test_verdict_that_contradicts_itself(label: str, satisfaction: str) -> None:
    changed = VERDICT | {"sentiment": label, "satisfaction_client": satisfaction}
    assert fault_of_judgement(answer(changed)) is Fault.CONTRADICTORY


@pytest.mark.parametrize("quote", ["je suis furieux", "est cassée Bonjour", "Bonjour Ma table", "…", "canary"])
def test_quote_that_was_not_said(quote: str) -> None:
    assert fault_of_tone(answer(TONE | {"quote": quote})) is Fault.MISQUOTED


def test_fault_tells_nothing_of_the_answer() -> None:
    with pytest.raises(Unusable) as caught:
        read_tone(answer(TONE | {"quote": "canary"}), SAID)
    assert "canary" not in str(caught.value)
    with pytest.raises(Unusable) as caught:
        read_judgement(answer("canary"))
    assert "canary" not in str(caught.value)


def test_summary_is_one_visible_line() -> None:
    written = "\n Le client\u200b rappelle.\n\nIl\u00a0attend\U000e0041 un colis.\x00"
    assert read_summary(answer(written), MARK) == "Le client rappelle. Il attend un colis."


PHRASE = "Le client rappelle parce que sa table est cassée, et l'agent promet un remboursement. "


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("", Fault.EMPTY),
        (" \n\t\u200b\U000e0041", Fault.EMPTY),
        ("Résumé :", Fault.EMPTY),
        ("**Summary:**\n", Fault.EMPTY),
        (f"Entre les marques [{MARK}] se trouve", Fault.ECHO),
        (f"{PHRASE}{MARK[:6]}\u200b{MARK[6:]}", Fault.ECHO),
        (f"[{MARK}]\nA: Bonjour.\n[{MARK}]", Fault.ECHO),
        ("}}}{{{ %PDF-1.7 ]]] ---", Fault.GARBLED),
        ("?!?!?!?!", Fault.GARBLED),
        ("Le client rappelle. \ufffd", Fault.GARBLED),
        (PHRASE * 20, Fault.LOOP),
        ("Le client " + "attend une réponse et " * 30, Fault.LOOP),
        (PHRASE, None),
        (f"{PHRASE}Il paie 12,50 € (TVA incluse) le 03/04/2025 ; « merci », dit-elle — réf. 4711-A.", None),
        ("Oui.", None),
        ("ग्राहक को शिकायत है कि मेज़ टूटी हुई आई थी।", None),
        ("اتصل العميل لأن الطاولة وصلت مكسورة.", None),
        ("お客様から、テーブルが壊れて届いたと電話があった。", None),
    ],
)
def test_summary_that_cannot_be_used(written: str, fault: Fault | None) -> None:
    assert fault_of_summary(answer(written)) is fault


@pytest.mark.parametrize(
    "written",
    [
        "Le client rappelle.",
        " \nLe client rappelle.\n",
        "Résumé: Le client rappelle.",
        "Résumé : Le client rappelle.",
        "Résumé\N{NO-BREAK SPACE}: Le client rappelle.",
        "Résumé\N{NARROW NO-BREAK SPACE}:\n\nLe client rappelle.",
        "RÉSUMÉ :\nLe client rappelle.",
        "résumé\n\nLe client rappelle.",
        "**Résumé :** Le client rappelle.",
        "**Résumé** : Le client rappelle.",
        "## Résumé\n\nLe client rappelle.",
        "Summary: Le client rappelle.",
    ],
)
def test_the_word_is_in_front_once(written: str) -> None:
    assert without_label(written) == "Le client rappelle."
    assert labelled(read_summary(answer(written), MARK), "fr") == "Résumé: Le client rappelle."


@pytest.mark.parametrize(
    ("written", "language", "kept"),
    [
        ("Summary dismissal was discussed.", "en", "Summary: Summary dismissal was discussed."),
        ("Résumés reçus : trois.", "fr", "Résumé: Résumés reçus : trois."),
        ("Résumé : **Le client** rappelle.", "fr", "Résumé: **Le client** rappelle."),
        ("Le client demande un résumé : non.", "fr", "Résumé: Le client demande un résumé : non."),
        ("Der Kunde ruft an.", "de", "Zusammenfassung: Der Kunde ruft an."),
        ("お客様から電話。", "ja", "Summary: お客様から電話。"),
    ],
)
def test_what_is_no_label_stays(written: str, language: str, kept: str) -> None:
    assert labelled(read_summary(answer(written), MARK), language) == kept


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_its_own_label(language: str) -> None:
    word = LANGUAGES[language].summary
    assert labelled("x", language) == f"{word}: x"
    assert read_summary(answer(f"**{word}:**\n{PHRASE}"), MARK) == PHRASE.strip()
    assert [known.summary for known in LANGUAGES.values()].count(word) == 1


@given(st.text(), st.sampled_from([*LANGUAGES, "ja"]))
def test_any_summary_is_one_line_or_has_a_fault(written: str, language: str) -> None:
    fault = fault_of_summary(answer(written), language)
    assert fault in {None, Fault.EMPTY, Fault.GARBLED, Fault.LOOP}
    if fault is None:
        text = read_summary(answer(written), MARK)
        assert text == text.strip()
        assert len(text.splitlines()) == 1


@pytest.mark.parametrize(
    "label", ["\u200bRésumé : ", "\ufeffRésumé:\n", "Re\u0301sume\u0301 : ", "Summary\uff1a", "> Résumé: "]
)
def test_label_in_disguise(label: str) -> None:
    assert read_summary(Answer(f"{label}Le client rappelle.", "stop"), MARK) == "Le client rappelle."
