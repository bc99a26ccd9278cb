"""RunPod's GraphQL documents for templates and endpoints, with the values written into them.

The SDK's runner takes no variables, and its own documents put values between quotes as they are: JSON in `JOB_DEFAULTS`
would break them. Strings are escaped as JSON escapes them, which is how GraphQL reads them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

TEMPLATE_FIELDS = (
    "id name imageName isServerless dockerArgs containerDiskInGb volumeInGb ports readme containerRegistryAuthId "
    "env { key value }"
)
ENDPOINT_FIELDS = (
    "id name templateId gpuIds gpuCount allowedCudaVersions networkVolumeId locations idleTimeout scalerType scalerValue "
    "workersMin workersMax executionTimeoutMs flashBootType modelReferences"
)
LIST = f"query {{ myself {{ podTemplates {{ {TEMPLATE_FIELDS} }} endpoints {{ {ENDPOINT_FIELDS} }} }} }}"


class Word(str):
    """A value of an enumeration, which stands without quotes."""

    __slots__ = ()


def save_template(fields: Mapping[str, Any]) -> str:
    """Create a template, or replace that of the id."""
    return f"mutation {{ saveTemplate(input: {literal(fields)}) {{ {TEMPLATE_FIELDS} }} }}"


def save_endpoint(fields: Mapping[str, Any]) -> str:
    """Create an endpoint, or replace that of the id."""
    return f"mutation {{ saveEndpoint(input: {literal(fields)}) {{ {ENDPOINT_FIELDS} }} }}"


def literal(value: Any) -> str:
    """A value as GraphQL writes it."""
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {literal(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
