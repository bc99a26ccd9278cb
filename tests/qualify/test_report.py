"""The report in its three forms, of everything and of nothing, with text that is not to be trusted."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.qualify.sample import judged, readings, situation
from voxtral_serverless.errors import OutputUnwritable
from voxtral_serverless.qualify.findings import find
from voxtral_serverless.qualify.report.content import PLOTS
from voxtral_serverless.qualify.report.page import NO_PLOTS
from voxtral_serverless.qualify.report.plots import plots
from voxtral_serverless.qualify.report.report import FORMAT, as_html, as_json, as_markdown, write_report
from voxtral_serverless.torch_parts import find_python

EVIL = "<script>alert(1)</script> | **bold** `code` [x](http://evil.example) &lt;"
HOSTILE = readings(
    sounds__noise={"minutes": 1.0, "words": 3, "text": EVIL},
    start__cold={"failed": f"stage_failed: {EVIL}\n# a heading"},
    **{"analysis__call-1": judged(invented={"names": [EVIL], "amounts": [], "dates": []})},
)
VOID = {"meta", "br"}


class Tags(HTMLParser):
    """What is opened, with what; everything has to be closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def drawing_python() -> str:
    python = find_python(None)
    if python is None:
        pytest.skip("no Python with pyannote, which brings matplotlib: make diarization")
    return python


def test_json_has_everything() -> None:
    report = json.loads(as_json(readings(), situation()))
    assert list(report) == ["format", "situation", "verdicts", "findings", "readings"]
    assert (report["format"], report["situation"], report["readings"]) == (FORMAT, situation(), readings())
    assert [one["outcome"] for one in report["verdicts"]] == ["met"] * 12
    assert as_json(dict(reversed(readings().items())), situation()) == as_json(readings(), situation())


def test_markdown_tells_verdicts_first() -> None:
    told = as_markdown(readings(), situation())
    headings = re.findall("^## (.+)$", told, re.MULTILINE)
    assert headings == [
        "Verdicts", "Accuracy", "Call by call", "Where nobody speaks", "Analysis", "Start", "Speed", "Robustness",
        "Memory and disk", "How the figures are defined", "Not used of the data set", "What it was made on",
    ]  # fmt: skip
    for part in (
        "On NVIDIA L4: mistralai/Voxtral-Mini-3B-2507 by vllm",
        "12 met, 0 missed",
        "lower case, no punctuation",
        "revision abc",
    ):
        assert part in told


def test_rows_of_markdown_are_as_long_as_their_heads() -> None:
    for block in as_markdown(HOSTILE, situation()).split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_text_of_models_is_text() -> None:
    told = as_markdown(HOSTILE, situation())
    assert "<script" not in told
    assert r"\*\*bold\*\* \`code\` \[x\](" in told
    assert "\n# a heading" not in told
    page = Tags(as_html(HOSTILE, situation()))
    assert "script" not in {tag for tag, _ in page.seen}
    assert page.text.count(EVIL) == 3


def test_page_loads_nothing_and_has_accessible_tables() -> None:
    page = Tags(as_html(readings(), situation()))
    names = {name for _, attributes in page.seen for name in attributes}
    assert not names & {"src", "href", "onload", "onclick"}
    cells = [attributes for tag, attributes in page.seen if tag == "th"]
    assert all(attributes.get("scope") in {"row", "col"} for attributes in cells)
    assert [tag for tag, _ in page.seen].count("caption") == [tag for tag, _ in page.seen].count("table") > 8
    assert NO_PLOTS in page.text


@pytest.mark.parametrize("facts", [{}, situation(data=None, skipped_stages=["speed"])])
def test_nothing_measured_is_a_report_too(facts: dict[str, object], tmp_path: Path) -> None:
    found = write_report(tmp_path / "a" / "report", {}, facts)  # type: ignore[arg-type]
    assert {one.outcome for one in found} == {"unmeasured"}
    assert "0 met, 0 missed, 12 unmeasured." in (tmp_path / "a" / "report" / "report.md").read_text()
    assert "None" not in Tags((tmp_path / "a" / "report" / "report.html").read_text()).text


def test_embedded_engine_and_no_gpu_are_told() -> None:
    assert "say nothing about Voxtral" in as_markdown({}, situation(engine="embedded"))
    assert "without a GPU" in as_markdown({}, situation(machine={}))


def test_what_is_not_as_usual_is_told() -> None:
    facts = situation(
        missing=["accuracy/two/given", "accuracy/two/free", "speed/turns/60min/8"], unreached_stages=["robustness"],
        plans=["turns"], settings={"vllm_extra_args": "--quantization fp8", "max_requests": 64}, other_gpus=1,
    )  # fmt: skip
    told = Tags(as_html(readings(), facts)).text
    assert "2 of accuracy, 1 of speed are missing" in told
    assert "ended before it came to: robustness." in told
    assert "By windows nothing was measured" in told
    assert "VLLM_EXTRA_ARGS=--quantization fp8" in told
    assert "MAX_REQUESTS" not in told, "it is as it comes"
    assert "GPUs that the engine leaves alone" in told
    usual = Tags(as_html(readings(), situation())).text
    for words in ("are missing", "ended before", "By windows nothing", "leaves alone"):
        assert words not in usual
    assert "an engine that is elsewhere" in as_markdown({}, situation(engine_elsewhere=True))
    assert "Nothing is known of the GPU" in as_markdown({}, situation(machine={"untold_gpu": "it is silent"}))


def test_files_take_the_place_of_older_ones(tmp_path: Path) -> None:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.json").write_text("old")
    write_report(folder, readings(), situation())
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json", "report.md"]
    assert json.loads((folder / "report.json").read_text())["format"] == FORMAT


def test_a_name_that_is_no_text_is_no_reason_for_no_report(tmp_path: Path) -> None:
    write_report(tmp_path, readings(), situation(command="voxtral-serverless qualify --data appel_\udce9t\udce9"))
    for name in ("report.json", "report.md", "report.html"):
        assert "appel" in (tmp_path / name).read_text("utf-8")


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable):
        write_report(tmp_path / "file" / "report", {}, situation())


def test_plots_stand_inside_the_page() -> None:
    python = drawing_python()
    findings = find(readings(), situation())
    drawn = plots(python, findings, situation())
    assert set(drawn) == set(PLOTS)
    page = as_html(readings(), situation(), drawn)
    tags = Tags(page)
    assert [tag for tag, _ in tags.seen].count("svg") == len(PLOTS)
    ids = [attributes["id"] for _, attributes in tags.seen if attributes.get("id")]
    assert len(ids) == len(set(ids))
    links = [
        value for _, attributes in tags.seen for name, value in attributes.items() if name in {"href", "xlink:href"}
    ]
    assert all(value and value.startswith("#") for value in links)
    assert "currentColor" in page
    assert "<text" in page
    assert plots(python, findings, situation()) == drawn
    assert plots(python, find({}, situation()), situation()) == {}


@pytest.mark.parametrize("python", [sys.executable, "/nowhere/python"])
def test_report_without_plots_says_so(python: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Ours has no matplotlib."""
    write_report(tmp_path, readings(), situation(), python=python)
    assert NO_PLOTS in Tags((tmp_path / "report.html").read_text()).text
    assert "the report has no plots" in caplog.text
