"""Checks of what surrounds the worker: its settings, RunPod, the ports."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from voxtral_serverless.doctor.findings import Finding, ok, problem, skipped, warning
from voxtral_serverless.doctor.situation import Situation
from voxtral_serverless.errors import InvalidConfiguration
from voxtral_serverless.settings import Settings, load_settings
from voxtral_serverless.volume import VOLUME

NAMED = re.compile(r"(?:^|; )([A-Z][A-Z0-9_]*)[.:]")
"""The variables in an `InvalidConfiguration`."""
INIT_S = 800
"""Seconds for a first start, weights included."""
LISTENING = "0A"
"""The state of a socket, as /proc/net/tcp writes it."""


def readable_settings() -> tuple[Settings, list[str]]:
    """The settings as far as they can be read, with the defaults for the rest; and what is wrong with it."""
    environment, faults = dict(os.environ), list[str]()
    try:
        while True:
            try:
                return load_settings(), faults
            except InvalidConfiguration as error:
                faults.append(error.message)
                # A default given beside it does not help: a variable that is no JSON is read all the same.
                if not _forget(set(NAMED.findall(error.message))):
                    return Settings.model_construct(), faults
    finally:
        os.environ.update(environment)


def _forget(names: set[str]) -> bool:
    """Whether any of `names`, in whichever case, was in the environment, and now is not."""
    found = [variable for variable in os.environ if variable.upper() in names]
    for variable in found:
        del os.environ[variable]
    return bool(found)


def settings_check(situation: Situation) -> Finding:
    """Whether all settings can be read."""
    if situation.faults:
        return problem(" ".join(situation.faults), "The other checks take the defaults for these.")
    # Only names: values may be secrets.
    chosen = [name.upper() for name in Settings.model_fields if os.environ.get(name.upper())]
    return ok(f"can be read; {len(chosen)} of {len(Settings.model_fields)} are set.").with_details(*chosen)


def runpod_check(situation: Situation) -> Finding:
    """Whether RunPod runs this, and leaves it the time for its start."""
    if not situation.in_runpod:
        return skipped("not in a worker of a RunPod endpoint.")
    volume = "with a network volume" if VOLUME.is_mount() else "without a network volume"
    found = f"in a worker of the endpoint {os.environ.get('RUNPOD_ENDPOINT_ID') or '(unnamed)'}, {volume}."
    if situation.settings.engine == "auto" and not situation.served:
        return problem(found, "There is no vLLM with a GPU, which a worker refuses: see the line `engine`.")
    if situation.own_engine and not situation.weights() and not _has_time(os.environ.get("RUNPOD_INIT_TIMEOUT", "")):
        return warning(
            found,
            f"The weights have to be downloaded, and RunPod ends a start after 7 minutes: set RUNPOD_INIT_TIMEOUT={INIT_S}.",
        )
    return ok(found)


def _has_time(text: str) -> bool:
    return text.isdecimal() and int(text) >= INIT_S


def ports_check(situation: Situation) -> Finding:
    """Whether the ports are free."""
    settings = situation.settings
    taken = []
    if situation.own_engine and not is_free("127.0.0.1", settings.vllm_port):
        taken.append(
            f"{settings.vllm_port} (VLLM_PORT) is taken{_by(settings.vllm_port)}: vLLM moves to the next free one"
        )
    if not situation.in_runpod and not is_free(settings.host, settings.port):
        taken.append(f"{settings.port} (PORT) is taken{_by(settings.port)}: the HTTP API could not listen there")
    if taken:
        return warning(f"port {'; port '.join(taken)}.", "End what listens there, or set another port.")
    return ok(f"{' and '.join(_wanted(situation)) or 'none is needed'}{' free' if _wanted(situation) else ''}.")


def _wanted(situation: Situation) -> list[str]:
    engine = [f"{situation.settings.vllm_port} (VLLM_PORT)"] if situation.own_engine else []
    return engine + ([] if situation.in_runpod else [f"{situation.settings.port} (PORT)"])


def is_free(host: str, port: int) -> bool:
    """Whether one may listen on a port."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError:
        return False
    return True


def _by(port: int) -> str:
    """Who listens on a port, as far as this user may see it."""
    with suppress(OSError, ValueError, LookupError):
        sockets = {f"socket:[{inode}]" for inode in _listeners(port)}
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with suppress(OSError):
                if sockets and str(link.readlink()) in sockets:
                    process = link.parent.parent
                    return f" by {(process / 'comm').read_text().strip()!r} (process {process.name})"
    return ""


def _listeners(port: int) -> Iterator[str]:
    """The inodes of the sockets that listen on a port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == LISTENING and int(cells[1].rpartition(":")[2], 16) == port:
                yield cells[9]
