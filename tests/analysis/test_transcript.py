import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.injections import INJECTIONS
from voxtral_serverless.analysis.transcript import Line, Part, characters, lines_of, parts_of, thirds
from voxtral_serverless.audio.recording import Span
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.plain_text import plain
from voxtral_serverless.transcription.plan import Utterance


def utterance(text: str | None, speaker: str | None = "A", start: float = 0, end: float = 1) -> Utterance:
    return Utterance(Span(start, end), speaker, text)


class Room:
    """Counts how often it is asked whether a part fits into so many characters."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.asked = 0

    async def filling(self, part: Part) -> float:
        self.asked += 1
        return characters(part) / self.size


def test_a_line_for_each_utterance_that_has_a_text() -> None:
    said = [utterance("Bonjour."), utterance(None), utterance(""), utterance(" \u200b\n"), utterance("Oui ?", "B")]
    assert [str(line) for line in lines_of(said)] == ["A: Bonjour.", "B: Oui ?"]


def test_nothing_was_said() -> None:
    assert lines_of([]) == lines_of([utterance(None)]) == ()


def test_nobody_is_named_where_nobody_is_told_apart() -> None:
    assert [str(line) for line in lines_of([utterance("Oui.", None), utterance("Non.", None)])] == ["Oui.", "Non."]


def test_unknown_speaker_beside_known_ones() -> None:
    said = [utterance("Oui.", None), utterance("Non.", "A")]
    assert [str(line) for line in lines_of(said)] == ["?: Oui.", "A: Non."]


def test_name_cannot_forge_a_line() -> None:
    [line] = lines_of([utterance("Oui.", "A\u2028B:\u200b oui\nC")])
    assert str(line) == "A B: oui C: Oui."


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (" a \t b\r\nc\x0bd\x0ce\x1cf\x85g\u2028h\u2029i\u00a0j\u3000k ", "a b c d e f g h i j k"),
        ("i\u200bn\u200cv\u200di\u2060s\ufeffi\u00adble", "invisible"),
        ("a\u202eb\u2066c\u2069d\u200fe", "abcde"),
        ("a\U000e0041\U000e007f\U000e0100\ufe0f\U000e01efb", "ab"),
        ("a\x00b\x1b[31m\x7f\ue000\U0010fffd\ud83d", "ab[31m"),
        ("a\u034fb\u115fc\u3164d\u2800e\uffa0f\u180eg", "abcdefg"),
        (
            "Ça coûte 12,50 € — d'accord ? 👍🏽 हिन्दी عربي 日本語",
            "Ça coûte 12,50 € — d'accord ? 👍🏽 हिन्दी عربي 日本語",
        ),
        ("Cafe\u0301", "Cafe\u0301"),
        ("", ""),
    ],
)
def test_one_line_of_what_can_be_seen(text: str, seen: str) -> None:
    assert plain(text) == seen


@given(st.text())
def test_any_text_becomes_one_visible_line(text: str) -> None:
    seen = plain(text)
    assert plain(seen) == seen == seen.strip()
    assert len(seen.splitlines()) <= 1
    assert not {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"} & {unicodedata.category(one) for one in seen}
    seen.encode()


@pytest.mark.parametrize("text", [text for _, text in INJECTIONS], ids=range(len(INJECTIONS)))
def test_no_injection_makes_a_second_line(text: str) -> None:
    [line] = lines_of([utterance(text)])
    assert len(str(line).splitlines()) == 1
    assert str(line).startswith("A: ")


def test_thirds_of_the_time_between_the_first_word_and_the_last() -> None:
    said = [
        utterance("one", start=10, end=12),
        utterance("two", start=20, end=30),
        utterance("three", start=39, end=40),
    ]
    found = thirds(said)
    assert [third.span for third in found] == [Span(10, 20), Span(20, 30), Span(30, 40)]
    assert [[one.text for one in third.utterances] for third in found] == [["one"], ["two"], ["three"]]


def test_utterance_is_where_its_middle_is() -> None:
    said = [utterance("most", start=0, end=30), utterance("edge", start=9, end=11), utterance("late", start=19, end=22)]
    assert [[one.text for one in third.utterances] for third in thirds(said)] == [[], ["most", "edge"], ["late"]]


def test_thirds_of_a_single_moment() -> None:
    said = [utterance("now", start=5, end=5)]
    assert [third.span for third in thirds(said)] == [Span(5, 5)] * 3
    assert [one for third in thirds(said) for one in third.utterances] == said


seconds = st.floats(0, 1e5, allow_nan=False)


@given(st.lists(st.tuples(seconds, seconds), min_size=1, max_size=20))
def test_every_utterance_is_in_one_third(spans: list[tuple[float, float]]) -> None:
    said = [utterance(str(number), start=min(span), end=max(span)) for number, span in enumerate(spans)]
    found = thirds(said)
    kept = [one for third in found for one in third.utterances]
    assert sorted(kept, key=said.index) == said
    assert len(kept) == len(said)
    assert all([one for one in said if one in third.utterances] == list(third.utterances) for third in found)
    assert found[0].span.start == min(one.span.start for one in said)
    assert found[-1].span.end == max(one.span.end for one in said)


async def test_what_fits_stays_whole() -> None:
    part, room = lines_of([utterance("Bonjour."), utterance("Oui ?")]), Room(1000)
    assert await parts_of(part, room.filling) == [part]
    assert await parts_of((), room.filling) == [()]
    assert room.asked == 2


words = st.text("abcé.", min_size=1, max_size=8)
names = st.sampled_from([None, "A", "SPEAKER_00"])


@st.composite
def conversations(draw: st.DrawFn, longest: int) -> Part:
    texts = st.lists(words, min_size=1, max_size=longest).map(" ".join)
    return tuple(draw(st.lists(st.builds(Line, names, texts), min_size=1, max_size=30)))


@settings(max_examples=60)
@given(conversations(longest=8), st.integers(90, 400))
async def test_short_lines_are_each_in_one_part_in_order(part: Part, size: int) -> None:
    room = Room(size)
    parts = await parts_of(part, room.filling)
    assert tuple(line for piece in parts for line in piece) == part
    assert all(piece and characters(piece) <= size for piece in parts)
    assert room.asked <= 4 * len(parts)


@settings(max_examples=60)
@given(conversations(longest=60), st.integers(30, 200))
async def test_no_word_of_long_lines_is_lost_or_changes_its_speaker(part: Part, size: int) -> None:
    parts = await parts_of(part, Room(size).filling)
    assert all(piece and characters(piece) <= size for piece in parts)
    kept = [(line.speaker, word) for piece in parts for line in piece for word in line.text.split()]
    assert kept == [(line.speaker, word) for line in part for word in line.text.split()]


async def test_parts_are_about_as_long_as_each_other() -> None:
    part = tuple(Line("A", "word " * (1 + number % 9) + "end.") for number in range(300))
    parts = await parts_of(part, Room(1000).filling)
    lengths = [characters(piece) for piece in parts]
    assert max(lengths) <= 1000
    assert min(lengths) > 0.75 * max(lengths)
    assert len(parts) <= 1.3 * characters(part) / 1000


@pytest.mark.parametrize("longest", [0, 1, 2])
async def test_long_line_leaves_a_part_to_each_of_the_others(longest: int) -> None:
    part = tuple(Line(None, "x" * (100 if number == longest else 10)) for number in range(3))
    parts = await parts_of(part, Room(60).filling)
    assert [len(line.text) for piece in parts for line in piece] == [
        length for number in range(3) for length in ([50, 50] if number == longest else [10])
    ]
    assert all(len(piece) == 1 for piece in parts)


async def test_few_parts_are_counted_for_many_lines() -> None:
    part = tuple(Line(f"SPEAKER_0{number % 2}", f"Tour {number}, " + "mot " * (number % 30)) for number in range(2000))
    room = Room(characters(part) // 12)
    parts = await parts_of(part, room.filling)
    assert 12 <= len(parts) <= 16
    assert room.asked <= 2 * len(parts)


async def test_long_line_is_cut_behind_the_sentence_nearest_to_its_middle() -> None:
    line = Line("A", "Un deux trois. Quatre cinq six ! Sept huit neuf dix onze.")
    assert await parts_of((line,), Room(40).filling) == [
        (Line("A", "Un deux trois. Quatre cinq six !"),),
        (Line("A", "Sept huit neuf dix onze."),),
    ]


@pytest.mark.parametrize("end", ["।", "؟", "…", ".»", '."'])
async def test_sentences_of_other_scripts_end_too(end: str) -> None:
    line = Line(None, f"un deux trois quatre{end} cinq six sept huit neuf dix")
    first, _ = await parts_of((line,), Room(40).filling)
    assert first == (Line(None, f"un deux trois quatre{end}"),)


async def test_text_without_spaces_is_cut_anywhere() -> None:
    parts = await parts_of((Line("A", "話" * 300),), Room(50).filling)
    assert "".join(line.text for piece in parts for line in piece) == "話" * 300
    assert all(characters(piece) <= 50 for piece in parts)


@pytest.mark.parametrize("text", ["a", "Bonjour, c'est moi.", "話" * 20])
async def test_room_for_nothing(text: str) -> None:
    with pytest.raises(StageFailed, match="too small"):
        await parts_of((Line("A", text), Line("B", "Oui.")), Room(3).filling)


@pytest.mark.parametrize("lines", [(), (Line("A", "mot " * 5000),)])
async def test_engine_that_counts_what_cannot_be(lines: Part) -> None:
    asked = 0

    async def always_full(_: Part) -> float:
        nonlocal asked
        asked += 1
        return 1e6

    with pytest.raises(StageFailed, match="cannot be"):
        await parts_of(lines, always_full)
    assert asked <= 3


async def test_line_is_cut_near_its_middle() -> None:
    parts = await parts_of((Line(None, "Oui. " + "mot " * 1200),), Room(2000).filling)
    assert min(len(str(line)) for part in parts for line in part) > 1000


@pytest.mark.parametrize("text", ["क्\u200dष", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"])
def test_joiners_of_scripts_that_need_them_stay(text: str) -> None:
    assert plain(text) == text
    assert plain("i\u200dg\u200cnore") == "ignore"
