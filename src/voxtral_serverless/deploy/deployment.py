"""What is to stand on RunPod: one frozen description, from flags or a file, with the defaults reckoned from it.

Promises: every fault is told before anything is sent, those of the worker's own settings too. Leaves out: whether RunPod
has such GPUs, volumes or secrets, which it says itself.
"""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

MINI, SMALL = "mistralai/Voxtral-Mini-3B-2507", "mistralai/Voxtral-Small-24B-2507"
GPUS = {
    (MINI, 1): ["ADA_24", "AMPERE_24", "-NVIDIA RTX A4500"],
    (SMALL, 1): ["AMPERE_80", "ADA_80_PRO"],
    (SMALL, 2): ["AMPERE_48", "ADA_48_PRO"],
}
"""Pools on which the engine's own reckoning has the model fit (engine/placement.py). An A4500 has only 20 GB."""
POOL_GB = {
    "AMPERE_16": 16, "AMPERE_24": 24, "ADA_24": 24, "ADA_32_PRO": 32, "AMPERE_48": 48, "ADA_48_PRO": 48, "AMPERE_80": 80,
    "ADA_80_PRO": 80, "HOPPER_141": 141,
}  # fmt: skip
"""GPU memory of RunPod's pools, in GB as they are sold."""

WEIGHTS_GB = {MINI: 9.4, SMALL: 48.6}
"""Of a model that is not listed, the larger is taken."""
OTHER_MODELS_GB = 2.0
"""pyannote and aligners of words."""
CACHES_GB = 3.0
"""What vLLM, Triton and FlashInfer compile."""
DECODED_GB_PER_S = 3 * 2 * 16_000 / 1e9
"""A stereo recording on disk: the mix and both channels, two bytes a sample at 16 kHz."""
FREE_SHARE = 0.1
"""RunPod's SDK ends a worker whose disk has less free (`RUNPOD_MIN_DISK_PERCENT`)."""
SLOWEST_PACE = 0.5
"""Seconds of work per second of recording that a job may take: a bound, not a measurement."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}")
IMAGE = re.compile(r"[\w][\w.:/@+-]*")
GPU = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)*|-\S.*")
CUDA = re.compile(r"\d{2}\.\d")
IDENTIFIER = re.compile(r"[\w.-]+")
VARIABLE = re.compile(r"[A-Za-z_]\w*")
TOKEN = re.compile(r"hf_\w{20,}")
SECRET = re.compile(r"\{\{\s*RUNPOD_SECRET_[\w.-]+\s*\}\}")
"""A reference that RunPod replaces by the secret's value in the worker alone."""


def _as_text(value: Any) -> Any:
    """A variable's value as it stands in an environment."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _matching(pattern: re.Pattern[str], what: str) -> BeforeValidator:
    def check(value: Any) -> Any:
        if isinstance(value, str) and not pattern.fullmatch(value):
            raise ValueError(f"{value[:60]!r} is not {what}")
        return value

    return BeforeValidator(check)


Name = Annotated[str, _matching(NAME, "a name of letters, digits, spaces, dots, hyphens and underscores")]
Image = Annotated[str, _matching(IMAGE, "an image's name, as ghcr.io/you/voxtral-serverless:0.1.0")]
Gpu = Annotated[str, _matching(GPU, f"a pool's id ({', '.join(POOL_GB)}) or an exclusion, as '-NVIDIA RTX A4500'")]
Cuda = Annotated[str, _matching(CUDA, "a CUDA version, as 13.0")]
Identifier = Annotated[str, _matching(IDENTIFIER, "an id or a name of letters, digits, dots, hyphens and underscores")]
Variable = Annotated[str, _matching(VARIABLE, "a variable's name")]
Value = Annotated[str, BeforeValidator(_as_text)]


class Deployment(BaseModel):
    """A template and an endpoint. The text under a field is its documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    image: Image
    """Image of the worker, with its tag."""

    name: Name = "voxtral-serverless"
    """Name of the template and of the endpoint, by which they are found again."""

    model: str = MINI
    """The Voxtral to serve (`VOXTRAL_MODEL`): a repository of Hugging Face, or a folder of the image or the volume."""

    cached_model: bool = True
    """Have RunPod keep the model on its hosts (the endpoint's field "Model"): the download is not billed."""

    gpu: list[Gpu] | None = None
    """Pools of GPUs in order of preference, and exclusions (`-NVIDIA RTX A4500`); chosen by the model where unset."""

    gpu_count: int = Field(1, ge=1, le=8)
    """GPUs of one worker."""

    cuda: list[Cuda] = Field(default_factory=lambda: ["13.0"])
    """CUDA versions of hosts that may run the worker: the image's vLLM needs 13, a driver of 580 or newer."""

    container_disk_gb: int | None = Field(None, ge=5, le=2000)
    """Disk of one worker, in GB, the image not counted; reckoned where unset."""

    network_volume: Identifier | None = None
    """Id of a network volume. It ties the endpoint to the volume's data centre."""

    data_centers: list[Identifier] = Field(default_factory=list)
    """Ids of the data centres that may run workers; any where unset."""

    registry_auth: Identifier | None = None
    """Id of RunPod's credentials for the registry of a private image."""

    hf_token_secret: Identifier | None = None
    """Name of the RunPod secret with the Hugging Face token, sent as `{{ RUNPOD_SECRET_<name> }}`."""

    env: dict[Variable, Value] = Field(default_factory=dict)
    """Further variables of the worker (docs/configuration.md)."""

    job_defaults: dict[str, JsonValue] = Field(default_factory=dict)
    """Object merged under the input of every job (`JOB_DEFAULTS`)."""

    init_timeout_s: int = Field(800, ge=60, le=3600)
    """Time for a worker to start (`RUNPOD_INIT_TIMEOUT`). RunPod gives up after 420 s by itself."""

    execution_timeout_s: int | None = Field(None, ge=5, le=7 * 86_400)
    """Longest time of one job, after which RunPod ends it; reckoned where unset."""

    idle_timeout_s: int = Field(60, ge=1, le=3600)
    """So long a worker without a job is kept, and billed."""

    workers_min: int = Field(0, ge=0, le=1000)
    """Workers that always run, and are always billed."""

    workers_max: int = Field(3, ge=1, le=1000)
    """Workers at most."""

    scaler: Literal["request_count", "queue_delay"] = "request_count"
    """Whether workers are added by the jobs that wait and run, or by the seconds that one has waited."""

    scaler_value: int | None = Field(None, ge=1, le=10_000)
    """Jobs per worker, or seconds of waiting; `MAX_CONCURRENCY` jobs or 4 s where unset."""

    flashboot: bool = True
    """Have RunPod keep the state of a worker that ended, for a quicker start."""

    @model_validator(mode="after")
    def _fits_together(self) -> Deployment:
        if self.workers_max < self.workers_min:
            raise ValueError(f"workers_max ({self.workers_max}) is less than workers_min ({self.workers_min})")
        if self.gpu is None and (self.model, self.gpu_count) not in GPUS:
            raise ValueError(f"gpu: name the pools for {self.model} on {self.gpu_count} GPU(s); there is no default")
        if self.gpu is not None and all(pool.startswith("-") for pool in self.gpu):
            raise ValueError("gpu: no pool is named")
        if self.hf_token_secret and TOKEN.fullmatch(self.hf_token_secret):
            raise ValueError("hf_token_secret: this is a token; make a RunPod secret of it, and give its name")
        for variable, field in RESERVED.items():
            if variable in self.env and getattr(self, field):
                raise ValueError(f"env.{variable}: say it with {field}")
        return self

    @property
    def pools(self) -> list[str]:
        """The pools and exclusions that are sent."""
        return self.gpu or GPUS[self.model, self.gpu_count]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the worker, by name."""
        own = {"RUNPOD_INIT_TIMEOUT": str(self.init_timeout_s), "VOXTRAL_MODEL": self.model}
        if self.job_defaults:
            own["JOB_DEFAULTS"] = json.dumps(self.job_defaults, ensure_ascii=False)
        if self.hf_token_secret:
            own["HF_TOKEN"] = f"{{{{ RUNPOD_SECRET_{self.hf_token_secret} }}}}"
        return dict(sorted((own | self.env).items()))

    @property
    def model_reference(self) -> str | None:
        """The model as RunPod's cache names it, at the revision that the worker looks for."""
        if not self.cached_model or not re.fullmatch(r"[\w.-]+/[\w.-]+", self.model):
            return None
        return f"https://huggingface.co/{self.model}:{self.env.get('VOXTRAL_REVISION') or 'main'}"


RESERVED = {
    "VOXTRAL_MODEL": "model",
    "RUNPOD_INIT_TIMEOUT": "init_timeout_s",
    "JOB_DEFAULTS": "job_defaults",
    "HF_TOKEN": "hf_token_secret",
}
"""Variables that a field of their own sets."""


def disk_gb(model: str, concurrency: int, recording_gb: float, longest_s: float) -> int:
    """Disk for the weights, what is compiled, and `concurrency` of the longest recordings, in GB, in tens.

    The weights are counted where RunPod caches them too: a worker whose copy is damaged downloads them.
    """
    models = WEIGHTS_GB.get(model, max(WEIGHTS_GB.values())) + OTHER_MODELS_GB
    recordings = concurrency * (recording_gb + longest_s * DECODED_GB_PER_S)
    return math.ceil((models + CACHES_GB + recordings) / (1 - FREE_SHARE) / 10) * 10
