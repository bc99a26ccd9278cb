"""Who may use the HTTP API.

Promises: with `API_KEY` set, whoever has no key and has not logged in with it gets nowhere; without one, on loopback,
only requests for a name of this machine itself are answered (a page on the web whose name is made to lead here reads
nothing), and beyond loopback none unless `ALLOW_ANONYMOUS` says so. A web page of another site may not post in any case.
Leaves out: users and their rights; encryption on the way (a proxy's business).
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from itsdangerous import BadData, TimestampSigner
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from voxtral_serverless.errors import AccessRefused, InvalidConfiguration, KeyRefused, VoxtralError
from voxtral_serverless.http_api.answers import refusal
from voxtral_serverless.settings import Settings

log = logging.getLogger(__name__)

COOKIE = "voxtral_session"
SESSION_S = 12 * 3600
OPEN = frozenset({"/", "/ping", "/login"})
OPEN_FOLDERS = ("/web/", "/static-offline-docs/")
"""What anybody may ask for: nothing of a job is in it."""


class Gate:
    """Holds requests against the rules that the settings make."""

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key.get_secret_value().strip() if settings.api_key else None
        self._host = settings.host
        self._names = None if self._key or not is_loopback(settings.host) else names_of(settings.host)
        self._signer = TimestampSigner(self._key, salt="session") if self._key else None

    @property
    def wants_key(self) -> bool:
        """Whether a key is asked for."""
        return self._key is not None

    def is_key(self, given: bytes) -> bool:
        """Whether it is the key; takes as long for any that is not."""
        return self._key is not None and secrets.compare_digest(given, self._key.encode())

    def session(self) -> str:
        """The cookie's value for who has shown the key."""
        assert self._signer is not None
        return self._signer.sign("in").decode()

    def refuses(self, path: str, headers: Headers) -> VoxtralError | None:
        """Why a request is not answered; None where it is."""
        if self._names is not None and host_of(headers.get("host", "")) not in self._names:
            return AccessRefused("this service answers on this machine only; set API_KEY to have it answer elsewhere.")
        if self._key is not None and self._has_key(headers):
            return None
        origin = headers.get("origin")
        if origin is not None and not self._is_own_site(origin, headers.get("host", "").lower()):
            return AccessRefused("a web page of another site may not use this service.")
        if self._key is None or path in OPEN or path.startswith(OPEN_FOLDERS) or self._is_logged_in(headers):
            return None
        return KeyRefused("send the key of this service (API_KEY) as `Authorization: Bearer …`.")

    def _is_own_site(self, origin: str, host: str) -> bool:
        """Whether a page that is asked for under `host` is ours.

        Without a key a name is not enough: a page on the web may have its own name lead here.
        """
        if site_of(origin) != host:
            return False
        name = host_of(host)
        return self._key is not None or name in names_of(self._host) or is_address(name)

    def _has_key(self, headers: Headers) -> bool:
        given = headers.get("authorization", "")
        scheme, _, rest = given.partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else given
        return self.is_key(key.encode("latin-1"))  # as it came

    def _is_logged_in(self, headers: Headers) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
            if cookie is None or self._signer is None:
                return False
            self._signer.unsign(cookie.value, max_age=SESSION_S)
        except (BadData, CookieError):
            return False
        return True


class AccessMiddleware:
    """Answers in place of the application what the gate refuses."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application do it."""
        if scope["type"] == "http" and (error := self._gate.refuses(scope["path"], Headers(scope=scope))):
            await refusal(error, scope["path"])(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def check_exposure(settings: Settings, warn: Callable[[str], None]) -> None:
    """Return where the API may listen as the settings say; `warn` is told what everybody may then do.

    Raises:
        InvalidConfiguration: it would answer beyond this machine, to anybody, and nobody said that it may.
    """
    if settings.api_key is not None and not settings.api_key.get_secret_value().strip():
        raise InvalidConfiguration("API_KEY is empty.")
    if settings.api_key is not None or is_loopback(settings.host):
        return
    if not settings.allow_anonymous:
        raise InvalidConfiguration(
            f"HOST={settings.host} lets other machines in, and API_KEY is not set: set it, or ALLOW_ANONYMOUS=true to let "
            "everybody who can reach this machine post jobs and read transcripts."
        )
    warn(
        "ANYBODY who can reach this port may post jobs, read every transcript and delete it: ALLOW_ANONYMOUS is set and "
        "API_KEY is not. Set API_KEY, or publish the port on 127.0.0.1 only."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(name: str) -> bool:
    """Whether the host of a URL is an address, not a name."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def names_of(host: str) -> frozenset[str]:
    """The names by which this machine calls what listens on `host`."""
    return frozenset({"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host.lower()})


def site_of(origin: str) -> str | None:
    """The host and port in an `Origin` header, in lower case; None where there are none."""
    try:
        return urlsplit(origin.lower()).netloc or None
    except ValueError:
        return None


def host_of(header: str) -> str:
    """The name in a `Host` header, without its port, in lower case."""
    name = header.strip().lower()
    return name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
