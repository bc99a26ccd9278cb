"""Draws: reads what is to be drawn as JSON from standard input, writes `{name: SVG}` to standard output.

Run as a script by a Python that has matplotlib; imports nothing of ours. Deterministic. Text stays text, and text, axes and
accent take their colours from the page (`currentColor`, `--accent`), so that it is read on light and on dark.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any

WIDTH_IN = 5.2
INK, ACCENT = "#010203", "#2f6fdf"
"""Colours that stand for those of the page."""
SHADES = (1.0, 0.72, 0.5, 0.34, 0.22)
"""How opaque the accent is, the first of several things first."""


def settle() -> None:
    """Have matplotlib draw SVG with text, quietly, the same each time."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "voxtral", "font.family": "DejaVu Sans", "font.size": 9,
        "text.parse_math": False, "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK,
        "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
        "xtick.major.width": 0.6, "ytick.major.width": 0.6, "figure.constrained_layout.use": True,
    })  # fmt: skip


def panels(count: int, height_in: float, *, share: bool = False) -> tuple[Any, list[Any]]:
    """A figure, and so many axes side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, height_in))
    return figure, list(figure.subplots(1, count, sharey=share, squeeze=False)[0])


def shade(number: int) -> float:
    """How opaque so manieth thing is."""
    return SHADES[min(number, len(SHADES) - 1)]


def speed(rows: list[dict[str, Any]]) -> Any:
    """A panel for each plan, a line for each length, its name where it ends, none on top of another."""
    plans = list(dict.fromkeys(row["plan"] for row in rows))
    figure, axes = panels(len(plans), 2.8, share=True)
    highest = max(row["factor"] for row in rows)
    for axis, plan in zip(axes, plans, strict=True):
        of_plan, ends = [row for row in rows if row["plan"] == plan], []
        for number, minutes in enumerate(sorted({row["minutes"] for row in of_plan}, reverse=True)):
            lengths = sorted((row["at_once"], row["factor"]) for row in of_plan if row["minutes"] == minutes)
            at_once, factors = zip(*lengths, strict=True)
            axis.plot(at_once, factors, color=ACCENT, alpha=shade(number), marker="o", markersize=3.5, linewidth=1.4)
            ends.append((factors[-1], at_once[-1], f"{minutes:g} min"))
        below = -1.0
        for factor, at, told in sorted(ends):
            below = max(factor, below + 0.075 * highest)
            label(axis, told, (at, below))
        axis.set_title(f"by {plan}", loc="left", fontsize=9)
        axis.set_xlabel("calls at once")
        axis.set_xticks(sorted({row["at_once"] for row in of_plan}))
        axis.margins(x=0.22)
        axis.set_ylim(bottom=0)
    axes[0].set_ylabel("real-time factor (s/s)")
    return figure


def label(axis: Any, text: str, place: tuple[float, float]) -> None:
    """A name to the right of a point."""
    axis.annotate(text, place, xytext=(5, 0), textcoords="offset points", va="center", fontsize=8)


def stages(rows: list[dict[str, Any]]) -> Any:
    """A bar for each plan, of its stages one after the other; short ones are named by the line below."""
    figure, axes = panels(1, 0.9 + 0.75 * len(rows))
    axis, longest = axes[0], max(sum(row["stages_s"].values()) for row in rows)
    for place, row in enumerate(rows):
        left, small = 0.0, []
        for number, (name, seconds) in enumerate(sorted(row["stages_s"].items(), key=lambda pair: -pair[1])):
            axis.barh(place, seconds, left=left, height=0.42, color=ACCENT, alpha=shade(number), linewidth=0)
            told = f"{name.replace('_', ' ')} {seconds:.1f} s"
            if seconds > longest * len(told) / 60:
                axis.text(left + longest * 0.006, place - 0.3, told, va="bottom", fontsize=8)
            else:
                small.append(told)
            left += seconds
        axis.text(0, place + 0.27, ", ".join(small), va="top", fontsize=7.5)
        whole(axis, row["job_s"], place)
    axis.set_yticks(range(len(rows)), [row["plan"] for row in rows])
    axis.set_ylim(len(rows) - 0.35, -0.62)
    axis.set_xlabel("seconds; the tick is the whole call")
    return figure


def whole(axis: Any, job_s: float | None, place: int) -> None:
    """A tick where the whole call was done."""
    if job_s is not None:
        axis.plot([job_s, job_s], [place - 0.26, place + 0.26], color=INK, linewidth=1.4)


def accuracy(told: dict[str, Any]) -> Any:
    """A panel for each rate, a dot for each call."""
    rates, targets = told["rates"], told["targets"]
    figure, axes = panels(len(rates), 2.6)
    for axis, (name, values) in zip(axes, rates.items(), strict=True):
        percents = [100 * value for value in values]
        axis.plot(
            range(1, len(percents) + 1), percents, "o", color=ACCENT, markersize=3.5, markeredgewidth=0, alpha=0.85
        )
        axis.set_title(name, loc="left", fontsize=9)
        axis.set_xlabel("calls, best first")
        axis.set_ylabel("error rate (%)")
        axis.set_ylim(bottom=0, top=1.12 * max(*percents, 100 * targets.get(name, 0), 1))
        axis.set_xlim(0.5, len(percents) + 0.5)
        axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        if name in targets:
            limit = 100 * targets[name]
            axis.axhline(limit, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            axis.annotate(f"target {limit:g} %", (0, limit), xycoords=("axes fraction", "data"), xytext=(3, 3),
                          textcoords="offset points", fontsize=8)  # fmt: skip
    return figure


def start(told: dict[str, dict[str, float]]) -> Any:
    """A pair of bars for each phase."""
    phases = list(dict.fromkeys(name for each in told.values() for name in each))
    figure, axes = panels(1, 0.8 + 0.2 * len(phases) * (1 + len(told)))
    axis, height = axes[0], 0.8 / len(told)
    for number, (kind, each) in enumerate(told.items()):
        for place, name in enumerate(phases):
            if name not in each:
                continue
            middle = place + (number - (len(told) - 1) / 2) * height
            axis.barh(middle, each[name], height=height * 0.85, color=ACCENT, alpha=shade(2 * number), linewidth=0)
            label(axis, f"{kind} {each[name]:.1f} s", (each[name], middle))
    axis.set_yticks(range(len(phases)), [name.replace("_", " ") for name in phases])
    axis.invert_yaxis()
    axis.margins(x=0.2)
    axis.set_xlabel("seconds")
    return figure


def memory(told: dict[str, Any]) -> Any:
    """A bar for each process, and a line at what the card has."""
    peaks, card = told["peaks"], told["card"] / 1024
    figure, axes = panels(1, 0.9 + 0.36 * len(peaks))
    for place, mib in enumerate(peaks.values()):
        axes[0].barh(place, mib / 1024, height=0.6, color=ACCENT, alpha=0.85, linewidth=0)
        label(axes[0], f"{mib / 1024:.1f}", (mib / 1024, place))
    axes[0].axvline(card, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    axes[0].annotate(f"the card: {card:.1f} GiB", (card, 1), xycoords=("data", "axes fraction"), xytext=(-4, 2),
                     textcoords="offset points", ha="right", fontsize=8)  # fmt: skip
    axes[0].set_yticks(range(len(peaks)), list(peaks))
    axes[0].invert_yaxis()
    axes[0].set_xlim(0, 1.06 * max(card, *(mib / 1024 for mib in peaks.values())))
    axes[0].set_xlabel("GPU memory at its peak (GiB)")
    return figure


def svg(figure: Any, name: str) -> str:
    """A figure as SVG to stand inside a page: no head, no size of its own, no ids but those it refers to, by its name."""
    buffer = io.StringIO()
    figure.savefig(
        buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL).replace(
        "'DejaVu Sans'", "inherit"
    )
    return text.replace(INK, "currentColor").replace(ACCENT, f"var(--accent, {ACCENT})").strip()


DRAWN: dict[str, Callable[[Any], Any]] = {
    "speed": speed,
    "stages": stages,
    "accuracy": accuracy,
    "start": start,
    "memory": memory,
}


def main() -> None:
    """Draw what is asked for."""
    settle()
    asked = json.load(sys.stdin)
    json.dump({name: svg(DRAWN[name](told), name) for name, told in asked.items()}, sys.stdout)


if __name__ == "__main__":
    main()
