"""How a written text is said, in the letters of a model that aligns letters to sound.

"23,50 €" has no letters to look for in the sound, "vingt-trois euros cinquante" has. Each written word gets the words
that are said for it: numbers, amounts, times, dates, telephone numbers, addresses, abbreviations, acronyms, symbols;
anything else is itself. Where something may be said in two ways, the one with fewer words is taken: the aligner gets
over a word too few better than over one too many. Number words are those of `numerals`, the names of letters, units
and symbols those of `lexicons`, for the languages that Voxtral lists; in any other, digits are said where CLDR knows
how, and letters by the alphabet.

Not here: pronunciation (a word of another script has nothing to be found by), and what only the meaning tells, such as
whether NASA is a word. Pure functions.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from unicodedata import category, decimal, normalize

from voxtral_serverless.transcription.lexicons import LEXICONS, Lexicon
from voxtral_serverless.transcription.numerals import MAX_NUMBER_DIGITS, Numbers

Said = tuple[int, str]
"""The character of the text that something is said for, and the words that are said."""

LONGEST_ACRONYM = 5
"""Letters: what is longer, and in capitals, is a word."""
SHOUTED_WORDS = 4
"""In a text of at least so many words, mostly in capitals, capitals mean nothing."""
LIGATURES = {
    "œ": "oe", "æ": "ae", "ß": "ss", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "\N{LATIN SMALL LETTER DOTLESS I}": "i",
}  # fmt: skip
"""What is taken apart where an alphabet lacks it, and Unicode does not say how."""
TYPED_AS = str.maketrans(
    dict.fromkeys("\u2019\u2018\u02bc`\u00b4\u2032", "'")
    | dict.fromkeys("\u2010\u2011\u2212", "-")
    | {"\N{MASCULINE ORDINAL INDICATOR}": "°", "\N{ARABIC DECIMAL SEPARATOR}": ",", "٬": "'"}
)
PUNCTUATION = ".,:/@%&+=#°€$£₹_'()-"
"""What means something here; all other punctuation, "|" below, only keeps words apart."""
LETTER = rf"[^\s\d|{re.escape(PUNCTUATION)}]"
CURRENCIES = {"EUR": "€", "USD": "$", "GBP": "£", "INR": "₹"}
CURRENCY = rf"R\$|[€$£₹]|{'|'.join(CURRENCIES)}"
MANY = rf"(?i:[mbt]r?i(?:ll?i|lh|lj){LETTER}{{2,7}})"
"""Millions and more."""
ENDINGS = "com|org|net|info|io|gov|eu|fr|be|ch|ca|uk|ie|in|es|mx|ar|de|at|it|pt|br|nl"
"""Of an address on the web that begins with nothing that tells it."""
MAIL = r"[\w.+-]{1,64}@\w(?:[\w.-]{0,250}\w)?"
SITE = rf"www\.\w(?:[\w./-]{{0,250}}\w)?|(?:[\w-]{{2,64}}\.){{1,4}}(?:{ENDINGS})(?![\w.-]?\w)(?:/\w(?:[\w./-]{{0,250}}\w)?)?"
ADDRESS = rf"(?<!\w)(?:https?://)?(?P<body>{MAIL}|{SITE})"
DATE = r"(?<![\d/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d\d)(?![\d/-]|\.\d)"
TIME = (
    r"(?<![\d:.,])(?P<hour>[01]?\d|2[0-4])(?: ?(?P<mark>[hH])(?: ?(?P<minute>[0-5]\d))?"
    r"|:(?P<behind>[0-5]\d)(?: ?(?P<late>h|Uhr|uur))?)(?![\w:])"
)
BETWEEN = r"(?:[ .-]|\) ?| \()"
TELEPHONE = (
    rf"(?<![\d.,])(?=\+?(?:{BETWEEN}?\d){{7,15}}(?!{BETWEEN}?\d))"
    rf"(?:\+?\d{{1,4}}(?:{BETWEEN}\d{{1,4}}){{2,9}}|\+\d+|\d{{3}}[ .-]\d{{4}}(?!\d))"
)
SYMBOL = r"(?<!\w)-(?=\d)|[%&+=#@°€$£₹]"
INITIALS = rf"(?<!\w)(?:{LETTER}\.){{2,}}(?:{LETTER}(?!\w))?"
WORD = rf"{LETTER}+(?:['-]{LETTER}+)*'?"
CONSONANT, VOWELS = "[bcdfghjklmnpqrstvwxz]", "[aeiouy]{1,2}"
PRONOUNCEABLE = re.compile(
    rf"{CONSONANT}[aeiouy]{CONSONANT}"
    rf"|(?=....){CONSONANT}?[lr]?{VOWELS}(?:{CONSONANT}{{1,2}}{VOWELS})*{CONSONANT}?"
)


@dataclass(frozen=True)
class Spelled:
    """A written word, and how it is said.

    Attributes:
        text: The word with its punctuation, as it stands between two spaces.
        spoken: The words that are said for it, in the alphabet's letters; empty where there is nothing to look for.
    """

    text: str
    spoken: tuple[str, ...]


def spelled(text: str, alphabet: frozenset[str], language: str) -> tuple[Spelled, ...]:
    """Each word of `text`, in order, with what is said for it in `language` (ISO 639-1), in letters of `alphabet`.

    `alphabet` are the single characters of the aligner's vocabulary, in upper or lower case.
    """
    written = text.split()
    normal = [_normal(word) for word in written]
    starts = list(accumulate((len(word) + 1 for word in normal), initial=0))
    spoken: list[list[str]] = [[] for _ in written]
    for at, said in _reader(language.lower().partition("-")[0]).read(" ".join(normal)):
        spoken[bisect_right(starts, at) - 1] += _in_letters(said, alphabet)
    return tuple(Spelled(word, tuple(said)) for word, said in zip(written, spoken, strict=True))


def _normal(word: str) -> str:
    """The word with each apostrophe, hyphen and digit in one form, and "|" for what only keeps words apart."""
    word = normalize("NFKC", word.translate(TYPED_AS)).translate(TYPED_AS)
    return "".join(map(_normal_character, word))


def _normal_character(char: str) -> str:
    kind = category(char)
    if kind == "Nd":
        return str(decimal(char))
    if kind == "Cf":
        return ""
    return "|" if kind[0] in "PSZC" and char not in PUNCTUATION else char


def _in_letters(said: str, alphabet: frozenset[str]) -> list[str]:
    """The words of `said` in the alphabet; without a hyphen in it, what a hyphen joins are words of their own."""
    if "-" not in alphabet:
        said = said.replace("-", " ")
    words = ("".join(_letters(char, alphabet) for char in word).strip("'-\u2019") for word in said.split())
    return [word for word in words if any(category(char)[0] in "LM" for char in word)]


def _letters(char: str, alphabet: frozenset[str]) -> str:
    """The character in the alphabet: in the other case, taken apart or without its accent if need be; or nothing."""
    apart = LIGATURES.get(char.lower(), char)
    for choice in (char, char.lower(), char.upper(), apart.lower(), apart.upper()):
        if alphabet.issuperset(choice):
            return choice
    if char == "'":
        return "\u2019" if "\u2019" in alphabet else ""
    plain = normalize("NFD", char)
    return "".join(_letters(part, alphabet) for part in plain) if plain != char else ""


class _Reader:
    """Reads a text aloud in one language: yields what is said, in order, with the character that it is said for."""

    def __init__(self, lexicon: Lexicon, numbers: Numbers) -> None:
        self._lexicon, self._numbers = lexicon, numbers
        self._letters = dict(zip("abcdefghijklmnopqrstuvwxyz", lexicon.letters.split(), strict=False))
        self._shouted = False
        grouped = _grouped(lexicon)
        fraction = rf"(?:(?P<mark>{r'[.]' if lexicon.english else '[.,]'})(?P<fraction>\d{{1,6}})(?!\d|[.,]\d))?"
        number = rf"(?P<whole>{grouped}|\d++){fraction}"
        unit = "|".join([CURRENCY, *map(re.escape, sorted(lexicon.units, key=len, reverse=True))])
        rules = (
            (ADDRESS, self._address),
            (DATE, self._date),
            (TIME, self._time),
            (rf"(\d{{1,6}})({lexicon.ordinals})(?!\w)", self._ordinal),
            (rf"(?<!\d)(?P<unit>{CURRENCY}) ?{number}(?: (?P<many>{MANY}))?", self._amount),
            (rf"{number}(?: ?(?P<many>[kM]|{MANY}))? ?(?P<unit>{unit})(?!{LETTER})", self._amount),
            (rf"(?P<whole>{grouped}){fraction}", self._number),
            (TELEPHONE, self._telephone),
            (number, self._number),
            (SYMBOL, self._symbol),
            (_abbreviated(lexicon), self._abbreviation),
            (INITIALS, self._initials),
            (WORD, self._word),
        )
        self._rules = [(re.compile(pattern), rule) for pattern, rule in rules]

    def read(self, text: str) -> Iterator[Said]:
        """What is said for `text`, which is normal."""
        words = [word for word in text.split() if sum(map(str.isalpha, word)) > 1]
        self._shouted = len(words) >= SHOUTED_WORDS and sum(map(str.isupper, words)) > len(words) / 2
        at = 0
        while at < len(text):
            for pattern, rule in self._rules:
                if found := pattern.match(text, at):
                    yield from rule(found)
                    at = found.end()
                    break
            else:
                at += 1

    def _address(self, match: re.Match[str]) -> Iterator[Said]:
        names = {**self._lexicon.symbols, **self._lexicon.address}
        for part in re.finditer(r"[@._/+-]|\d+|[^\d@._/+-]+", match["body"]):
            at, said = match.start("body") + part.start(), part[0]
            if said.isdigit():
                yield at, self._numbers.plain(said)
            elif said in "@._/+-":
                yield at, names.get(said, "")
            else:
                country = len(said) == 2 and match["body"][part.end() : part.end() + 1] in ("", "/")
                yield at, self._by_letter(said) if country or said == "www" else said

    def _date(self, match: re.Match[str]) -> Iterator[Said]:
        lexicon, day, month = self._lexicon, int(match[1]), int(match[3])
        if month > 12 or (lexicon.english and day <= 12):
            day, month = month, day
        if not (1 <= day <= 31 and 1 <= month <= 12 and lexicon.months):
            yield match.start(), " ".join(self._numbers.plain(match[part]) for part in (1, 3, 4))
            return
        ordinal = ["ordinal-masculine", "ordinal"] if day <= lexicon.ordinal_days else []
        said, name = self._numbers.said(day, *ordinal), lexicon.months.split()[month - 1]
        first = f"{name} {said}" if lexicon.english else f"{said} {lexicon.before_month} {name}"
        yield match.start(), f"{first} {lexicon.before_year} {self._numbers.plain(match[4])}"

    def _time(self, match: re.Match[str]) -> Iterator[Said]:
        lexicon, hour, minutes = self._lexicon, int(match["hour"]), match["minute"] or match["behind"] or "0"
        yield match.start(), self._numbers.said(hour, *(["cardinal-feminine"] if lexicon.feminine_hours else []))
        if match["mark"] or match["late"] or lexicon.says_hours:
            yield _last(match, "hour", "mark", "late"), _one_of(lexicon.hour, several=hour != 1)
        if int(minutes):
            oh = "oh " if lexicon.english and minutes.startswith("0") else ""
            at = _last(match, "mark", "minute", "behind", "late")
            yield at, f"{lexicon.minutes_after} {oh}{self._numbers.said(int(minutes))}"

    def _amount(self, match: re.Match[str]) -> Iterator[Said]:
        """A number and its unit; the hundredths of a currency are said after it."""
        names, at = self._unit(match["unit"]), _last(match, "whole", "many", "unit")
        whole, fraction = re.sub(r"\D", "", match["whole"]), match["fraction"] or ""
        several = whole.lstrip("0") != "1" or match["many"] is not None
        if match["many"] or len(fraction) != 2 or names.count("/") < 2:
            yield from self._counted(match)
            if match["many"]:
                yield match.start("many"), self._lexicon.symbols.get(match["many"], match["many"])
            yield at, _one_of(names, several=several)
        elif whole.strip("0"):
            yield from self._whole(match, "cardinal-masculine")
            yield at, _one_of(names, several=several)
            if int(fraction):
                yield at, f"{self._lexicon.cents_after} {self._numbers.whole(fraction)}"
        else:
            yield match.start("whole"), self._numbers.whole(fraction, "cardinal-masculine")
            yield at, names.split("/")[2]

    def _counted(self, match: re.Match[str]) -> Iterator[Said]:
        """A number before what it counts, "un euro" and not "uno"."""
        if not match["fraction"]:
            yield from self._whole(match, "cardinal-masculine")
        else:
            yield from self._whole(match)
            yield match.start("fraction"), self._numbers.fraction(match["mark"], match["fraction"])

    def _number(self, match: re.Match[str]) -> Iterator[Said]:
        if match["fraction"] or not match["whole"].isdigit():
            yield from self._counted(match)
        else:
            yield match.start(), self._numbers.plain(match["whole"])

    def _whole(self, match: re.Match[str], *rulesets: str) -> Iterator[Said]:
        """The whole of a number; the thousands of one that is written with spaces each at their place."""
        written, at = match["whole"], match.start("whole")
        if " " not in written or len(re.sub(r"\D", "", written)) > MAX_NUMBER_DIGITS:
            yield at, self._numbers.whole(re.sub(r"\D", "", written), *rulesets)
            return
        groups = list(re.finditer(r"\d+", written))
        for behind, group in zip(reversed(range(len(groups))), groups, strict=True):
            if int(group[0]):
                yield at + group.start(), self._numbers.said(int(group[0]) * 1000**behind, *rulesets)

    def _ordinal(self, match: re.Match[str]) -> Iterator[Said]:
        feminine = re.match(r"i?[eè]?re|.*a$|वीं", match[2]) is not None
        genders = ("feminine", "masculine") if feminine else ("masculine",)
        said = self._numbers.said(int(match[1]), *(f"ordinal-{gender}" for gender in genders), "ordinal")
        yield match.start(), self._lexicon.symbols.get(match[0], said)

    def _telephone(self, match: re.Match[str]) -> Iterator[Said]:
        for part in re.finditer(r"\+|\d+", match[0]):
            said = self._lexicon.symbols.get("+", "") if part[0] == "+" else self._numbers.group(part[0])
            yield match.start() + part.start(), said

    def _symbol(self, match: re.Match[str]) -> Iterator[Said]:
        yield match.start(), self._lexicon.symbols.get(match[0]) or _one_of(self._unit(match[0]), several=True)

    def _abbreviation(self, match: re.Match[str]) -> Iterator[Said]:
        known, key = self._lexicon.abbreviations, match[0].lower()
        yield match.start(), known.get(key) or known.get(f"{key}#") or known.get(key.rstrip("."), match[0])

    def _initials(self, match: re.Match[str]) -> Iterator[Said]:
        yield from ((match.start() + at, self._by_letter(char)) for at, char in enumerate(match[0]) if char != ".")

    def _word(self, match: re.Match[str]) -> Iterator[Said]:
        elided, apostrophe, rest = match[0].rpartition("'")
        parts = rest.split("-")
        if rest and any(map(self._is_acronym, parts)):
            said = " ".join(self._by_letter(part) if self._is_acronym(part) else part for part in parts)
            yield match.start(), f"{elided}{apostrophe}{said}"
        else:
            yield match.start(), match[0]

    def _is_acronym(self, word: str) -> bool:
        """Whether it is likely said letter by letter."""
        small = word.lower()
        if not word.isupper() or not all(char in self._letters for char in small):
            return False
        if len(word) == 1:
            return small not in "aeiouy"
        pronounceable = len(word) > LONGEST_ACRONYM or PRONOUNCEABLE.fullmatch(small)
        return not (pronounceable or self._shouted)

    def _by_letter(self, word: str) -> str:
        return " ".join(self._letters.get(char.lower(), char) for char in word)

    def _unit(self, symbol: str) -> str:
        return self._lexicon.units.get(CURRENCIES.get(symbol, symbol), "")


def _grouped(lexicon: Lexicon) -> str:
    """The pattern of a number with separators of thousands."""
    if lexicon.english:
        return r"[1-9]\d{0,2}(?:[,']\d{3})+(?!\d)"
    spaced = r"(?: \d{3})+(?!\d)" if lexicon.spaced_millions else r" \d{3}(?! ?\d)"
    return rf"[1-9]\d{{0,2}}(?:(?:[.']\d{{3}})+(?!\d)|{spaced})"


def _abbreviated(lexicon: Lexicon) -> str:
    """The pattern of the abbreviations."""
    keys = sorted(lexicon.abbreviations, key=len, reverse=True)
    behind = {".": "(?= ?[A-ZÀ-Þ])", "#": r"(?= ?\d)"}
    one = (rf"(?i:{re.escape(key.rstrip('#'))}){behind.get(key[-1], rf'(?!{LETTER})[.]?')}" for key in keys)
    return rf"(?<![\w.'-])(?:{'|'.join(one) or '(?!)'})"


def _last(match: re.Match[str], *groups: str) -> int:
    """Where the last of the groups begins; one that is not there does not count."""
    return max(match.start(group) for group in groups)


def _one_of(names: str, *, several: bool) -> str:
    """The name of one, or of several."""
    one, _, rest = names.partition("/")
    return (rest.partition("/")[0] or one) if several else one


@cache
def _reader(language: str) -> _Reader:
    """Blocks for about 0.3 s the first time."""
    lexicon = LEXICONS.get(language, Lexicon())
    return _Reader(lexicon, Numbers(language, lexicon))
