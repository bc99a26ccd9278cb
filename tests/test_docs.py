"""What the documents list is what the code says."""

import re
from pathlib import Path

import pytest

from tests.media import ROOT
from tests.test_errors import leaves
from voxtral_serverless.contract import JobInput
from voxtral_serverless.errors import VoxtralError

API = (ROOT / "docs" / "api.md").read_text()


def test_every_error_code_is_documented() -> None:
    assert [leaf.code for leaf in leaves(VoxtralError) if f"`{leaf.code}`" not in API] == []


def test_every_warning_code_is_documented() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    codes = re.findall(r"Notice\(\s*\"([a-z_]+)\"", sources)
    assert len(codes) > 10
    assert [code for code in codes if f"`{code}`" not in API] == []


def test_every_field_of_a_job_is_documented() -> None:
    assert [name for name in JobInput.model_fields if f"`{name}`" not in API] == []


def test_readme_tells_in_order() -> None:
    readme = (ROOT / "README.md").read_text()
    places = [
        readme.index(part)
        for part in (
            "get back who said what when",
            "make demo",
            "make test",
            '{"input"',
            "## The embedded engine",
            "## Where",
        )
    ]
    assert places == sorted(places)


PAGES = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/*.md"))


def anchors(page: Path) -> set[str]:
    """Where links into a page can lead, as GitHub names its headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", page.read_text("utf-8")):
        file = page.parent / target if target else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), f"{target}#{anchor}"
