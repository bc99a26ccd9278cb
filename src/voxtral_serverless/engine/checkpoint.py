"""A model's folder in Mistral's format: that it is whole, and the facts that its launch depends on.

Every file is held against its own header, which takes a fraction of a second; checksums of the tensors are not made.
"""

from __future__ import annotations

import fnmatch
import json
import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxtral_serverless.errors import ModelUnavailable

PARAMS, TOKENIZER, TENSORS = "params.json", "tekken.json", "consolidated*.safetensors"
FILES = (PARAMS, TOKENIZER, TENSORS)
"""What is needed of a repository."""
SHARD = re.compile(r"consolidated-\d{5}-of-(\d{5})\.safetensors")
MAX_HEADER_BYTES = 100_000_000
"""Longest header that the safetensors format allows."""


@dataclass(frozen=True)
class Weights:
    """A whole model on this machine, with what its launch depends on.

    Attributes:
        name: Of the repository; of a folder, its last path component.
        bytes: Size of all its tensors.
        kv_heads: Heads of keys and values in a layer; `heads` are those of queries.
        max_positions: Tokens it was trained for, where it says so.
    """

    folder: Path
    name: str
    bytes: int
    layers: int
    kv_heads: int
    heads: int
    head_dim: int
    max_positions: int | None

    @property
    def kv_bytes_per_token(self) -> int:
        """Memory of the cache for one token, as bf16."""
        return 2 * self.layers * self.kv_heads * self.head_dim * 2


def read_weights(folder: Path, name: str) -> Weights:
    """The model in `folder`, after a look at each of its files.

    Raises:
        ModelUnavailable: it is not whole, or no Voxtral.
    """
    try:
        if not folder.is_dir():
            raise ModelUnavailable(f"there is no folder {name!r} where VOXTRAL_MODEL says.")
        names = [path.name for path in folder.iterdir() if path.is_file()]
        check_names(names, name)
        params = _json(folder / PARAMS, name)
        _check_voxtral(params, _json(folder / TOKENIZER, name), name)
        size = sum(_checked_size(folder / tensors, name) for tensors in fnmatch.filter(names, TENSORS))
    except OSError as error:
        raise ModelUnavailable(f"the files of {name!r} cannot be read ({error.strerror}).") from error
    return Weights(folder, name, size, **_facts(params, name))


def check_names(names: Collection[str], model: str) -> None:
    """Whether the files of a model, by their names, are all that is needed.

    Raises:
        ModelUnavailable: naming what is missing.
    """
    missing = _first_missing(names)
    if missing is None:
        return
    if missing.endswith(".safetensors") and fnmatch.filter(names, "model*.safetensors"):
        raise ModelUnavailable(
            f"{model!r} has its weights in Hugging Face's format only; Mistral's is needed (consolidated.safetensors)."
        )
    raise ModelUnavailable(f"{model!r} has no {missing}; needed are {TENSORS}, {PARAMS} and {TOKENIZER}.")


def _first_missing(names: Collection[str]) -> str | None:
    tensors = fnmatch.filter(names, TENSORS)
    shards = {int(match[1]) for match in map(SHARD.fullmatch, tensors) if match}
    needed = [f"consolidated-{i:05}-of-{count:05}.safetensors" for count in shards for i in range(1, count + 1)]
    needed += [PARAMS, TOKENIZER] if tensors else ["consolidated.safetensors"]
    return next((file for file in needed if file not in names), None)


def _json(file: Path, model: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(file, model, "it is not JSON") from error
    if not isinstance(content, dict):
        raise _damaged(file, model, "it is not a JSON object")
    return content


def _check_voxtral(params: Mapping[str, Any], tokenizer: Mapping[str, Any], model: str) -> None:
    multimodal = params.get("multimodal")
    hears = isinstance(multimodal, dict) and isinstance(multimodal.get("whisper_model_args"), dict)
    if not hears or not isinstance(tokenizer.get("audio"), dict):
        where = TOKENIZER if hears else PARAMS
        raise ModelUnavailable(f"{model!r} is not a Voxtral: its {where} says nothing of audio.")


def _facts(params: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The numbers of `Weights` that params.json tells."""
    keys = {"layers": "n_layers", "kv_heads": "n_kv_heads", "heads": "n_heads", "head_dim": "head_dim"}
    facts = {fact: params.get(key) for fact, key in keys.items()}
    facts["max_positions"] = params.get("max_position_embeddings")
    for fact, value in facts.items():
        if not (type(value) is int and value > 0) and (fact, value) != ("max_positions", None):
            raise ModelUnavailable(f"{PARAMS} of {model!r} has no usable {keys.get(fact, 'max_position_embeddings')}.")
    return facts


def _checked_size(file: Path, model: str) -> int:
    """The size of a safetensors file that ends where its header says. The tensors themselves are not read."""
    size = file.stat().st_size
    with file.open("rb") as source:
        start = source.read(8)
        if start == b"version ":
            raise _damaged(file, model, "it is a pointer of Git LFS, not the file itself (git lfs pull)")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise _damaged(file, model, "its header is cut off or none")
        announced = 8 + length + _end_of_data(source.read(length))
    if announced != size:
        raise _damaged(file, model, f"it has {size:,} bytes of {announced:,}")
    return size


def _end_of_data(header: bytes) -> int:
    """Bytes of data that a safetensors header announces; -1, which fits no file, where it is none."""
    try:
        tensors: dict[str, Any] = json.loads(header)
        return max(int(tensor["data_offsets"][1]) for name, tensor in tensors.items() if name != "__metadata__")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return -1


def _damaged(file: Path, model: str, how: str) -> ModelUnavailable:
    return ModelUnavailable(f"{file.name} of {model!r} is damaged: {how}. Delete the copy and have it made again.")
