"""The report as a document: what it was made on, the verdicts, what was measured, how, and what failed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from voxtral_serverless.qualify.findings import Findings
from voxtral_serverless.qualify.findings_accuracy import Accuracy
from voxtral_serverless.qualify.findings_values import Values, count, number, part, parts, text, texts
from voxtral_serverless.qualify.report import tables
from voxtral_serverless.qualify.report.blocks import Block, Document, Heading, Items, Paragraph, Plot, Table
from voxtral_serverless.qualify.situation import tuned
from voxtral_serverless.qualify.targets import Verdict, tallied
from voxtral_serverless.qualify.units import Reading

TITLE = "Voxtral Serverless Worker, qualified"
EMBEDDED = "Made by the embedded engine, which is there to try things out: these figures say nothing about Voxtral or pyannote."
NO_GPU = "Made without a GPU: what these figures say about speed, cost and memory holds for processors alone."
ELSEWHERE = (
    "Made with an engine that is elsewhere (VLLM_BASE_URL): the machine below is the worker's, not the engine's, and nothing "
    "is known of that one's memory."
)
UNTOLD_GPU = "Nothing is known of the GPU that this was made on, if it was made on one: what these figures say holds for that one alone."
ONLY_TURNS = "By windows nothing was measured: there is no aligner for the language here (ALIGNMENT_LANGUAGES brings one, docs/words.md)."
NOTES = (
    "Rates are pooled: the errors of all calls by the words, or the seconds of speech, of all calls.",
    "WER counts word errors whoever said the words: the fewer of two pairings, whole turns of the reference with speakers of the answer (ORC-WER), or turns of the answer with speakers of the reference (DI-cpWER); cpWER pairs each speaker with one speaker of the answer, as well as can be; tcpWER is cpWER with words that count only within 5 s of where they were said.",
    "DER is missed, false and confused speaker time by the reference's speaker time: without a collar, overlaps scored. Beside it stands the one with 0.25 s forgiven on either side of every edge.",
    "Coverage is the time of speech that lies in turns with a text; 0.25 s at either end of a stretch are not counted, but in the strict one.",
    "The real-time factor is wall time by audio time, of all calls that run at once together; times real time is its inverse. Stages may run side by side, and so may the phases of a start: neither adds up.",
    "The cost of an hour of audio is the hourly price, of the GPUs that the engine uses, divided by the times real time: that of a machine which is always busy.",
    "Labels: those of a call that failed are counted as wrong. Verdicts compare unrounded figures; what was measured in part only is never met.",
)


def document(findings: Findings, verdicts: Sequence[Verdict], situation: Reading) -> Document:
    """The whole report."""
    return Document(TITLE, tuple(_blocks(findings, verdicts, situation)))


def _blocks(findings: Findings, verdicts: Sequence[Verdict], situation: Reading) -> Iterator[Block]:
    yield from _head(verdicts, situation)
    yield from _accuracy(findings)
    yield from _section("Analysis", tables.analysis_table(findings), tables.inventions_table(findings))
    yield from _speed(findings, situation)
    yield from _section("Robustness", tables.robustness_table(findings))
    yield from _section("Memory and disk", Plot("memory", PLOTS["memory"]), tables.peaks_table(findings, situation))
    yield from _definitions(situation)
    yield from _failures(findings, situation)
    yield from _made_of(situation)


PLOTS = {
    "accuracy": "Error rates call by call, number of speakers given, the best calls first",
    "speed": "Real-time factor by calls at once, for each length of call and plan; lower is faster",
    "stages": "Seconds of each stage of one call alone; stages may run side by side",
    "start": "Seconds of each phase of a cold and a warm start; phases run side by side",
    "memory": "Peak of GPU memory beside what the GPU has",
}
"""What each plot shows."""


def _head(verdicts: Sequence[Verdict], situation: Reading) -> Iterator[Block]:
    yield Paragraph(_on(situation))
    if text(situation, "engine") == "embedded":
        yield Paragraph(EMBEDDED)
    elif situation.get("engine_elsewhere") is True:
        yield Paragraph(ELSEWHERE)
    elif not parts(machine := part(situation, "machine"), "gpus"):
        yield Paragraph(UNTOLD_GPU if text(machine, "untold_gpu") else NO_GPU)
    if missing := _by_stage(texts(situation, "missing")):
        yield Paragraph(f"Not all has been measured yet: {missing} are missing. The same command goes on.")
    if unreached := texts(situation, "unreached_stages"):
        yield Paragraph(f"The last start ended before it came to: {', '.join(unreached)}.")
    counts = tallied(verdicts)
    yield Heading("Verdicts")
    yield Paragraph(f"{counts['met']} met, {counts['missed']} missed, {counts['unmeasured']} unmeasured.")
    yield tables.verdicts_table(verdicts)


def _by_stage(units: Sequence[str]) -> str:
    """How many units of each stage."""
    counts = Counter(unit.partition("/")[0] for unit in units)
    return ", ".join(f"{count} of {stage}" for stage, count in counts.items())


def _on(situation: Reading) -> str:
    """Where and of what, in a sentence."""
    model = text(part(part(situation, "models"), "transcription"), "name")
    engine = text(situation, "engine") or "unknown"
    ended = (text(situation, "ended") or "").partition("T")[0]
    made_by = f"{model} by {engine}" if model else f"the {engine} engine"
    return f"On {machine_name(situation)}: {made_by}, version {_told(situation, 'version')}{f', {ended}' if ended else ''}."


def machine_name(situation: Reading) -> str:
    """A machine by its GPUs, else by its processor."""
    machine = part(situation, "machine")
    gpus = [text(gpu, "name") or "GPU" for gpu in parts(machine, "gpus")]
    several = [f"{gpus.count(name)} x {name}" if gpus.count(name) > 1 else name for name in dict.fromkeys(gpus)]
    return ", ".join(several) or f"{count(machine, 'cores')} cores of {_told(machine, 'processor')}"


def _told(values: Values, key: str) -> str:
    return text(values, key) or "unknown"


def _section(title: str, *blocks: Table | Plot) -> Iterator[Block]:
    """A section of what there is; none where no table has a row."""
    if any(isinstance(block, Table) and block.rows for block in blocks):
        yield Heading(title)
        yield from (block for block in blocks if isinstance(block, Plot) or block.rows)


def _accuracy(findings: Findings) -> Iterator[Block]:
    plot = Plot("accuracy", PLOTS["accuracy"])
    yield from _section("Accuracy", tables.accuracy_table(findings), plot)
    yield from (Paragraph(told) for told in (_partial(findings.given), _partial(findings.free)) if told)
    stock = findings.stock
    if stock.calls.measured:
        yield Paragraph(
            f"Beside stock pyannote: {stock.identical} of {stock.calls.measured} calls have identical turns, "
            f"{stock.different_s:.2f} s differ; ours took {stock.ours_s:.1f} s, stock {stock.stock_s:.1f} s."
        )
    yield from _section("Call by call", tables.calls_table(findings))
    yield from _section("Where nobody speaks", tables.sounds_table(findings))


def _partial(found: Accuracy) -> str:
    """What is missing of a mode, where it was measured."""
    calls, mode = found.calls, "given" if found.mode == "given" else "not given"
    if not calls.measured:
        return ""
    codes = ", ".join(f"{code} ({count})" for code, count in found.warnings.items())
    told = [] if calls.complete else [f"{calls.measured} of {calls.expected} calls, {calls.failed} failed"]
    told += [f"warnings: {codes}"] if codes else []
    return f"Speakers {mode}: {'; '.join(told)}." if told else ""


def _speed(findings: Findings, situation: Reading) -> Iterator[Block]:
    yield from _section("Start", tables.starts_table(findings), Plot("start", PLOTS["start"]))
    plots = (Plot("speed", PLOTS["speed"]), Plot("stages", PLOTS["stages"]))
    yield from _section("Speed", tables.speed_table(findings), plots[0], tables.stages_table(findings), plots[1])
    if findings.speeds and texts(situation, "plans") == ("turns",):
        yield Paragraph(ONLY_TURNS)


def _definitions(situation: Reading) -> Iterator[Block]:
    normaliser = text(situation, "normaliser")
    yield Heading("How the figures are defined")
    yield Items((*NOTES, *((f"Before words are counted: {normaliser}",) if normaliser else ())))


def _failures(findings: Findings, situation: Reading) -> Iterator[Block]:
    if findings.failures:
        yield Heading("What failed")
        rows = tuple((one.unit, one.message) for one in findings.failures)
        yield Table("What failed", ("unit", "why"), rows, words=2)
    skipped = texts(part(situation, "data"), "skipped")
    if skipped:
        yield Heading("Not used of the data set")
        yield Items(skipped)


def _made_of(situation: Reading) -> Iterator[Block]:
    yield Heading("What it was made on")
    yield Table("What it was made on", ("what", "which"), tuple(_facts(situation)), words=2)


def _facts(situation: Reading) -> Iterator[tuple[str, str]]:
    machine, versions = part(situation, "machine"), part(situation, "versions")
    yield "command", text(situation, "command") or tables.NONE
    yield "began, ended", f"{_told(situation, 'began')}, {_told(situation, 'ended')}"
    for gpu in parts(machine, "gpus"):
        yield "GPU", f"{_told(gpu, 'name')}, {number(gpu, 'total_mib')} MiB"
    if others := count(situation, "other_gpus"):
        yield "GPUs that the engine leaves alone", str(others)
    yield "driver", text(machine, "driver") or tables.NONE
    yield (
        "processor",
        f"{_told(machine, 'processor')}, {count(machine, 'cores')} cores, {count(machine, 'memory_mib')} MiB",
    )
    yield "system", f"{_told(machine, 'system')}, Python {_told(machine, 'python')}"
    yield from ((name, str(version)) for name, version in versions.items() if version is not None)
    for role, model in part(situation, "models").items():
        if isinstance(model, dict):
            yield role, f"{_told(model, 'name')}, revision {text(model, 'revision') or 'not known'}"
    yield from _conditions(situation)


def _settings(situation: Reading) -> Iterator[str]:
    """Settings that change what is measured, where they are not as they come."""
    for name, value in tuned(part(situation, "settings")).items():
        yield f"{name.upper()}={value if isinstance(value, str) else json.dumps(value)}"


def _conditions(situation: Reading) -> Iterator[tuple[str, str]]:
    data, price = part(situation, "data"), part(situation, "gpu_price")
    if data:
        of = f"{count(data, 'calls')} calls, {tables.fixed(number(data, 'hours'), 2)} h"
        yield "data", f"{_told(data, 'name')}, revision {text(data, 'revision') or 'not known'}, {of}"
    yield "settings", ", ".join(_settings(situation)) or "as they come"
    usd = number(price, "usd_per_hour")
    yield "price of an hour", f"{'not known' if usd is None else f'${usd:g}'} ({text(price, 'source') or 'no source'})"
    yield "usual plan", text(situation, "plan") or tables.NONE
    yield "skipped", ", ".join(texts(situation, "skipped_stages")) or "nothing"
