import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transcription.test_language import SCRAPS, SENTENCES
from voxtral_serverless.transcription.guards import Fault, cut_to_rate, fault, spoken_in, without_loop

INVOICE = (
    "Bonjour, je vous appelle concernant ma facture du mois de mars, parce que j'ai été prélevé deux fois et je ne "
    "comprends pas pourquoi. Alors, est-ce que vous pouvez me donner votre numéro de client, s'il vous plaît ? Oui, "
    "bien sûr, c'est le quatre cent vingt-deux, soixante-dix-sept, zéro huit. Très bien, je regarde ça tout de suite. "
    "Effectivement, je vois deux prélèvements, le premier le douze mars et le deuxième le quatorze. Je suis vraiment "
    "désolée pour ce désagrément, on va vous rembourser le deuxième sous huit jours."
)
NUMBER = "zéro six, douze, trente-quatre, cinquante-six, soixante-dix-huit"
ACCOUNT = (
    "FR sept six, trois zéro zéro zéro, six zéro zéro zéro, zéro un un deux, trois quatre cinq six, sept huit neuf "
    "zéro, un huit neuf."
)
DELIVERY = (
    "Hello, thanks for calling, you're speaking with Jane, how can I help? Hi Jane, yes, I ordered a washing machine "
    "three weeks ago and it still hasn't turned up. I've had two text messages telling me that it was on its way, and "
    "then nothing at all. Oh, I'm sorry to hear that. Could I take your order number and the postcode, please? Sure, "
    "it's W for William, four four one nine, and the postcode is BS eight, two LT. Lovely, bear with me one moment "
    "while I bring that up. Right, it looks as though the driver couldn't find anywhere to park, so it went back to "
    "our depot on Thursday. I can book another slot for you, would Monday morning suit? Monday's no good, I'm afraid, "
    "I work until four. What about the evening, then, between six and nine? That would be perfect."
)
PLACES = [
    "la maison", "le port", "la banque", "le parc", "les ponts", "la poste", "le bois", "la gare", "les lacs",
    "la mairie", "le marché", "la ferme", "le stade", "les bois", "les ports", "le pont", "le lac", "les parcs",
]  # fmt: skip
VARIATIONS = " ".join(f"Et puis je suis allé voir {place}." for place in PLACES)
SAID = [
    ("Oui.", 0.4),
    ("non non non non", 1.5),
    ("Non, non, non, non, non, non, non, je vous dis que non.", 4),
    ("oui oui oui", 1),
    ("D'accord. D'accord, d'accord, d'accord.", 2.5),
    ("merci merci beaucoup", 1.2),
    ("ha ha ha ha", 1),
    ("Ha ha ha ha ha ha ha ha ha ha ! Elle est bonne.", 4),
    ("Hahahahaha", 1),
    ("zéro six zéro six zéro six", 3),
    ("Zéro un, zéro un, zéro un, zéro un, zéro un.", 5),
    (f"{NUMBER}. Oui, {NUMBER}, c'est bien ça, {NUMBER}.", 18),
    (f"{ACCOUNT} Je répète : {ACCOUNT}", 30),
    ("zéro zéro zéro zéro zéro zéro zéro un", 5),
    ("M O R E A U, M comme Marcel, O, R, E, A, U.", 8),
    ("e e e", 1),
    ("Allô ? Allô ? Vous m'entendez ? Allô ? Vous m'entendez ? Allô ? Allô ? Vous m'entendez ?", 12),
    ("Allô ? " * 8, 14),
    ("Je sais pas, je sais pas, je sais pas, je sais pas.", 4),
    ("Un, deux, trois, quatre, cinq, six, sept, huit, neuf, dix, onze, douze.", 8),
    ("Your call is important to us. Please hold the line. " * 3, 15),
    ("Yeah, yeah, yeah, yeah, no, no, no, that's right, that's right, uh-huh.", 5),
    ("No no no no no no no, listen, listen to me.", 3.5),
    ("It's oh seven seven, double four, oh seven seven, double four, yes.", 6),
    ("Thank you, thank you so much, thank you, bye, bye bye, bye bye, bye.", 4),
    ("हाँ हाँ हाँ, जी हाँ, बिल्कुल, मैं समझ गया।", 3),
    ("नमस्ते, मैं अपने बिल के बारे में बात करना चाहता हूँ। इस महीने मुझसे दो बार पैसे काट लिए गए हैं।", 7),
    ("لا لا لا، شكرا، شكرا جزيلا، مع السلامة.", 4),
    (INVOICE, 30),
    (f"{INVOICE} {DELIVERY}", 75),
    (" ".join(SENTENCES["hi"] + SCRAPS["hi"]), 60),
    (" ".join(SENTENCES["ar"] + SCRAPS["ar"]), 60),
    ("", 3),
    ("   ", 1),
    (f" Oui.{' ' * 60}Non. ", 3),
]
FAULTY: list[tuple[str, float, Fault]] = [
    ("Merci. " * 40, 30, "loop"),
    ("oui " * 30, 30, "loop"),
    ("Bonjour, je vous écoute. " + "Je ne sais pas. " * 12, 25, "loop"),
    ("Sous-titrage Société Radio-Canada. " * 9, 20, "loop"),
    ("Je vous remercie de votre appel et je vous souhaite une très bonne journée. " * 5, 28, "loop"),
    ("and then I said, " * 20, 12, "loop"),
    ("Thank you for watching! " * 10, 20, "loop"),
    ("Oui, ALLÔ ! oui allô, Oui... allô ? " * 5, 20, "loop"),
    ("a" * 300, 12, "loop"),
    ("hahaha" * 50, 12, "loop"),
    ("धन्यवाद। " * 30, 20, "loop"),
    ("मैं आपकी मदद करती हूँ। " * 8, 25, "loop"),
    ("شكرا لكم على المشاهدة. " * 9, 20, "loop"),
    (INVOICE, 3, "rate"),
    ("Merci d'avoir regardé cette vidéo, n'oubliez pas de vous abonner.", 0.5, "rate"),
    (VARIATIONS, 30, "repetitive"),
    (f"{INVOICE} {DELIVERY} {VARIATIONS}", 100, "repetitive"),
]


@pytest.mark.parametrize(("text", "clip_s"), SAID)
def test_what_people_say_is_no_fault(text: str, clip_s: float) -> None:
    assert fault(text, clip_s, "stop") is None
    assert without_loop(text) == cut_to_rate(text, clip_s) == text


@pytest.mark.parametrize(("text", "clip_s", "kind"), FAULTY)
def test_what_nobody_says(text: str, clip_s: float, kind: Fault) -> None:
    assert fault(text, clip_s, "stop") == kind
    assert fault(text, clip_s, "length") == kind


def test_text_broken_off_at_the_limit() -> None:
    assert fault("Bonjour, je vous", 4, "length") == "length"
    assert fault("Bonjour, je vous", 4, None) is None


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Bonjour. " + "Je ne sais pas. " * 12, "Bonjour. Je ne sais pas."),
        ("Bonjour. " + "Je ne sais pas, " * 12 + "je ne", "Bonjour. Je ne sais pas"),
        ("Non, " * 20 + "je vous dis que non.", "Non, je vous dis que non."),
        ("je sais pas " * 9 + "je sais bien", "je sais pas je sais bien"),
        ("Oui. " * 15 + "Alors voilà, " * 15 + "merci.", "Oui. Alors voilà, merci."),
        ("oui oui oui allô " * 12, "oui oui oui allô"),
        (("oui " * 14 + "non ") * 9, "oui non"),
        ("Allô ? " * 20, "Allô ?"),
        ("Ah " + "ha" * 60 + " !", "Ah ha !"),
        ("Ah " + "HAha" * 20, "Ah HA"),
        ("x" * 90, "x"),
        # Without the one loop there is another.
        ("oui non " * 3 + "oui non oui " * 8 + "non oui " * 4, "oui non"),
        ("हाँ " * 20 + "जी", "हाँ जी"),
    ],
)
def test_loops_are_cut(text: str, left: str) -> None:
    assert without_loop(text) == left


def test_runaway_is_cut_at_the_end_of_a_sentence_or_of_a_word() -> None:
    # 5 s hold 170 characters.
    assert cut_to_rate(INVOICE, 5) == INVOICE[: INVOICE.index("pourquoi.") + 9]
    assert cut_to_rate(INVOICE.replace(".", ","), 5).endswith("pourquoi, Alors, est-ce que vous pouvez me")
    assert cut_to_rate("un mot, " * 40, 1) == "un mot, un mot, un mot, un mot, un mot, un mot, un"
    assert cut_to_rate("un mot, " * 40, 1.17).endswith(" un mot")
    assert cut_to_rate("Oui. " + "alors " * 40, 1) == "Oui. alors alors alors alors alors alors alors"
    assert cut_to_rate("x" * 300, 1) == "x" * 50
    assert cut_to_rate("अब ठीक है। " * 20, 1) == "अब ठीक है। अब ठीक है। अब ठीक है। अब ठीक है।"


@pytest.mark.parametrize(
    ("text", "speech_s", "possible"),
    [
        ("", 0, True),
        ("Oui.", 0, True),
        ("Sous-titrage.", 0, False),
        ("Merci d'avoir regardé cette vidéo.", 0.09, False),
        ("D'accord, très bien.", 0.4, True),
        ("Bonjour, service client, Claire à votre écoute.", 2.5, True),
        (INVOICE, 3, False),
    ],
)
def test_text_without_the_speech_for_it(text: str, speech_s: float, possible: bool) -> None:
    assert spoken_in(text, speech_s) is possible


words = st.sampled_from(["oui", "Oui,", "non", "ha", "je", "sais", "pas.", "?", "हाँ", "نعم", "x" * 45, "—"])
texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.tuples(st.lists(words, min_size=1, max_size=9), st.integers(1, 20)), max_size=4).map(
        lambda groups: " ".join(word for group, times in groups for word in group * times)
    ),
)


@given(texts, st.floats(0, 60))
def test_cutting_leaves_no_fault_and_nothing_new(text: str, clip_s: float) -> None:
    once = without_loop(text)
    assert len(once) <= len(text)
    assert without_loop(once) == once
    assert fault(once, clip_s, "stop") != "loop"
    assert (once == text) == (fault(text, clip_s, None) != "loop")
    cut = cut_to_rate(text, clip_s)
    assert text.startswith(cut)
    assert fault(cut, clip_s, "stop") != "rate"
    assert cut_to_rate(cut, clip_s) == cut


@given(st.lists(words, max_size=8), st.lists(words, min_size=1, max_size=8), st.integers(12, 40))
def test_every_loop_is_found(before: list[str], group: list[str], times: int) -> None:
    def spoken(some: list[str]) -> int:
        return sum(word not in "?—" for word in some)

    assert spoken(without_loop(" ".join(before + group * times)).split()) <= spoken(before + group)


@pytest.mark.parametrize(
    "text",
    [
        "non " * 7500,
        "x" * 30_000,
        "ab" * 15_000,
        "".join(chr(97 + i * i % 23) for i in range(30_000)),
        " ".join(f"mot{i * i % 97}" for i in range(5000)),
        " ".join("oui " * (i % 9) + "non" for i in range(1500)),
    ],
)
def test_a_runaway_is_judged_quickly(text: str) -> None:
    start = time.process_time()
    assert fault(text, 30, "length") in ("loop", "rate")
    cut_to_rate(without_loop(text), 30)
    assert time.process_time() - start < 5
