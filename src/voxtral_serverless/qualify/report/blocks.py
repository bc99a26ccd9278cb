"""What a report is made of, before it is Markdown or HTML. All texts are plain: whoever renders them escapes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """The beginning of a section."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    """Prose."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    texts: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table, every row as long as its head.

    Attributes:
        caption: What it shows, for who cannot see it.
        words: How many columns, from the left, are words; the others are figures.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


@dataclass(frozen=True)
class Plot:
    """Where a plot goes, where there is one.

    Attributes:
        name: Of the plot, as `plots` gives it.
        caption: What it shows.
    """

    name: str
    caption: str


Block = Heading | Paragraph | Items | Table | Plot


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    blocks: tuple[Block, ...]
