import logging
import subprocess
import sys
import threading
import time

import pytest

from voxtral_serverless.startup import StartUp, current, follow


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="voxtral_serverless.startup")
    return caplog


def told(log: pytest.LogCaptureFixture) -> dict[str, tuple[float | None, float | None]]:
    """The phases in the log: their seconds, and when each was over."""
    return {
        record.__dict__["stage"]: (record.__dict__.get("duration_s"), record.__dict__.get("after_s"))
        for record in log.records
    }


def test_phases_are_told_when_all_is_ready(log: pytest.LogCaptureFixture) -> None:
    startup = StartUp(time.monotonic() - 10)
    with startup.phase("weights"):
        time.sleep(0.05)
    startup.note("engine_weights_loaded", 5.7)
    startup.reached("asking_for_jobs")
    assert not log.records
    startup.report()
    phases = told(log)
    assert list(phases) == ["weights", "engine_weights_loaded", "asking_for_jobs", "ready"]
    took_s, after_s = phases["weights"]
    assert took_s is not None
    assert after_s is not None
    assert 0.05 <= took_s < 10 <= after_s
    assert phases["engine_weights_loaded"] == (5.7, None)
    assert phases["asking_for_jobs"][0] is None
    assert "start-up: engine weights loaded took 5.7 s" in log.messages


def test_phase_that_ends_later_is_told_at_once(log: pytest.LogCaptureFixture) -> None:
    startup = StartUp()
    startup.report()
    startup.reached("asking_for_jobs")
    assert list(told(log)) == ["ready", "asking_for_jobs"]


def test_phase_that_fails_is_told_too(log: pytest.LogCaptureFixture) -> None:
    startup = StartUp()
    with pytest.raises(OSError, match="no"), startup.phase("weights"):
        raise OSError("no")
    startup.report()
    assert "weights" in told(log)


def test_first_job_tells_what_it_waited_for(log: pytest.LogCaptureFixture) -> None:
    startup = StartUp(time.monotonic() - 30)
    startup.report()  # after 30 s
    taken = startup.began + 2
    timings = {"fetching": 1.0, "decoding": 2.0, "voice_activity": 0.5, "diarization": 4.5, "transcription": 20.0}
    startup.served(timings, taken)
    startup.served(timings, taken)  # the second one is nobody's business
    [line] = [message for message in log.messages if message.startswith("first job")]
    assert line.startswith(
        "first job: taken after 2.0 s, its recording prepared after 10.0 s, the engine ready after 30.0 s; from the "
        "later of them 0."
    )


def test_job_that_needed_no_engine_tells_nothing(log: pytest.LogCaptureFixture) -> None:
    startup = StartUp()
    startup.served({"fetching": 1.0}, startup.began)
    assert not log.records


def test_a_start_is_followed_by_what_it_begins() -> None:
    startup = StartUp()
    seen: list[StartUp] = []

    def elsewhere() -> None:
        follow(startup)
        seen.append(current())
        startup.report()
        seen.append(current())

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen[0] is startup
    assert seen[1] is not startup, "what starts later, a new engine for one, belongs to no start"


def test_process_knows_when_it_began() -> None:
    script = (
        "import time; time.sleep(0.5)\n"
        "from voxtral_serverless.startup import process_began; print(time.monotonic() - process_began())"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert 0.5 <= float(done.stdout) <= time.monotonic() - began + 0.1
