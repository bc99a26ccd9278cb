"""Which model aligns which language, and where it is: a folder, RunPod's cached model, the Hugging Face cache, or
downloaded into that.

Promises: what is found has a vocabulary and weights that look whole. Nothing is downloaded that the settings do not name.
Leaves out: whether transformers can load it (`_aligner`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from voxtral_serverless.errors import InvalidConfiguration, ModelUnavailable
from voxtral_serverless.hub.cache import commit_of, find_copy, named_folder
from voxtral_serverless.hub.download import download
from voxtral_serverless.hub.repository import Family, Repository, hub_token
from voxtral_serverless.settings import Settings

KNOWN = {
    language: f"jonatasgrosman/wav2vec2-large-xlsr-53-{name}"
    for language, name in {
        "en": "english", "fr": "french", "es": "spanish", "de": "german", "it": "italian", "pt": "portuguese", "nl": "dutch",
    }.items()
}  # fmt: skip
"""wav2vec 2.0 large, tuned on Common Voice, Apache-2.0, 1.26 GB each (docs/words.md)."""
PINNED = {
    KNOWN["en"]: "569a6236e92bd5f7652a0420bfe9bb94c5664080",
    KNOWN["fr"]: "7c79e105a6525d38e1e69f640b974b4a679723cc",
    KNOWN["es"]: "96d7e9b4e4a78af515a3c6d3cee7c0826045d276",
    KNOWN["de"]: "4b8a02957378d0f2da2ef74091156b032c485a89",
    KNOWN["pt"]: "634ac655299bcdc46c83bc01da9bab52d2987e4f",
}
"""Commits that others pin as well, for aligning; of the rest, whatever is `main`."""
VOCABULARY, WEIGHTS = "vocab.json", ("model.safetensors", "pytorch_model.bin")
NEEDED = ("config.json", VOCABULARY, "preprocessor_config.json")
LEAST_WEIGHTS_BYTES = 10_000
"""Less is a pointer of Git LFS, or nothing."""
ALIGNERS = Family(
    log_name="alignment",
    setting="ALIGNMENT_MODELS",
    revision_setting="ALIGNMENT_MODELS",
    ways="ALIGNMENT_MODELS may also name a folder, and without ALIGNMENT_LANGUAGES nothing is downloaded",
)


@dataclass(frozen=True)
class AlignerFiles:
    """An aligner that is whole on this machine.

    Attributes:
        name: Of the repository; of a folder, its last path component.
        alphabet: The single characters that it writes.
        revision: The commit of the repository; None of a folder of somebody's own.
    """

    name: str
    folder: Path
    alphabet: frozenset[str]
    revision: str | None


def find_aligners(settings: Settings) -> dict[str, AlignerFiles]:
    """The aligners that can be used, by language: those on this machine, and those that the settings ask for. Blocks.

    Raises:
        ModelUnavailable: one that the settings name cannot be had, or is damaged.
        InvalidConfiguration: one is asked for in a language for which none is known.
    """
    found, missing = aligners_here(settings)
    folders = download(list(missing.values()))
    return found | {
        language: read_aligner(folder, missing[language].name)
        for language, folder in zip(missing, folders, strict=True)
    }


def aligners_here(settings: Settings) -> tuple[dict[str, AlignerFiles], dict[str, Repository]]:
    """The aligners on this machine, and what the settings ask for beside them, by language.

    Raises:
        ModelUnavailable: a folder that the settings name is damaged.
        InvalidConfiguration: one is asked for in a language for which none is known.
    """
    models = KNOWN | settings.alignment_models
    wanted = _wanted_languages(settings, models)
    found, missing = {}, {}
    for language, model in models.items():
        if folder := named_folder(model):
            found[language] = read_aligner(folder, folder.name)
            continue
        revision, files = PINNED.get(model, "main"), (*NEEDED, WEIGHTS[-1])
        repository = Repository(model, revision, False, hub_token(settings), ALIGNERS, files, _check_hub)
        if copy := find_copy(repository, settings.runpod_model_cache, read_aligner):
            found[language] = copy
        elif language in wanted:
            missing[language] = repository
    return found, missing


def _wanted_languages(settings: Settings, models: Mapping[str, str]) -> list[str]:
    wanted = settings.alignment_languages.lower().replace(",", " ").split()
    if unknown := [language for language in wanted if language not in models]:
        raise InvalidConfiguration(
            f"ALIGNMENT_LANGUAGES: no aligner is known for {', '.join(unknown)}; known are {', '.join(models)}. "
            "ALIGNMENT_MODELS can name others."
        )
    return [*wanted, *settings.alignment_models]


def read_aligner(folder: Path, model: str) -> AlignerFiles:
    """The aligner in `folder`.

    Raises:
        ModelUnavailable: it is not whole.
    """
    try:
        _check_names([file.name for file in folder.iterdir()], model)
        if not any(_size(folder / name) >= LEAST_WEIGHTS_BYTES for name in WEIGHTS):
            raise ModelUnavailable(f"{model!r} has no weights, or a pointer of Git LFS instead (git lfs pull).")
        vocabulary: dict[str, int] = json.loads((folder / VOCABULARY).read_text("utf-8"))
        letters = (token for token, number in vocabulary.items() if len(token) == 1 and number >= 0)
        alphabet = frozenset(letters) - _delimiters(folder)
    except OSError as error:
        raise ModelUnavailable(f"the files of {model!r} cannot be read ({error.strerror}).") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelUnavailable(
            f"{VOCABULARY} of {model!r} is damaged: delete the copy and have it made again."
        ) from error
    if not alphabet:
        raise ModelUnavailable(f"{VOCABULARY} of {model!r} has no letters: it is no aligner that can be used.")
    return AlignerFiles(model, folder.absolute(), alphabet, commit_of(folder.absolute()))


def _check_names(names: Collection[str], model: str) -> None:
    for file in NEEDED:
        if file not in names:
            raise ModelUnavailable(f"{model!r} has no {file}: it is no aligner.")


def _check_hub(names: Collection[str], model: str) -> None:
    _check_names(names, model)
    if WEIGHTS[-1] not in names:
        raise ModelUnavailable(f"{model!r} has no {WEIGHTS[-1]}, which is the file that is downloaded.")


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _delimiters(folder: Path) -> set[str]:
    """What stands between words, in this vocabulary."""
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return {" ", str(config.get("word_delimiter_token") or "|")}
