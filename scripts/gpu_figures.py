"""Bring the GPU section of both READMEs up to date with bench/reports; with --check, only say whether it is (exit 1 if not).

A row for each machine and its models, from the newest report of `voxtral-serverless qualify` that is committed there
(bench/reports/NAME/report.json), and nothing that no report says. A report that was not made on a GPU, or by the embedded
engine, has no place in that section, and is refused for it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
REPORTS = ROOT / "bench" / "reports"
BEGIN, END = "<!-- gpu-figures -->", "<!-- /gpu-figures -->"
FORMAT = 2
NONE = "\u2013"
COMMAND = """```sh
docker run --rm --gpus all -e HF_TOKEN=hf_… -e ALIGNMENT_LANGUAGES=fr -v "$PWD/report:/report" \\
  -v voxtral-cache:/root/.cache voxtral-serverless voxtral-serverless qualify --report /report
```"""


@dataclass(frozen=True)
class Language:
    """How a page says it.

    Attributes:
        percent: Of a figure in percent.
    """

    page: str
    heading: str
    nothing: str
    how: str
    introduction: str
    head: tuple[str, ...]
    percent: str
    hourly: str
    verdicts: str
    comma: str

    def number(self, value: float | None, digits: int, form: str = "{}") -> str:
        """A figure as the page writes it; a dash for none."""
        return NONE if value is None else form.format(f"{value:.{digits}f}".replace(".", self.comma))


ENGLISH = Language(
    page="README.md",
    heading="## On a GPU, measured",
    nothing="No report has been committed yet: nothing has been measured on a GPU. This command measures everything on yours, and\n"
    "writes the report ([docs/qualify.md](docs/qualify.md)):",
    how="Made by this command ([docs/qualify.md](docs/qualify.md)):",
    introduction="What the committed reports say, the newest of each machine; speed and cost with eight calls at once, error rates\n"
    "with the number of speakers given:",
    head=("machine", "models", "times real time", "an hour of audio", "DER", "WER", "cpWER", "targets met"),
    percent="{} %",
    hourly="${}",
    verdicts="{met} of {all}, {missed} missed",
    comma=".",
)
FRENCH = Language(
    page="README.fr.md",
    heading="## Mesures sur GPU",
    nothing="Aucun rapport n\u2019a encore été publié ici\u00a0: rien n\u2019a été mesuré sur un GPU. Cette commande mesure tout sur le vôtre et\n"
    "écrit le rapport ([docs/qualify.md](docs/qualify.md))\u00a0:",
    how="Ces rapports viennent de la commande suivante ([docs/qualify.md](docs/qualify.md))\u00a0:",
    introduction="Ce que disent les rapports publiés ici, le plus récent pour chaque machine\u00a0; vitesse et coût avec huit appels de front,\n"
    "taux d\u2019erreur avec le nombre de locuteurs donné\u00a0:",
    head=(
        "machine",
        "modèles",
        "fois le temps réel",
        "une heure d\u2019audio",
        "DER",
        "WER",
        "cpWER",
        "objectifs atteints",
    ),
    percent="{}\u00a0%",
    hourly="{}\u00a0$",
    verdicts="{met} sur {all}, {missed} manqués",
    comma=",",
)


def reports() -> dict[str, dict[str, Any]]:
    """The committed reports, by the names of their folders."""
    found = {path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(REPORTS.glob("*/report.json"))}
    for name, report in found.items():
        if report.get("format") != FORMAT:
            sys.exit(f"bench/reports/{name}/report.json is of another format: make it anew")
    return found


def refused(report: Mapping[str, Any]) -> str:
    """Why a report has no place in the section; nothing where it has."""
    if report["situation"]["engine_elsewhere"]:
        return "its engine was elsewhere, on who knows which GPU"
    if not report["situation"]["machine"]["gpus"]:
        return "it was not made on a GPU"
    return "" if report["situation"]["engine"] == "vllm" else "it was made by the embedded engine"


def newest(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Of each machine and its models, the report that ended last."""
    last: dict[tuple[str, str], str] = {}
    for name in sorted(found, key=lambda name: str(found[name]["situation"]["ended"])):
        last[machine(found[name]["situation"]), models(found[name]["situation"])] = name
    return {name: found[name] for name in sorted(last.values())}


def machine(situation: Mapping[str, Any]) -> str:
    """A machine by its GPUs."""
    names = [gpu["name"] for gpu in situation["machine"]["gpus"]]
    several = (f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names))
    return ", ".join(several)


def models(situation: Mapping[str, Any]) -> str:
    """The models, without whose they are."""
    names = (situation["models"].get(role) for role in ("transcription", "diarization"))
    return ", ".join(model["name"].rpartition("/")[2] for model in names if model)


def row(name: str, report: Mapping[str, Any], language: Language) -> tuple[str, ...]:
    """The row of a report."""
    findings, situation = report["findings"], report["situation"]
    slowest, given = findings["loaded"]["slowest"] or {}, findings["given"]
    outcomes = [verdict["outcome"] for verdict in report["verdicts"]]
    rates = (given[rate]["rate"] for rate in ("der", "wer", "cpwer"))
    return (
        f"[{cell(machine(situation))}](bench/reports/{name}/report.md)",
        cell(models(situation)),
        language.number(slowest.get("times_real_time"), 1),
        language.number(slowest.get("usd_per_audio_hour"), 4, language.hourly),
        *(language.number(None if rate is None else 100 * rate, 2, language.percent) for rate in rates),
        language.verdicts.format(met=outcomes.count("met"), missed=outcomes.count("missed"), all=len(outcomes)),
    )


def cell(text: str) -> str:
    """A text in a table."""
    return text.replace("|", "\\|").replace("[", "\\[").replace("]", "\\]").replace("<", "&lt;")


def section(found: Mapping[str, Mapping[str, Any]], language: Language) -> str:
    """The section as it should be, between its marks."""
    rows = [row(name, report, language) for name, report in newest(found).items()]
    told = [language.introduction, table(language.head, rows), language.how] if rows else [language.nothing]
    return "\n\n".join([BEGIN, language.heading, *told, COMMAND, END])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page(found: Mapping[str, Mapping[str, Any]], language: Language) -> str:
    """A README with its section as it should be."""
    before, begin, rest = (ROOT / language.page).read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{language.page} has no {BEGIN} … {END}")
    return before + section(found, language) + after


def main(arguments: Sequence[str]) -> None:
    """Write both, or look whether they are current."""
    found = reports()
    for name, why in ((name, refused(report)) for name, report in found.items()):
        if why:
            print(f"bench/reports/{name} is left out: {why}", file=sys.stderr)
    taken = {name: report for name, report in found.items() if not refused(report)}
    for language in (ENGLISH, FRENCH):
        current = page(taken, language)
        if "--check" not in arguments:
            (ROOT / language.page).write_text(current, "utf-8")
        elif (ROOT / language.page).read_text("utf-8") != current:
            sys.exit(f"the GPU section of {language.page} is not current: run make docs")


if __name__ == "__main__":
    main(sys.argv[1:])
