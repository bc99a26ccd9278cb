"""What the readings of the stage `accuracy` say together: errors over all calls, not the mean of the calls' rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from voxtral_serverless.qualify.findings_values import (
    Pooled,
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

Mode = Literal["given", "free"]
"""Whether the number of speakers was given with the job."""
SOUNDS = ("silence", "noise", "music")


@dataclass(frozen=True)
class SpeakerErrors:
    """Diarization errors of all calls together, in seconds of speaker time."""

    speech_s: float
    missed_s: float
    false_alarm_s: float
    confusion_s: float
    calls: int

    @property
    def rate(self) -> float | None:
        """The diarization error rate."""
        return ratio(self.missed_s + self.false_alarm_s + self.confusion_s, self.speech_s)

    @property
    def missed_rate(self) -> float | None:
        """Its share of speech that nobody was said to speak in."""
        return ratio(self.missed_s, self.speech_s)

    @property
    def false_alarm_rate(self) -> float | None:
        """Its share of speech where there is none."""
        return ratio(self.false_alarm_s, self.speech_s)

    @property
    def confusion_rate(self) -> float | None:
        """Its share of speech given to somebody else."""
        return ratio(self.confusion_s, self.speech_s)


@dataclass(frozen=True)
class CallErrors:
    """The rates of one call; None what it does not have."""

    name: str
    wer: float | None
    cpwer: float | None
    der: float | None


@dataclass(frozen=True)
class Accuracy:
    """How right the answers of a mode are.

    Attributes:
        cpwer_gap: cpWER less WER, over the calls that have both.
        coverage: Time of speech that lies in turns with a text, with the collar; and `coverage_strict` without.
        speakers_right: Calls in which as many speakers were found as there are.
        warnings: Codes of the answers, with the number of calls that have them.
    """

    mode: Mode
    calls: Tally
    hours: float
    wer: Pooled
    cpwer: Pooled
    tcpwer: Pooled
    cpwer_gap: Pooled
    der: SpeakerErrors
    der_collar: SpeakerErrors
    coverage: Pooled
    coverage_strict: Pooled
    speakers_right: int
    turns_without_text: int
    warnings: Mapping[str, int]
    each: tuple[CallErrors, ...]


@dataclass(frozen=True)
class Stock:
    """Ours beside stock pyannote."""

    calls: Tally
    identical: int
    different_s: float
    stock_s: float
    ours_s: float


@dataclass(frozen=True)
class Sound:
    """What is written of a sound in which nobody speaks."""

    name: str
    minutes: float
    words: int
    text: str

    @property
    def words_per_minute(self) -> float | None:
        """Words written of a minute of it."""
        return ratio(self.words, self.minutes)


def accuracy(readings: Readings, mode: Mode, missing: Collection[str]) -> Accuracy:
    """What the calls of a mode say together; some units may be missing."""
    found = of_stage(readings, "accuracy", mode)
    good = measured(found)
    calls = list(good.values())
    return Accuracy(
        mode, tally(found, units_of(missing, "accuracy", mode)), _summed(calls, "duration_s") / 3600,
        wer=_pooled((number(call, "wer_errors"), number(call, "words")) for call in calls),
        cpwer=_pooled((number(call, "cpwer_errors"), number(call, "words")) for call in calls),
        tcpwer=_pooled((number(call, "tcpwer_errors"), number(call, "words")) for call in calls),
        cpwer_gap=_pooled((_gap(call), number(call, "words")) for call in calls),
        der=_speaker_errors(calls, "der"), der_collar=_speaker_errors(calls, "der_collar"),
        coverage=_pooled((number(call, "covered_s"), number(call, "speech_s")) for call in calls),
        coverage_strict=_pooled((number(call, "covered_strict_s"), number(call, "speech_strict_s")) for call in calls),
        speakers_right=sum(_speakers_right(call) for call in calls),
        turns_without_text=sum(count(call, "turns_without_text") for call in calls),
        warnings=Counter(sorted(code for call in calls for code in set(texts(call, "warnings")))),
        each=tuple(_one(unit.split("/")[1], call) for unit, call in sorted(good.items())),
    )  # fmt: skip


def _pooled(shares: Iterable[tuple[float | None, float | None]]) -> Pooled:
    known = [(some, whole) for some, whole in shares if some is not None and whole is not None]
    return Pooled(sum(some for some, _ in known), sum(whole for _, whole in known), len(known))


def _gap(call: Values) -> float | None:
    errors, by_speaker = number(call, "wer_errors"), number(call, "cpwer_errors")
    return None if errors is None or by_speaker is None else by_speaker - errors


def _speakers_right(call: Values) -> bool:
    there = number(call, "speakers")
    return there is not None and there == number(call, "speakers_found")


def _speaker_errors(calls: Iterable[Values], key: str) -> SpeakerErrors:
    found = [errors for call in calls if (errors := part(call, key))]
    return SpeakerErrors(
        _summed(found, "speech_s"), _summed(found, "missed_s"), _summed(found, "false_alarm_s"),
        _summed(found, "confusion_s"), len(found),
    )  # fmt: skip


def _summed(found: Iterable[Values], key: str) -> float:
    return sum(number(one, key) or 0.0 for one in found)


def _one(name: str, call: Values) -> CallErrors:
    words = number(call, "words")
    errors = _speaker_errors([call], "der")
    return CallErrors(
        name, ratio(number(call, "wer_errors"), words), ratio(number(call, "cpwer_errors"), words), errors.rate
    )


def stock(readings: Readings) -> Stock:
    """How many calls have the same turns."""
    found = of_stage(readings, "accuracy", "stock")
    calls = list(measured(found).values())
    return Stock(
        tally(found), sum(call.get("identical") is True for call in calls),
        _summed(calls, "different_s"), _summed(calls, "stock_s"), _summed(calls, "ours_s"),
    )  # fmt: skip


def sounds(readings: Readings) -> tuple[Sound, ...]:
    """Those that were measured."""
    found = measured(of_stage(readings, "sounds"))
    return tuple(
        Sound(name, number(one, "minutes") or 0.0, count(one, "words"), text(one, "text") or "")
        for name in SOUNDS
        if (one := found.get(f"sounds/{name}")) is not None
    )
