"""What docs/deployment.md says of GPUs, of a vLLM elsewhere and of costs is what the engine reckons, starts, and what follows."""

import re
import shlex
from dataclasses import replace

import pytest

from tests.media import ROOT
from voxtral_serverless.engine.command import launch
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.engine.placement import FP8_WEIGHTS, KNOWN, MINI, context_length, fits

PAGE = (ROOT / "docs" / "deployment.md").read_text("utf-8")
ROWS = re.findall(r"^\| (\d) \xd7 ([\d or]+) GB.*? \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
MIB = {16: 16_376, 20: 20_470, 24: 23_034, 40: 40_960, 48: 46_068, 80: 81_559, 141: 143_771}
"""What the smallest card of each size says that it has; 450 MiB of it are taken."""


def told(cell: str) -> str:
    return cell.strip("*").split()[0].strip("*,")


def reckoned(model: str, count: int, size_gb: int) -> str:
    weights, gpus = KNOWN[model], [Gpu("card", MIB[size_gb], MIB[size_gb] - 450)] * count
    length = context_length(weights)
    if fits(weights, gpus, length, count):
        return "yes"
    lighter = replace(weights, bytes=int(weights.bytes * FP8_WEIGHTS))
    return "with" if fits(lighter, gpus, length, count) else "no"


def test_sizes_are_there() -> None:
    assert len(ROWS) == 7


@pytest.mark.parametrize(("count", "sizes", "mini", "small"), ROWS)
def test_what_fits_is_what_the_engine_reckons(count: str, sizes: str, mini: str, small: str) -> None:
    for size in sizes.split(" or "):
        found = [reckoned(model, int(count), int(size)) for model in KNOWN]
        assert found == [told(mini), told(small)], size


def flags(arguments: list[str]) -> set[tuple[str, str]]:
    """Each flag with what follows it, JSON aside its spaces."""
    pairs = zip(arguments, [*arguments[1:], "--"], strict=True)
    return {
        (flag, "" if value.startswith("--") else value.replace(" ", "")) for flag, value in pairs if flag[:2] == "--"
    }


def test_flags_for_a_vllm_elsewhere_are_those_of_our_own() -> None:
    [shown] = re.findall(r"^vllm serve .*?^```$", PAGE, re.DOTALL | re.MULTILINE)
    told = flags(shlex.split(shown.removesuffix("```").replace("\\\n", " ")))
    ours = launch("vllm", MINI, [Gpu("card", 24_564, 24_000)], port=1, key="k", extra="", inherited={})
    assert len(told) > 6
    assert told - flags(list(ours.arguments)) == {("--served-model-name", "voxtral")}


def test_example_of_the_costs_adds_up() -> None:
    rows = dict(re.findall(r"^\| (RTFx|[DASN]) \| (\d+)", PAGE, re.MULTILINE))
    rtfx, told_apart, asked, start, hours = (int(rows[name]) for name in ("RTFx", "D", "A", "S", "N"))
    transcribed = 3600 * 1.13 / rtfx
    shares = [(told_apart + transcribed + asked + start / each) / 3600 for each in (hours, 1)]
    assert [f"{share:.3f} \u00d7 price" for share in shares] == re.findall(r"0\.\d{3} \u00d7 price", PAGE)
