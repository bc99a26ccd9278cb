"""A document as Markdown that is read as well in a terminal as on GitHub."""

from __future__ import annotations

import re

from voxtral_serverless.qualify.report.blocks import Block, Document, Heading, Items, Paragraph, Plot, Table

MARKS = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w)|^(?:[#>+-]|\d+[.)])(?= ))")


def markdown(document: Document) -> str:
    """The whole of it."""
    told = [f"# {escaped(document.title)}", *filter(None, map(_block, document.blocks))]
    return "\n\n".join(told) + "\n"


def escaped(text: str) -> str:
    """A text on one line whose marks are not Markdown's."""
    line = " ".join(text.split())
    return MARKS.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {escaped(text)}"
        case Paragraph(text):
            return escaped(text)
        case Items(texts):
            return "\n".join(f"- {escaped(text)}" for text in texts)
        case Table():
            return _table(block)
        case Plot():
            return ""


def _table(table: Table) -> str:
    rows = [[escaped(cell) for cell in row] for row in (table.head, *table.rows)]
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(table.head))]
    head, *body = ["| " + " | ".join(_padded(row, widths, table.words)) + " |" for row in rows]
    rule = ("-" * width if at < table.words else "-" * (width - 1) + ":" for at, width in enumerate(widths))
    return "\n".join([head, "| " + " | ".join(rule) + " |", *body])


def _padded(row: list[str], widths: list[int], words: int) -> list[str]:
    last = len(row) - 1
    return [
        (cell if at == last else cell.ljust(width)) if at < words else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
