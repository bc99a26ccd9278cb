"""Telling others that a job is over: the job, as `/status` shows it, is posted to the URL that it brought along.

Promises: a URL is dialled under the rules of `audio.addresses`; what is not taken (any answer but 2xx) is posted again,
over restarts too, until the tries are used up. No redirect is followed. Leaves out: a proof of who posts it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress

from voxtral_serverless.audio.addresses import AddressPolicy, AddressRefused
from voxtral_serverless.audio.request import as_written, web_session
from voxtral_serverless.errors import DiskFull, InvalidJob
from voxtral_serverless.http_api.records import Record, shown
from voxtral_serverless.http_api.store import JobStore
from voxtral_serverless.job_limits import web_address

log = logging.getLogger(__name__)

PAUSES_S = (10.0, 60.0, 600.0)
"""Before the second try, and those after it."""
TIMEOUT_S = 30.0
LOOK_S = 0.5
AT_ONCE = 8
"""So many are called at a time: one that hangs holds up nobody else's."""


def checked_webhook(url: object, policy: AddressPolicy) -> str:
    """The URL that a job names, as far as it can be checked without asking anybody.

    Raises:
        InvalidJob: it will never be called.
    """
    if not isinstance(url, str):
        raise InvalidJob("webhook: an http(s) URL is needed.")
    try:
        address = web_address(url)
        address.encode()  # half a character cannot be kept
        policy.check(address)
    except AddressRefused as error:
        raise InvalidJob("webhook: this service does not connect there (FETCH_HOSTS, FETCH_PORTS).") from error
    except ValueError as error:
        raise InvalidJob(f"webhook: {error}.") from error
    return address


async def deliver_webhooks(store: JobStore, policy: AddressPolicy) -> None:
    """Call the webhooks of `store` as they come due, until cancelled."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as tasks:
        while True:
            await slots.acquire()
            if due := await _due(store):
                tasks.create_task(_deliver(store, policy, *due)).add_done_callback(lambda _: slots.release())
            else:
                slots.release()
                await asyncio.sleep(LOOK_S)


async def _due(store: JobStore) -> tuple[Record, str, int] | None:
    with suppress(DiskFull):
        return await store.due_webhook(2 * TIMEOUT_S)
    return None


async def _deliver(store: JobStore, policy: AddressPolicy, record: Record, url: str, tries: int) -> None:
    fault = await _called(url, record, policy)
    again_in_s = PAUSES_S[tries] if fault and tries < len(PAUSES_S) else None
    if fault:
        log.warning("the webhook of job %s %s%s", record.id, fault, "" if again_in_s else ": given up")
    while True:
        try:
            await store.webhook_tried(record.id, again_in_s)
            break
        except DiskFull:
            await asyncio.sleep(LOOK_S)


async def _called(url: str, record: Record, policy: AddressPolicy) -> str | None:
    """None where it was taken; else what went wrong."""
    import aiohttp

    body = json.dumps(shown(record)).encode()
    try:
        policy.check(url)
        async with asyncio.timeout(TIMEOUT_S), web_session(policy, TIMEOUT_S) as session:
            headers = {"Content-Type": "application/json"}
            async with session.post(as_written(url), data=body, headers=headers, allow_redirects=False) as response:
                return None if 200 <= response.status < 300 else f"was answered with status {response.status}"
    except AddressRefused:
        return "is refused by this service"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"could not be called ({type(error).__name__})"
