"""The figures, beside the same ones made by hand."""

from __future__ import annotations

import json

import pytest

from tests.qualify.sample import PEAKS, call, judged, readings, situation, timed
from voxtral_serverless.qualify.findings import Failure, find
from voxtral_serverless.qualify.findings_values import Tally, plain
from voxtral_serverless.qualify.units import Reading


def test_accuracy_of_all_calls_together() -> None:
    other = call(
        words=300, wer_errors=12, duration_s=120.0, speakers_found=3, covered_s=20.0, turns_without_text=2, warnings=["slow"],
        der={"speech_s": 150.0, "missed_s": 3.0, "false_alarm_s": 1.5, "confusion_s": 4.5},
    )  # fmt: skip
    found = find(readings(accuracy__two__given=other), situation()).given
    assert found.wer.rate == pytest.approx((8 + 12) / 400)
    assert found.tcpwer.rate == pytest.approx((11 + 11) / 400)
    assert found.der.rate == pytest.approx((3.0 + 9.0) / 200)
    shares = (found.der.missed_rate, found.der.false_alarm_rate, found.der.confusion_rate)
    assert shares == pytest.approx((4 / 200, 2 / 200, 6 / 200))
    assert found.der_collar.rate == pytest.approx(2 / 80)
    assert (found.coverage.rate, found.coverage_strict.rate) == pytest.approx((65 / 90, 98 / 100))
    assert (found.speakers_right, found.turns_without_text) == (1, 2)
    assert found.hours == pytest.approx(0.05)
    assert found.warnings == {"no_speech": 1, "slow": 1}
    assert [one.name for one in found.each] == ["one", "two"]


def test_what_nobody_measured_has_no_rate() -> None:
    nothing = call(wer_errors=None, cpwer_errors=None, tcpwer_errors=None, der=None, der_collar=None)
    found = find({"accuracy/one/given": nothing}, situation(missing=["accuracy/two/given", "accuracy/two/free"])).given
    rates = (found.wer.rate, found.cpwer.rate, found.tcpwer.rate, found.der.rate, found.der_collar.rate)
    assert rates == (None,) * 5
    assert (found.calls.measured, found.calls.expected, found.calls.complete) == (1, 2, False)


def test_speed_of_calls() -> None:
    row: Reading = {
        "audio_s": 2400.0, "took_s": 40.0, "jobs_s": [30.0, 40.0, 20.0], "first_text_s": [2.0, 4.0],
        "first_token_s": None, "stages_s": {"transcription": 8.0}, "requests": 100, "failed_jobs": 1, "peaks": PEAKS,
    }  # fmt: skip
    [found] = find({"speed/turns/0.5min/8": row}, situation()).speeds
    assert (found.plan, found.minutes, found.at_once) == ("turns", 0.5, 8)
    assert (found.times_real_time, found.real_time_factor) == pytest.approx((60.0, 1 / 60))
    assert found.stages == {"transcription": pytest.approx(8 / 800)}
    assert found.requests_per_audio_hour == pytest.approx(150)
    assert found.usd_per_audio_hour == pytest.approx(0.69 / 60)
    assert (found.job_s, found.first_text_s, found.first_token_s) == (30.0, 3.0, None)


def test_slowest_of_long_calls_is_what_a_worker_carries() -> None:
    found = find(readings(), situation()).loaded
    assert found.slowest is not None
    assert (found.slowest.plan, found.slowest.minutes, found.lengths) == ("turns", 60.0, Tally(2, 0, 0))


def test_analysis_is_counted() -> None:
    other: dict[str, Reading | None] = {
        "analysis__call-0": judged(sentiment_right=False, prefixed=False),
        "analysis__call-1": judged(satisfaction_right=False, sentences=3),
        "analysis__call-2": judged(summary=None, prefixed=False, sentences=0),
        "analysis__call-3": judged(invented={"names": ["Dupont"], "amounts": ["12 €", "3 €"], "dates": []}),
        "analysis__call-4": {"failed": "stage_failed: no."},
    }
    found = find(readings(**other), situation()).analysis
    assert (found.sentiment_right, found.satisfaction_right, found.both_right) == (28, 28, 27)
    assert (found.labels_right, found.labels) == (56, 60)
    assert found.invented == {"names": 1, "amounts": 2, "dates": 0}
    assert (found.no_summary, found.no_prefix, found.too_long) == (1, 1, 1)


def test_peaks_are_the_highest_and_where() -> None:
    found = {one.name: one for one in find(readings(), situation()).peaks}
    assert (found["disk_mib"].mib, found["disk_mib"].unit) == (900, "robustness/longest")
    assert "worker_gpu_mib" not in found


def test_sounds_stock_and_starts() -> None:
    other: Reading = {"identical": False, "turns": 3, "different_s": 0.5, "stock_s": 20.0, "ours_s": 5.0}
    found = find(readings(accuracy__two__stock=other), situation())
    assert (found.stock.identical, found.stock.calls.measured, found.stock.different_s) == (1, 2, 0.5)
    assert [(one.name, one.words_per_minute) for one in found.sounds] == [("silence", 0), ("noise", 3), ("music", 0)]
    assert [(one.name, one.ready_s) for one in found.starts] == [("cold", 95.0), ("warm", 45.0)]


def test_failed_readings_are_listed() -> None:
    found = find(readings(start__cold={"failed": "engine_unavailable: no."}), situation())
    assert found.failures == (Failure("start/cold", "engine_unavailable: no."),)
    assert [one.name for one in found.starts] == ["warm"]


def test_nothing_is_divided_by_zero() -> None:
    empty = timed(5, 8, 60, audio_s=0.0, took_s=0.0, jobs_s=[])
    found = find({"speed/turns/5min/8": empty, "sounds/music": {"minutes": 0.0, "words": 0, "text": ""}}, situation())
    assert (found.speeds[0].times_real_time, found.loaded.slowest) == (None, None)
    json.dumps(plain(found), allow_nan=False)


def test_plain_findings_have_their_rates() -> None:
    found = plain(find(readings(), situation()))
    assert found["given"]["der"]["rate"] == pytest.approx(0.06)
    assert found["loaded"]["slowest"]["times_real_time"] == pytest.approx(66)
