"""What a job and its answer look like: the contract with the outside, in both directions.

`JobInput` is the `input` of a job, `JobResult` its `output`. Pydantic lives here and in `settings`, at the
edges; between the stages of the pipeline go the frozen dataclasses of each stage. Not here: how an answer is
made (`pipeline`), how files are rendered (`formats`).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationError,
)

from voxtral_serverless.errors import InvalidJob, Notice
from voxtral_serverless.job_limits import bounded_metadata, sendable_headers, web_address
from voxtral_serverless.plain_text import plain

Task = Literal["transcribe", "transcribe_diarized"]
Channels = Literal["auto", "mix", "split"]
FileFormat = Literal["srt", "vtt", "txt", "rttm"]
Count = Annotated[int, Field(ge=1)]

SentimentLabel = Literal["positif", "neutre", "négatif", "mixte"]
Satisfaction = Literal["satisfait", "neutre", "insatisfait"]
Emotion = Literal[
    "satisfaction", "politesse", "gratitude", "joie", "soulagement", "enthousiasme", "confiance", "intérêt",
    "surprise", "confusion", "inquiétude", "impatience", "frustration", "déception", "colère", "tristesse",
]  # fmt: skip

ENGLISH_LABELS: dict[str, str] = {
    "positif": "positive", "neutre": "neutral", "négatif": "negative", "mixte": "mixed",
    "satisfait": "satisfied", "insatisfait": "dissatisfied",
    "satisfaction": "satisfaction", "politesse": "politeness", "gratitude": "gratitude", "joie": "joy",
    "soulagement": "relief", "enthousiasme": "enthusiasm", "confiance": "trust", "intérêt": "interest",
    "surprise": "surprise", "confusion": "confusion", "inquiétude": "worry", "impatience": "impatience",
    "frustration": "frustration", "déception": "disappointment", "colère": "anger", "tristesse": "sadness",
}  # fmt: skip
"""The words of the sentiment with `LABEL_LANGUAGE=en`."""


def _language(value: str) -> str:
    """`FR`, `fr-FR` and `fr_CA` as `fr`; a ValueError where the first part is no ISO 639-1 code."""
    import langcodes

    code = value.replace("_", "-").partition("-")[0].lower()
    if len(code) != 2 or not langcodes.tag_is_valid(code):
        raise ValueError(f"{value!r} is not an ISO 639-1 language code such as 'fr' or 'en'")
    return code


def _base64_text(value: str) -> str:
    """The text without line breaks and `data:` head; a ValueError where it is not base64."""
    body = "".join((value.partition(",")[2] if value.startswith("data:") else value).split())
    try:
        binascii.a2b_base64(body, strict_mode=True)
    except binascii.Error as error:
        raise ValueError("not valid base64") from error
    return body


def _speaker_names(names: list[str]) -> list[str]:
    """The names on one line each; a ValueError where one is empty, there twice, or one of ours."""
    tidy = [" ".join(name.split()) for name in names]
    if not all(name.isprintable() and plain(name) for name in tidy):
        raise ValueError("a name is empty or holds a character that cannot be printed")
    if len({plain(name) for name in tidy}) < len(tidy):
        raise ValueError("a name is there twice")
    if any(re.fullmatch(r"SPEAKER_\d+", name) for name in tidy):
        raise ValueError("names of the form SPEAKER_00 are given by the worker")
    return tidy


Language = Annotated[str, AfterValidator(_language)]
SpeakerName = Annotated[str, Field(max_length=100)]
MAX_FAULT_CHARACTERS = 200
"""So much is said of one fault, which may quote what is wrong."""
MAX_FAULTS = 20
"""So many faults of a job are named."""
Options = TypeVar("Options", bound="JobOptions")


class JobOptions(BaseModel):
    """What is to be done with a recording: every field of a job but the recording itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    task: Task = "transcribe_diarized"
    """Whether speakers are told apart."""
    language: Language | None = None
    """Language spoken, ISO 639-1; detected where absent."""
    summary: bool = False
    """Ask for a summary."""
    sentiment: bool = False
    """Ask for the customer's sentiment."""
    num_speakers: Count | None = None
    """The number of speakers, where it is known: the most effective hint there is."""
    min_speakers: Count | None = None
    """The least number of speakers."""
    max_speakers: Count | None = None
    """The greatest number of speakers."""
    channels: Channels = "auto"
    """Stereo calls: `split` takes one party per channel, `mix` does not, `auto` decides."""
    speaker_labels: Annotated[list[SpeakerName], Field(max_length=100), AfterValidator(_speaker_names)] = Field(
        default_factory=list
    )
    """Names for the speakers, in order of appearance (by channel where the call is split)."""
    formats: list[FileFormat] = Field(default_factory=list, max_length=8)
    """Files to render with the answer."""
    output_language: Language | None = None
    """Language of the summary; the language spoken where absent."""
    sentiment_by_speaker: bool = False
    """Ask for the sentiment of each speaker."""
    word_timestamps: bool = False
    """Ask for the time of each word."""
    metadata: Annotated[dict[str, JsonValue], AfterValidator(bounded_metadata)] | None = None
    """Echoed back untouched."""

    @property
    def questions(self) -> list[str]:
        """What is asked about the conversation as a whole, by its keys in the answer."""
        return [key for key in ("summary", "sentiment", "sentiment_by_speaker") if getattr(self, key)]


class JobInput(JobOptions):
    """The `input` of a job: exactly one recording, and what to do with it."""

    audio_url: Annotated[str, AfterValidator(web_address)] | None = None
    """http(s) URL of the recording."""
    audio_base64: Annotated[str, AfterValidator(_base64_text)] | None = None
    """The recording itself, base64-coded; for small files."""
    audio_headers: Annotated[dict[str, SecretStr], BeforeValidator(sendable_headers)] | None = None
    """Headers for `audio_url`, e.g. Authorization; secret, not sent on where it redirects to another origin."""

    def inline_audio(self) -> bytes:
        """The bytes of `audio_base64`."""
        return base64.b64decode(self.audio_base64 or "")


def parse_options(fields: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> JobOptions:
    """The options of a job whose recording comes from elsewhere (a file on the command line, an upload).

    Raises:
        InvalidJob: naming all faults at once.
    """
    return _parse(JobOptions, _over(defaults or {}, fields))


def parse_job(job: object, defaults: Mapping[str, Any] | None = None) -> JobInput:
    """The input of `job`, an object of the form `{"input": {…}}` as RunPod queues it, over `defaults`.

    Raises:
        InvalidJob: naming all faults at once.
    """
    return _parse(JobInput, _over(defaults or {}, job_fields(job)))


def job_fields(job: object) -> dict[str, Any]:
    """The fields under `input` of a job, not yet checked.

    Raises:
        InvalidJob: where there is no object under `input`.
    """
    fields = job.get("input") if isinstance(job, Mapping) else None
    if not isinstance(fields, Mapping):
        raise InvalidJob('a job is an object with an object "input", e.g. {"input": {"audio_url": "https://…"}}.')
    return {str(name): value for name, value in fields.items()}


def _over(defaults: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a job over the endpoint's defaults.

    A known field that is null counts as absent. A job that says anything of the number of speakers takes the
    place of all that the defaults say of it.
    """
    given = {name: value for name, value in fields.items() if value is not None or name not in JobInput.model_fields}
    counts = {"num_speakers", "min_speakers", "max_speakers"}
    hidden = counts if counts & given.keys() else set()
    return {name: value for name, value in defaults.items() if name not in hidden} | given


def _parse(model: type[Options], fields: Mapping[str, Any]) -> Options:
    known = list(model.model_fields)
    unknown = [name for name in fields if name not in known]
    faults = [_unknown_field(name, known) for name in unknown[:MAX_FAULTS]] + [
        name[:60] for name in unknown[MAX_FAULTS:]
    ]
    faults += _contradictions(fields)
    if model is JobInput:
        faults += _recordings_given(fields)
    try:
        options = model.model_validate({name: value for name, value in fields.items() if name in known})
    except ValidationError as error:
        faults += [_fault(e["loc"], e["msg"], e["type"]) for e in error.errors(include_url=False)]
    if faults:
        more = [f"and {len(faults) - MAX_FAULTS} more"] if len(faults) > MAX_FAULTS else []
        raise InvalidJob("; ".join(faults[:MAX_FAULTS] + more) + ".")
    return options


def _contradictions(fields: Mapping[str, Any]) -> list[str]:
    low, high, exact = (_count(fields, f"{which}_speakers") for which in ("min", "max", "num"))
    if low and high and low > high:
        return [f"min_speakers ({low}) is greater than max_speakers ({high})"]
    if exact and ((low and exact < low) or (high and exact > high)):
        return [f"num_speakers ({exact}) lies outside min_speakers and max_speakers"]
    return []


def _count(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0


def _recordings_given(fields: Mapping[str, Any]) -> list[str]:
    given = [name for name in ("audio_url", "audio_base64") if fields.get(name) is not None]
    if len(given) == 1:
        idle = fields.get("audio_headers") is not None and given != ["audio_url"]
        return ["audio_headers go with audio_url only"] if idle else []
    return [f"exactly one of audio_url and audio_base64 is needed, {'both are' if given else 'neither is'} given"]


def _unknown_field(name: str, known: list[str]) -> str:
    nearest = get_close_matches(name[:60].lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"known are {', '.join(known)}"
    return f"unknown field {name[:60]!r}: {hint}"


def _fault(location: tuple[int | str, ...], message: str, kind: str) -> str:
    text = message.removeprefix("Value error, ") if kind == "value_error" else message[:1].lower() + message[1:]
    short = text if len(text) <= MAX_FAULT_CHARACTERS else f"{text[:MAX_FAULT_CHARACTERS]}…"
    return ": ".join([*([".".join(map(str, location))] if location else []), short])


class _Answer(BaseModel):
    """An answer holds the keys that were asked for: what is unset stays absent, what failed is null."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class TimedWord(_Answer):
    """A word as it is written, with its punctuation, and when it is spoken, in seconds.

    `score` is how sure the time is, in [0, 1]; null where it was reckoned from the words around it, or is not known.
    """

    word: str
    start: float
    end: float
    score: float | None


class Transcription(_Answer):
    """One turn: who said what when. Times are seconds from the start of the file, two decimals."""

    speaker: str | None = None
    start: float
    end: float
    text: str | None
    words: list[TimedWord] | None = None


class Sentiment(_Answer):
    """The customer's sentiment, in French labels, or in English ones with `LABEL_LANGUAGE=en`."""

    sentiment: str
    score: float = Field(ge=0, le=1)
    emotions: list[str] = Field(max_length=5)
    satisfaction_client: str | None


class Quote(_Answer):
    """Words of the transcript, and when they are said, in seconds."""

    text: str
    start: float
    end: float


class Tone(_Answer):
    """How somebody speaks, and the words that show it."""

    sentiment: str
    score: float = Field(ge=0, le=1)
    emotions: list[str] = Field(max_length=5)
    quote: Quote


class ThirdSentiment(_Answer):
    """A third of the conversation, in seconds, and a speaker's tone in it.

    `tone` is null where they say nothing there, or where it could not be judged.
    """

    start: float
    end: float
    tone: Tone | None


class SpeakerSentiment(_Answer):
    """A speaker's tone through the conversation. `overall` is null where a third could not be judged."""

    speaker: str
    overall: Tone | None
    thirds: list[ThirdSentiment]


class Meta(_Answer):
    """What the worker adds about the answer: who made it, how long each stage took, what went wrong."""

    version: str
    engine: str
    models: dict[str, str]
    channels: dict[str, JsonValue]
    timings: dict[str, float]
    warnings: list[Notice]
    quality: dict[str, JsonValue]


class JobResult(_Answer):
    """The `output` of a job."""

    task: Task
    language: str | None
    duration: float
    transcriptions: list[Transcription]
    text: str | None = None
    summary: str | None = None
    sentiment: Sentiment | None = None
    sentiment_by_speaker: list[SpeakerSentiment] | None = None
    files: dict[FileFormat, str | None] | None = None
    metadata: dict[str, JsonValue] | None = None
    meta: Meta

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values, with the keys that were asked for and no others."""
        return self.model_dump(mode="json", exclude_unset=True)
