"""Every setting of the worker, read once from the environment.

A field's upper-case name is its variable. The text under a field is its documentation: `docs/configuration.md`
is generated from it (`python scripts/configuration_docs.py`). Units are in the names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from voxtral_serverless.audio.addresses import hosts_of, ports_of
from voxtral_serverless.contract import Language, parse_options
from voxtral_serverless.errors import InvalidConfiguration, InvalidJob

LabelLanguage = Literal["fr", "en"]
EngineLoading = Literal["mapped", "prefetch", "safetensors", "fastsafetensors", "instanttensor", "runai_streamer"]


def _read_by(reader: Callable[[str], object]) -> Callable[[str], str]:
    """A validator that leaves the text as it is where `reader` can read it."""

    def checked(text: str) -> str:
        reader(text)
        return text

    return checked


def _unless_a_link(value: object) -> object:
    """Kubernetes sets `VLLM_PORT` to `tcp://…` beside a service named `vllm`: that is no setting of ours."""
    return 8000 if isinstance(value, str) and value.startswith("tcp://") else value


Port = Annotated[int, BeforeValidator(_unless_a_link)]


class Settings(BaseSettings):
    """The worker's settings. An empty variable counts as unset; an unknown one is not ours."""

    model_config = SettingsConfigDict(
        frozen=True, env_ignore_empty=True, extra="ignore", use_attribute_docstrings=True, validate_default=True
    )

    hf_token: SecretStr | None = None
    """Hugging Face token of an account that has accepted the conditions of pyannote's models. Without it no job is done,
    unless `DIARIZER=none`, or the models are on the machine."""

    voxtral_model: str = "mistralai/Voxtral-Mini-3B-2507"
    """The Voxtral to serve: `mistralai/Voxtral-Mini-3B-2507`, `mistralai/Voxtral-Small-24B-2507`, or a folder."""

    vllm_port: Port = Field(8000, ge=1, le=65535)
    """Loopback port of the worker's vLLM. Where it is taken, vLLM moves to the next free one."""

    max_duration_s: float = Field(9000, gt=0, le=7 * 86_400)
    """Longest recording accepted, in seconds (9000 is two and a half hours)."""

    voxtral_revision: str | None = None
    """Commit or branch of `VOXTRAL_MODEL` to download; a commit known to work is pinned for Mistral's two."""

    runpod_model_cache: Path = Path("/runpod-volume/huggingface-cache/hub")
    """Where RunPod keeps an endpoint's cached model."""

    engine: Literal["auto", "vllm", "embedded"] = "auto"
    """Who transcribes and reads. `embedded` is the self-test engine: English only, on a CPU, without weights."""

    diarizer: Literal["auto", "pyannote", "embedded", "none"] = "auto"
    """Who tells the speakers apart; `auto` follows the engine."""

    vllm_executable: str | None = None
    """The `vllm` command, where it is not on the PATH."""

    vllm_extra_args: str = ""
    """Flags added last to `vllm serve`, as in a shell, e.g. `--quantization fp8 --max-model-len 32768`."""

    transcription_plan: Literal["auto", "turns", "windows"] = "auto"
    """Whether each turn is transcribed by itself, or whole windows of 30 s, whose words are then given to speakers by
    their times. `auto` takes windows where an aligner for the language is on this machine."""

    alignment_languages: str = ""
    """Languages, e.g. `fr,en`, whose aligner is downloaded at the start; one that is on this machine is used in any
    case."""

    alignment_models: dict[Language, str] = Field(default_factory=dict)
    """JSON object of aligners by language, repositories or folders, in place of the known ones or for other
    languages; a repository needs a `pytorch_model.bin`."""

    max_requests: int = Field(64, ge=1, le=4096)
    """Clips of all jobs together that are in the engine at once; it makes batches of them."""

    max_clip_s: float = Field(30, ge=5, le=600)
    """Longest clip sent to Voxtral, in seconds. 30 is one window of its audio encoder."""

    engine_start_timeout_s: float = Field(1200, gt=0, le=86_400)
    """Longest time for the engine to start, from its process to the first answer; loading weights included."""

    engine_cache_dir: Path | None = None
    """Where the engine keeps what it has compiled and measured (torch.compile, Triton, FlashInfer, CUDA, vLLM's own), so
    that its next start need not do it again. Unset: on RunPod's network volume where one is mounted, else in the user's cache folder."""

    engine_compile: bool = True
    """Compile the model and capture CUDA graphs. `false` starts much sooner where no cache is kept, and writes slower;
    without a GPU nothing is compiled."""

    engine_startup_plan: bool = True
    """Keep what vLLM has measured of the GPU's memory, and go by it at the next start with the same configuration, if as
    much is free."""

    engine_loading: EngineLoading = "mapped"
    """How the weights are read: `mapped` into memory, as they are needed; `prefetch`, all ahead, for network volumes that
    vLLM does not know as such; or by a reader of safetensors, `safetensors`, `fastsafetensors`, `instanttensor` or
    `runai_streamer`, where vLLM has it: faster on fast disks, and only for a folder without other safetensors."""

    engine_freeze_timeout_s: float = Field(120, gt=0, le=86_400)
    """An engine that makes no token for so long, while requests wait for it, is restarted. A large model on a
    processor may need more for one step."""

    diarization_python: str | None = None
    """The Python that has pyannote, where it is in an environment of its own."""

    diarization_revision: str | None = None
    """Commit or branch of `DIARIZATION_MODEL` to download; commits known to work are pinned for pyannote's."""

    diarization_speed: Literal["accurate", "fast"] = "accurate"
    """`fast` moves pyannote's window by 2 s instead of 1: half the work, and up to some points more errors."""

    diarization_freeze_timeout_s: float = Field(300, gt=0, le=86_400)
    """A pyannote that says nothing for so long, loading or diarizing, is restarted."""

    job_defaults: dict[str, JsonValue] = Field(default_factory=dict)
    """JSON object merged under the input of every job, e.g. `{"language": "fr", "num_speakers": 2}`."""

    label_language: LabelLanguage = "fr"
    """Language of the sentiment's labels: `fr` or `en`. It does not change with the language of a call."""

    vllm_base_url: str | None = None
    """Use this OpenAI-compatible server of Voxtral instead of starting one."""

    vllm_api_key: SecretStr | None = None
    """Key for `VLLM_BASE_URL`."""

    diarization_model: str = "pyannote/speaker-diarization-3.1"
    """`pyannote/speaker-diarization-3.1`, `pyannote/speaker-diarization-community-1`, or a folder."""

    max_concurrency: int = Field(4, ge=1)
    """Jobs at once in one worker."""

    max_result_mb: float = Field(9, gt=0.001, le=1000)
    """Largest answer to RunPod, in megabytes (10⁶ bytes): it refuses more than 10 (`/run`) or 20 (`/runsync`)."""

    deadline_margin_s: float = Field(30, ge=0, le=3600)
    """So long before RunPod's `executionTimeout` a job has to be done: what is finished by then is answered."""

    bucket_endpoint_url: str | None = None
    """S3 endpoint for answers that are too large, where a job brings no `s3Config` of its own."""

    bucket_name: str | None = None
    """Bucket there."""

    bucket_access_key_id: SecretStr | None = None
    """Key for it."""

    bucket_secret_access_key: SecretStr | None = None
    """Its secret."""

    max_audio_mb: float = Field(4096, gt=0, le=1_000_000)
    """Largest recording accepted, in megabytes (10⁶ bytes), fetched or sent along."""

    fetch_allow_private: bool = False
    """Let `audio_url` reach private and loopback addresses and any port (tests, on-premises)."""

    fetch_timeout_s: float = Field(1800, gt=0, le=86_400)
    """Longest time for one download, from the first connection to the last byte."""

    fetch_connect_timeout_s: float = Field(15, gt=0, le=86_400)
    """Longest time to wait for a connection, and for the next bytes of a download."""

    fetch_min_rate_kib_s: float = Field(16, ge=0, le=1_000_000)
    """A download that brings less than so many KiB (1024 bytes) a second, over 30 s of waiting, is given up; 0: never."""

    fetch_ports: Annotated[str, AfterValidator(_read_by(ports_of))] = ""
    """Ports besides 80 and 443 that a job's URLs may name, e.g. `8080,8443`."""

    fetch_hosts: Annotated[str, AfterValidator(_read_by(hosts_of))] = ""
    """Where set, a job reaches only these hosts, by `audio_url`, its redirects and `s3Config`: names and addresses, or
    `*.example.org` for all names below it, e.g. `media.example.com,*.example.org`. The only durable guard there is."""

    host: str = "127.0.0.1"
    """Where the HTTP API listens."""

    port: Port = Field(8000, ge=0, le=65535)
    """Port of the HTTP API; 0 takes a free one, which the log names."""

    port_health: int | None = Field(None, ge=0, le=65535)
    """Where set to another port than `PORT`, `GET /ping` is answered there too, and nothing else."""

    api_key: SecretStr | None = None
    """Key that the HTTP API asks for; needed beyond loopback."""

    allow_anonymous: bool = False
    """Let the HTTP API answer beyond loopback without a key."""

    data_dir: Path | None = None
    """Where the HTTP API keeps its jobs and uploads; the platform's data folder where unset."""

    max_queue: int = Field(1000, ge=1, le=1_000_000)
    """Jobs that may wait in the HTTP API's queue; the next one is refused (`queue_full`)."""

    result_ttl_s: float = Field(86_400, gt=0, le=3650 * 86_400)
    """So long the HTTP API keeps what became of a job, from its end on; then all of it is deleted."""

    @property
    def max_audio_bytes(self) -> int:
        """`max_audio_mb` in bytes."""
        return int(self.max_audio_mb * 1_000_000)


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process: `overrides` first, then the environment, then the defaults.

    Raises:
        InvalidConfiguration: naming every variable that is wrong.
    """
    try:
        settings = Settings(**overrides)
        parse_options({}, settings.job_defaults)
    except InvalidJob as error:
        raise InvalidConfiguration(f"JOB_DEFAULTS: {error.message}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise InvalidConfiguration(f"{faults}. See docs/configuration.md.") from error
    except SettingsError as error:
        name = str(error).partition('field "')[2].partition('"')[0].upper() or "the environment"
        raise InvalidConfiguration(f"{name}: not valid JSON. See docs/configuration.md.") from error
    return settings
