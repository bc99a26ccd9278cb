"""What is wanted of the Hugging Face Hub: some files of a repository, and the words in which they are spoken of."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from voxtral_serverless.settings import Settings

Kind = Literal["model", "dataset"]
"""What the Hub keeps apart: repositories of one name may be of either kind."""


@dataclass(frozen=True)
class Family:
    """The models among which one setting chooses, in the words of messages and of the log.

    Attributes:
        log_name: What lines in the log begin with.
        setting: The variable that names the model, a repository or a folder.
        revision_setting: The variable that chooses the repository's revision.
        ways: What else can be done where the Hub cannot be had.
        refused_ways: A sentence for where the Hub is there and refuses.
    """

    log_name: str
    setting: str
    revision_setting: str
    ways: str
    refused_ways: str = ""


@dataclass(frozen=True)
class Origin:
    """What a model on this machine was taken from.

    Attributes:
        name: Of the repository; of a folder, its last path component.
        revision: The commit; None of a folder of somebody's own.
    """

    name: str
    revision: str | None


@dataclass(frozen=True)
class Repository:
    """Files of a repository at a revision, which the operator `chose` or we did.

    Attributes:
        files: Names, or patterns of `fnmatch`.
        check: Raises `ModelUnavailable` where what is needed is not among the names of all its files; it is given the
            repository's name too.
    """

    name: str
    revision: str
    chosen: bool
    token: str | None
    family: Family
    files: tuple[str, ...]
    check: Callable[[Collection[str], str], None]
    kind: Kind = "model"


def listed(names: Collection[str]) -> str:
    """Names as they stand in a sentence."""
    return " and ".join(names)


def hub_token(settings: Settings) -> str | None:
    """The token with which the Hub is asked."""
    return settings.hf_token.get_secret_value().strip() if settings.hf_token else None
