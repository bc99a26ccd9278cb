from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.progress import WEIGHTS, Meter, NoEvents, Progress
from voxtral_serverless.transcription.plan import Utterance


class Heard:
    def __init__(self) -> None:
        self.told: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.told.append(progress)

    def utterance(self, utterance: Utterance) -> None:
        raise AssertionError


def test_shares_of_the_stages_are_a_whole() -> None:
    assert sum(WEIGHTS.values()) == 100


@given(st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), max_size=20))
def test_percentage_never_falls_and_stays_in_range(reports: list[tuple[float, float]]) -> None:
    heard = Heard()
    meter = Meter(heard)
    for stage in WEIGHTS:
        with meter.stage(stage) as report:
            for done, total in reports:
                report(done, total)
    percentages = [progress.percent for progress in heard.told]
    assert percentages == sorted(percentages)
    assert percentages[0] >= 0
    assert percentages[-1] == 100
    assert list(meter.timings) == list(WEIGHTS)


def test_skipped_stage_leaves_no_hole() -> None:
    heard = Heard()
    meter = Meter(heard)
    with meter.stage("analysis") as report:
        report(1, 2)
    assert [progress.percent for progress in heard.told] == [90, 95, 100]
    assert set(meter.timings) == {"analysis"}


def test_stages_side_by_side_count_what_each_has_done() -> None:
    heard = Heard()
    meter = Meter(heard)
    with meter.stage("diarization") as diarized, meter.stage("transcription") as written:
        written(1, 3)
        diarized(1, 5)
        written(2, 3)
    assert [progress.percent for progress in heard.told] == [20, 20, 35, 40, 55, 70, 90]


def test_stage_that_failed_holds_nothing_back() -> None:
    heard = Heard()
    meter = Meter(heard)
    with suppress(ValueError), meter.stage("diarization"):
        raise ValueError
    with meter.stage("transcription"):
        pass
    assert [progress.percent for progress in heard.told] == [20, 45, 90]


def test_door_without_use_for_events() -> None:
    events = NoEvents()
    events.progress(Progress("decoding", 1, 2, 3))
    events.utterance(Utterance(Span(0, 1), None, "text"))
