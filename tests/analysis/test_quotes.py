from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.analysis.quotes import find_quote
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.plain_text import plain
from voxtral_serverless.transcription.plan import Utterance


def utterances(*texts: str | None, voiced: tuple[Span, ...] = ()) -> list[Utterance]:
    return [Utterance(Span(10 * number, 10 * number + 10), "A", text, voiced) for number, text in enumerate(texts)]


def text_of(quote: str, said: Sequence[Utterance]) -> str | None:
    found = find_quote(quote, said)
    return found and found[0]


TABLE = "Ma table est arrivée cassée, c'est la deuxième fois !"


@pytest.mark.parametrize(
    ("quote", "written"),
    [
        ("est arrivée cassée", "est arrivée cassée"),
        ("MA TABLE EST ARRIVÉE", "Ma table est arrivée"),
        ("« c\N{RIGHT SINGLE QUOTATION MARK}est la deuxième fois. »", "c'est la deuxième fois"),
        ("cassée c'est", "cassée, c'est"),
        ("…cassée — c'est…", "cassée, c'est"),
        ("  table\n est ", "table est"),
        (TABLE, TABLE.removesuffix(" !")),
        ("fois", "fois"),
    ],
)
def test_words_are_found_as_they_are_written(quote: str, written: str) -> None:
    assert text_of(quote, utterances(None, TABLE)) == written


@pytest.mark.parametrize(
    "quote",
    ["", "…", " ", "je suis furieux", "arrivée table", "tab", "able", "est cassée", f"{TABLE} encore", "arrivee"],
)
def test_what_nobody_says_is_not_found(quote: str) -> None:
    assert find_quote(quote, utterances(TABLE, None, "")) is None


def test_nobody_says_anything() -> None:
    assert find_quote("oui", []) is None


def test_quote_is_of_one_utterance() -> None:
    assert find_quote("oui non", utterances("Ah oui", "non merci")) is None


def test_first_who_says_it() -> None:
    found = find_quote("merci", utterances("Bonjour.", "Oui, MERCI.", "Merci !"))
    assert found == ("MERCI", Span(10 + 10 * 5 / 12, 20))


def test_first_place_in_an_utterance() -> None:
    found = find_quote("non non", utterances("non oui non non oui non non"))
    assert found == ("non non", Span(10 * 8 / 28, 10 * 16 / 28))


def test_quote_is_said_while_somebody_speaks() -> None:
    said = utterances("un deux trois sept", voiced=(Span(0, 2), Span(6, 8)))
    first, last = find_quote("un deux", said), find_quote("sept", said)
    assert first
    assert last
    assert 0 == first[1].start < first[1].end < 2
    assert 6 < last[1].start < last[1].end == 8


@pytest.mark.parametrize(
    ("quote", "text"),
    [("cafe 2", "\uff23\uff41\uff46\uff45 ②"), ("strasse", "Straße"), ("STRASSE", "straße"), ("office", "o\ufb03ce")],
)
def test_other_forms_of_the_same_letters(quote: str, text: str) -> None:
    assert text_of(quote, utterances(text)) == text


@pytest.mark.parametrize(
    ("quote", "text", "found"),
    [
        ("का", "की बात", None),
        ("नमस्ते जी", "नमस्ते जी।", "नमस्ते जी"),
        ("déçu", "Je suis de\u0301c\u0327u.", "de\u0301c\u0327u"),
        ("Ignore", "I\u200bg\u200cnore", "Ignore"),
    ],
)
def test_marks_belong_to_their_letters_and_what_is_invisible_to_nobody(
    quote: str, text: str, found: str | None
) -> None:
    assert text_of(quote, utterances(text)) == found


def test_part_of_an_utterance_in_a_script_without_spaces() -> None:
    text = "\u30c6\u30fc\u30d6\u30eb\u304c\u58ca\u308c\u3066\u5c4a\u3044\u305f\u306e\u3067\u3001\u8fd4\u91d1"
    assert text_of("\u58ca\u308c\u3066\u5c4a\u3044\u305f", utterances(text)) == "\u58ca\u308c\u3066\u5c4a\u3044\u305f"


def test_whole_utterance_in_a_script_without_spaces() -> None:
    assert text_of("テーブルが壊れた", utterances("テーブルが壊れた。")) == "テーブルが壊れた"


words = st.lists(st.sampled_from(["un", "Deux", "trois,", "d'accord", "é!"]), min_size=1, max_size=12)


@given(words, words, st.data())
def test_whatever_is_said_is_found_where_it_is_said(before: list[str], said: list[str], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(said) - 1))
    last = data.draw(st.integers(first + 1, len(said)))
    quote = " ".join(said[first:last])
    found = find_quote(quote, utterances(" ".join(before), " ".join(said)))
    assert found
    text, span = found
    assert text in f"{' '.join(before)}\n{' '.join(said)}"
    assert text.casefold().strip(",!") == quote.casefold().strip(",!")
    assert 0 <= span.start < span.end <= 20


@given(st.text(max_size=60), st.data())
def test_what_is_found_is_in_the_text(text: str, data: st.DataObject) -> None:
    first, last = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    found = find_quote(text[first:last], utterances(text))
    if found:
        assert found[0] in plain(text)
        assert 0 <= found[1].start <= found[1].end <= 10
