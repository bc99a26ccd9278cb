"""Write docs/configuration.md from the settings; with --check, only say whether it is current (exit 1 if not)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from voxtral_serverless.settings import Settings

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
HEAD = """# Configuration

Every setting is an environment variable, read once at start. This page is generated from
`src/voxtral_serverless/settings.py` by `make docs`.

| variable | default | meaning |
|---|---|---|
"""


def default_of(field: FieldInfo) -> str:
    """The default as one would write it in the environment."""
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "":
        return "none"
    return f"`{value if isinstance(value, str | Path) else json.dumps(value)}`"


def page() -> str:
    """The whole page."""
    rows = []
    for name, field in Settings.model_fields.items():
        secret = " Secret." if SecretStr in get_args(field.annotation) else ""
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        rows.append(f"| `{name.upper()}` | {default_of(field)} | {meaning}{secret} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        if not PAGE.exists() or PAGE.read_text("utf-8") != page():
            sys.exit("docs/configuration.md is not current: run make docs")
    else:
        PAGE.write_text(page(), "utf-8")
