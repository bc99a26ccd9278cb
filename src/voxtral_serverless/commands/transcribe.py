"""`voxtral-serverless transcribe`: one recording, its answer on stdout."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voxtral_serverless.door import SIGNALLED, door, run_to_its_end
from voxtral_serverless.errors import InvalidJob, OutputUnwritable, SourceNotFound, SourceUnreadable

if TYPE_CHECKING:
    from voxtral_serverless.audio.fetch import Source
    from voxtral_serverless.contract import JobOptions, JobResult
    from voxtral_serverless.settings import Settings

OutputFormat = Literal["json", "txt", "srt", "vtt", "rttm"]
EngineName = Literal["auto", "vllm", "embedded"]


def transcribe(
    source: Annotated[str | None, typer.Argument(help="A file, or an http(s) URL.", show_default=False)] = None,
    *,
    job: Annotated[
        Path | None,
        typer.Option(help='A job as JSON, {"input": {…}}; - reads stdin. What is given here as well counts more.'),
    ] = None,
    task: Annotated[str | None, typer.Option(help="transcribe_diarized (default) or transcribe.")] = None,
    language: Annotated[str | None, typer.Option(help="Language spoken, e.g. fr.")] = None,
    summary: Annotated[bool | None, typer.Option(help="Ask for a summary.")] = None,
    sentiment: Annotated[bool | None, typer.Option(help="Ask for the customer's sentiment.")] = None,
    num_speakers: Annotated[int | None, typer.Option(help="How many people speak, where known.")] = None,
    min_speakers: Annotated[int | None, typer.Option(help="At least so many.")] = None,
    max_speakers: Annotated[int | None, typer.Option(help="At most so many.")] = None,
    channels: Annotated[str | None, typer.Option(help="Stereo calls: auto (default), mix or split.")] = None,
    speaker_labels: Annotated[
        list[str] | None,
        typer.Option("--speaker-label", metavar="<str>", help="A name for the next speaker; repeat it."),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--formats", metavar="<str>", help="Also render srt, vtt, txt or rttm under files; repeat it."),
    ] = None,
    output_language: Annotated[str | None, typer.Option(help="Language of the summary.")] = None,
    sentiment_by_speaker: Annotated[bool | None, typer.Option(help="Ask for each speaker's sentiment.")] = None,
    word_timestamps: Annotated[bool | None, typer.Option(help="Ask for the time of each word.")] = None,
    metadata: Annotated[str | None, typer.Option(help="A JSON object to be echoed back.")] = None,
    audio_headers: Annotated[
        list[str] | None,
        typer.Option("--audio-header", metavar="<name: value>", help="A header for the URL's server; repeat it."),
    ] = None,
    engine: Annotated[EngineName | None, typer.Option(help="Who transcribes; default: ENGINE.")] = None,
    output_format: Annotated[OutputFormat, typer.Option("--format", help="What to print.")] = "json",
    output: Annotated[Path | None, typer.Option(help="Write the result to this file; - is stdout.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log.")] = False,
) -> None:
    """Transcribe one recording and print the answer."""
    given = {
        "task": task, "language": language, "summary": summary, "sentiment": sentiment,
        "num_speakers": num_speakers, "min_speakers": min_speakers, "max_speakers": max_speakers,
        "channels": channels, "speaker_labels": speaker_labels or None, "formats": formats or None,
        "output_language": output_language, "sentiment_by_speaker": sentiment_by_speaker,
        "word_timestamps": word_timestamps,
    }  # fmt: skip
    with door(logging.INFO if verbose else logging.WARNING):
        given["metadata"] = _parsed(metadata, "--metadata") if metadata else None
        headers = {"audio_headers": _headers(audio_headers)} if audio_headers else {}
        fields = _job_file(job, source) | headers | {name: value for name, value in given.items() if value is not None}
        _check_output(output, source, job)
        result = _run(source, fields, engine, output_format)
        _write(_rendered(result, output_format), output)


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidJob(f"{what} is not valid JSON.") from error


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {name.strip(): value for name, _, value in (line.partition(":") for line in lines)}
    if len(headers) < len(lines) or not all(":" in line for line in lines):
        raise InvalidJob("--audio-header takes 'Name: value', each name once.")
    return headers


def _job_file(path: Path | None, source: str | None) -> dict[str, Any]:
    """The fields of the job in a file, or on stdin; none where no file is given.

    Where SOURCE takes the place of the job's recording, the headers that were for it are dropped.
    """
    from voxtral_serverless.contract import job_fields

    if path is None:
        return {}
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text("utf-8")
    except FileNotFoundError as error:
        raise SourceNotFound(f"there is no job file {str(path)!r}.") from error
    except (OSError, ValueError) as error:
        raise SourceUnreadable(f"the job file {str(path)!r} may not be read.") from error
    fields = job_fields(_parsed(text, f"the job file {str(path)!r}"))
    return {name: value for name, value in fields.items() if source is None or name != "audio_headers"}


def _run(
    source: str | None, fields: dict[str, Any], engine: EngineName | None, output_format: OutputFormat
) -> JobResult:
    from voxtral_serverless.settings import load_settings
    from voxtral_serverless.workspace import sweep_leftovers

    settings = load_settings(**({"engine": engine} if engine else {}))
    formats = fields.get("formats") or []
    if output_format != "json" and isinstance(formats, list):
        fields = {**fields, "formats": [*formats, output_format]}
    options, where = _job(source, fields, settings.job_defaults)
    sweep_leftovers()
    return _process(options, where, settings)


def _job(source: str | None, fields: dict[str, Any], defaults: dict[str, Any]) -> tuple[JobOptions, Source]:
    """The job, and where its recording is: SOURCE, where given, takes the place of the job's own."""
    from voxtral_serverless.audio.fetch import LocalAudio
    from voxtral_serverless.contract import parse_job, parse_options
    from voxtral_serverless.pipeline import source_of

    if source is None and not {"audio_url", "audio_base64"} & fields.keys():
        raise InvalidJob("no recording is given: name a file or a URL, or a job that has one (--job).")
    recordings = {"audio_url", "audio_base64"} if source else set()
    rest = {name: value for name, value in fields.items() if name not in recordings}
    if source and "audio_headers" in rest and "://" not in source:
        raise InvalidJob("--audio-header goes with a URL, not with a file.")
    if source is None or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", source):
        parsed = parse_job({"input": rest | ({"audio_url": source} if source else {})}, defaults)
        return parsed, source_of(parsed)
    return parse_options(rest, defaults), LocalAudio(Path(source))


def _process(options: JobOptions, where: Source, settings: Settings) -> JobResult:
    """Run the pipeline to its end."""
    from voxtral_serverless.pipeline import process
    from voxtral_serverless.services import running_services
    from voxtral_serverless.terminal import terminal_events

    async def processed() -> JobResult:
        async with running_services(settings) as services:
            with terminal_events() as events:
                return await process(options, where, services, events)

    return run_to_its_end(processed())


def _rendered(result: JobResult, output_format: OutputFormat) -> str:
    if output_format == "json":
        return json.dumps(result.to_json(), ensure_ascii=False, indent=2) + "\n"
    return (result.files or {}).get(output_format) or ""


def _check_output(output: Path | None, *inputs: str | Path | None) -> None:
    """Refuse before the work what could not be written after it, or what the work reads from."""
    if output is None or str(output) == "-":
        return
    if (
        output.is_dir()
        or not output.parent.is_dir()
        or not os.access(output if output.exists() else output.parent, os.W_OK)
    ):
        raise OutputUnwritable(f"{str(output)!r} cannot be written.")
    if any(_same_file(output, one) for one in inputs if one is not None):
        raise OutputUnwritable(f"{str(output)!r} is what is to be read; name another file.")


def _same_file(output: Path, one: str | Path) -> bool:
    try:
        return output.samefile(one)
    except (OSError, ValueError):  # one of them does not exist, or cannot
        return False


def _write(text: str, output: Path | None) -> None:
    if output is None or str(output) == "-":
        _print(text)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        # The work is done: better in the wrong place than lost.
        _print(text)
        raise OutputUnwritable(f"{str(output)!r} could not be written ({error.strerror}); it is on stdout.") from error


def _print(text: str) -> None:
    """The text on stdout, in UTF-8 whatever the locale."""
    if sys.stdout is None:
        raise OutputUnwritable("stdout is closed.")
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise typer.Exit(SIGNALLED + signal.SIGPIPE) from error
        raise OutputUnwritable(f"stdout could not be written ({error.strerror}).") from error
