"""A deployment from a file (TOML or JSON) and flags, of which the flags count more.

All faults are told at once; an unknown key names the nearest known one.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from voxtral_serverless.deploy.deployment import Deployment
from voxtral_serverless.errors import DeploymentInvalid, SourceNotFound, SourceUnreadable

READERS = {".toml": tomllib.loads, ".json": json.loads}


def described(path: Path | None, flags: Mapping[str, Any]) -> Deployment:
    """The deployment of a file, where one is given, and of the flags. `env` is merged name by name.

    Raises:
        DeploymentInvalid, SourceNotFound, SourceUnreadable
    """
    fields = _read(path) if path else {}
    merged = {**fields, **flags}
    if isinstance(fields.get("env"), dict) and "env" in flags:
        merged["env"] = {**fields["env"], **flags["env"]}
    try:
        return Deployment.model_validate(merged)
    except ValidationError as error:
        raise DeploymentInvalid("; ".join(dict.fromkeys(_faults(error))) + ".") from None


def _read(path: Path) -> dict[str, Any]:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DeploymentInvalid(f"{path.name!r} is neither .toml nor .json.")
    try:
        fields = reader(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SourceNotFound(f"there is no file {str(path)!r}.") from error
    except (ValueError, RecursionError) as error:
        raise DeploymentInvalid(f"{path.name!r} is not valid: {_first_line(error)}.") from error
    except OSError as error:
        raise SourceUnreadable(f"the file {str(path)!r} may not be read.") from error
    if not isinstance(fields, dict):
        raise DeploymentInvalid(f"{path.name!r} holds no object.")
    return fields


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _faults(error: ValidationError) -> Iterator[str]:
    # What was given is not repeated: it may be a secret.
    for fault in error.errors(include_input=False, include_url=False):
        where = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        if fault["type"] == "extra_forbidden":
            yield _unknown(where)
        elif fault["type"] == "missing":
            yield f"{where}: is needed, as --{where.replace('_', '-')} or in the file"
        else:
            yield (f"{where}: " if where else "") + fault["msg"].removeprefix("Value error, ")


def _unknown(name: str) -> str:
    known = list(Deployment.model_fields)
    nearest = get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=0.5)
    return f"unknown key {name[:60]!r}: " + (
        f"did you mean {nearest[0]!r}?" if nearest else f"known are {', '.join(known)}"
    )
