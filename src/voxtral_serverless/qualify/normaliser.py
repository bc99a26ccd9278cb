"""Texts as their words are counted: without what two good transcribers would write in two ways.

Promises: one rule for references and answers; what is normal stays as it is. Leaves out: spelling (`porte-monnaie` and
`portemonnaie`), but for the words in `SAME`; and the titles, abbreviations and units that neither the lexicons of
`transcription` nor the tables here have, which are fullest for French.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from unicodedata import category, normalize

from voxtral_serverless.transcription.lexicons import LEXICONS, Lexicon
from voxtral_serverless.transcription.spelling import spelled

STATEMENT = (
    "Unicode NFKC, lower case, œ and æ as oe and ae; what stands in brackets of any kind and has no digit in it is removed "
    "([rires], <unk>); numbers, their units and currencies are written as they are said in the language, and so are titles "
    "and common abbreviations (M., Dr, rdv); initials stand together (S.A.M.U. is samu); apostrophes, hyphens and all other "
    "punctuation keep words apart and are removed; accents are kept; some words count as the same: ok and okay, kilograms "
    "and kilos, in French also allo and allô, plait and plaît, maitre and maître, pourcent and pour cent, etcetera and et "
    "cetera, une and un, cents and cent, vingts and vingt, and an amount is said without centimes (vingt euros et cinquante "
    "centimes is vingt euros cinquante); hesitations (euh, hum, mm, uh, um) are removed, and so are words that were broken "
    "off and end in a hyphen (r-)."
)
"""What the normaliser does, in a sentence for the report."""
ASIDE = re.compile(r"\[[^\[\]\d]*\]|\([^()\d]*\)|<[^<>\d]*>|\{[^{}\d]*\}")
BROKEN_OFF = re.compile(r"(?<!\S)\S*[^\W\d_][-\u2010][^\w\s-]*(?!\S)")
"""From one white space to the next, what ends in a letter and a hyphen; punctuation may follow."""
TITLES: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "M.": "monsieur",
        "MM.": "messieurs",
        "Me": "maître",
        "Me.": "maître",
        "Pr": "professeur",
        "Pr.": "professeur",
    },
    "en": {"St.": "saint"},
    "es": {"D.": "don"},
    "de": {"Hr.": "herr", "Fr.": "frau", "St.": "sankt"},
}
"""By language, as they stand before a name: in small letters they are something else. All others are the lexicons'."""
UNITS: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "mg": "milligramme/milligrammes", "g": "gramme/grammes", "g/l": "gramme par litre/grammes par litre",
        "ml": "millilitre/millilitres", "mL": "millilitre/millilitres", "cl": "centilitre/centilitres",
        "l": "litre/litres", "L": "litre/litres", "m": "mètre/mètres", "s": "seconde/secondes", "sec": "seconde/secondes",
        "j": "jour/jours",
    },
    "en": {
        "mg": "milligram/milligrams", "g": "gram/grams", "ml": "milliliter/milliliters", "mL": "milliliter/milliliters",
    },
}  # fmt: skip
"""By language, "one/several", behind a number; beside those of the lexicons."""
ALONE = r"(?!\w|[ .,:]?\d)"
"""Behind two digits: they are no part of a longer number."""
REWRITTEN: Mapping[str, Mapping[str, str]] = {
    "fr": {
        r"(?<!\w)M\.(?= (?:et|l[ea]) | l['\u2019])": "monsieur",
        r"(?<!\w)MM\.(?= (?:et|les) )": "messieurs",
        r"(?i)(?<!\w)n(?:°s?|os?\.?(?= ?\d)) ?": "numéro ",
        r"(?<=\d) ?M ?€": " millions d'euros",
        r"(?<=\d 000 000) ?(?:€|euros?\b)": " d'euros",
        r"(?<=\d)[.,](\d\d) ?euros?\b": r",\1 €",
        rf"(?<![\d.,])(\d+) ?(?:€ ?|euros? )(\d\d){ALONE}": r"\1,\2 €",
        rf"(?<![\d:.,])([01]?\d|2[0-4]) heures? ([0-5]\d){ALONE}": r"\1 h \2",
        r"(?<=\d) ?mn(?![^\W\d_])": " min ",
        r"(?<!\d)1 ?h ?0?(\d\d?) ?min\b": r"1 heure \1 min",
        r"(?<=\d) ?h ?0?(\d\d?) ?min\b": r" heures \1 min",
        r"(?<!\d)(2[5-9]|[3-9]\d|\d{3,}) ?[hH](?![^\W\d_]|['\u2019])": r"\1 heures ",
        rf"(?<![\d.,])(\d)(?: ?m ?(\d\d){ALONE}|,(\d\d) ?m(?![\w'\u2019]))": r"\1 m \2\3",
    },
    "en": {r"(?<=\d) ?M(?= ?[€$£])": " million"},
}
"""By language: what neither `spelling` nor the tables above would understand, as something that they do."""
INITIALS = re.compile(r"(?<!\w)(?:[^\W\d_]\.)+[^\W\d_](?!\w)")
SAME: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "allo": "allô", "plait": "plaît", "maitre": "maître", "st": "saint", "etcetera": "et cetera", "caetera": "cetera",
        "pourcent": "pour cent", "kilogramme": "kilo", "kilogrammes": "kilos", "une": "un", "cents": "cent", "vingts": "vingt",
    },
    "en": {"kilogram": "kilo", "kilograms": "kilos"},
}  # fmt: skip
"""By language: words that are written in two ways, or where a number in digits does not tell which of the two."""
BELOW_HUNDRED = (
    "un|deux|trois|quatre|cinq|six|sept|huit|neuf|dix|onze|douze|treize|quatorze|quinze|seize"
    "|vingt|trente|quarante|cinquante|soixante|septante|huitante|octante|nonante"
)
CENTIMES = re.compile(rf"\b(euros?)((?: (?:et|centimes?|{BELOW_HUNDRED}))* centimes?)\b")
"""Up to the last "centimes": what is normal must not be found again."""
ZEROS = re.compile(r"\W*0+(?:[.,]\d+)?\W*")
"""The end of a number with nothing of its own to say: 12 **000**, 15 h **00**, 12 **000,50** € (said behind "euros")."""
TELLS_NUMBER = re.compile(r"[\d€$£₹%]")
LETTERS = frozenset(char for char in map(chr, range(0x2000)) if category(char)[0] in "LM") | {"'"}
"""Those that number words have in any language, their accents and vowel signs, and the apostrophe; a text's are added."""
MURMURS = r"h+m+|m{2,}h*m*|mh+m*"
HESITATIONS = {
    "fr": r"e+u+h+|h+e+u+|h+u+m+|e+u+h*m+",
    "en": r"u+h+|u+h*m+|e+r+m*|h+u+m+",
    "de": r"ä+h*|ä+h*m+|ö+h+m*",
}
"""By language; those of any are `MURMURS`. `um` is a word in German and in Portuguese."""


def normalised(text: str, language: str | None) -> str:
    """The words of `text`, in `language` (ISO 639-1, None where it is not known), between single spaces."""
    language = (language or "").lower().partition("-")[0]
    text = " ".join(BROKEN_OFF.sub(" ", ASIDE.sub(" ", _visible(text))).split())
    text = _said(_small(_rewritten(text, language)), language)
    same = _same(language)
    words = " ".join(same.get(word, word) for word in _apart(text).split()).split()
    hesitation = re.compile("|".join(filter(None, (MURMURS, HESITATIONS.get(language)))))
    text = " ".join(word for word in words if not hesitation.fullmatch(word))
    return CENTIMES.sub(_without_centimes, text) if language == "fr" else text


def _visible(text: str) -> str:
    """Each character in one form, without those that only tell how to set it."""
    return normalize("NFKC", "".join(char for char in normalize("NFKC", text) if category(char) != "Cf"))


def _small(text: str) -> str:
    """In lower case, without ligatures."""
    return normalize("NFKC", text.lower()).replace("œ", "oe").replace("æ", "ae")


def _rewritten(text: str, language: str) -> str:
    """Titles, abbreviations and units in words; what tells them is lost without capitals and points."""
    for pattern, words in _rules(language):
        text = pattern.sub(words, text)
    return INITIALS.sub(lambda match: match[0].replace(".", ""), text)


@cache
def _rules(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """What is rewritten in a language, in order."""
    return tuple((re.compile(pattern), words) for pattern, words in _patterns(language))


def _patterns(language: str) -> Iterator[tuple[str, str]]:
    lexicon = LEXICONS.get(language, Lexicon())
    for title, words in TITLES.get(language, {}).items():
        yield rf"(?<![\w.'-]){re.escape(title)} (?=[A-ZÀ-Þ])", f"{words} "
    for short, words in lexicon.abbreviations.items():
        if not short.isalpha() and short[-1] not in ".#":
            yield rf"(?i)(?<![\w.'-]){re.escape(short)}(?!\w)[.]?", words
    yield from REWRITTEN.get(language, {}).items()
    yield from _unit_patterns(lexicon, language)


def _unit_patterns(lexicon: Lexicon, language: str) -> Iterator[tuple[str, str]]:
    """Those of the lexicon only where they have capitals: `spelling` knows them, but is given none."""
    units = {unit: names for unit, names in lexicon.units.items() if unit != unit.lower()}
    units |= dict(UNITS.get(language, {}))
    for unit in sorted(units, key=len, reverse=True):
        one, _, several = units[unit].partition("/")
        behind = rf" ?{re.escape(unit)}(?![\w'\u2019])"
        yield rf"(?<![\d.,])(1(?:[.,]\d+)?){behind}", rf"\1 {one}"
        yield rf"(?<=\d){behind}", f" {several.partition('/')[0] or one}"


def _said(text: str, language: str) -> str:
    """The text with its numbers in words, where the language's are known."""
    alphabet = LETTERS | frozenset(filter(str.isalpha, text))
    if not TELLS_NUMBER.search(text) or not spelled("1", alphabet, language)[0].spoken:
        return text
    said: list[str] = []
    behind_number = False
    for word in spelled(text, alphabet, language):
        number = TELLS_NUMBER.search(word.text) is not None
        if word.spoken and (number or behind_number):
            said += word.spoken
        elif not ZEROS.fullmatch(word.text):
            said.append(word.text)  # else they are in what is said for the digits before them
        behind_number = number
    return _small(" ".join(said))


@cache
def _same(language: str) -> Mapping[str, str]:
    """The one form of a word that has several, by the others; abbreviations, that are no other word, among them."""
    short = LEXICONS.get(language, Lexicon()).abbreviations.items()
    names = {key: _apart(_small(words)) for key, words in short if key.isalpha()}
    return {"okay": "ok", **names, **SAME.get(language, {})}


def _without_centimes(match: re.Match[str]) -> str:
    """As "23,50 €" is read: "vingt-trois euros cinquante"."""
    hundredths = [word for word in match[2].split() if not word.startswith("centime")]
    return " ".join([match[1], *hundredths[hundredths[:1] == ["et"] :]])


def _apart(text: str) -> str:
    """The text with a space for each character that belongs to no word."""
    return "".join(char if category(char)[0] in "LM" or category(char) == "Nd" else " " for char in text)
