"""`voxtral-serverless deploy`: a template and an endpoint on RunPod, from flags or a short file.

stdout has one JSON object: the ids and what was done, or with --dry-run what would be sent. What changes, and what the
owner should know, goes to stderr first.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from voxtral_serverless.door import door
from voxtral_serverless.errors import DeploymentInvalid, DeploymentUnconfirmed, RunPodKeyRefused

if TYPE_CHECKING:
    from voxtral_serverless.deploy.deployment import Deployment
    from voxtral_serverless.deploy.rollout import Part
    from voxtral_serverless.settings import Settings

KEY = "RUNPOD_API_KEY"


def deploy(
    *,
    file: Annotated[Path | None, typer.Option(help="A .toml or .json with any of these; flags count more.")] = None,
    image: Annotated[str | None, typer.Option(help="Image of the worker, with its tag; needed.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of template and endpoint (voxtral-serverless).")] = None,
    model: Annotated[str | None, typer.Option(help="The Voxtral to serve (Mini).")] = None,
    cached_model: Annotated[bool | None, typer.Option(help="Have RunPod keep the model on its hosts (yes).")] = None,
    gpu: Annotated[
        list[str] | None, typer.Option(metavar="<pool>", help="Pool of GPUs, or -GPU NAME to exclude; repeat it.")
    ] = None,
    gpu_count: Annotated[int | None, typer.Option(help="GPUs of one worker (1).")] = None,
    cuda: Annotated[
        list[str] | None, typer.Option(metavar="<version>", help="CUDA of the hosts (13.0); repeat it.")
    ] = None,
    container_disk_gb: Annotated[int | None, typer.Option(help="Disk of one worker, in GB (reckoned).")] = None,
    network_volume: Annotated[str | None, typer.Option(help="Id of a network volume.")] = None,
    data_centers: Annotated[
        list[str] | None,
        typer.Option("--data-center", metavar="<id>", help="Where workers may run (anywhere); repeat it."),
    ] = None,
    registry_auth: Annotated[str | None, typer.Option(help="Id of RunPod's credentials for a private image.")] = None,
    hf_token_secret: Annotated[str | None, typer.Option(help="Name of the RunPod secret with the token.")] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=VALUE]", help="A variable; without a value, that of this shell; repeat it."),
    ] = None,
    job_defaults: Annotated[str | None, typer.Option(help="JSON object merged under every job.")] = None,
    init_timeout_s: Annotated[int | None, typer.Option(help="Time for a worker to start, in s (800).")] = None,
    execution_timeout_s: Annotated[int | None, typer.Option(help="Longest time of one job, in s (reckoned).")] = None,
    idle_timeout_s: Annotated[int | None, typer.Option(help="So long an idle worker is kept, in s (60).")] = None,
    workers_min: Annotated[int | None, typer.Option(help="Workers that always run (0).")] = None,
    workers_max: Annotated[int | None, typer.Option(help="Workers at most (3).")] = None,
    scaler: Annotated[str | None, typer.Option(help="request_count (default) or queue_delay.")] = None,
    scaler_value: Annotated[int | None, typer.Option(help="Jobs per worker, or s of waiting.")] = None,
    flashboot: Annotated[bool | None, typer.Option(help="Have RunPod keep ended workers (yes).")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be sent, and send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Change what is there without asking.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the log.")] = False,
) -> None:
    """Create or update a template and a serverless endpoint on RunPod."""
    given = {
        "image": image, "name": name, "model": model, "cached_model": cached_model, "gpu": gpu or None,
        "gpu_count": gpu_count, "cuda": cuda or None, "container_disk_gb": container_disk_gb,
        "network_volume": network_volume, "data_centers": data_centers or None, "registry_auth": registry_auth,
        "hf_token_secret": hf_token_secret, "init_timeout_s": init_timeout_s, "execution_timeout_s": execution_timeout_s,
        "idle_timeout_s": idle_timeout_s, "workers_min": workers_min, "workers_max": workers_max, "scaler": scaler,
        "scaler_value": scaler_value, "flashboot": flashboot,
    }  # fmt: skip
    with door(logging.INFO if verbose else logging.WARNING):
        from voxtral_serverless.deploy.description import described
        from voxtral_serverless.deploy.worker_settings import notes, worker_settings

        flags = {field: value for field, value in given.items() if value is not None}
        deployment = described(file, flags | _variables(env) | _defaults(job_defaults))
        settings = worker_settings(deployment.environment)
        for note in notes(deployment, settings):
            typer.echo(f"note: {note}", err=True)
        done = _as_sent(deployment, settings) if dry_run else _rolled_out(deployment, settings, yes=yes)
        typer.echo(json.dumps(done, ensure_ascii=False, indent=2))


def _variables(env: list[str] | None) -> dict[str, Any]:
    """The field `env` of the flags, where there are any."""
    pairs = [one.partition("=") for one in env or []]
    missing = [name for name, sign, _ in pairs if not sign and name not in os.environ]
    if missing:
        raise DeploymentInvalid(f"--env {missing[0]}: it has no value, and is not set here.")
    return {"env": {name: value if sign else os.environ[name] for name, sign, value in pairs}} if pairs else {}


def _defaults(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        return {"job_defaults": json.loads(text)}
    except (ValueError, RecursionError) as error:
        raise DeploymentInvalid("--job-defaults is not valid JSON.") from error


def _as_sent(deployment: Deployment, settings: Settings) -> dict[str, Any]:
    from voxtral_serverless.deploy.bodies import endpoint_body, shown, template_body
    from voxtral_serverless.deploy.rollout import NEW_TEMPLATE

    return {
        "dry_run": True,
        "saveTemplate": shown(template_body(deployment, settings)),
        "saveEndpoint": endpoint_body(deployment, settings, NEW_TEMPLATE),
    }


def _rolled_out(deployment: Deployment, settings: Settings, *, yes: bool) -> dict[str, Any]:
    from voxtral_serverless.deploy.api import RunPodApi
    from voxtral_serverless.deploy.rollout import roll_out

    key = os.environ.get(KEY, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise RunPodKeyRefused(f"set {KEY} to a key of yours (RunPod's console, Settings, API Keys), or try --dry-run.")

    def agreed(*parts: Part) -> None:
        _announce(*parts)
        if not yes and any(part.action == "updated" for part in parts):
            _ask()

    done = roll_out(deployment, settings, RunPodApi(key), agreed)
    return {
        "template": {"id": done.template_id, "name": deployment.name, "action": done.template},
        "endpoint": {"id": done.endpoint_id, "name": deployment.name, "action": done.endpoint},
        "run_url": f"https://api.runpod.ai/v2/{done.endpoint_id}/run",
    }


def _announce(*parts: Part) -> None:
    """What will happen, in words, before it does."""
    for part in parts:
        name = part.wanted["name"]
        words = {"created": "will be created", "updated": "will be changed", "unchanged": "is as it should be"}
        typer.echo(f"{part.kind} {name!r} {words[part.action]}", err=True)
        for line in part.changes:
            typer.echo(f"  {line}", err=True)


def _ask() -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise DeploymentUnconfirmed("something of this name is there, and would be changed: add --yes to agree.")
    if not typer.confirm("Change it?", default=False, err=True):
        raise DeploymentUnconfirmed("nothing was changed.")
