"""Each target at its border, missed, measured in part, and not measured."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import JsonValue

from tests.qualify.sample import HOSTILE, KILLED, LONGEST, TOKEN, call, judged, readings, situation, timed, without
from voxtral_serverless.qualify.findings import find
from voxtral_serverless.qualify.targets import TARGETS, Verdict, tallied, verdicts
from voxtral_serverless.qualify.units import Reading

FAILED: Reading = {"failed": "stage_failed: it did."}


def verdict(which: str, facts: Reading | None = None, **other: Reading | None) -> Verdict:
    missing = [name.replace("__", "/") for name, one in other.items() if one is None]
    facts = {**(facts or situation()), "missing": list[JsonValue](missing)}
    found = verdicts(find(readings(**other), facts), facts)
    return next(one for one in found if one.id == which)


def given(**fields: Any) -> dict[str, Reading | None]:
    """Both calls with the number of speakers given, each the same."""
    return {"accuracy__one__given": call(**fields), "accuracy__two__given": call(**fields)}


def der(confusion_s: float) -> dict[str, float]:
    """Of 50 s, with 1.5 s of other errors."""
    return {"speech_s": 50.0, "missed_s": 1.0, "false_alarm_s": 0.5, "confusion_s": confusion_s}


def at_eight(times: float, **fields: Any) -> dict[str, Reading | None]:
    """Calls of an hour, the slowest of the lengths."""
    return {"speed__turns__60min__8": timed(60, 8, times, **fields)}


def priced(usd: float | None) -> Reading:
    return situation(gpu_price={"usd_per_hour": usd, "source": "as given"})


def card(total_mib: int | None) -> Reading:
    facts = situation()
    gpus: list[Any] = [] if total_mib is None else [{"name": "A card", "total_mib": total_mib}]
    assert isinstance(facts["machine"], dict)
    return {**facts, "machine": {**facts["machine"], "gpus": gpus}}


def labels(wrong: int) -> dict[str, Reading | None]:
    """So many calls with one of their two labels wrong."""
    return {f"analysis__call-{number}": judged(sentiment_right=False) for number in range(wrong)}


def test_all_are_met_and_each_is_told_once() -> None:
    found = verdicts(find(readings(), situation()), situation())
    assert tallied(found) == {"met": len(TARGETS), "missed": 0, "unmeasured": 0}
    assert len({one.id for one in found}) == len(TARGETS) == 12


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("der", given(der=der(2.0)), "met"),  # (1 + 0.5 + 2) / 50 = 7 %
    ("der", given(der=der(2.001)), "missed"),  # printed as 7.00 %
    ("cpwer", given(wer_errors=8, cpwer_errors=11), "met"),  # 3 words of 100
    ("cpwer", given(wer_errors=8, cpwer_errors=12), "missed"),
    ("coverage", given(speech_s=200.0, covered_s=199.0), "met"),  # 99.5 %
    ("coverage", given(speech_s=200.0, covered_s=198.999), "missed"),
    ("music", {"sounds__music": {"minutes": 1.0, "words": 0, "text": ""}}, "met"),
    ("music", {"sounds__music": {"minutes": 60.0, "words": 1, "text": "a"}}, "missed"),  # printed as 0.0
    ("music", {"sounds__music": {"minutes": 0.5, "words": 0, "text": ""}}, "unmeasured"),
    ("music", {"sounds__music": {"minutes": 0.5, "words": 1, "text": "a"}}, "missed"),
    ("call", {"speed__turns__5min__1": timed(5, 1, 25)}, "met"),  # 300 s / 25 = 12 s
    ("call", {"speed__turns__5min__1": timed(5, 1, 24.99)}, "missed"),
    ("call", {"speed__turns__5min__1": timed(5, 3, 30, jobs_s=[30.0, 11.0, 12.0])}, "met"),  # the median
    ("throughput", at_eight(60), "met"),
    ("throughput", at_eight(59.99), "missed"),
    ("labels", labels(9), "met"),  # 51 of 60: 85 %
    ("labels", labels(10), "missed"),
    ("hostile", {"robustness__hostile": {**HOSTILE, "leaked_bytes": 1}}, "missed"),
    ("hostile", {"robustness__hostile": {**HOSTILE, "crashed": 1}}, "missed"),
    ("hostile", {"robustness__hostile": {**HOSTILE, "files": 0}}, "unmeasured"),
    ("killed_engine", {"robustness__killed_engine": {**KILLED, "done": False}}, "missed"),
    ("killed_engine", {"robustness__killed_engine": {**KILLED, "texts": 19}}, "missed"),
    ("killed_engine", {"robustness__killed_engine": {**KILLED, "left": 1}}, "missed"),
    ("killed_engine", {"robustness__killed_engine": {**KILLED, "texts": 0, "texts_undisturbed": 0}}, "unmeasured"),
    ("bad_token", {"robustness__bad_token": {**TOKEN, "took_s": 30.0}}, "met"),
    ("bad_token", {"robustness__bad_token": {**TOKEN, "took_s": 30.1}}, "missed"),
    ("bad_token", {"robustness__bad_token": {**TOKEN, "code": "internal_error"}}, "missed"),
    ("bad_token", {"robustness__bad_token": {**TOKEN, "token_shown": True}}, "missed"),
    ("longest", {"robustness__longest": {**LONGEST, "last_turn_end_s": 9000.01}}, "met"),  # times have two decimals
    ("longest", {"robustness__longest": {**LONGEST, "last_turn_end_s": 9000.5}}, "missed"),
    ("longest", {"robustness__longest": {**LONGEST, "turns_without_text": 1}}, "missed"),
    ("longest", {"robustness__longest": {**LONGEST, "turns": 0, "last_turn_end_s": 0.0}}, "missed"),
    ("longest", {"robustness__longest": {**LONGEST, "minutes": 10.0}}, "unmeasured"),
    ("longest", {"robustness__longest": {**LONGEST, "duration_s": 8998.9}}, "missed"),
    ("longest", {"robustness__longest": {**LONGEST, "last_turn_end_s": 8939.0}}, "missed"),
    ("longest", {"robustness__longest": {**LONGEST, "written_s": 7200.0}}, "met"),  # 90 % of what seems to be speech
    ("longest", {"robustness__longest": {**LONGEST, "written_s": 7199.0}}, "missed"),
    ("longest", {"robustness__longest": {**LONGEST, "summary": False}}, "missed"),
    ("longest", {"robustness__longest": {**LONGEST, "sentiment": False}}, "missed"),
    ("longest", {"robustness__longest": FAILED}, "missed"),
]


@pytest.mark.parametrize(("which", "other", "outcome"), CASES)
def test_border(which: str, other: dict[str, Any], outcome: str) -> None:
    assert verdict(which, **other).outcome == outcome


@pytest.mark.parametrize(("usd", "outcome"), [(1.8, "met"), (1.8001, "missed"), (None, "unmeasured")])
def test_cost_is_that_of_the_slowest(usd: float | None, outcome: str) -> None:
    assert verdict("cost", priced(usd), **at_eight(60)).outcome == outcome  # 1.8 / 60 = 0.03


def test_figures_are_pooled() -> None:
    """10 errors of 1000 words and 8 of 10: 1.78 %, though the mean of the calls is 40.5 %."""
    long = call(words=1000, wer_errors=10, cpwer_errors=10)
    short = call(words=10, wer_errors=8, cpwer_errors=8)
    told = verdict("cpwer", accuracy__one__given=long, accuracy__two__given=short).measured
    assert told.startswith("1.78 % beside 1.78 %")


@pytest.mark.parametrize(
    ("total_mib", "times", "outcome", "remark"),
    [
        (25_600, 30, "met", ""),
        (25_601, 30, "unmeasured", "this card has 25 GB, the target is for 24"),
        (143_771, 30, "unmeasured", "this card has 140 GB, the target is for 24"),
        (143_771, 20, "missed", "this card has 140 GB, the target is for 24"),
        (None, 20, "missed", "without a GPU"),
        (None, 30, "met", "without a GPU"),
    ],
)
def test_larger_card_proves_nothing(total_mib: int | None, times: float, outcome: str, remark: str) -> None:
    found = verdict("call", card(total_mib), speed__turns__5min__1=timed(5, 1, times))
    assert (found.outcome, found.remark) == (outcome, remark)


def test_two_cards_are_not_one() -> None:
    facts = card(23_034)
    assert isinstance(facts["machine"], dict)
    two: Any = 2 * facts["machine"]["gpus"]  # type: ignore[operator]
    found = verdict("call", {**facts, "machine": {**facts["machine"], "gpus": two}})
    assert (found.outcome, found.remark) == ("unmeasured", "on 2 GPUs, the target is for one")


def test_an_engine_elsewhere_says_nothing_of_this_card_nor_of_its_price() -> None:
    facts = {**card(None), "engine_elsewhere": True}
    found = verdict("call", facts)
    assert (found.outcome, found.remark) == ("unmeasured", "the engine is elsewhere; without a GPU")
    found = verdict("cost", {**facts, "gpu_price": {"usd_per_hour": None, "source": ""}})
    assert (found.outcome, found.remark) == ("unmeasured", "the engine is elsewhere, and its price not given")
    assert verdict("throughput", facts).outcome == "met"


def test_a_card_that_does_not_tell_its_size_is_no_small_one() -> None:
    facts = card(None)
    assert isinstance(facts["machine"], dict)
    untold: Reading = {**facts, "machine": {**facts["machine"], "untold_gpu": "nvidia-smi names none"}}
    found = verdict("call", untold)
    assert (found.outcome, found.remark) == (
        "unmeasured",
        "the size of the card is not known: nvidia-smi names none",
    )


def test_a_stage_that_the_last_start_did_not_come_to_is_not_met_by_an_earlier_one() -> None:
    facts = situation(unreached_stages=["accuracy"])
    outcomes = {one.id: one.outcome for one in verdicts(find(readings(), facts), facts)}
    assert {which for which, outcome in outcomes.items() if outcome != "met"} == {"der", "cpwer", "coverage", "music"}
    assert verdict("der", facts, **given(der=der(9.0))).outcome == "missed"


def test_a_worker_that_takes_fewer_jobs_is_told() -> None:
    for which in ("throughput", "cost"):
        assert "MAX_CONCURRENCY" not in verdict(which).remark
        found = verdict(which, situation(max_concurrency=4))
        assert found.outcome == "met"
        assert "a worker does as many with MAX_CONCURRENCY=8" in found.remark


def test_usual_plan_decides() -> None:
    slow: dict[str, Reading | None] = {"speed__windows__60min__8": timed(60, 8, 10)}
    assert verdict("throughput", **slow).outcome == "met"
    assert verdict("throughput", situation(plan="windows"), **slow).outcome == "missed"


@pytest.mark.parametrize("which", ["throughput", "cost"])
def test_short_calls_do_not_tell_what_a_worker_can_carry(which: str) -> None:
    short = {name: one for name, one in readings().items() if not re.fullmatch("speed/turns/(5|60)min/8", name)}
    found = next(one for one in verdicts(find(short, situation()), situation()) if one.id == which)
    assert (found.outcome, found.measured) == ("unmeasured", "not measured")


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("der", {"accuracy__two__given": FAILED}, "1 of 2 readings failed"),
    ("cpwer", {"accuracy__two__given": FAILED}, "1 of 2 readings failed"),
    ("coverage", {"accuracy__two__given": None}, "1 of 2 calls"),
    ("music", {"sounds__music": FAILED}, "stage_failed: it did."),
    ("call", {"speed__turns__5min__1": FAILED}, "stage_failed: it did."),
    ("throughput", {"speed__turns__60min__8": FAILED}, "1 of 2 readings failed; calls of 5 min"),
    ("throughput", at_eight(70, failed_jobs=1), "1 job failed; calls of 60 min"),
    ("throughput", {"speed__turns__60min__8": FAILED, "speed__turns__5min__8": FAILED}, "2 of 2 readings failed"),
    ("labels", {"analysis__call-1": FAILED}, "1 of 30 readings failed"),
    ("labels", {"analysis__call-1": None}, "29 of 30 calls"),
    ("throughput", {"speed__turns__60min__8": None}, "1 of 2 lengths; calls of 5 min"),
    ("killed_engine", {"robustness__killed_engine": FAILED}, "stage_failed: it did."),
    ("hostile", {"robustness__hostile": FAILED}, "stage_failed: it did."),
]


@pytest.mark.parametrize(("which", "other", "remark"), FAULTS)
def test_nothing_is_met_that_was_measured_in_part(which: str, other: dict[str, Any], remark: str) -> None:
    found = verdict(which, **other)
    assert (found.outcome, found.remark) == ("unmeasured", remark)


def test_calls_that_failed_have_wrong_labels() -> None:
    failed: dict[str, Reading | None] = {f"analysis__call-{number}": FAILED for number in range(5)}
    found = verdict("labels", **failed)  # 50 of 60
    assert (found.outcome, found.measured) == ("missed", "83.33 % (50 of 60)")


def test_missed_stays_missed_where_readings_failed() -> None:
    other = {**given(der=der(9.0)), "accuracy__two__given": FAILED}
    assert verdict("der", **other).outcome == "missed"
    slow = {**at_eight(50), "speed__turns__5min__8": FAILED}
    assert verdict("throughput", **slow).outcome == "missed"


def test_a_call_in_which_nobody_was_told_apart_has_no_errors_of_speakers_and_is_told() -> None:
    found = verdict("der", accuracy__two__given=call(der=None, der_collar=None))
    assert (found.outcome, found.measured, found.remark) == ("unmeasured", "6.00 %", "over 1 of 2 calls")


def test_what_an_interrupted_start_left_out_is_missing_in_a_later_one_too() -> None:
    """With the stages skipped, which then know nothing of the data set."""
    found, facts = without("accuracy/two/given", "speed/turns/60min/8")
    facts |= {"skipped_stages": ["accuracy", "speed"]}
    outcomes = {one.id: one.outcome for one in verdicts(find(found, facts), facts)}
    assert {outcomes[which] for which in ("der", "cpwer", "coverage", "throughput", "cost")} == {"unmeasured"}


def test_calls_without_words_are_told() -> None:
    found = verdict("cpwer", accuracy__two__given=call(words=0, wer_errors=None, cpwer_errors=None, tcpwer_errors=None))
    assert (found.outcome, found.remark) == ("met", "over 1 of 2 calls")


@pytest.mark.parametrize("which", [target.id for target in TARGETS])
def test_nothing_is_said_of_what_was_not_measured(which: str) -> None:
    facts = situation(skipped_stages=["start", "accuracy", "analysis", "speed", "robustness"], data=None)
    found = next(one for one in verdicts(find({}, facts), facts) if one.id == which)
    assert (found.outcome, found.measured, found.remark) == ("unmeasured", "not measured", "its stage was skipped")
    assert {one.outcome for one in verdicts(find({}, {}), {})} == {"unmeasured"}
