"""From the text of a window to the utterances of its speakers: every written word comes out, in its place."""

from hypothesis import given, settings
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.diarization.turns import Turn
from voxtral_serverless.transcription.alignment import placed, timed
from voxtral_serverless.transcription.attribution import attributed, utterances_of
from voxtral_serverless.transcription.spelling import spelled

ALPHABET = frozenset("abcdefghijklmnopqrstuvwxyzàâæçéèêëîïôœùûüÿ'-")
"""That of a French aligner."""
FRENCH = [
    "vingt-trois", "euros", "23,50", "€", "l'œuvre", "aujourd\u2019hui", "SNCF", "M.", "Dupont", "à", "14h30", "06", "12",
    "où", "ça", "?", "!", "« Bonjour »,", "d'accord.", "jean.dupont@exemple.fr", "1er", "12/03/2026", "50", "%", "…", "naïf,",
]  # fmt: skip
WORDS = st.lists(st.sampled_from(FRENCH) | st.text(min_size=1, max_size=6), max_size=30)
TIMES = st.none() | st.tuples(st.floats(0, 30), st.floats(0, 30), st.floats(0, 1))
PIECES = (Span(100, 112), Span(120, 131), Span(140, 147))
TURNS = [Turn(Span(99, 110), "A"), Turn(Span(110.5, 126), "B"), Turn(Span(126, 148), "A")]


@settings(max_examples=150)
@given(WORDS, st.data())
def test_utterances_have_the_words_of_the_text(words: list[str], data: st.DataObject) -> None:
    text = " ".join(words)
    spellings = spelled(text, ALPHABET, "fr")
    count = sum(len(one.spoken) for one in spellings)
    found = data.draw(st.lists(TIMES, min_size=count, max_size=count))
    there = placed(timed(spellings, found, 30.0), PIECES)
    utterances = utterances_of(there, attributed(there, TURNS, TURNS), PIECES)
    assert " ".join(utterance.text or "" for utterance in utterances) == " ".join(text.split())
    assert [word for utterance in utterances for word in utterance.words] == list(there)
    assert {utterance.speaker for utterance in utterances} <= {"A", "B"}
    assert all(100 <= word.span.start <= word.span.end <= 147 for word in there)
