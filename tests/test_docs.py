"""What the documents list is what the code says."""

import re

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


def test_links_lead_somewhere() -> None:
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
