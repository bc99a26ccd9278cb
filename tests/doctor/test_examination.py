import asyncio
import logging
import time
from typing import cast

import pytest

from voxtral_serverless.doctor.examination import Check, blocking, examine, listening
from voxtral_serverless.doctor.findings import Finding, Line, ok, problem, skipped, worst
from voxtral_serverless.doctor.report import as_json, as_text
from voxtral_serverless.doctor.situation import Once, Situation
from voxtral_serverless.errors import EngineUnavailable

NOWHERE = cast("Situation", None)
log = logging.getLogger("voxtral_serverless.somewhere")


def refuse(situation: Situation) -> Finding:
    raise EngineUnavailable("there is none: take one.")


def fail(situation: Situation) -> Finding:
    raise ZeroDivisionError("hf_abcdefghijklmnop")


def hang(situation: Situation) -> Finding:
    time.sleep(3)
    return ok("late")


def grumble(situation: Situation) -> Finding:
    log.warning("a copy is passed over")
    return ok("found")


async def wait(situation: Situation) -> Finding:
    await asyncio.sleep(3)
    return ok("late")


async def test_nothing_raises_nothing_hangs_and_the_order_stays() -> None:
    checks = [
        blocking("refuses", refuse),
        blocking("hangs", hang, 0.1),
        Check("waits", wait, 0.1),
        blocking("fails", fail),
        blocking("well", lambda _: ok("well.")),
    ]
    lines = await examine(checks, NOWHERE)
    assert [(line.name, line.finding.mark) for line in lines] == [
        ("refuses", "problem"), ("hangs", "problem"), ("waits", "problem"), ("fails", "problem"), ("well", "ok"),
    ]  # fmt: skip
    assert lines[0].finding.found == "there is none: take one."
    assert "within 0.1 s" in lines[1].finding.found
    assert "ZeroDivisionError" in lines[3].finding.found
    assert "hf_" not in repr(lines[3])


async def test_checks_run_side_by_side() -> None:
    together = asyncio.Barrier(3)

    async def meet(situation: Situation) -> Finding:
        await together.wait()
        return ok("met")

    lines = await examine([Check(str(index), meet, 20) for index in range(3)], NOWHERE)
    assert worst(lines) == "ok"


async def test_warning_of_the_log_belongs_to_its_check(capsys: pytest.CaptureFixture[str]) -> None:
    with listening():
        quiet, loud = await examine([blocking("quiet", lambda _: ok("fine")), blocking("loud", grumble)], NOWHERE)
    assert quiet.finding == ok("fine")
    assert (loud.finding.mark, loud.finding.remedy) == ("warning", "a copy is passed over")
    assert capsys.readouterr().err == ""


def test_value_is_made_once() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return len(made)

    value = Once(make)
    assert (value(), value(), made) == (1, 1, [0])


def test_report() -> None:
    lines = [
        Line("GPU", skipped("none.")),
        Line("weights", problem("cut off.", "Delete them.").with_details("/models")),
    ]
    assert as_text(lines) == "skipped  GPU      none.\nproblem  weights  cut off. Delete them.\n1 problem.\n"
    assert "\n                  /models\n" in as_text(lines, verbose=True)
    told = as_json(lines)
    assert (told["worst"], told["ok"]) == ("problem", False)
    assert told["checks"][1] == {
        "check": "weights", "mark": "problem", "found": "cut off.", "remedy": "Delete them.", "details": ["/models"],
    }  # fmt: skip
    assert as_text([Line("GPU", ok("one."))]).endswith("all is well.\n")
