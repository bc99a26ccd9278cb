"""What the Hugging Face Hub and its library mean when they refuse, and what to do about it."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from voxtral_serverless.errors import ModelUnavailable
from voxtral_serverless.hub.repository import Repository, listed

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

FINAL = {401, 403, 404}
"""The Hub's word on a repository or on who asks: another one may be refused too, and a retry does not help."""


class Refusals:
    """The Hub's refusals of several repositories, to be told at once."""

    def __init__(self) -> None:
        self._refused: list[tuple[Repository, HfHubHTTPError]] = []

    @contextmanager
    def of(self, wanted: Repository) -> Iterator[None]:
        """Keep what the Hub refuses of `wanted` in the block for later; other failures pass."""
        from huggingface_hub.errors import HfHubHTTPError

        try:
            yield
        except HfHubHTTPError as error:
            if error.response.status_code not in FINAL:
                raise
            self._refused.append((wanted, error))

    def tell(self) -> None:
        """Raise what was kept, as one `ModelUnavailable`."""
        if self._refused:
            raise ModelUnavailable(_told(self._refused)) from self._refused[0][1]


@contextmanager
def explained(wanted: Repository, otherwise: str) -> Iterator[None]:
    """Raise what the library raises as `ModelUnavailable`; `otherwise` is told where nothing more is known."""
    from huggingface_hub.errors import HfHubHTTPError

    # Its bases are OSError and what its HTTP client raises: httpx or httpx2, by its version.
    failures: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, RuntimeError, ValueError)
    try:
        yield
    except failures as error:
        raise ModelUnavailable(_reason(error, wanted) or f"{wanted.name!r}: {otherwise}.") from error


def _reason(error: Exception, wanted: Repository) -> str | None:
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError):
        return _told([(wanted, error)])
    if isinstance(error, HFValidationError):
        return f"{wanted.family.setting} {wanted.name!r} is neither a folder nor the name of a repository (owner/name)."
    if isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}:
        return "the Hugging Face cache cannot be written; set HF_HOME to a folder that can."
    return None


def _told(refused: Sequence[tuple[Repository, HfHubHTTPError]]) -> str:
    """What the Hub's refusals mean together, each meaning once, and the ways round them."""
    alike: dict[Callable[[Sequence[Repository]], str], list[Repository]] = {}
    sentences = []
    for wanted, error in refused:
        if told_together := _common(error):
            alike.setdefault(told_together, []).append(wanted)
        else:
            sentences.append(_meaning(error, wanted))
    together = [tell(repositories) for tell, repositories in alike.items()]
    family = refused[0][0].family
    final = all(error.response.status_code in FINAL for _, error in refused)
    ways = family.refused_ways if final else f"{family.ways}."
    return " ".join(filter(None, [*together, *dict.fromkeys(sentences), ways]))


def _common(error: HfHubHTTPError) -> Callable[[Sequence[Repository]], str] | None:
    """How a refusal is told that several repositories may have in common."""
    from huggingface_hub.errors import GatedRepoError

    if error.response.status_code == 403 and "fine-grained" in error.response.headers.get("X-Error-Message", ""):
        return _narrow
    return _gated if isinstance(error, GatedRepoError) else None


def _narrow(refused: Sequence[Repository]) -> str:
    return (
        "HF_TOKEN is a fine-grained token without the right to read gated repositories; give it that right on "
        f"https://huggingface.co/settings/tokens, and accept the conditions on {_pages(refused)} with its account."
    )


def _gated(refused: Sequence[Repository]) -> str:
    names = listed([repr(wanted.name) for wanted in refused])
    are, their = ("are", "their") if len(refused) > 1 else ("is", "its")
    account = "the account of HF_TOKEN" if refused[0].token else "an account, and set its token as HF_TOKEN"
    return f"{names} {are} gated: accept {their} conditions on {_pages(refused)} with {account}."


def _pages(refused: Sequence[Repository]) -> str:
    prefixes = {"model": "", "dataset": "datasets/"}
    return listed([f"https://huggingface.co/{prefixes[wanted.kind]}{wanted.name}" for wanted in refused])


def _meaning(error: HfHubHTTPError, wanted: Repository) -> str:
    """What the Hub's answer about one repository means: the first that holds."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    name, status, family = repr(wanted.name), error.response.status_code, wanted.family
    meanings: Mapping[str, bool] = {
        f"{name} has no revision {wanted.revision!r}; see {family.revision_setting}.": isinstance(
            error, RevisionNotFoundError
        ),
        "the Hugging Face Hub does not accept HF_TOKEN; make a new token, or unset it.": status == 401
        and bool(wanted.token),
        f"{name} asks for a token, or is not there; set HF_TOKEN, and see {family.setting}.": status == 401,
        f"there is no {name} on the Hugging Face Hub, or HF_TOKEN may not see it; see {family.setting}.": isinstance(
            error, RepositoryNotFoundError
        ),
        f"HF_TOKEN may not read {name} (403); give it the right to.": status == 403,
        f"the Hugging Face Hub answered {status} for {name}; a retry may help.": True,
    }
    return next(meaning for meaning, holds in meanings.items() if holds)
