"""The figures of a French text, in digits or in words: amounts, durations, times, dates and other numbers, by value.

"3 200,50 €", "3200,50 euros" and "trois mille deux cents euros cinquante" are the same figure. Number words are those
of `transcription/numerals`, and the Belgian and Swiss ones. Not here: fractions but for halves and quarters of an hour,
ordinals but for the first of a month, and dates that only the day of the call tells, such as tomorrow. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal
from unicodedata import normalize

from voxtral_serverless.transcription.lexicons import LEXICONS
from voxtral_serverless.transcription.numerals import Numbers
from voxtral_serverless.transcription.spelling import TYPED_AS

Kind = Literal["money", "duration", "measure", "time", "date", "month", "weekday", "year", "code", "number"]
WEEKDAYS = ("lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche")
MINUTES = {
    "sec": 1 / 60, "min": 1, "h": 60, "jours ouvr": 2016, "jou": 1440, "nui": 1440, "semai": 10_080, "moi": 43_200,
    "tri": 129_600, "semes": 259_200, "an": 518_400,
}  # fmt: skip
"""Of a unit of time, by the first letters of its names; a year has twelve months of thirty days, a week five to work."""
TIME_UNIT = (
    r"secondes?|minutes?|min|heures?|h|jours?(?: ouvr\w+)?|journees?|nuits?|semaines?|mois|trimestres?|semestres?"
    r"|ann?ees?|ans?"
)
MONEY_UNIT = r"€|euros?|eur|dollars?|\$|£|livres? sterling|francs?"
MEASURE = r"%|kwh|kg|kilos?|grammes?|km|kilometres?|m2|metres?(?: carres?)?|cm|centimetres?|litres?|degres?|°c?|go|mo"
ROUGH = re.compile(
    r"(?:environ|pres d[e']|presque|quelques?|autour de|aux alentours d[e']|de l'ordre d[e']|a peu pres|~|avoisin\w+"
    r"|depass\w+|approximativement|plus d[e']|moins d[e']|au moins|vers)(?: les?| ?une)? ?$"
)
ROUGH_BEHIND = re.compile(r" (?:environ|a peu pres)(?!\w)")


@dataclass(frozen=True)
class Figure:
    """A figure and where it stands.

    Attributes:
        values: By kind. money: whole, hundredths, or an amount alone; duration: number, minutes of the unit; time: hour,
            of 24 where "du soir" tells it, minute; date: day, month, year; month: month, year; weekday: 0 is Monday;
            else the number. 0: no year.
        text: As it is written.
        rough: It is said to be about so much.
        digits: All of its digits, as they follow each other.
    """

    kind: Kind
    values: tuple[float, ...]
    text: str
    rough: bool = False
    digits: str = ""

    @property
    def value(self) -> float:
        """The number; of an amount in two parts, both of them."""
        parts = self.kind == "money" and len(self.values) == 2
        return round(self.values[0] + self.values[1] / 100, 2) if parts else self.values[0]


@dataclass(frozen=True)
class Text:
    """A text without capitals and accents, its number words in digits, and where each character was."""

    plain: str
    source: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def sub(self, pattern: str, digits: Callable[[re.Match[str]], str]) -> Text:
        """With what `digits` says in place of each match."""
        plain, starts, ends, at = "", [], [], 0
        for match in re.finditer(pattern, self.plain):
            new, (first, last) = digits(match), match.span()
            plain += self.plain[at:first] + new
            starts += [*self.starts[at:first], *[self.starts[first]] * len(new)]
            ends += [*self.ends[at:first], *[self.ends[last - 1]] * len(new)]
            at = last
        return Text(plain + self.plain[at:], self.source, (*starts, *self.starts[at:]), (*ends, *self.ends[at:]))

    def written(self, match: re.Match[str]) -> str:
        """What stood where the match is."""
        return self.source[self.starts[match.start()] : self.ends[match.end() - 1]].strip()


def typed(text: str) -> str:
    """The text with each space, apostrophe and hyphen in one form."""
    return normalize("NFKC", text.translate(TYPED_AS)).translate(TYPED_AS)


def folded(text: str) -> str:
    """The text without capitals and accents, of the same length."""
    return "".join(normalize("NFD", char)[0].lower()[0] for char in text)


def in_digits(text: str) -> Text:
    """The text, ready to look for figures in."""
    source = typed(text)
    places = range(len(source))
    found = Text(re.sub(r"\s", " ", folded(source)), source, tuple(places), tuple(place + 1 for place in places))
    for pattern, digits in _rewritings():
        found = found.sub(pattern, digits)
    return found


def figures(text: Text) -> list[Figure]:
    """The figures of a text, in order; none is part of another."""
    found, at = [], 0
    while at < len(text.plain):
        for kind, pattern in _patterns().items():
            match = pattern.match(text.plain, at)
            values = match and _READERS[kind](match)
            if match and values:
                rough = ROUGH.search(text.plain, max(0, at - 25), at) or ROUGH_BEHIND.match(text.plain, match.end())
                found.append(Figure(kind, values, text.written(match), rough is not None, re.sub(r"\D", "", match[0])))
                at = match.end()
                break
        else:
            at += 1
    return found


def numbers(text: Text) -> Iterator[float]:
    """Every number that is there, also as a part of a figure, of a time for one, but whole: 1 290 is not 290."""
    return (_number(match[0]) for match in re.finditer(NUMBER, text.plain))


WHOLE = r"(?<!\d)(?:\d{1,3}(?:[ .']\d{3})+(?!\d)|\d+)"
NUMBER = rf"{WHOLE}(?:,\d+|\.\d{{1,2}}(?!\d))?"


def _number(written: str) -> float:
    whole = re.sub(r"[ '](?=\d{3})|\.(?=\d{3}(?!\d))", "", written)
    return float(whole.replace(",", "."))


@cache
def _small() -> dict[str, int]:
    """How the numbers below a hundred are said."""
    numerals = Numbers("fr", LEXICONS["fr"])
    said = {folded(numerals.said(number)).replace("-", " "): number for number in range(100)}
    tens = {"septante": 70, "huitante": 80, "octante": 80, "nonante": 90}
    said |= tens | {f"{ten} et un": value + 1 for ten, value in tens.items()}
    said |= {
        f"{ten} {word}": value + said[word] for ten, value in tens.items() for word in list(said) if 1 < said[word] < 10
    }
    said |= {f"{word}e": value for word, value in said.items() if re.search(r"\bun$", word)}
    return said | {"quatre vingt": 80}


def _value(words: str) -> int:
    """The number that some words say."""
    if words in _small():
        return _small()[words]
    for name, scale in (("milliard", 10**9), ("million", 10**6), ("mille", 1000), ("cent", 100)):
        if parts := re.fullmatch(rf"(?:(.+?) )?{name}s?(?: (.+))?", words):
            return (_value(parts[1]) if parts[1] else 1) * scale + (_value(parts[2]) if parts[2] else 0)
    raise AssertionError(words)  # the pattern of the words lets nothing else through


@cache
def _rewritings() -> tuple[tuple[str, Callable[[re.Match[str]], str]], ...]:
    """What is written in other words, in turn: a pattern, and what it means in digits."""
    small = "|".join(word.replace(" ", "[ -]") for word in sorted(_small(), key=len, reverse=True))
    hundreds = rf"(?:(?:{small})[ -])?cents?(?!\w)(?:[ -](?:{small})(?!\w))?|(?:{small})(?!\w)"
    thousands = rf"(?:(?:{hundreds})[ -])?mille(?!\w)(?:[ -](?:{hundreds}))?|{hundreds}"
    big = rf"(?:{hundreds})[ -](?:millions?|milliards?)(?!\w)"
    millions = rf"{big}(?:[ -]{big})?(?:[ -](?:{thousands}))?|{thousands}"
    units = rf"(?: d[e'])? ?(?:{TIME_UNIT}|{MONEY_UNIT}|{MEASURE})(?!\w)"
    about = {"dizaine": 10, "douzaine": 12, "quinzaine": 15, "vingtaine": 20, "trentaine": 30, "quarantaine": 40,
             "cinquantaine": 50, "soixantaine": 60, "centaine": 100}  # fmt: skip
    scales = {"mille": 1000, "millions": 10**6, "million": 10**6, "milliard": 10**9, "milliards": 10**9, "k": 1000}
    hours = {"demi-": 30, "quart d'": 15, "trois quarts d'": 45}
    return (
        (r"pour[ -]cent(?!\w)", lambda _: "%"),
        (r"(?<=\d)[x\u00d7](?=\d)", lambda _: " x "),
        (r"(?<!\w)\+33[ .-]?(?:\(0\) ?)?(?=[1-9])", lambda _: "0"),
        (r"(?<!\w)(trois quarts d'|demi-|quart d')heure(?!\w)", lambda found: f"{hours[found[1]]} minutes"),
        (rf"(?<!\w)({'|'.join(about)})(?: de | d')", lambda found: f"environ {about[found[1]]} "),
        (rf"(?<![\d,.])(\d+(?:,\d+)?) ?({'|'.join(scales)}|k(?=[ €]))(?!\w)",
         lambda found: f"{float(found[1].replace(',', '.')) * scales[found[2]]:.0f}"),
        # An article is no number, unless it counts something.
        (rf"(?<![\w])(?!(?<!zero )une?(?!{units})(?![ -]cent|[ -]mill)\b(?! virgule))(?:{millions})",
         lambda found: str(_value(found[0].replace("-", " ")))),
        (r"(?<=\d) virgule (?=\d)", lambda _: ","),
        (rf"(?<!\w)(?:premier|1er) (?={_months()})", lambda _: "1 "),
    )  # fmt: skip


@cache
def _months() -> str:
    return rf"(?:{'|'.join(map(folded, LEXICONS['fr'].months.split()))})(?!\w)"


@cache
def _patterns() -> dict[Kind, re.Pattern[str]]:
    """How each kind of figure is written; the first that fits is it."""
    year = r"(?: (?P<year>(?:19|20)\d\d)(?!\d| ?(?:€|euros?)))?"
    after = rf"(?!\d|[.,]\d| {_months()}| ?(?:{TIME_UNIT}|{MONEY_UNIT}|{MEASURE})(?!\w))"
    patterns = {
        "date": rf"(?<!\w)(?:(?P<day>\d{{1,2}}) (?P<name>{_months()}){year}"
        r"|(?P<first>\d{1,2})(?P<mark>[/.-])(?P<second>\d{1,2})(?P=mark)(?P<last>\d{4}|\d\d)(?![ .-]?\d)"
        r"|(?:(?<=\()|(?<=di )|(?<=(?:le|du|au) )|(?<=[dl]es )|(?<=dimanche ))(?P<d>\d{1,2})/(?P<m>\d{1,2})(?![/\d]))",
        "month": rf"(?<![\w-])(?P<name>{_months()}){year}",
        "weekday": rf"(?<![\w-])(?:{'|'.join(WEEKDAYS)})s?(?!\w)",
        "code": r"(?<!\w)\+?\d\d(?:[ .-]\d\d){2,}(?!\w|[ .-]\d)",
        "time": r"(?<![\w,.])(?:(?P<hour>[01]?\d|2[0-4]) ?(?:h(?:eures?)?(?![a-z])|:(?=\d\d))|(?<!-)(?:midi|minuit)(?!\w))"
        rf"(?: ?(?:et (?P<half>demie?|quart)(?!\w)|moins (?:le )?(?P<less>quart|\d\d?)|(?P<minute>[0-5]?\d){after}))?"
        r"(?P<late> (?:du soir|de l'apres[ -]midi)(?!\w))?",
        "money": rf"(?<!\w)(?:{WHOLE} ?(?:{MONEY_UNIT})(?: (?:et )?|(?<=€))"
        rf"(?P<cents>\d\d(?: centimes?)?|\d centimes?)(?!\w){after}|(?P<only>\d\d?) ?centimes?(?!\w)"
        rf"|{NUMBER}(?: d')? ?(?:{MONEY_UNIT})(?!\w))",
        "duration": rf"(?<!\w){NUMBER} ?(?:d[e']|environ )?(?P<unit>{TIME_UNIT})(?!\w)",
        "measure": rf"(?<!\w){NUMBER} ?(?:{MEASURE})(?!\w)",
        "year": r"(?<![\w,.])(?:19|20)\d\d(?![\w]|[,. -]\d)",
        "number": rf"(?<!\w)(?<![a-z]-){NUMBER}(?!\w)",
    }
    return {kind: re.compile(pattern) for kind, pattern in patterns.items()}  # type: ignore[misc]


def _month(name: str) -> int:
    return [folded(month) for month in LEXICONS["fr"].months.split()].index(name) + 1


def _date(match: re.Match[str]) -> tuple[float, ...] | None:
    if match["day"]:
        day, month, year = int(match["day"]), _month(match["name"]), int(match["year"] or 0)
    else:
        day, month = int(match["first"] or match["d"]), int(match["second"] or match["m"])
        year = int(match["last"] or 0)
        year += 2000 if 0 < year < 100 else 0
    return (day, month, year) if 1 <= day <= 31 and 1 <= month <= 12 else None


def _time(match: re.Match[str]) -> tuple[float, ...]:
    minutes = {"quart": 15, "demi": 30, "demie": 30}
    hour = int(match["hour"] or 12)
    hour += 12 if match["late"] and hour < 12 else 0
    if less := match["less"]:
        return hour - 1, 60 - (minutes.get(less) or int(less))
    return hour, minutes.get(match["half"] or "") or int(match["minute"] or 0)


def _money(match: re.Match[str]) -> tuple[float, ...]:
    [value] = _leading(match)
    if match["only"]:
        return 0, value
    return (value, int(match["cents"].split()[0])) if match["cents"] else (value,)


def _leading(match: re.Match[str]) -> tuple[float, ...]:
    number = re.match(NUMBER, match[0])
    assert number
    return (_number(number[0]),)


def _duration(match: re.Match[str]) -> tuple[float, ...]:
    unit = match["unit"]
    return (*_leading(match), next(minutes for name, minutes in MINUTES.items() if unit.startswith(name)))


_READERS: dict[Kind, Callable[[re.Match[str]], tuple[float, ...] | None]] = {
    "date": _date,
    "month": lambda match: (_month(match["name"]), int(match["year"] or 0)),
    "weekday": lambda match: (WEEKDAYS.index(match[0].removesuffix("s")),),
    "code": lambda match: (float(re.sub(r"\D", "", match[0])),),
    "time": _time,
    "money": _money,
    "duration": _duration,
    "measure": _leading,
    "year": _leading,
    "number": _leading,
}
