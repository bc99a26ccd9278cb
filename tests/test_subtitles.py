from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.subtitles import LINE_CHARACTERS, MAX_CUE_S, Cue, cues
from voxtral_serverless.transcription.plan import Utterance

words = st.text("abcdefgé'", min_size=1, max_size=60) | st.sampled_from(["oui.", "non,", "d'accord!", "a", "I"])


@st.composite
def conversations(draw: st.DrawFn) -> list[Utterance]:
    """Utterances in order, spoken at a human pace, with pauses inside."""
    utterances, now = [], 0.0
    for _ in range(draw(st.integers(0, 4))):
        said = draw(st.lists(words, max_size=60))
        start, voiced = now, []
        for _ in range(draw(st.integers(1, 4))):
            duration = max(0.3, len(" ".join(said)) / draw(st.integers(8, 20)) / 4)
            voiced.append(Span(now, now + duration))
            now += duration + draw(st.integers(1, 9)) / 10
        speaker = draw(st.sampled_from([None, "SPEAKER_00", "Agent", "A very long name " * 4]))
        utterances.append(Utterance(Span(start, voiced[-1].end), speaker, " ".join(said) or None, tuple(voiced)))
        now += 0.1
    return utterances


@given(conversations())
def test_no_word_is_lost_or_moved(conversation: list[Utterance]) -> None:
    shown = "".join(line for cue in cues(conversation) for line in cue.lines)
    assert shown.replace(" ", "") == "".join(u.text or "" for u in conversation).replace(" ", "")


@given(conversations())
def test_cues_can_be_read(conversation: list[Utterance]) -> None:
    for cue in cues(conversation):
        assert 1 <= len(cue.lines) <= 2
        label = len(f"{cue.speaker}: ") if cue.speaker and cue.lines[0] else 0
        for index, line in enumerate(cue.lines):
            assert len(line) + (0 if index else label) <= LINE_CHARACTERS
        assert 0 <= cue.span.duration <= MAX_CUE_S + 1e-6


@given(conversations())
def test_cues_follow_each_other_inside_their_utterance(conversation: list[Utterance]) -> None:
    shown = cues(conversation)
    assert all(one.span.end <= other.span.start + 1e-6 for one, other in pairwise(shown))
    assert all(
        any(u.span.start <= cue.span.start <= cue.span.end <= u.span.end + 1e-6 for u in conversation) for cue in shown
    )


def test_speaker_is_named_where_it_changes() -> None:
    said = [
        Utterance(Span(0, 1), "A", "one"),
        Utterance(Span(2, 3), "A", "two"),
        Utterance(Span(4, 5), "B", None),
        Utterance(Span(6, 7), "B", "three"),
    ]
    assert [cue.speaker for cue in cues(said)] == ["A", None, "B"]


def test_overlapping_utterances_name_every_cue_in_order_of_time() -> None:
    long = " ".join(["word"] * 60)
    found = cues(
        [
            Utterance(Span(0, 24), "Agent", long),
            Utterance(Span(6, 7), "Client", "Yes."),
            Utterance(Span(30, 31), "Agent", "So."),
        ]
    )
    assert [cue.span.start for cue in found] == sorted(cue.span.start for cue in found)
    assert [cue.speaker for cue in found].count("Client") == 1
    assert all(cue.speaker for cue in found)
    assert all(len(cue.lines[0]) + len("Agent: ") <= LINE_CHARACTERS for cue in found if cue.speaker == "Agent")


def test_cut_falls_at_the_end_of_a_sentence() -> None:
    text = "The first sentence ends right about here. And this one is a second sentence that goes on for longer."
    first, *_ = cues([Utterance(Span(0, 6), None, text)])
    assert " ".join(first.lines) == "The first sentence ends right about here."


def test_words_are_spread_over_the_voiced_part_only() -> None:
    text = "one two three four. two one four three."
    utterance = Utterance(Span(0, 20), None, text, (Span(0, 2), Span(18, 20)))
    shown = cues([utterance])
    assert shown == [
        Cue(Span(0, 2), ("one two three four.",), None),
        Cue(Span(18, 20), ("two one four three.",), None),
    ]


def test_word_longer_than_a_line_fills_lines() -> None:
    (cue,) = cues([Utterance(Span(0, 3), None, "x" * 60)])
    assert cue.lines == ("x" * 42, "x" * 18)


def test_text_without_spaces_is_cut_into_cues() -> None:
    shown = cues([Utterance(Span(0, 40), None, "話" * 300)])
    assert "".join(line for cue in shown for line in cue.lines) == "話" * 300
    assert all(len(line) <= LINE_CHARACTERS for cue in shown for line in cue.lines)


def test_long_name_is_shortened_and_the_word_beside_it_gets_its_own_line() -> None:
    (cue,) = cues([Utterance(Span(0, 1), "Madame la Directrice Générale Adjointe des Services", "Oui.")])
    assert cue.speaker is not None
    assert len(cue.speaker) <= LINE_CHARACTERS - 2
    assert cue.lines[-1] == "Oui."
    (cue,) = cues([Utterance(Span(0, 1), "X" * 60, "Oui.")])
    assert cue.speaker == "X" * 39 + "…"


def test_words_spoken_very_slowly_are_shown_for_seven_seconds() -> None:
    assert [cue.span for cue in cues([Utterance(Span(0, 30), None, "hello world")])] == [Span(0, 7), Span(15, 22)]


def test_cues_are_about_as_full_as_each_other() -> None:
    first, second = cues([Utterance(Span(0, 8), None, "word " * 24)])
    assert abs(sum(map(len, first.lines)) - sum(map(len, second.lines))) < 25
