"""A deployment in RunPod's words: the fields of its template and of its endpoint; and what would change. Pure.

Both mutations replace everything, so everything is sent, each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from voxtral_serverless.deploy.deployment import Deployment
from voxtral_serverless.deploy.graphql import Word
from voxtral_serverless.deploy.worker_settings import container_disk_gb, execution_timeout_s, is_secret, scaler_value
from voxtral_serverless.settings import Settings

Body = dict[str, Any]

HIDDEN = "***"
EMPTY: tuple[Any, ...] = (None, "", [])
"""RunPod answers one of these where nothing is set."""
OLD_FLASHBOOT = (" -fb", "-fb")
"""RunPod has put this behind the name of an endpoint with FlashBoot."""


def template_body(deployment: Deployment, settings: Settings) -> Body:
    """The template's fields."""
    return {
        "name": deployment.name,
        "imageName": deployment.image,
        "dockerArgs": "",
        "containerDiskInGb": container_disk_gb(deployment, settings),
        "volumeInGb": 0,
        "ports": "",
        "env": [{"key": name, "value": value} for name, value in deployment.environment.items()],
        "isServerless": True,
        "isPublic": False,
        "readme": "",
        "containerRegistryAuthId": deployment.registry_auth or "",
    }


def endpoint_body(deployment: Deployment, settings: Settings, template_id: str) -> Body:
    """The endpoint's fields."""
    return {
        "name": deployment.name,
        "templateId": template_id,
        "gpuIds": ",".join(deployment.pools),
        "gpuCount": deployment.gpu_count,
        "allowedCudaVersions": ",".join(deployment.cuda),
        "networkVolumeId": deployment.network_volume or "",
        "locations": ",".join(deployment.data_centers),
        "idleTimeout": deployment.idle_timeout_s,
        "scalerType": deployment.scaler.upper(),
        "scalerValue": scaler_value(deployment, settings),
        "workersMin": deployment.workers_min,
        "workersMax": deployment.workers_max,
        "executionTimeoutMs": 1000 * execution_timeout_s(deployment, settings),
        "flashBootType": Word("FLASHBOOT" if deployment.flashboot else "OFF"),
        "modelReferences": [deployment.model_reference] if deployment.model_reference else [],
    }


def bare_name(name: str) -> str:
    """An endpoint's name without what RunPod puts behind it."""
    for ending in OLD_FLASHBOOT:
        if name.endswith(ending):
            return name.removesuffix(ending)
    return name


def shown(body: Body) -> Body:
    """A body that may be printed: no secret is in it."""
    if "env" not in body:
        return body
    return body | {"env": {pair["key"]: _shown_value(pair["key"], pair["value"]) for pair in body["env"]}}


def secrets(body: Body) -> list[str]:
    """The values in a body that must not be printed."""
    return [pair["value"] for pair in body.get("env", []) if is_secret(pair["key"], pair["value"])]


def changes(there: Mapping[str, Any], wanted: Body) -> list[str]:
    """What differs in a template or an endpoint, a line each, with secrets hidden.

    Fields that RunPod does not tell of are not compared.
    """
    return list(_changes(there, wanted))


def _changes(there: Mapping[str, Any], wanted: Body) -> Iterator[str]:
    for name, value in wanted.items():
        if name == "env":
            yield from _environment_changes(there.get("env") or [], value)
        elif name in there and not _same(name, there[name], value):
            yield f"{name}: {_word(there[name])} → {_word(value)}"


def _same(name: str, there: Any, wanted: Any) -> bool:
    if name == "name":
        return bare_name(str(there)) == str(wanted)
    if name == "flashBootType" and wanted == "OFF":
        return there in (*EMPTY, "OFF")
    return bool(there == wanted) or (there in EMPTY and wanted in EMPTY)


def _environment_changes(there: list[dict[str, str]], wanted: list[dict[str, str]]) -> Iterator[str]:
    before = {pair["key"]: pair["value"] for pair in there}
    after = {pair["key"]: pair["value"] for pair in wanted}
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            old, new = (_shown_value(name, side[name]) if name in side else "not set" for side in (before, after))
            yield f"env.{name}: {old} → {new}"


def _shown_value(name: str, value: str) -> str:
    return HIDDEN if is_secret(name, value) else value


def _word(value: Any) -> str:
    if value in EMPTY:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
