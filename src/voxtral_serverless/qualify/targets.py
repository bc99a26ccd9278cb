"""What is aimed at, and whether it is met. Pure.

Promises: compared is what was measured, unrounded, and rounded only where it is told. Nothing is met that was measured in
part, and a card larger than the target's proves nothing about one of its size; missed is missed all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from voxtral_serverless.qualify.findings import Findings
from voxtral_serverless.qualify.findings_accuracy import Accuracy
from voxtral_serverless.qualify.findings_answers import BadToken, Hostile, KilledEngine, Longest
from voxtral_serverless.qualify.findings_speed import AT_ONCE, LONG_MIN
from voxtral_serverless.qualify.findings_values import Tally, number, part, parts, text, texts
from voxtral_serverless.qualify.units import Reading

Outcome = Literal["met", "missed", "unmeasured"]

DER = 0.07
CPWER_GAP = 0.03
COVERAGE = 0.995
CALL_S = 12.0
CARD_GB, CARD_MIB = 24, 25 * 1024
"""The card of the target, and what no card of that name has more of."""
TIMES_REAL_TIME = 60.0
USD_PER_AUDIO_HOUR = 0.03
LABELS = 0.85
TOLD_S = 30.0
LONGEST_MIN = 150.0
MUSIC_MIN = 1.0
TAIL_S = 60.0
"""So long nobody may speak at the end of a recording made of calls."""
WRITTEN = 0.9
"""The part of what seems to be speech that turns with a text must have: voice activity and turns differ at their edges."""
ROUNDED_S = 0.01
"""Times in an answer have two decimals."""
NOT_MEASURED = "not measured"
NO_PRICE = "the price of the machine is not known"


@dataclass(frozen=True)
class Verdict:
    """Whether a target is met.

    Attributes:
        id: Stable, for machines.
        measured: The figure with its unit, rounded.
        remark: What else has to be known; empty where nothing has.
    """

    id: str
    target: str
    measured: str
    outcome: Outcome
    remark: str = ""


@dataclass(frozen=True)
class _Judged:
    """A figure beside its target.

    Attributes:
        meets: None where there is no figure.
        gaps: Why it cannot be said to be met, whatever it is.
        remarks: What else there is to it.
    """

    measured: str
    meets: bool | None
    gaps: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Target:
    """A target.

    Attributes:
        units: Names of its units, whose failure tells why there is no figure.
        stages: Those that measure it.
    """

    id: str
    told: str
    units: tuple[str, ...]
    stages: tuple[str, ...]
    judge: Callable[[Findings, Reading], _Judged | None]


def verdicts(findings: Findings, situation: Reading) -> tuple[Verdict, ...]:
    """A verdict for each target, in their order."""
    return tuple(_verdict(target, findings, situation) for target in TARGETS)


def tallied(found: Iterable[Verdict]) -> Mapping[Outcome, int]:
    """How many there are of each outcome."""
    outcomes = [one.outcome for one in found]
    return {
        "met": outcomes.count("met"),
        "missed": outcomes.count("missed"),
        "unmeasured": outcomes.count("unmeasured"),
    }


def _verdict(target: _Target, findings: Findings, situation: Reading) -> Verdict:
    judged = target.judge(findings, situation)
    if judged is None or judged.meets is None:
        why = _why_not(target, findings, situation)
        told = judged or _Judged(NOT_MEASURED, None)
        return Verdict(target.id, target.told, told.measured, "unmeasured", _joined((*told.gaps, *told.remarks, *why)))
    unreached = set(target.stages) & set(texts(situation, "unreached_stages"))
    gaps = (*judged.gaps, *(("the last start did not come to its stage",) if unreached else ()))
    outcome: Outcome = "missed" if not judged.meets else "unmeasured" if gaps else "met"
    return Verdict(target.id, target.told, judged.measured, outcome, _joined((*gaps, *judged.remarks)))


def _why_not(target: _Target, findings: Findings, situation: Reading) -> tuple[str, ...]:
    """Why there is no figure, where more is known than that there is none."""
    failed = [one for one in findings.failures if one.unit in target.units]
    if failed:
        return (failed[0].message,)
    if set(target.stages) & set(texts(situation, "unreached_stages")):
        return ("the last start did not come to its stage",)
    return ("its stage was skipped",) if set(target.stages) & set(texts(situation, "skipped_stages")) else ()


def _joined(remarks: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(remarks))


def percent(rate: float) -> str:
    """A rate as it is told."""
    return f"{100 * rate:.2f} %"


def _gaps(tally: Tally, what: str) -> tuple[str, ...]:
    """Readings that failed, and those that are not there."""
    failed = (f"{tally.failed} of {tally.expected} readings failed",) if tally.failed else ()
    return failed if tally.measured + tally.failed == tally.expected else (
        *failed, f"{tally.measured} of {tally.expected} {what}"
    )  # fmt: skip


def _rated(found: Accuracy, rate: float | None, calls: int, limit: float, *, least: bool = False) -> _Judged:
    """A rate over calls beside its limit: at most that, or at least."""
    if rate is None:
        return _Judged(NOT_MEASURED, None, _gaps(found.calls, "calls"))
    of_some = (f"over {calls} of {found.calls.measured} calls",) if calls < found.calls.measured else ()
    return _Judged(percent(rate), rate >= limit if least else rate <= limit, _gaps(found.calls, "calls"), of_some)


def _der(findings: Findings, _: Reading) -> _Judged | None:
    """Every reference has speakers: a call without a figure is one in which nobody was told apart."""
    found = findings.given
    judged = _rated(found, found.der.rate, found.der.calls, DER)
    return replace(judged, gaps=(*judged.gaps, *judged.remarks), remarks=())


def _cpwer(findings: Findings, _: Reading) -> _Judged | None:
    found = findings.given
    judged = _rated(found, found.cpwer_gap.rate, found.cpwer_gap.calls, CPWER_GAP)
    if found.cpwer_gap.rate is None or found.cpwer.rate is None or found.wer.rate is None:
        return judged
    told = f"{percent(found.cpwer.rate)} beside {percent(found.wer.rate)}, {100 * found.cpwer_gap.rate:.2f} points more"
    return replace(judged, measured=told)


def _coverage(findings: Findings, _: Reading) -> _Judged | None:
    found = findings.given
    return _rated(found, found.coverage.rate, found.coverage.calls, COVERAGE, least=True)


def _music(findings: Findings, _: Reading) -> _Judged | None:
    music = next((one for one in findings.sounds if one.name == "music"), None)
    rate = music.words_per_minute if music else None
    if music is None or rate is None:
        return None
    gaps = () if music.minutes >= MUSIC_MIN else (f"of {60 * music.minutes:.0f} seconds, not of {60 * MUSIC_MIN:.0f}",)
    return _Judged(f"{rate:.1f} words/min", rate <= 0, gaps)


def _call(findings: Findings, situation: Reading) -> _Judged | None:
    found = findings.alone
    if found is None:
        unit = f"speed/{text(situation, 'plan') or 'turns'}/{LONG_MIN:g}min/1"
        failed = tuple(one.message for one in findings.failures if one.unit == unit)
        return _Judged(NOT_MEASURED, None, failed)
    sizes = [number(gpu, "total_mib") or 0 for gpu in parts(part(situation, "machine"), "gpus")]
    unknown = text(part(situation, "machine"), "untold_gpu")
    untold = (f"the size of the card is not known: {unknown}",) if unknown else ()
    gaps = (*_failed_jobs(found.failed_jobs), *_other_cards(sizes), *untold, *_elsewhere(situation))
    remarks = () if sizes or unknown else ("without a GPU",)
    if found.job_s is None:
        return _Judged(NOT_MEASURED, None, gaps, remarks)
    return _Judged(f"{found.job_s:.1f} s", found.job_s <= CALL_S, gaps, remarks)


def _other_cards(sizes_mib: Sequence[float]) -> tuple[str, ...]:
    """What the target's card is not."""
    several = (f"on {len(sizes_mib)} GPUs, the target is for one",) if len(sizes_mib) > 1 else ()
    larger = max(sizes_mib, default=0)
    told = f"this card has {larger / 1024:.0f} GB, the target is for {CARD_GB}"
    return (*several, told) if larger > CARD_MIB else several


def _elsewhere(situation: Reading) -> tuple[str, ...]:
    return ("the engine is elsewhere",) if situation.get("engine_elsewhere") is True else ()


def _failed_jobs(count: int) -> tuple[str, ...]:
    return (f"{count} {'job' if count == 1 else 'jobs'} failed",) if count else ()


def _throughput(findings: Findings, situation: Reading) -> _Judged | None:
    found = findings.loaded
    slowest = found.slowest
    if slowest is None or slowest.times_real_time is None:
        return _Judged(NOT_MEASURED, None, _load_gaps(findings))
    told = f"{slowest.times_real_time:.1f} times real time"
    remarks = _load_remarks(findings, situation)
    return _Judged(told, slowest.times_real_time >= TIMES_REAL_TIME, _load_gaps(findings), remarks)


def _cost(findings: Findings, situation: Reading) -> _Judged | None:
    slowest = findings.loaded.slowest
    if slowest is None:
        return _Judged(NOT_MEASURED, None, _load_gaps(findings))
    if slowest.usd_per_audio_hour is None:
        unknown = "the engine is elsewhere, and its price not given" if _elsewhere(situation) else NO_PRICE
        return _Judged(NOT_MEASURED, None, remarks=(unknown,))
    cost, hourly = slowest.usd_per_audio_hour, number(part(situation, "gpu_price"), "usd_per_hour")
    price = (f"at ${hourly:.2f} an hour",) if hourly is not None else ()
    remarks = (*_load_remarks(findings, situation), *price)
    return _Judged(f"${cost:.4f}", cost <= USD_PER_AUDIO_HOUR, _load_gaps(findings), remarks)


def _load_gaps(findings: Findings) -> tuple[str, ...]:
    """What was not measured under load, or in part."""
    found = findings.loaded
    return (*_gaps(found.lengths, "lengths"), *_failed_jobs(found.failed_jobs))


def _load_remarks(findings: Findings, situation: Reading) -> tuple[str, ...]:
    """What was measured under load, and whether a worker with these settings does so many jobs at once."""
    slowest, concurrency = findings.loaded.slowest, number(situation, "max_concurrency")
    minutes = (f"calls of {slowest.minutes:g} min",) if slowest else ()
    fewer = concurrency is not None and concurrency < AT_ONCE
    return (*minutes, f"a worker does as many with MAX_CONCURRENCY={AT_ONCE}") if fewer else minutes


def _labels(findings: Findings, _: Reading) -> _Judged | None:
    found = findings.analysis
    if found.label_accuracy is None:
        return None
    told = f"{percent(found.label_accuracy)} ({found.labels_right} of {found.labels})"
    return _Judged(told, found.label_accuracy >= LABELS, _gaps(found.calls, "calls"))


def _hostile(findings: Findings, _: Reading) -> _Judged | None:
    found: Hostile | None = findings.robustness.hostile
    if found is None or not found.files:
        return None
    told = f"{found.leaked_bytes} bytes leaked, {found.crashed} crashed, of {found.files} files"
    return _Judged(told, found.leaked_bytes == 0 and found.crashed == 0)


def _killed(findings: Findings, _: Reading) -> _Judged | None:
    found: KilledEngine | None = findings.robustness.killed_engine
    if found is None:
        return None
    job = "done" if found.done else "not done"
    told = f"job {job}, {found.texts} of {found.texts_undisturbed} texts, {found.left} processes left"
    if not found.texts_undisturbed:
        return _Judged(told, None, ("nothing was said in it",))
    return _Judged(told, found.done and found.texts >= found.texts_undisturbed and found.left == 0)


def _token(findings: Findings, _: Reading) -> _Judged | None:
    found: BadToken | None = findings.robustness.bad_token
    if found is None:
        return None
    if found.token_shown:
        return _Judged("the token is shown", meets=False)
    took_s = found.took_s
    told = f"{found.code or 'nothing told'}{'' if took_s is None else f' after {took_s:.1f} s'}"
    return _Judged(told, found.code == "model_unavailable" and took_s is not None and took_s <= TOLD_S)


def _longest(findings: Findings, _: Reading) -> _Judged | None:
    failed = next((one for one in findings.failures if one.unit == "robustness/longest"), None)
    if failed:
        return _Judged("the job failed", meets=False, remarks=(failed.message,))
    found: Longest | None = findings.robustness.longest
    if found is None:
        return None
    told = f"{found.minutes:g} min, {found.turns} turns, {found.turns_without_text} without text"
    shorter = found.minutes < LONGEST_MIN - 1
    gaps = (f"of {found.minutes:g} minutes, not of {LONGEST_MIN:g}",) if shorter else ()
    faults = tuple(_faults(found))
    return _Judged(told, not faults and found.turns > 0 and found.turns_without_text == 0, gaps, faults)


def _faults(found: Longest) -> Iterator[str]:
    """What is not whole of the longest recording, besides turns without a text."""
    end_s, duration_s = found.last_turn_end_s or 0.0, found.duration_s or 0.0
    if duration_s < 60 * found.minutes - 1:
        yield f"only {duration_s / 60:.1f} min of it were read"
    if end_s > duration_s + ROUNDED_S:
        yield "the last turn ends after the end"
    if end_s < duration_s - TAIL_S:
        yield f"the last turn ends after {end_s / 60:.1f} min"
    if (found.written_s or 0.0) < WRITTEN * (found.speech_s or 0.0):
        yield "much of the speech is in no turn"
    answers = {"summary": found.summary, "sentiment": found.sentiment}
    yield from (f"the {name} is missing" for name, had in answers.items() if not had)


_LOAD = f"{AT_ONCE} calls at once, of {LONG_MIN:g} min or more"
TARGETS = (
    _Target("der", "DER ≤ 7 %, number of speakers given, no collar", (), ("accuracy",), _der),
    _Target("cpwer", "cpWER ≤ WER + 3 points, number of speakers given", (), ("accuracy",), _cpwer),
    _Target("coverage", "coverage ≥ 99.5 %", (), ("accuracy",), _coverage),
    _Target("music", "0 words a minute on music", ("sounds/music",), ("accuracy", "sounds"), _music),
    _Target("call", "a warm call of 5 min alone ≤ 12 s on a card of 24 GB", (), ("speed",), _call),
    _Target("throughput", f"≥ 60 times real time, {_LOAD}", (), ("speed",), _throughput),
    _Target("cost", f"≤ $0.03 for an hour of audio, {_LOAD}", (), ("speed",), _cost),
    _Target("labels", "labels of the analysis ≥ 85 % right", (), ("analysis",), _labels),
    _Target("hostile", "hostile files: nothing leaked, nothing crashed", ("robustness/hostile",), ("robustness",), _hostile),
    _Target(
        "killed_engine", "killed engine: the job is done, as many texts, nothing left",
        ("robustness/killed_engine",), ("robustness",), _killed,
    ),
    _Target("bad_token", "bad token: told within 30 s, and not shown", ("robustness/bad_token",), ("robustness",), _token),
    _Target("longest", "2 h 30 whole: turns to its end, every one with a text, summary and sentiment", ("robustness/longest",), ("robustness",), _longest),
)  # fmt: skip
"""In the order in which they are told."""
