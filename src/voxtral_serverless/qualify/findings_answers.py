"""What the readings of the stages `analysis` and `robustness` say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from voxtral_serverless.qualify.findings_values import (
    Readings,
    Tally,
    Values,
    count,
    measured,
    number,
    of_stage,
    part,
    ratio,
    tally,
    text,
    texts,
    units_of,
)

INVENTED = ("names", "amounts", "dates")


@dataclass(frozen=True)
class Invention:
    """Something in a summary that is not in its call."""

    call: str
    kind: str
    text: str


@dataclass(frozen=True)
class Analysis:
    """What the analysis of the labelled calls is worth.

    Attributes:
        both_right: Calls with both labels right.
        invented: How many names, amounts and dates.
        no_summary, no_prefix, too_long: Calls without a summary, without the word in front of it, with more sentences
            than were asked for.
    """

    calls: Tally
    sentiment_right: int
    satisfaction_right: int
    both_right: int
    invented: Mapping[str, int]
    inventions: tuple[Invention, ...]
    no_summary: int
    no_prefix: int
    too_long: int
    took_s: float

    @property
    def labels_right(self) -> int:
        """Labels of both kinds."""
        return self.sentiment_right + self.satisfaction_right

    @property
    def labels(self) -> int:
        """Labels that were asked for; the ones of a call that failed are wrong."""
        return 2 * (self.calls.measured + self.calls.failed)

    @property
    def label_accuracy(self) -> float | None:
        """The part of the labels that is right."""
        return ratio(self.labels_right, self.labels)


@dataclass(frozen=True)
class Hostile:
    """What the hostile media files did."""

    files: int
    refused: int
    harmless: int
    leaked_bytes: int
    crashed: int
    slowest: str
    slowest_s: float | None


@dataclass(frozen=True)
class KilledEngine:
    """What became of a job whose engine was killed."""

    done: bool
    took_s: float | None
    undisturbed_s: float | None
    texts: int
    texts_undisturbed: int
    left: int


@dataclass(frozen=True)
class BadToken:
    """What was said of a token that the Hub does not know."""

    code: str
    took_s: float | None
    token_shown: bool


@dataclass(frozen=True)
class Longest:
    """The longest recording, as one job.

    Attributes:
        speech_s: Seconds in which somebody speaks, by the voice activity; `written_s`, those of the turns with a text.
    """

    minutes: float
    took_s: float | None
    duration_s: float | None
    turns: int
    turns_without_text: int
    last_turn_end_s: float | None
    speech_s: float | None
    written_s: float | None
    summary: bool
    sentiment: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Robustness:
    """What happens when things go wrong; None what was not measured, or could not be."""

    hostile: Hostile | None
    killed_engine: KilledEngine | None
    bad_token: BadToken | None
    longest: Longest | None


def analysis(readings: Readings, missing: Collection[str]) -> Analysis:
    """What the calls say together; some units may be missing."""
    found = of_stage(readings, "analysis")
    good = measured(found)
    calls = list(good.values())
    inventions = tuple(one for unit, call in sorted(good.items()) for one in _inventions(unit, call))
    kinds = Counter(one.kind for one in inventions)
    return Analysis(
        tally(found, units_of(missing, "analysis")),
        sentiment_right=_hold(calls, "sentiment_right"),
        satisfaction_right=_hold(calls, "satisfaction_right"),
        both_right=_hold(calls, "sentiment_right", "satisfaction_right"),
        invented={kind: kinds[kind] for kind in INVENTED},
        inventions=inventions,
        no_summary=sum(text(call, "summary") is None for call in calls),
        no_prefix=sum(text(call, "summary") is not None and call.get("prefixed") is not True for call in calls),
        too_long=sum(_too_long(call) for call in calls),
        took_s=sum(number(call, "took_s") or 0.0 for call in calls),
    )


def _hold(calls: Iterable[Values], *keys: str) -> int:
    return sum(all(call.get(key) is True for key in keys) for call in calls)


def _inventions(unit: str, call: Values) -> Iterable[Invention]:
    found = part(call, "invented")
    return (Invention(unit.partition("/")[2], kind, each) for kind in INVENTED for each in texts(found, kind))


def _too_long(call: Values) -> bool:
    asked = number(call, "asked_sentences")
    return asked is not None and count(call, "sentences") > asked


def robustness(readings: Readings) -> Robustness:
    """What was measured of it."""
    good = measured(of_stage(readings, "robustness"))
    by_name = {unit.partition("/")[2]: one for unit, one in good.items()}
    hostile, killed, token, longest = (
        by_name.get(name) for name in ("hostile", "killed_engine", "bad_token", "longest")
    )
    return Robustness(
        None if hostile is None else _hostile(hostile),
        None if killed is None else _killed_engine(killed),
        None if token is None else _bad_token(token),
        None if longest is None else _longest(longest),
    )


def _hostile(one: Values) -> Hostile:
    return Hostile(
        count(one, "files"), count(one, "refused"), count(one, "harmless"), count(one, "leaked_bytes"),
        count(one, "crashed"), text(one, "slowest") or "", number(one, "slowest_s"),
    )  # fmt: skip


def _killed_engine(one: Values) -> KilledEngine:
    return KilledEngine(
        one.get("done") is True, number(one, "took_s"), number(one, "undisturbed_s"),
        count(one, "texts"), count(one, "texts_undisturbed"), count(one, "left"),
    )  # fmt: skip


def _bad_token(one: Values) -> BadToken:
    return BadToken(text(one, "code") or "", number(one, "took_s"), one.get("token_shown") is not False)


def _longest(one: Values) -> Longest:
    return Longest(
        number(one, "minutes") or 0.0, number(one, "took_s"), number(one, "duration_s"), count(one, "turns"),
        count(one, "turns_without_text"), number(one, "last_turn_end_s"), number(one, "speech_s"),
        number(one, "written_s"), one.get("summary") is True, one.get("sentiment") is True, texts(one, "warnings"),
    )  # fmt: skip
