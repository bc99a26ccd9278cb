"""RunPod's API as the SDK speaks it: its GraphQL runner, with the address that it honours (`RUNPOD_API_BASE_URL`).

Promises: whatever goes wrong is one of our errors, in one line, without the key or another secret. Questions are asked
again when the API fails for a moment; what changes something is sent once. Leaves out: the SDK's own documents
(`graphql.py` says why). Importing the SDK takes seconds: it happens with the first request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from voxtral_serverless.deploy import graphql
from voxtral_serverless.deploy.bodies import HIDDEN, Body, secrets
from voxtral_serverless.errors import RunPodKeyRefused, RunPodRefused, RunPodUnreachable, VoxtralError

log = logging.getLogger(__name__)

ASKED = 3
"""So often a question is asked; nothing is changed by it."""
PAUSE_S = 1.0
LONGEST_REASON = 400
"""Characters of RunPod's reason that are shown."""


class RunPodApi:
    """The templates and endpoints of an account."""

    def __init__(self, key: str) -> None:
        self._key = key

    def everything(self) -> tuple[list[Body], list[Body]]:
        """All templates and all endpoints of the account.

        Raises:
            RunPodKeyRefused, RunPodRefused, RunPodUnreachable
        """
        for attempt in range(1, ASKED + 1):
            try:
                account = self._ask("the list of templates and endpoints", graphql.LIST)["myself"]
                return account.get("podTemplates") or [], account.get("endpoints") or []
            except RunPodUnreachable:
                if attempt == ASKED:
                    raise
                log.info("RunPod's API does not answer; asked again in %s s", PAUSE_S)
                time.sleep(PAUSE_S)
        raise AssertionError

    def save_template(self, fields: Body) -> Body:
        """Create a template, or replace that of the id; the template as it is then.

        Raises:
            RunPodKeyRefused, RunPodRefused, RunPodUnreachable
        """
        return self._saved("the template", graphql.save_template, fields, "saveTemplate")

    def save_endpoint(self, fields: Body) -> Body:
        """Create an endpoint, or replace that of the id; the endpoint as it is then.

        Raises:
            RunPodKeyRefused, RunPodRefused, RunPodUnreachable
        """
        return self._saved("the endpoint", graphql.save_endpoint, fields, "saveEndpoint")

    def _saved(self, what: str, document: Callable[[Body], str], fields: Body, answer: str) -> Body:
        saved = self._ask(what, document(fields), secrets(fields))[answer]
        if not isinstance(saved, dict) or not isinstance(saved.get("id"), str):
            raise RunPodRefused(f"{what}: RunPod's answer has no id; look into the console, then repeat the command.")
        return saved

    def _ask(self, what: str, document: str, hidden: Sequence[str] = ()) -> dict[str, Any]:
        """The `data` of an answer."""
        import requests
        from runpod.api.graphql import run_graphql_query
        from runpod.error import RunPodError

        try:
            answer = run_graphql_query(document, api_key=self._key)
        except (RunPodError, requests.RequestException, LookupError, TypeError) as error:
            raise self._told(what, error, hidden) from None
        return self._data(what, answer)

    def _told(self, what: str, error: Exception, hidden: Sequence[str]) -> VoxtralError:
        """What the SDK raised, in our words."""
        import requests
        from runpod.error import AuthenticationError, RunPodError

        match error:
            case AuthenticationError():
                return RunPodKeyRefused(
                    "RunPod does not take the key in RUNPOD_API_KEY: make one that may write, in the console under "
                    "Settings, API Keys."
                )
            case RunPodError():
                return RunPodRefused(f"{what}: {self._reason(error, hidden)}")
            case requests.JSONDecodeError():
                return RunPodUnreachable(f"{what}: RunPod's API answers with something that is no JSON; try again.")
            case requests.RequestException():
                return RunPodUnreachable(f"{what}: RunPod's API cannot be reached ({type(error).__name__}); try again.")
            case _:  # the SDK looked for the reason where none is
                return RunPodRefused(f"{what}: RunPod refuses, without a reason.")

    def _data(self, what: str, answer: Any) -> dict[str, Any]:
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict) or any(value is None for value in data.values()):
            raise RunPodRefused(f"{what}: RunPod's answer is empty. May the key do this?")
        return data

    def _reason(self, error: Exception, hidden: Sequence[str]) -> str:
        text = " ".join(str(error).split())
        for secret in (self._key, *hidden):
            text = text.replace(secret, HIDDEN) if secret else text
        return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
