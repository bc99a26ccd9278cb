"""What the pages for strangers list is what there is: every field, every variable, JSON that is a job or an answer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.pages import PAGES, SHELL, blocks, examples, prose, rows, table_lines, text
from tests.test_errors import leaves
from tests.user_readme.contract import ANSWER, REQUEST, cells
from voxtral_serverless.contract import JobResult, Meta, parse_job
from voxtral_serverless.errors import VoxtralError

EXAMPLES = [(page, number) for page in PAGES for number in range(len(examples(page)))]
FRENCH = "README.fr.md"
TRANSLATED = {"detected", "found"}


@pytest.mark.parametrize(("page", "number"), EXAMPLES)
def test_json_is_a_job_or_an_answer(page: str, number: int) -> None:
    example: dict[str, Any] = examples(page)[number]
    if "input" in example:
        parse_job(example)
    elif "error" in example:
        code, _, message = example["error"].partition(": ")
        assert code in {leaf.code for leaf in leaves(VoxtralError)}
        assert message.endswith(".")
    elif "status" in example:
        assert set(example) <= {"id", "status", "output", "delayTime", "executionTime"}
    else:
        meta = example.pop("meta")
        assert set(meta) - {"…"} <= set(Meta.model_fields)
        JobResult.model_validate(example | {"meta": Meta.model_construct()})


def test_the_french_page_has_every_field_and_every_variable() -> None:
    assert set(cells("Inputs")) <= rows(FRENCH)
    assert set(cells("Environment")) <= rows(FRENCH)


def test_the_french_page_has_the_examples_to_the_letter() -> None:
    assert REQUEST in examples(FRENCH)
    [answer] = [example for example in examples(FRENCH) if "transcriptions" in example]
    answer.pop("meta")
    assert answer == ANSWER


@pytest.mark.parametrize("section", ["Inputs", "Environment"])
def test_the_french_page_has_the_defaults(section: str) -> None:
    lines = {name: line for line in table_lines(FRENCH) for name in re.findall("`([A-Za-z0-9_]+)`", line[:60])}
    for name, rest in cells(section).items():
        default = rest[-2].strip("`")
        if re.fullmatch(r"[\w./-]+", default) and default not in TRANSLATED:
            assert default in lines[name], name


def test_every_block_says_what_it_is() -> None:
    languages = {(page, block.language) for page in PAGES for block in blocks(page)}
    assert {language for _, language in languages} <= {*SHELL, "json", "text"}


def test_french_typography() -> None:
    french = prose(FRENCH)
    assert re.findall(r".{12} [:;?!»%].{0,5}", french) == [], "the space before it is a protected one"
    assert re.findall(r".{12}[\w)\]][;?!»].{0,5}", french) == [], "there is a space before it"
    assert re.findall(r".{12}«[^\u00a0\u202f]", french) == []
    assert re.findall(r".{12}\w'\w.{0,5}", french) == [], "the apostrophe is a typographic one"
    assert "..." not in french


@pytest.mark.parametrize(
    ("page", "after"), [("README.md", "## Measured"), ("README.md", "word error"), (FRENCH, "taux d")]
)
def test_figures_are_measured_ones(page: str, after: str) -> None:
    results = text("bench/RESULTS.md")
    table = text(page).partition(after)[2].partition("\n\n|" if "##" in after else "\n")[2 if "##" in after else 0]
    figures = re.findall(r"(?<![\w.])\d+(?:\.\d+)?", table.partition("\n\n")[0])
    assert len(figures) > 1
    assert [one for one in figures if one not in results and f"{float(one) / 100:g}" not in results] == []
