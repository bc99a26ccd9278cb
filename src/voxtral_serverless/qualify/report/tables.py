"""The tables of a report, a function for each. What was not measured has no rows; an absent figure is a dash."""

from __future__ import annotations

from collections.abc import Sequence

from voxtral_serverless.qualify.findings import Findings
from voxtral_serverless.qualify.findings_accuracy import Accuracy, SpeakerErrors
from voxtral_serverless.qualify.findings_speed import Peak
from voxtral_serverless.qualify.findings_values import number, part
from voxtral_serverless.qualify.report.blocks import Table
from voxtral_serverless.qualify.targets import Verdict, percent
from voxtral_serverless.qualify.units import Reading

NONE = "\u2013"
PEAK_NAMES = {
    "worker_rss_mib": "worker, memory",
    "vllm_rss_mib": "vLLM, memory",
    "torch_rss_mib": "pyannote and aligner, memory",
    "worker_gpu_mib": "worker, GPU",
    "vllm_gpu_mib": "vLLM, GPU",
    "torch_gpu_mib": "pyannote and aligner, GPU",
    "gpu_used_mib": "the GPUs, all in all",
    "disk_mib": "temporary files",
}


def fixed(value: float | None, digits: int = 1) -> str:
    """A number."""
    return NONE if value is None else f"{value:.{digits}f}"


def rate(value: float | None) -> str:
    """A rate in percent."""
    return NONE if value is None else percent(value)


def words(name: str) -> str:
    """A name of ours as it is read."""
    return name.replace("_", " ")


def verdicts_table(found: Sequence[Verdict]) -> Table:
    """What was aimed at, and what came of it."""
    rows = tuple((one.target, one.measured, one.outcome, one.remark or NONE) for one in found)
    return Table("Verdicts", ("target", "measured", "verdict", "remark"), rows, words=4)


def starts_table(findings: Findings) -> Table:
    """Seconds until jobs could be done, and of each phase."""
    phases = list(dict.fromkeys(name for start in findings.starts for name in start.phases_s))
    rows = tuple(
        (start.name, fixed(start.ready_s), *(fixed(start.phases_s.get(name)) for name in phases))
        for start in findings.starts
    )
    return Table("Start", ("seconds", "ready", *map(words, phases)), rows)


def speed_table(findings: Findings) -> Table:
    """How fast, end to end."""
    head = (
        "plan", "minutes", "at once", "times real time", "real-time factor", "call, median s", "first text, median s",
        "first token, mean s", "requests per audio hour", "$ per audio hour", "failed jobs",
    )  # fmt: skip
    rows = tuple(
        (
            one.plan, f"{one.minutes:g}", str(one.at_once), fixed(one.times_real_time), fixed(one.real_time_factor, 4),
            fixed(one.job_s), fixed(one.first_text_s), fixed(one.first_token_s, 3),
            fixed(one.requests_per_audio_hour, 0), fixed(one.usd_per_audio_hour, 4), str(one.failed_jobs),
        )
        for one in findings.speeds
    )  # fmt: skip
    return Table("Speed", head, rows)


def stages_table(findings: Findings) -> Table:
    """How much of a call each stage takes."""
    stages = list(dict.fromkeys(name for one in findings.speeds for name in one.stages))
    rows = tuple(
        (one.plan, f"{one.minutes:g}", str(one.at_once), *(fixed(one.stages.get(name), 4) for name in stages))
        for one in findings.speeds
        if one.stages
    )
    return Table("Real-time factor by stage", ("plan", "minutes", "at once", *map(words, stages)), rows)


def accuracy_table(findings: Findings) -> Table:
    """Errors with the number of speakers given, and not."""
    both = [one for one in (findings.given, findings.free) if one.calls.measured]
    rows = tuple((name, *cells) for name, *cells in zip(ACCURACY, *map(_accuracy_cells, both), strict=True))
    head = ("all calls together", *(f"speakers {'given' if one.mode == 'given' else 'not given'}" for one in both))
    return Table("Accuracy", head, rows if both else ())


ACCURACY = (
    "calls", "hours", "WER", "cpWER", "tcpWER", "DER, no collar", "of it missed", "of it false alarm", "of it confusion",
    "DER, 0.25 s forgiven", "coverage", "coverage, strict", "right number of speakers", "turns without text",
)  # fmt: skip


def _accuracy_cells(one: Accuracy) -> tuple[str, ...]:
    der: SpeakerErrors = one.der
    return (
        f"{one.calls.measured} of {one.calls.expected}", fixed(one.hours, 2),
        *(rate(errors.rate) for errors in (one.wer, one.cpwer, one.tcpwer)),
        *(rate(share) for share in (der.rate, der.missed_rate, der.false_alarm_rate, der.confusion_rate)),
        rate(one.der_collar.rate), rate(one.coverage.rate), rate(one.coverage_strict.rate),
        f"{one.speakers_right} of {one.calls.measured}", str(one.turns_without_text),
    )  # fmt: skip


def calls_table(findings: Findings) -> Table:
    """Every call, with the number of speakers given."""
    rows = tuple((one.name, rate(one.wer), rate(one.cpwer), rate(one.der)) for one in findings.given.each)
    return Table("Call by call", ("speakers given", "WER", "cpWER", "DER"), rows)


def sounds_table(findings: Findings) -> Table:
    """Words where nobody speaks."""
    rows = tuple(
        (one.name, one.text or NONE, fixed(one.minutes), str(one.words), fixed(one.words_per_minute))
        for one in findings.sounds
    )
    head = ("nobody speaks", "what is written of it", "minutes", "words", "words/min")
    return Table("Where nobody speaks", head, rows, words=2)


def analysis_table(findings: Findings) -> Table:
    """What the analysis of the labelled calls is worth."""
    one = findings.analysis
    calls = one.calls.measured + one.calls.failed
    rows = (
        ("calls analysed", f"{one.calls.measured} of {one.calls.expected}"),
        ("sentiment right", f"{one.sentiment_right} of {calls}"),
        ("satisfaction right", f"{one.satisfaction_right} of {calls}"),
        ("both right", f"{one.both_right} of {calls}"),
        ("all labels", f"{rate(one.label_accuracy)} ({one.labels_right} of {one.labels})"),
        *((f"invented {kind}", str(count)) for kind, count in one.invented.items()),
        ("without a summary", str(one.no_summary)),
        ("summaries without their word in front", str(one.no_prefix)),
        ("summaries with more sentences than asked for", str(one.too_long)),
    )
    return Table("Analysis", ("thirty French calls in text", "found"), rows if calls else ())


def inventions_table(findings: Findings) -> Table:
    """What summaries say that their calls do not."""
    rows = tuple((one.call, one.kind, one.text) for one in findings.analysis.inventions)
    return Table(
        "In a summary, and not in its call", ("call", "kind", "in the summary, not in the call"), rows, words=3
    )


def robustness_table(findings: Findings) -> Table:
    """Figures of what went wrong on purpose."""
    found = findings.robustness
    rows: list[tuple[str, str]] = []
    if one := found.hostile:
        rows.append(("hostile files", f"{one.files}: {one.refused} refused, {one.harmless} harmless"))
        rows.append(("slowest of them", f"{one.slowest or NONE}, {fixed(one.slowest_s)} s"))
    if killed := found.killed_engine:
        rows.append(("job whose engine is killed", f"{fixed(killed.took_s)} s"))
        rows.append(("the same undisturbed", f"{fixed(killed.undisturbed_s)} s"))
    if longest := found.longest:
        rows.append(("longest recording", f"{longest.minutes:g} min in {fixed(longest.took_s)} s"))
        rows.append(("its warnings", ", ".join(longest.warnings) or "none"))
    return Table("Robustness", ("what goes wrong", "what is left"), tuple(rows), words=2)


def peaks_table(findings: Findings, situation: Reading) -> Table:
    """The most memory that was seen, beside what there is."""
    there = {"gpu": card_mib(situation), "rss": number(part(situation, "machine"), "memory_mib")}
    rows = tuple((PEAK_NAMES[one.name], one.unit, fixed(one.mib, 0), *_beside(one, there)) for one in findings.peaks)
    return Table("Memory and disk", ("what", "in", "MiB", "there is, MiB", "share"), rows, words=2)


def card_mib(situation: Reading) -> float | None:
    """Memory of all GPUs together, as their use is told, also of those that the engine leaves alone; None without one."""
    return number(part(situation, "machine"), "all_gpus_mib") or None


def _beside(peak: Peak, there: dict[str, float | None]) -> tuple[str, str]:
    whole = next((size for kind, size in there.items() if kind in peak.name), None)
    return fixed(whole, 0), NONE if not whole else f"{100 * peak.mib / whole:.0f} %"
