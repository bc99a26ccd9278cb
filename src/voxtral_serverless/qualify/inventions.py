"""What a French summary says that nobody said: names, amounts and dates, found without a model.

Promises: what is reported is not in the transcript, whichever way it is written there. A figure may also follow from
what was said: a sum, a difference or a multiple of two amounts, the time between two dates, a round number that is
called one. So much is let pass that a count is a floor, not an estimate.

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

from voxtral_serverless.qualify.figures import WEEKDAYS, Figure, Text, figures, folded, in_digits, numbers, typed
from voxtral_serverless.transcription.lexicons import LEXICONS

COUNTED = 10
"""A bare number up to this may be the summary's own count of something."""
SMALL_WORDS = {"a", "au", "aux", "d", "de", "des", "du", "en", "et", "l", "la", "le", "les"}
"""Which an acronym passes over."""
MANNERS = {"cent", "mille"}
"""As in a thousand thanks."""
MULTIPLES = range(2, 13)
ABOUT = 0.1
"""How far a number that is said to be rough may be from the true one."""
UNITS_APART = 0.15
"""How far a duration may be from the same in another unit: a fortnight has 15 days in French, a month about four weeks."""
WEEK = 10_080
"""Its minutes."""
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
clients collaborateur collegue conseil conseiller conseillere consommateur docteur dr employe employee enqueteur femme
homme hote intervenant interlocuteur interlocutrice interviewe interviewee interviewer journaliste madame mademoiselle
maitre medecin mere mesdames messieurs mlle mme mmes mr operateur operatrice parent patient patiente pere prestataire
receptionniste resident responsable salarie salariee secretaire service societe standardiste technicien usager
utilisateur vendeur voisin monsieur m mm me pr st ste saint sainte resume note objet
eur usd internet web wifi wi fi bluetooth etat france francais francaise francaises europe noel paques toussaint dieu euro euros
sav rdv sms mms rib iban tva pdf ok tv gps cdi cdd cb ht ttc cni usb pin sim faq id qr cv pc adsl ia rh ceo pdg ehpad
ag ssii vtc csp npai ref tel num no nb ps allo salut chef directeur directrice expert experte gerant gerante president
presidente professeur agence assurance assurances banque bureau cabinet centre clinique college commune compagnie
copropriete direction ecole garage gare hopital hotel laboratoire lycee mairie ministere mutuelle office pharmacie police
poste prefecture restaurant syndic tribunal universite ville
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
        self.words = {_stem(word) for word in WORD.findall(folded(text.source))} | {
            _stem(_apart(word)) for word in re.findall(r"[\w'-]+", folded(text.source))
        }
        self.letters = _apart(folded(text.source))
        words = WORD.findall(folded(text.source))
        self.initials = " ".join(
            ("".join(word[0] for word in words), "".join(word[0] for word in words if word not in SMALL_WORDS))
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
        if _stem(plain) in self.words or (len(plain) >= LONG_NAME and plain in self.letters):
            return True
        return name.isupper() and folded(name) in self.initials

    @cached_property
    def _loose(self) -> set[int]:
        """The numbers that stand outside of dates: days too, "du 3 au 5 mars"."""
        digits = re.findall(r"\d+", " ".join(folded(one.text) for one in self.figures if one.kind != "date"))
        values = [one.value for one in self.figures if one.kind not in {"date", "month", "weekday"}]
        return {int(one) for one in digits} | {int(value) for value in values}

    @cached_property
    def _money(self) -> set[float]:
        """What the amounts come to, two at a time."""
        said = {value for one in self.figures if one.kind == "money" for value in (one.value, one.values[0])}
        pairs = {round(one + sign * other, 2) for one in said for other in said for sign in (1, -1)}
        return pairs | {round(one * times, 2) for one in said for times in MULTIPLES if times in self.numbers}

    @cached_property
    def _durations(self) -> list[tuple[float, ...]]:
        """Numbers and the minutes of their units."""
        hours = [(one.values[0] + one.values[1] / 60, 60.0) for one in self.figures if one.kind == "time"]
        return [*(one.values for one in self.figures if one.kind == "duration"), *hours]

    def _of(self, kind: str) -> list[tuple[float, ...]]:
        return [figure.values for figure in self.figures if figure.kind == kind]

    def _tells_number(self, figure: Figure) -> bool:
        if figure.value in {1, *self.numbers} or (len(figure.digits) >= LONG_NUMBER and figure.digits in self.digits):
            return True
        return figure.rough and any(abs(figure.value - one) <= ABOUT * figure.value for one in self.numbers)

    def _tells_bare(self, figure: Figure) -> bool:
        return figure.value <= COUNTED or folded(figure.text) in MANNERS or self._tells_number(figure)

    def _tells_money(self, figure: Figure) -> bool:
        return self._tells_number(figure) or figure.value in self._money or {*figure.values} <= self.numbers

    def _tells_duration(self, figure: Figure) -> bool:
        number, unit = figure.values
        return self._tells_as_long(figure) or number in {round(days * 1440 / unit) for days in self._between(unit)}

    def _tells_as_long(self, figure: Figure) -> bool:
        """Whether a duration was said, in whatever unit."""
        number, unit = figure.values
        return self._tells_number(figure) or any(
            unit != other and abs(number * unit - count * other) <= UNITS_APART * number * unit
            for count, other in self._durations
        )

    def _between(self, unit: float) -> set[float]:
        """How far numbers are apart: of days, where the unit is the week's, else of whatever the unit is, in days."""
        apart = {abs(one - other) for one in self.numbers for other in self.numbers}
        return apart if unit == WEEK else {count * unit / 1440 for count in apart}

    def _tells_time(self, figure: Figure) -> bool:
        """On the clock's face, since "17 h" is also "cinq heures"."""
        hour, minute = figure.values
        said = {(one % 12, other) for one, other in self._of("time")}
        if (hour % 12, minute) in said:
            return True
        if minute:
            return len(figure.digits) >= LONG_NUMBER and figure.digits in self.digits
        lasting = Figure("duration", (hour, 60.0), figure.text, figure.rough, figure.digits)
        lasts = self._tells_duration if "heure" in folded(figure.text) else self._tells_as_long
        return any(hour % 12 == one for one, _ in said) or lasts(lasting)

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
    name = re.sub(r"^(?:[LDJMNSTC]|Qu)'(?=\w)|['-]+$", "", match[0])
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
    """Without what a plural or a feminine adds."""
    plain = _apart(word)
    return re.sub(r"(?:es|e|s|x)$", "", plain) or plain
