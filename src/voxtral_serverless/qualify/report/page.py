"""A document as one page of HTML, which loads nothing and runs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from voxtral_serverless.qualify.report.blocks import Block, Document, Heading, Items, Paragraph, Plot, Table

NO_PLOTS = "No plots: they need a Python with matplotlib, such as that of pyannote (DIARIZATION_PYTHON)."
OUTCOMES = ("met", "missed", "unmeasured")
STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --line: #d9dee4; --paper: #fff; --accent: #2f6fde;
  --met: #1a7f4b; --missed: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa5b1; --line: #343b44; --paper: #14171b;
  --accent: #7aa7ff; --met: #5fc992; --missed: #ff8a80; } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem }
.wide { overflow-x: auto; margin: 1rem 0 } .wide:focus-visible { outline: 2px solid var(--accent) }
table { border-collapse: collapse; font-size: .9rem; min-width: 100% }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem }
caption.unseen { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; white-space: nowrap }
th, td { text-align: left; vertical-align: top; padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line);
  max-width: 26rem }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom } tbody th { font-weight: 400 }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.met { color: var(--met); font-weight: 600 } .missed { color: var(--missed); font-weight: 600 }
.unmeasured { color: var(--soft) }
figure { margin: 1.5rem 0; max-width: 40rem } figcaption { color: var(--soft); font-size: .9rem }
figure svg { width: 100%; height: auto; display: block } figure svg * { stroke-linejoin: round }
"""


def page(document: Document, plots: Mapping[str, str]) -> str:
    """The whole page, with the plots that there are: SVG of our own making, by name."""
    title = escape(document.title)
    missing = [] if plots or not _wanted(document) else [f"<p>{escape(NO_PLOTS)}</p>"]
    told = (_block(block, plots, _headings(document)) for block in document.blocks)
    blocks = "\n".join([*filter(None, told), *missing])
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{blocks}\n"
        f"</main>\n</body>\n</html>\n"
    )


def _wanted(document: Document) -> bool:
    return any(isinstance(block, Plot) for block in document.blocks)


def _headings(document: Document) -> frozenset[str]:
    return frozenset(block.text for block in document.blocks if isinstance(block, Heading))


def _block(block: Block, plots: Mapping[str, str], headings: frozenset[str]) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Items(texts):
            return "<ul>\n" + "\n".join(f"<li>{escape(text)}</li>" for text in texts) + "\n</ul>"
        case Table():
            return _table(block, headings)
        case Plot():
            return _figure(block, plots)


def _figure(plot: Plot, plots: Mapping[str, str]) -> str:
    if plot.name not in plots:
        return ""
    caption = escape(plot.caption)
    return (
        f'<figure>\n<div role="img" aria-label="{caption}">{plots[plot.name]}</div>\n'
        f"<figcaption>{caption}</figcaption>\n</figure>"
    )


def _table(table: Table, headings: frozenset[str]) -> str:
    """Wide ones scroll by themselves, with the keyboard too. A caption that a heading says already is not seen twice."""
    caption, unseen = escape(table.caption), ' class="unseen"' if table.caption in headings else ""
    head = "".join(f'<th scope="col"{_kind(at, table)}>{escape(name)}</th>' for at, name in enumerate(table.head))
    rows = "\n".join(_row(row, table) for row in table.rows)
    return (
        f'<div class="wide" role="region" aria-label="{caption}" tabindex="0">\n<table>\n<caption{unseen}>{caption}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
    )


def _row(row: tuple[str, ...], table: Table) -> str:
    first, *rest = row
    cells = "".join(f"<td{_kind(at, table, cell)}>{escape(cell)}</td>" for at, cell in enumerate(rest, start=1))
    return f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'


def _kind(at: int, table: Table, cell: str = "") -> str:
    """The class of a cell: figures to the right, verdicts in their colour."""
    if at >= table.words:
        return ' class="n"'
    return f' class="{cell}"' if table.head[at] == "verdict" and cell in OUTCOMES else ""
