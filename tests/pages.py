"""What the pages for strangers say to a machine: their commands and their JSON."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.media import ROOT

PAGES = ("README.md", "README.fr.md")
SHELL = ("sh",)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """Its commands, each on one line, comments left out."""
        joined = re.sub(r"\s*\\\n\s*", " ", self.text)
        lines = re.sub("'[^']*'", lambda quoted: " ".join(quoted[0].split()), joined).splitlines()
        return [stripped for line in lines if (stripped := re.sub(r"(^|\s+)# .*$", "", line).strip())]


def text(page: str) -> str:
    """A page as it is written."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text(page), re.DOTALL | re.MULTILINE)
    return [Block(page, language, body) for language, body in found]


def scripts(page: str) -> list[Block]:
    """The blocks that are for a shell."""
    return [block for block in blocks(page) if block.language in SHELL and block.commands]


def examples(page: str) -> list[Any]:
    """What the page's JSON says."""
    return [json.loads(block.text) for block in blocks(page) if block.language == "json"]


def prose(page: str) -> str:
    """A page without its blocks, its code and the targets of its links."""
    without_blocks = re.sub(r"^```.*?^```$", "", text(page), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`|\]\([^)]*\)|<[^>\n]*>", "", without_blocks)


def table_lines(page: str) -> list[str]:
    """The lines of its tables."""
    return re.findall(r"^\| .+ \|$", text(page), re.MULTILINE)


def rows(page: str) -> set[str]:
    """The names in the first cells of its tables."""
    return {name for line in table_lines(page) for name in re.findall(r"`([A-Za-z0-9_]+)`", line.split("|")[1])}
