from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import MERGE_GAP_S, Turn
from voxtral_serverless.transcription.attribution import attributed, utterances_of
from voxtral_serverless.transcription.plan import Utterance
from voxtral_serverless.transcription.words import Word

WORD_S = 0.3


def said(text: str, start: float = 0.0) -> list[Word]:
    """Words of 0.3 s, one right after the other; each `_` among them is 0.1 s of silence."""
    words, now = [], start
    for part in text.split():
        if part == "_":
            now += 0.1
        else:
            words.append(Word(part, Span(now, now + WORD_S), 0.9))
            now += WORD_S
    return words


def turns_of(*turns: tuple[str | None, float, float]) -> list[Turn]:
    return [Turn(Span(start, end), speaker) for speaker, start, end in turns]


def lines(words: Sequence[Word], turns: Sequence[Turn], timeline: Sequence[Turn] | None = None) -> list[str]:
    """The conversation as `SPEAKER: text`."""
    found = utterances_of(words, attributed(words, turns, timeline), ())
    return [f"{utterance.speaker}: {utterance.text}" for utterance in found]


def test_a_word_is_the_speakers_of_most_of_its_time() -> None:
    words = said("Bonjour. Oui.")
    assert lines(words, turns_of(("A", 0, 0.4), ("B", 0.4, 1))) == ["A: Bonjour.", "B: Oui."]
    assert lines(words, turns_of(("A", 0, 0.5), ("B", 0.5, 1))) == ["A: Bonjour. Oui."]


@pytest.mark.parametrize(("start", "speaker"), [(1.1, "A"), (1.6, "B")])
def test_a_word_in_no_turn_is_the_nearest_ones(start: float, speaker: str) -> None:
    assert attributed(said("Allô.", start), turns_of(("A", 0, 1), ("B", 2, 3)), None) == [speaker]


@pytest.mark.parametrize(("start", "speaker"), [(0.5, "A"), (7.0, "A"), (11.5, "A"), (19.5, "B"), (24.0, "B")])
def test_a_word_far_from_every_turn_is_that_of_the_turn_before(start: float, speaker: str) -> None:
    turns = turns_of(("A", 5, 5.5), (None, 6, 11), ("B", 13, 15))
    assert attributed(said("Hello.", start), turns, None) == [speaker]


def test_a_turn_of_somebody_unknown_gives_its_words_to_a_neighbour() -> None:
    turns = turns_of(("A", 0, 1), (None, 1, 8), ("B", 8, 9))
    words = said("Yes . _ I have been here for quite a long time now so let me see")
    assert None not in attributed(words, turns, None)


def test_where_no_turn_has_a_speaker_no_word_has_one() -> None:
    assert attributed(said("Bonjour à tous."), turns_of((None, 0, 1)), None) == [None, None, None]
    assert attributed(said("Bonjour."), [], []) == [None]


def test_no_words_have_no_speakers() -> None:
    assert attributed([], turns_of(("A", 0, 1)), None) == []
    assert utterances_of([], [], ()) == []


@pytest.mark.parametrize("edge", [1.15, 1.35, 1.5, 1.65, 1.75])
def test_a_word_at_the_wrong_edge_of_a_turn_goes_with_its_sentence(edge: float) -> None:
    french = said("Je voudrais une autre table. Oui, bien sûr, madame.")
    english = said("I would like another table. Yes, of course, madam.")
    turns = turns_of(("A", 0, edge), ("B", edge, 3))
    assert lines(french, turns) == ["A: Je voudrais une autre table.", "B: Oui, bien sûr, madame."]
    assert lines(english, turns) == ["A: I would like another table.", "B: Yes, of course, madam."]


def test_a_sentence_without_a_mark_ends_at_a_pause() -> None:
    words = said("Je ne sais pas _ _ _ _ _ _ moi non plus")
    assert lines(words, turns_of(("A", 0, 0.95), ("B", 0.95, 3))) == ["A: Je ne sais pas", "B: moi non plus"]


def test_a_hesitation_ends_no_sentence() -> None:
    words = said("Je voudrais une autre _ _ _ table. Oui, bien sûr, madame.")
    turns = turns_of(("A", 0, 1.45), ("B", 1.45, 5))
    assert lines(words, turns) == ["A: Je voudrais une autre table.", "B: Oui, bien sûr, madame."]


@pytest.mark.parametrize("mark", [".", "!", "?", "…", ".»", '?"', "!)"])
def test_any_end_of_a_sentence_is_one(mark: str) -> None:
    words = said(f"Vous êtes là{mark} Oui oui oui")
    assert lines(words, turns_of(("A", 0, 0.7), ("B", 0.7, 3))) == [f"A: Vous êtes là{mark}", "B: Oui oui oui"]


def test_a_slip_of_the_diarizer_inside_a_sentence_is_mended() -> None:
    words = said("I would like another wooden table for Saturday evening.")
    slip = turns_of(("A", 0, 1.2), ("B", 1.2, 1.7), ("A", 1.7, 3))
    assert lines(words, slip, slip) == ["A: I would like another wooden table for Saturday evening."]


@pytest.mark.parametrize("interjection", ["oui", "D'accord.", "mm,", "Ah bon ?", "right"])
def test_an_interjection_in_a_pause_stays(interjection: str) -> None:
    count = len(interjection.split())
    words = said(f"Alors je regarde _ _ {interjection} _ _ votre dossier maintenant.")
    start = words[3].span.start
    end = start + count * WORD_S
    turns = turns_of(("A", 0, 0.9), ("B", start, end), ("A", end + 0.2, 5))
    expected = ["A: Alors je regarde", f"B: {interjection}", "A: votre dossier maintenant."]
    assert lines(words, turns, turns) == expected
    assert lines(words, turns) == expected


def test_an_interjection_right_after_a_phrase_stays() -> None:
    words = said("So I looked at it mm _ _ _ and nobody called.")
    turns = turns_of(("A", 0, 1.5), ("B", 1.5, 1.8), ("A", 2.1, 4))
    assert lines(words, turns, turns) == ["A: So I looked at it", "B: mm", "A: and nobody called."]


def test_an_interjection_while_the_other_talks_on_stays_where_marks_set_it_apart() -> None:
    words = said("On vous rappelle, d'accord, dans la journée de lundi.")
    turns = turns_of(("A", 0, 4))
    timeline = turns_of(("A", 0, 4), ("B", 0.9, 1.2))
    expected = ["A: On vous rappelle,", "B: d'accord,", "A: dans la journée de lundi."]
    assert lines(words, turns, timeline) == expected


def test_two_words_over_another_stay_as_well() -> None:
    words = said("It comes on Monday. I see. Before nine or so.")
    timeline = turns_of(("A", 0, 4), ("B", 1.2, 1.8))
    expected = ["A: It comes on Monday.", "B: I see.", "A: Before nine or so."]
    assert lines(words, turns_of(("A", 0, 4)), timeline) == expected


def test_the_first_word_of_a_phrase_is_not_anothers_who_says_mm_to_it() -> None:
    words = said("Quand il arrive, il vous appelle.")
    timeline = turns_of(("A", 0, 4), ("B", 0.9, 1.2))
    assert lines(words, turns_of(("A", 0, 4)), timeline) == ["A: Quand il arrive, il vous appelle."]


def test_the_last_word_of_a_phrase_is_not_anothers_who_says_mm_to_it() -> None:
    words = said("Quand il arrive, il vous appelle.")
    timeline = turns_of(("A", 0, 4), ("B", 0.6, 0.9))
    assert lines(words, turns_of(("A", 0, 4)), timeline) == ["A: Quand il arrive, il vous appelle."]


def test_words_spoken_on_through_an_interjection_stay() -> None:
    words = said("On vous rappelle dans la journée de lundi.")
    timeline = turns_of(("A", 0, 4), ("B", 0.9, 1.2))
    assert lines(words, turns_of(("A", 0, 4)), timeline) == ["A: On vous rappelle dans la journée de lundi."]


@pytest.mark.parametrize("mark", ["", "…", ","])
def test_a_real_interruption_does_not_flip_half_of_a_sentence(mark: str) -> None:
    words = said(f"The driver will bring it on{mark} no that is not what we agreed.")
    turns = turns_of(("A", 0, 1.8), ("B", 1.8, 5))
    assert lines(words, turns, turns) == [
        f"A: The driver will bring it on{mark}",
        "B: no that is not what we agreed.",
    ]


def test_who_finishes_a_sentence_over_another_keeps_it() -> None:
    words = said("Vous pouvez le laisser dans la boîte. Parfait, merci beaucoup.")
    turns = turns_of(("A", 0, 1.2), ("B", 1.2, 4))
    overlapping = turns_of(("A", 0, 2.1), ("B", 1.2, 4))
    expected = ["A: Vous pouvez le laisser dans la boîte.", "B: Parfait, merci beaucoup."]
    assert lines(words, turns, overlapping) == expected
    assert lines(words, turns, turns) != expected


def test_speakers_known_from_overlaps_alone_are_heard() -> None:
    words = said("Je vous écoute. Moi aussi. Allez-y.")
    timeline = turns_of(("A", 0, 3), ("C", 0.9, 1.5))
    assert lines(words, turns_of(("A", 0, 3)), timeline)[1].startswith("C: ")


def utterance(words: Sequence[Word], speaker: str | None, **rest: object) -> Utterance:
    span = Span(words[0].span.start, words[-1].span.end)
    text = " ".join(word.text for word in words)
    return Utterance(span, speaker, text, words=tuple(words), **rest)  # type: ignore[arg-type]


def test_an_utterance_is_its_words_and_the_speech_under_them() -> None:
    words = said("Bonjour _ madame. Oui.", start=1.0)
    speech = [Span(0.9, 1.25), Span(1.5, 2.2)]
    assert utterances_of(words, ["A", "A", "B"], speech, 1) == [
        utterance(words[:2], "A", voiced=(Span(1.0, 1.25), Span(1.5, words[1].span.end)), channel=1),
        utterance(words[2:], "B", voiced=(words[2].span,), channel=1),
    ]


def test_a_long_pause_makes_two_utterances_a_short_one_does_not() -> None:
    one, late = said("Un"), said("deux", WORD_S + MERGE_GAP_S + 0.01)
    near = said("deux", WORD_S + MERGE_GAP_S - 0.01)
    assert utterances_of(one + late, ["A", "A"], ()) == [utterance(one, "A"), utterance(late, "A")]
    assert utterances_of(one + near, ["A", "A"], ()) == [utterance(one + near, "A")]


def test_the_longest_word_ends_an_utterance() -> None:
    words = [Word("oui", Span(0, 2)), Word("mm", Span(0.5, 1))]
    assert utterances_of(words, ["A", "A"], ())[0].span == Span(0, 2)


times = st.floats(0, 60, allow_nan=False)
names = st.sampled_from(["A", "B", "C", None])
texts = st.sampled_from(["oui", "d'accord.", "I", "see,", "…", "Ah", "bon ?", "42"])


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    """Words in order of time, near each other or not; some without a length."""
    starts = sorted(draw(st.lists(times, max_size=30)))
    return [Word(draw(texts), Span(start, start + draw(st.sampled_from([0.0, 0.1, 0.4, 3.0])))) for start in starts]


@st.composite
def exclusive_turns(draw: st.DrawFn, who: st.SearchStrategy[str | None] = names) -> list[Turn]:
    edges = sorted(set(draw(st.lists(times, max_size=24))))
    return [Turn(Span(*pair), draw(who)) for pair in pairwise(edges) if draw(st.integers(0, 3))]


timelines = st.one_of(
    st.none(),
    st.lists(st.builds(lambda start, length, who: Turn(Span(start, start + length), who), times, times, names)),
)


@given(spoken(), exclusive_turns(), timelines)
def test_every_word_has_a_speaker_where_any_turn_has_one(
    words: list[Word], turns: list[Turn], timeline: list[Turn] | None
) -> None:
    ordered = timeline and sorted(timeline, key=lambda turn: turn.span)
    speakers = attributed(words, turns, ordered)
    assert len(speakers) == len(words)
    known = {turn.speaker for turn in (*turns, *(timeline or ()))} - {None}
    if any(turn.speaker for turn in turns):
        assert set(speakers) <= known
    else:
        assert set(speakers) <= {None}


@given(spoken(), st.data())
def test_the_words_of_all_utterances_are_the_words_given(words: list[Word], data: st.DataObject) -> None:
    speakers = data.draw(st.lists(names, min_size=len(words), max_size=len(words)))
    found = utterances_of(words, speakers, ())
    assert [word for one in found for word in one.words] == words
    assert " ".join(one.text or "" for one in found) == " ".join(word.text for word in words)
    assert [one.speaker for one in found for _ in one.words] == speakers
    assert [one.span.start for one in found] == sorted(one.span.start for one in found)
    for one, other in pairwise(found):
        gap = other.words[0].span.start - one.words[-1].span.end
        assert one.speaker != other.speaker or gap > MERGE_GAP_S


@given(exclusive_turns(st.sampled_from(["A", "B", "C"])), st.data())
def test_sentences_that_lie_inside_one_turn_are_its_speakers_however_often_they_are_given(
    turns: list[Turn], data: st.DataObject
) -> None:
    words, expected = [], []
    for turn in turns:
        if turn.span.duration > 1:
            count = data.draw(st.integers(1, int(turn.span.duration / WORD_S)))
            words += said(" ".join(["oui"] * (count - 1) + ["oui."]), turn.span.start)
            expected += [turn.speaker] * count
    found = attributed(words, turns, None)
    assert found == expected
    again = [Turn(one.span, one.speaker) for one in utterances_of(words, found, ())]
    assert attributed(words, again, None) == found
