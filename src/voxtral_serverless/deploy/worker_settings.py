"""The worker's settings as a deployment sends them: checked here, before a worker fails on them; and what follows from them.

Promises: nothing of this machine's environment is looked at. Leaves out: values that are references to RunPod's secrets.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, get_origin

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from voxtral_serverless.contract import parse_options
from voxtral_serverless.deploy.deployment import POOL_GB, SECRET, SLOWEST_PACE, Deployment, disk_gb
from voxtral_serverless.engine.command import extra_arguments
from voxtral_serverless.errors import DeploymentInvalid, EngineUnavailable, InvalidConfiguration, InvalidJob
from voxtral_serverless.settings import Settings

QUEUE_DELAY_S = 4
"""RunPod's own default."""
WORKERS_FOR_ALL_POOLS = 5
"""With fewer, RunPod looks at the first GPU type alone."""
PLATFORM = ("RUNPOD_", "HF_", "VLLM_", "CUDA_", "NCCL_", "TORCH_", "PYTORCH_", "TRANSFORMERS_", "BUCKET_")
"""Variables of others begin so; they are passed on without a word."""


class _Sent(Settings):
    """The settings in the worker: from what is sent alone."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def worker_settings(environment: Mapping[str, str]) -> Settings:
    """The settings that a worker has with these variables.

    Raises:
        DeploymentInvalid: naming every variable that is wrong.
    """
    try:
        settings = _Sent(**_values(environment))
        parse_options({}, settings.job_defaults)
        extra_arguments(settings.vllm_extra_args)
    except InvalidJob as error:
        raise DeploymentInvalid(f"job_defaults: {error.message}") from error
    except InvalidConfiguration as error:
        raise DeploymentInvalid(f"env.{error.message}") from error
    except ValidationError as error:
        faults = "; ".join(f"env.{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        raise DeploymentInvalid(f"{faults}. See docs/configuration.md.") from error
    return settings


def _values(environment: Mapping[str, str]) -> dict[str, Any]:
    given = {}
    for name, field in Settings.model_fields.items():
        text = environment.get(name.upper())
        if text and not SECRET.fullmatch(text):
            given[name] = _parsed(name, text) if get_origin(field.annotation) is dict else text
    return given


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DeploymentInvalid(f"env.{name.upper()}: not valid JSON. See docs/configuration.md.") from error


def container_disk_gb(deployment: Deployment, settings: Settings) -> int:
    """The worker's disk, in GB."""
    return deployment.container_disk_gb or disk_gb(
        deployment.model, settings.max_concurrency, settings.max_audio_mb / 1000, settings.max_duration_s
    )


def execution_timeout_s(deployment: Deployment, settings: Settings) -> int:
    """The longest time of a job: the engine's start, which the first job waits for, a slow download, and the work."""
    return deployment.execution_timeout_s or round(
        settings.engine_start_timeout_s + settings.fetch_timeout_s + SLOWEST_PACE * settings.max_duration_s
    )


def scaler_value(deployment: Deployment, settings: Settings) -> int:
    """Jobs per worker, or seconds of waiting."""
    own = settings.max_concurrency if deployment.scaler == "request_count" else QUEUE_DELAY_S
    return deployment.scaler_value or own


def is_secret(variable: str, value: str) -> bool:
    """Whether the value of a variable must not be shown."""
    field = Settings.model_fields.get(variable.lower())
    named = any(part in variable.upper() for part in ("TOKEN", "KEY", "SECRET", "PASSW", "CREDENTIAL"))
    typed = field is not None and SecretStr in getattr(field.annotation, "__args__", ())
    return (named or typed) and not SECRET.fullmatch(value)


def notes(deployment: Deployment, settings: Settings) -> list[str]:
    """What its owner should know before it is deployed, in sentences."""
    environment = deployment.environment
    return [
        *_token_notes(environment, settings),
        *(f"{name} will stand in the template as plain text; a RunPod secret would not, as {{{{ RUNPOD_SECRET_name }}}}."
          for name, value in environment.items() if is_secret(name, value)),
        *_unknown_variables(environment),
        *_too_small(deployment, environment),
        *_idle_pools(deployment),
        *_no_embedded(settings),
        *_moving_image(deployment.image),
        *(["workers_min is not 0: these workers are billed from now on, with or without jobs."]
          if deployment.workers_min else []),
    ]  # fmt: skip


def _token_notes(environment: Mapping[str, str], settings: Settings) -> Iterator[str]:
    if "HF_TOKEN" not in environment and settings.diarizer in {"auto", "pyannote"}:
        yield (
            "there is no HF_TOKEN: pyannote's models are behind one, so unless the image has them every job fails, stereo "
            "calls too. Name a RunPod secret with hf_token_secret, or set DIARIZER=none."
        )


def _idle_pools(deployment: Deployment) -> Iterator[str]:
    pools = [pool for pool in deployment.pools if not pool.startswith("-")]
    if len(pools) > 1 and deployment.workers_max < WORKERS_FOR_ALL_POOLS:
        yield (
            f"with fewer than {WORKERS_FOR_ALL_POOLS} workers (workers_max) RunPod uses the first GPU pool alone, "
            f"{pools[0]}: where that is rare, put another one first."
        )


def _no_embedded(settings: Settings) -> Iterator[str]:
    if "embedded" in {settings.engine, settings.diarizer}:
        yield "the image has no embedded engine, and no embedded diarizer, unless it was built with EMBEDDED=1."


def _moving_image(image: str) -> Iterator[str]:
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@" not in image and tag in {"", "latest"}:
        yield f"{image} has no fixed tag: hosts that have an older image of that name may go on with it."


def _unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    known = [name.upper() for name in Settings.model_fields]
    for variable in environment:
        nearest = get_close_matches(variable.upper(), known, n=1, cutoff=0.8)
        if variable not in known and nearest and not variable.startswith(PLATFORM):
            yield f"{variable} is no setting of the worker; did you mean {nearest[0]}?"


def _too_small(deployment: Deployment, environment: Mapping[str, str]) -> Iterator[str]:
    """The pools on which the engine would refuse to start, by its own reckoning."""
    from voxtral_serverless.engine.machine import Gpu
    from voxtral_serverless.engine.placement import GIB_MIB, KNOWN, context_length, place

    weights = KNOWN.get(deployment.model)
    if weights is None or environment.get("VLLM_EXTRA_ARGS"):
        return
    for pool in deployment.pools:
        memory_mib = POOL_GB.get(pool, 1000) * GIB_MIB
        try:
            gpus = [Gpu(pool, memory_mib, memory_mib - GIB_MIB // 2)] * deployment.gpu_count
            place(weights, gpus, context_length(weights))
        except EngineUnavailable as error:
            yield f"{deployment.gpu_count} GPU(s) of {pool} are too small: {error.message}"
