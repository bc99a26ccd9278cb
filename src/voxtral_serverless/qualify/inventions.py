"""What a French summary says that nobody said: names, amounts and dates, found without a model.

Promises: what is reported is not in the transcript, whichever way it is written there. A figure may also follow from
what was said: a sum, a difference or a multiple of two amounts, the time between two dates or two times of a day, a
round number that is called one. So much is let pass that a count is a floor, not an estimate.

It cannot see: a name or a figure that was said of somebody or something else; names in small letters, those of a
single letter, and one alone at the start of a sentence; how often something happened, up to ten; numbers that are
part of a word; a false unit of a true number. A date that a summary works out from what today is, tomorrow's for one, was
not said, nor was the result of any other sum, a percentage for one. Speaker labels are nobody's invention. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from voxtral_serverless.qualify.figures import WEEKDAYS, Figure, Text, figures, folded, in_digits, numbers, typed
from voxtral_serverless.transcription.lexicons import LEXICONS

COUNTED = 10
"""A bare number up to this may be the summary's own count of something."""
SMALL_WORDS = {"a", "au", "aux", "d", "de", "des", "du", "en", "et", "l", "la", "le", "les"}
"""Which an acronym passes over."""
MANNERS = {"cent", "mille"}
"""As in a thousand thanks."""
MULTIPLES = range(2, 13)
ABOUT = 0.15
"""How far a number that is said to be rough may be from the true one: 35 minutes are more than half an hour."""
UNITS_APART = 0.15
"""How far a duration may be from the same in another unit: a fortnight has 15 days in French, a month about four weeks."""
DAY = 1440
"""Its minutes."""
MONTH_STARTS = tuple(accumulate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30), initial=0))
"""Days of the year before each month."""
YEAR = 365
"""Its days."""
BARE_DAY = re.compile(r"(?:(?<!\w)(?:les?|du|au|et|ou)|,) (\d|[12]\d|3[01])(?!\w|[,.]\d)")
QUARTER = 15
"""Minutes that a rough time of the day may be from the true one."""
AMOUNT = 20
"""A bare number above this may be an amount of money."""
NOON = 12
LONG_NUMBER = 4
"""Digits from which a number may be one that was said in groups."""
LONG_NAME = 4
"""Letters from which a name may be found in the transcript written as several words."""
LABEL = re.compile(r"\bSPEAKER_\d+\b")
NAME = re.compile(r"(?<!\w)[A-ZÀ-ÖØ-ÞŒ][\w'-]*")
ABBREVIATED = re.compile(r"(?:^|[\W_])(?:MM?|Mr|Mme|Mmes|Mlle|Dr|Pr|Me|St|Ste|[A-Z])\.\s*$")
SENTENCE_START = re.compile(r"(?:^|[.!?:;\n*#•(\u2013]|\s-|[«\"“])[\s«\"“)»*]*$")
WORD = re.compile(r"[^\W_]+")
STARTS = """
a afin ainsi alors appel apres assez au aucun aucune aussi autre autres aux avant avec bien bon bonjour bonne car ce
ceci cela celle celui cependant certes ces cet cette chacun chacune chaque chez comme comment concernant contre d
dans de deja depuis des desormais deux devant du durant elle elles en enfin ensuite entre envers est et eux face faute
finalement grace hors il ils ici initialement je jusqu juste l la le les leur leurs lors lorsque lui ma mais malgre meme
merci mes moins mon ne neanmoins ni non nos notre nous on or ou oui outre par parce parmi pas pendant personne peu plus
plusieurs plutot pour pourtant pourquoi pres puis puisque qu quand quant que quel quelle quelqu quelques qui quoi
quoique rien s sa sans sauf se selon ses seul seule si sinon sitot son sous suite suivant sur surtout ta tandis tant te
tes ton tot toujours tous tout toute toutefois toutes tres trop tu un une vers via voici voila vos votre vous y
"""
"""How sentences begin."""
TITLES_AND_TERMS = """
abonne abonnee acheteur acheteuse agent agente appelant appelante assistant assistante assure assuree client cliente
clients collaborateur collegue conseil conseiller conseillere consommateur docteur docteure dr employe employee enqueteur
femme homme hote intervenant interlocuteur interlocutrice interviewe interviewee interviewer journaliste madame mademoiselle
maitre medecin mere mesdames messieurs mlle mme mmes mr operateur operatrice parent patient patiente pere prestataire
receptionniste resident responsable salarie salariee secretaire service societe standardiste technicien usager
utilisateur vendeur voisin monsieur m mm me pr st ste saint sainte resume note objet
eur usd internet web wifi wi fi bluetooth etat france francais francaise francaises europe noel paques toussaint dieu euro euros
sav rdv sms mms rib iban tva pdf ok tv gps cdi cdd cb ht ttc cni usb pin sim faq id qr cv pc adsl ia rh ceo pdg ehpad
ag ssii vtc csp npai ref tel num no nb ps allo salut chef directeur directrice expert experte gerant gerante president
presidente professeur agence assurance assurances banque bureau cabinet centre clinique college commune compagnie
copropriete direction ecole garage gare hopital hotel laboratoire lycee mairie ministere mutuelle office pharmacie police
poste prefecture restaurant syndic tribunal universite ville
analyses box cote dre excepte generale hormis hs nationale
"""
COMMON = frozenset(f"{STARTS} {TITLES_AND_TERMS}".split())
"""Words that name nobody, though a summary may write them with a capital, without accents."""
NO_FIRST_NAME = re.compile(
    r"(?:ant|ante|ants|es?e|ees?|es|er|ment|tion|ions?|aire|eur|euse|eux|if|ive|al|ale|ite|ance|ence)$"
)
"""How words end that begin a sentence before a name, "Contactant Volta": such a word is never taken for a first name."""


@dataclass(frozen=True)
class Inventions:
    """What nobody said, as the summary writes it, each once, in its order."""

    names: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()


def inventions(summary: str, said: str) -> Inventions:
    """What `summary` says and `said`, the transcript, does not; turns apart by line ends."""
    written = in_digits(LABEL.sub(" ", summary))
    transcript = _Transcript(in_digits(LABEL.sub(" ", said)))
    false = [figure for figure in figures(written) if not transcript.tells(figure)]
    return Inventions(
        _each_once(_names(typed(LABEL.sub(" ", summary)), transcript)),
        _each_once(figure.text for figure in false if not _is_date(figure, written)),
        _each_once(figure.text for figure in false if _is_date(figure, written)),
    )


def _each_once(found: Iterable[str]) -> tuple[str, ...]:
    return tuple({folded(one): one for one in reversed(list(found))}.values())[::-1]


def _is_date(figure: Figure, written: Text) -> bool:
    """Whether it tells when, not how much: hours alone, unless at one of them, are how long something takes."""
    if figure.kind != "time" or figure.values[1]:
        return figure.kind in {"time", "date", "month", "weekday", "year"}
    at = rf"\b(?:a|vers|avant|apres|des|entre|et|ou)\s+{re.escape(folded(figure.text))}"
    return "heure" not in folded(figure.text) or re.search(at, folded(written.source)) is not None


class _Transcript:
    """What was said, by what it is compared by."""

    def __init__(self, text: Text) -> None:
        self.figures = figures(text)
        self.numbers = {*numbers(text), *(figure.value for figure in self.figures)}
        self.digits = re.sub(r"\D", "", text.plain)
        self.days = {float(day) for day in BARE_DAY.findall(text.plain)}
        self.words = {_stem(word) for word in WORD.findall(folded(text.source))} | {
            _stem(_apart(word)) for word in re.findall(r"[\w'-]+", folded(text.source))
        }
        self.letters = folded(text.source).replace("œ", "oe").replace("æ", "ae")
        turns = [WORD.findall(turn) for turn in folded(text.source).split("\n")]
        self.initials = " ".join(
            "".join(word[0] for word in turn if word not in passed) for turn in turns for passed in (set(), SMALL_WORDS)
        )

    def tells(self, figure: Figure) -> bool:
        """Whether it was said, or follows from what was."""
        return {
            "time": self._tells_time, "date": self._tells_date, "month": self._tells_month, "weekday": self._tells_weekday,
            "duration": self._tells_duration, "money": self._tells_money, "number": self._tells_bare,
        }.get(figure.kind, self._tells_number)(figure)  # fmt: skip

    def names(self, name: str) -> bool:
        """Whether a word was said, in one word or several, spelled out, or as the words of an acronym."""
        plain = _apart(folded(name))
        if _stem(plain) in self.words or (len(plain) >= LONG_NAME and self._joined(plain)):
            return True
        return name.isupper() and folded(name) in self.initials

    def _joined(self, plain: str) -> bool:
        """Whether words of one turn that follow each other are these letters."""
        return re.search(r"\b" + r"+[^\w\n]*".join(plain) + r"+\b", self.letters) is not None

    @cached_property
    def _loose(self) -> set[int]:
        """The numbers that stand outside of dates: days too, "du 3 au 5 mars"."""
        digits = re.findall(r"\d+", " ".join(folded(one.text) for one in self.figures if one.kind != "date"))
        values = [one.value for one in self.figures if one.kind not in {"date", "month", "weekday"}]
        return {int(one) for one in digits} | {int(value) for value in values}

    @cached_property
    def _money(self) -> set[float]:
        """What the amounts come to, two at a time, with a unit or without."""
        said = {value for one in self.figures if one.kind == "money" for value in (one.value, one.values[0])}
        said |= {one.value for one in self.figures if one.kind == "number" and one.value > AMOUNT}
        pairs = {round(one + sign * other, 2) for one in said for other in said for sign in (1, -1)}
        return pairs | {round(one * times, 2) for one in said for times in MULTIPLES if times in self.numbers}

    @cached_property
    def _durations(self) -> list[tuple[float, ...]]:
        """Numbers and the minutes of their units."""
        hours = [(one.values[0] + one.values[1] / 60, 60.0) for one in self.figures if one.kind == "time"]
        return [*(one.values for one in self.figures if one.kind == "duration"), *hours]

    @cached_property
    def _days_apart(self) -> set[float]:
        """How many days are between two dates, without a 29 February, or two days where a month is not said."""
        dates = self._of("date")
        dated = [MONTH_STARTS[int(month) - 1] + day for day, month, _ in dates]
        bare = {one.value for one in self.figures if one.kind == "number"} & self.days
        apart = {(one - other) % YEAR for one in dated for other in dated}
        return apart | {abs(one - other) for one in bare for other in bare | {date[0] for date in dates}}

    @cached_property
    def _minutes_apart(self) -> set[float]:
        """How many minutes are between two times of a day."""
        said = [hour * 60 + minute for hour, minute in self._of("time")]
        return {abs(one - other) for one in said for other in said}

    def _of(self, kind: str) -> list[tuple[float, ...]]:
        return [figure.values for figure in self.figures if figure.kind == kind]

    def _tells_number(self, figure: Figure) -> bool:
        if figure.value in {1, *self.numbers} or (len(figure.digits) >= LONG_NUMBER and figure.digits in self.digits):
            return True
        return _is_about(figure, self.numbers)

    def _tells_bare(self, figure: Figure) -> bool:
        if figure.value <= COUNTED or folded(figure.text) in MANNERS:
            return True
        return figure.value in self._money or self._tells_number(figure)

    def _tells_money(self, figure: Figure) -> bool:
        if figure.value in self._money or _is_about(figure, self._money):
            return True
        return self._tells_number(figure) or {*figure.values} - {0} <= self.numbers

    def _tells_duration(self, figure: Figure) -> bool:
        number, unit = figure.values
        apart = self._minutes_apart if unit < DAY else {days * DAY for days in self._days_apart}
        return self._tells_as_long(figure) or number in {round(minutes / unit) for minutes in apart}

    def _tells_as_long(self, figure: Figure) -> bool:
        """Whether a duration was said, in whatever unit."""
        number, unit = figure.values
        return self._tells_number(figure) or any(
            unit != other and abs(number * unit - count * other) <= UNITS_APART * number * unit
            for count, other in self._durations
        )

    def _tells_time(self, figure: Figure) -> bool:
        """Whether it was said, or is how long something takes, which is written alike."""
        hour, minute = figure.values
        said = {other for one, other in self._of("time") if _same_hour(hour, one)}
        if minute in said or (figure.rough and self._tells_time_about(figure)):
            return True
        if minute:
            lengths = self._minutes_apart | {round(count * unit) for count, unit in self._durations}
            return hour * 60 + minute in lengths or (len(figure.digits) >= LONG_NUMBER and figure.digits in self.digits)
        lasting = Figure("duration", (hour, 60.0), figure.text, digits=figure.digits)
        lasts = self._tells_duration if "heure" in folded(figure.text) else self._tells_as_long
        return bool(said) or lasts(lasting)

    def _tells_time_about(self, figure: Figure) -> bool:
        """Whether a time close to it was said."""
        hour, minute = figure.values
        return any(abs((hour - one) * 60 + minute - other) <= QUARTER for one, other in self._of("time"))

    def _tells_date(self, figure: Figure) -> bool:
        day, month, year = figure.values
        if (day, month) not in {date[:2] for date in self._of("date")} and not (
            day in self._loose and self._tells_month(Figure("month", (month, 0), figure.text))
        ):
            return False
        return self._tells_year(year)

    def _tells_month(self, figure: Figure) -> bool:
        month, year = figure.values
        said = {date[1] for date in self._of("date")} | {one for one, _ in self._of("month")}
        return month in said and self._tells_year(year)

    def _tells_year(self, year: float) -> bool:
        return not year or year in self.numbers or year in {date[-1] for date in self._of("date")}

    def _tells_weekday(self, figure: Figure) -> bool:
        return figure.values in self._of("weekday")


def _same_hour(written: float, said: float) -> bool:
    """Whether who says one hour may mean the other: "cinq heures" may be 17 h, but 17 h is never 5 h."""
    return (written - said) % (12 if said % 24 <= NOON else 24) == 0


def _is_about(figure: Figure, true: Iterable[float]) -> bool:
    return figure.rough and any(abs(figure.value - one) <= ABOUT * one for one in true)


def _names(summary: str, transcript: _Transcript) -> Iterator[str]:
    """Names that were not said; those that follow each other are one."""
    found = [match for match in NAME.finditer(summary) if _is_invented(match, summary, transcript)]
    while found:
        end = 1
        while end < len(found) and summary[found[end - 1].end() : found[end].start()] == " ":
            end += 1
        yield summary[found[0].start() : found[end - 1].end()].strip("'-")
        found = found[end:]


def _is_invented(match: re.Match[str], summary: str, transcript: _Transcript) -> bool:
    name = re.sub(r"^(?:[LDJMNSTC]|\w*[Qq]u)'(?=\w)|['-]+$", "", match[0])
    plain = folded(name)
    if len(name) < 2 or any(map(str.isdigit, name)) or _names_nobody(plain) or transcript.names(name):
        return False
    parts = [part for part in WORD.findall(name) if not _names_nobody(folded(part))]
    if all(transcript.names(part) for part in parts):
        return False
    before = summary[: match.start()]
    if not SENTENCE_START.search(before) or ABBREVIATED.search(before):
        return True
    return _starts_with_name(name, summary[match.end() :])


def _names_nobody(plain: str) -> bool:
    return plain in COMMON or plain.removesuffix("s") in WEEKDAYS or plain in _MONTHS


_MONTHS = frozenset(folded(LEXICONS["fr"].months).split())


def _starts_with_name(name: str, after: str) -> bool:
    """Whether the first word of a sentence can only be a name: an acronym, or what stands before another name."""
    if name.isupper() and len(name) > 1:
        return True
    following = re.match(r" ([A-ZÀ-ÖØ-ÞŒ][\w-]+)", after)
    return following is not None and not NO_FIRST_NAME.search(folded(name))


def _apart(word: str) -> str:
    """The letters alone, none of them twice in a row: how names are misspelled."""
    letters = re.sub(r"[\W_]", "", word.replace("œ", "oe").replace("æ", "ae"))
    return re.sub(r"(.)\1+", r"\1", letters)


def _stem(word: str) -> str:
    """Without what a plural adds. What a feminine adds tells names apart: Marie is nobody's "mari"."""
    plain = _apart(word)
    return re.sub(r"[sx]$", "", plain) or plain
