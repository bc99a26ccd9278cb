import subprocess
import sys
import time
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.transcription.language import VOXTRAL_LANGUAGES
from voxtral_serverless.transcription.spelling import spelled

LATIN = "abcdefghijklmnopqrstuvwxyz"
ALPHABETS = {
    "en": frozenset(f"{LATIN}'"),
    "fr": frozenset(f"{LATIN}àâäçèéêëîïôöùûüÿœæ'-"),
    "es": frozenset(f"{LATIN}áéíñóúü"),
    "de": frozenset(f"{LATIN}äöüß"),
    "it": frozenset(f"{LATIN}àèéìòóù'"),
    "pt": frozenset(f"{LATIN}áâãàçéêíóôõú-"),
    "nl": frozenset(f"{LATIN}éëïö'"),
    "hi": frozenset(map(chr, (*range(0x0901, 0x093A), 0x093C, *range(0x093E, 0x094E)))),
    "ar": frozenset(map(chr, range(0x0621, 0x064B))),
    "shouting": frozenset(f"{LATIN.upper()}'"),
}
# What is written; what is said, with "|" between the written words.
SAID = {
    "fr": [
        ("vingt-trois euros", "vingt-trois|euros"),
        ("est-ce que", "est-ce|que"),
        ("23,50 €", "vingt-trois|euros cinquante"),
        ("23,50€.", "vingt-trois euros cinquante"),
        ("23€50", "vingt-trois euros cinquante"),
        ("0,50 €", "cinquante|centimes"),
        ("1 €", "un|euro"),
        ("30 EUR", "trente|euros"),
        ("3,5 %", "trois virgule cinq|pour cent"),
        ("12 345,67 €", "douze mille|trois cent quarante-cinq|euros soixante-sept"),
        ("1 000 000 personnes", "un million|||personnes"),
        ("le 1er mars", "le|premier|mars"),
        ("la 1re, le 2e, le 21ème, le XIe", "la|première|le|deuxième|le|vingt et unième|le|xie"),
        ("la 2nde", "la|seconde"),
        ("à 14h30", "à|quatorze heures trente"),
        ("à 14 h 30.", "à|quatorze|heures|trente"),
        ("14:30, 1h, 21h05", "quatorze heures trente|une heure|vingt et une heures cinq"),
        ("06 12 34 56 78", "zéro six|douze|trente-quatre|cinquante-six|soixante-dix-huit"),
        ("06.12.34.56.78", "zéro six douze trente-quatre cinquante-six soixante-dix-huit"),
        ("0612345678", "zéro six douze trente-quatre cinquante-six soixante-dix-huit"),
        ("+33 6 12 34 56 78", "plus trente-trois|six|douze|trente-quatre|cinquante-six|soixante-dix-huit"),
        ("le 12/03/2026", "le|douze mars deux mille vingt-six"),
        ("01/04/26", "premier avril vingt-six"),
        ("en 1999", "en|mille neuf cent quatre-vingt-dix-neuf"),
        ("75011 Paris", "soixante-quinze mille onze|paris"),
        ("dossier 48213377", "dossier|quarante-huit vingt et un trente-trois soixante-dix-sept"),
        ("l'œuvre", "l'œuvre"),
        ("l\N{RIGHT SINGLE QUOTATION MARK}eau", "l'eau"),
        ("aujourd'hui", "aujourd'hui"),
        ("« Oui », dit-il !", "|oui||dit-il|"),
        ("SNCF", "esse enne cé effe"),
        ("l'EDF et l'OTAN", "l'e dé effe|et|l'otan"),
        ("M. Dupont et Mme Durand", "monsieur|dupont|et|madame|durand"),
        ("M O R E A U, M comme Marcel", "emme|o|erre|e|a|u|emme|comme|marcel"),
        ("IL FAUT QUE VOUS PARLIEZ", "il|faut|que|vous|parliez"),
        ("jean.dupont@exemple.fr", "jean point dupont arobase exemple point effe erre"),
        ("exemple.com/aide", "exemple point com slash aide"),
        ("R&D, n°5, A4", "erre et dé|numéro cinq|a quatre"),
        ("-5 °C", "moins cinq|degrés"),
        ("garçon Noël", "garçon|noël"),
        ("Citroën Straße", "citroën|strasse"),
    ],
    "en": [
        ("$23.50", "twenty three dollars fifty"),
        ("£5 million", "five|million pounds"),
        ("1,250.5", "one thousand two hundred fifty point five"),
        ("50% off", "fifty percent|off"),
        ("at 2:05 p.m.", "at|two oh five|pee em"),
        ("March 1st, 2026", "march|first|twenty twenty six"),
        ("12/03/2026 25/12/2026", "december third twenty twenty six|december twenty fifth twenty twenty six"),
        ("555-123-4567", "five five five one two three four five six seven"),
        ("(020) 7946 0958", "zero two zero|seven nine four six|zero nine five eight"),
        ("the 1990s", "the|nineteen ninety s"),
        ("I don't know, Mr. O'Brien", "i|don't|know|mister|o'brien"),
        ("No. I said No. 5", "no|i|said|number|five"),
        ("rock 'n' roll", "rock|n|roll"),
        ("FBI and NASA", "eff bee eye|and|nasa"),
        ("jane@example.co.uk", "jane at example dot co dot you kay"),
        ("https://www.example.com", "double you double you double you dot example dot com"),
        ("a café naïve", "a|cafe|naive"),
    ],
    "es": [
        ("23,50 €", "veintitrés|euros con cincuenta"),
        ("las 14:30", "las|catorce treinta"),
        ("el 1º, la 2.ª", "el|primero|la|segunda"),
        ("612 345 678", "seis uno dos|tres cuatro cinco|seis siete ocho"),
        ("12/03/2026", "doce de marzo de dos mil veintiséis"),
        ("EE.UU. y el Sr. Núñez", "estados unidos|y|el|señor|núñez"),
        ("¿Qué?", "qué"),
    ],
    "de": [
        ("23,50 €", "dreiundzwanzig|euro fünfzig"),
        ("um 14:30 Uhr", "um|vierzehn|uhr dreißig"),
        ("am 3. März 1999", "am|dritte|märz|neunzehnhundertneunundneunzig"),
        ("12.03.2026", "zwölfte märz zweitausendsechsundzwanzig"),
        ("Es waren 3. Dann", "es|waren|drei|dann"),
        ("3,14", "drei komma eins vier"),
        ("1.234 km", "eintausendzweihundertvierunddreißig|kilometer"),
        ("z.B. Fr. Müller", "zum beispiel|frau|müller"),
        ("BMW", "be em we"),
    ],
    "it": [
        ("23,50 €", "ventitré|euro e cinquanta"),
        ("il 1° maggio", "il|primo|maggio"),
        ("alle 14:30", "alle|quattordici e trenta"),
        ("l'acqua, n. 5", "l'acqua|numero|cinque"),
        ("anna@esempio.it", "anna chiocciola esempio punto i ti"),
    ],
    "pt": [
        ("R$ 23,50", "|vinte e três reais e cinquenta"),
        ("às 14h30", "às|catorze horas e trinta"),
        ("a 1ª vez", "a|primeira|vez"),
        ("12/03/2026", "doze de março de dois mil e vinte e seis"),
        ("guarda-chuva", "guarda-chuva"),
    ],
    "nl": [
        ("€ 23,50", "|drieëntwintig euro vijftig"),
        ("14:30 uur", "veertien|uur dertig"),
        ("de 8ste t/m 1999", "de|achtste|tot en met|negentiennegenennegentig"),
    ],
    "hi": [
        ("₹500 और 5%", "पाँच सौ रुपये|और|पाँच प्रतिशत"),
        ("१२३ SBI", "एक सौ तेईस|एस बी आई"),
        ("नमस्ते, hello!", "नमस्ते|"),
    ],
    "ar": [
        ("٢٣ يورو", "ثلاثة وعشرون|يورو"),
        ("مُحَمَّد 50%", "محمد|خمسون بالمئة"),
    ],
}
CASES = [(language, text, said) for language, cases in SAID.items() for text, said in cases]


def said_for(text: str, alphabet: frozenset[str], language: str) -> str:
    return "|".join(" ".join(word.spoken) for word in spelled(text, alphabet, language))


@pytest.mark.parametrize(("language", "text", "said"), CASES)
def test_how_it_is_said(language: str, text: str, said: str) -> None:
    assert said_for(text, ALPHABETS[language], language) == said


@pytest.mark.parametrize("space", ["\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}", "\n", "  "])
def test_any_space_parts_words(space: str) -> None:
    words = spelled(f" 23,50{space}€{space}?{space}", ALPHABETS["fr"], "fr")
    assert [(word.text, len(word.spoken)) for word in words] == [("23,50", 1), ("€", 2), ("?", 0)]


@pytest.mark.parametrize(
    ("alphabet", "said"),
    [
        ("shouting", "L'ETE|VINGT TROIS|COEUR|GRUSSE"),
        ("fr", "l'été|vingt-trois|cœur|grüsse"),
        ("de", "lete|vingt trois|coeur|grüße"),
        ("hi", "|||"),
    ],
)
def test_the_alphabet_decides_about_case_accents_and_joints(alphabet: str, said: str) -> None:
    assert said_for("L'été vingt-trois cœur Grüße", ALPHABETS[alphabet], "fr") == said


def test_the_curly_apostrophe_where_the_alphabet_has_that_one() -> None:
    assert said_for("l'eau", frozenset(f"{LATIN}\N{RIGHT SINGLE QUOTATION MARK}"), "fr") == (
        "l\N{RIGHT SINGLE QUOTATION MARK}eau"
    )


@pytest.mark.parametrize(
    ("language", "said"), [("sv", "tjugotre|få"), ("SV-se", "tjugotre|få"), ("xx", "|få"), ("", "|få")]
)
def test_other_languages(language: str, said: str) -> None:
    assert said_for("23 få", frozenset(f"{LATIN}åäö"), language) == said


scraps = st.sampled_from(
    [
        *(text for _, text, _ in CASES),
        "12",
        "000",
        "1er",
        "h",
        "€",
        "$",
        "M.",
        "3.",
        ":",
        "@",
        "a.b",
        "|",
        "-",
        "ﷺ",
        "½",
        "İ",
    ]
)
texts = st.one_of(
    st.text(max_size=60),
    st.text("0123456789.,:/-+ h€%'@aM()", max_size=40),
    st.lists(st.tuples(scraps, st.sampled_from(["", " ", "\N{NO-BREAK SPACE}", "\t"])), max_size=6).map(
        lambda parts: "".join(scrap + space for scrap, space in parts)
    ),
)
alphabets = st.one_of(st.sampled_from(list(ALPHABETS.values())), st.frozensets(st.characters(), max_size=40))


@given(texts, alphabets, st.sampled_from([*VOXTRAL_LANGUAGES, "ja", "xx", ""]))
def test_no_word_is_lost_or_invented_and_the_alphabet_is_kept(
    text: str, alphabet: frozenset[str], language: str
) -> None:
    words = spelled(text, alphabet, language)
    assert [word.text for word in words] == text.split()
    for said in (said for word in words for said in word.spoken):
        assert alphabet.issuperset(said)
        assert any(category(char)[0] in "LM" for char in said)


@given(st.lists(st.text(f"{LATIN}éç", min_size=1), max_size=9).map(" ".join))
def test_small_letters_say_themselves(text: str) -> None:
    abbreviations = {"dr", "mr", "mme", "mmes", "mlle", "ste", "etc", "bd", "rdv", "svp", "tél"}
    spoken = [word.spoken for word in spelled(text, ALPHABETS["fr"], "fr") if word.text not in abbreviations]
    assert spoken == [(word,) for word in text.split() if word not in abbreviations]


@pytest.mark.parametrize(
    "text", ["1" * 30_000, "1 000 " * 5000, "12.03." * 5000, "a-" * 15_000, "a.b@" * 7500, "$1,5" * 7500]
)
def test_a_runaway_is_read_quickly(text: str) -> None:
    start = time.process_time()
    spelled(text, ALPHABETS["fr"], "fr")
    assert time.process_time() - start < 5


def test_number_words_are_loaded_when_they_are_needed() -> None:
    code = "import sys, voxtral_serverless.transcription.spelling; sys.exit('unicode_rbnf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
