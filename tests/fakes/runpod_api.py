"""RunPod's GraphQL API on loopback, for templates and endpoints: it reads what it is sent, checks it, and keeps it.

As the real one: a wrong key is 401, what a schema refuses is 200 with `errors`, a template's name is taken once, both
`save` mutations replace the whole and reset what is not sent. The schema is what RunPod's SDK, its command line and its
documents send. Leaves out: variables, introspection, everything else of the API.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "rpa_0123456789ABCDEFGHIJ"

TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|(-?\d+)|([A-Za-z_]\w*)|([{}()\[\]:,]))')


class Word(str):
    """A bare word: an enumeration's value."""

    __slots__ = ()


class Refused(Exception):
    """What the real one answers 200 with `errors` to."""


Fields = dict[str, Any]
STRING, INT, BOOLEAN, PAIRS, STRINGS, FLASHBOOT = (
    "String",
    "Int",
    "Boolean",
    "[EnvironmentVariableInput]",
    "[String]",
    "FlashBoot",
)
TEMPLATE = {
    "id": STRING, "name": STRING, "imageName": STRING, "dockerArgs": STRING, "containerDiskInGb": INT, "volumeInGb": INT,
    "volumeMountPath": STRING, "ports": STRING, "env": PAIRS, "isServerless": BOOLEAN, "isPublic": BOOLEAN,
    "startSsh": BOOLEAN, "readme": STRING, "containerRegistryAuthId": STRING,
}  # fmt: skip
ENDPOINT = {
    "id": STRING, "name": STRING, "templateId": STRING, "gpuIds": STRING, "gpuCount": INT, "allowedCudaVersions": STRING,
    "minCudaVersion": STRING, "networkVolumeId": STRING, "locations": STRING, "idleTimeout": INT, "scalerType": STRING,
    "scalerValue": INT, "workersMin": INT, "workersMax": INT, "executionTimeoutMs": INT, "flashBootType": FLASHBOOT,
    "modelReferences": STRINGS,
}  # fmt: skip
DEFAULTS: dict[str, Fields] = {
    "saveTemplate": {"dockerArgs": "", "ports": None, "readme": "", "env": [], "isServerless": False, "isPublic": False,
                     "containerRegistryAuthId": None},
    "saveEndpoint": {"gpuCount": 1, "allowedCudaVersions": None, "minCudaVersion": None, "networkVolumeId": None,
                     "locations": None, "idleTimeout": 5, "scalerType": "QUEUE_DELAY", "scalerValue": 4, "workersMin": 0,
                     "workersMax": 3, "executionTimeoutMs": 0, "flashBootType": None, "modelReferences": None},
}  # fmt: skip
NEEDED = {
    "saveTemplate": ("name", "imageName", "containerDiskInGb", "volumeInGb"),
    "saveEndpoint": ("name", "templateId", "gpuIds"),
}


@dataclass
class RunPodApi:
    """An account, and manners.

    Attributes:
        statuses: It answers these to the next requests, in order, with a page of HTML.
        refusals: What it answers the next of these mutations with, once each; without a reason where it is empty.
        behind_names: What it puts behind the name of an endpoint.
        documents: Every document that it read, in order.
    """

    statuses: list[int] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    behind_names: str = ""
    templates: list[Fields] = field(default_factory=list)
    endpoints: list[Fields] = field(default_factory=list)
    documents: list[str] = field(default_factory=list)
    requests: int = 0
    url: str = ""

    @property
    def mutations(self) -> list[str]:
        """The names of the mutations that it was sent."""
        return [name for one in self.documents for name in re.findall(r"mutation \{ (\w+)", one)]

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if self.statuses:
            return web.Response(status=self.statuses.pop(0), text="<html>Bad Gateway</html>", content_type="text/html")
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"errors": [{"message": "Unauthorized"}]}, status=401)
        document = (await request.json())["query"]
        self.documents.append(document)
        try:
            return web.json_response({"data": self._data(document)})
        except Refused as refused:
            return web.json_response({"errors": [{"message": str(refused)} if str(refused) else {}], "data": None})

    def _data(self, document: str) -> Fields:
        reader = Reader(document)
        kind = reader.word()
        reader.skip("{")
        name = reader.word()
        if kind == "query" and name == "myself":
            answer = {name: self._account(reader)}
        elif kind == "mutation" and name in DEFAULTS:
            answer = {name: self._save(name, reader)}
        else:
            raise Refused(f'Cannot query field "{name}".')
        reader.skip("}")
        reader.end()
        return answer

    def _account(self, reader: Reader) -> Fields:
        lists = {"podTemplates": (self.templates, TEMPLATE), "endpoints": (self.endpoints, ENDPOINT)}
        answer = {}
        for name, inner in reader.selection().items():
            found, schema = lists[name]
            answer[name] = [selected(one, inner, schema) for one in found]
        return answer

    def _save(self, name: str, reader: Reader) -> Fields:
        reader.skip("(")
        assert reader.word() == "input"
        reader.skip(":")
        fields = reader.value()
        reader.skip(")")
        inner = reader.selection()
        if name in self.refusals:
            raise Refused(self.refusals.pop(name))
        schema = TEMPLATE if name == "saveTemplate" else ENDPOINT
        check(fields, schema, NEEDED[name])
        kept = self._keep_template(fields) if name == "saveTemplate" else self._keep_endpoint(fields)
        return selected(kept, inner, schema)

    def _keep_template(self, fields: Fields) -> Fields:
        if any(one["name"] == fields["name"] and one["id"] != fields.get("id") for one in self.templates):
            raise Refused("Template name must be unique.")
        return self._keep(self.templates, "tpl", DEFAULTS["saveTemplate"] | fields)

    def _keep_endpoint(self, fields: Fields) -> Fields:
        if fields["templateId"] not in [one["id"] for one in self.templates if one["isServerless"]]:
            raise Refused("Template not found.")
        named = fields | {"name": fields["name"] + self.behind_names}
        return self._keep(self.endpoints, "ep", DEFAULTS["saveEndpoint"] | named)

    def _keep(self, kept: list[Fields], prefix: str, fields: Fields) -> Fields:
        if "id" not in fields:
            kept.append({"id": f"{prefix}{len(kept)}"} | fields)
            return kept[-1]
        for place, one in enumerate(kept):
            if one["id"] == fields["id"]:
                kept[place] = fields
                return fields
        raise Refused("Something went wrong. Please try again later or contact support.")


class Reader:
    """A GraphQL document, from its beginning: the part of the language that is needed."""

    def __init__(self, document: str) -> None:
        self.rest = document.strip()

    def _next(self) -> tuple[str, str, str, str]:
        found = TOKEN.match(self.rest)
        if found is None:
            raise Refused(f"Syntax Error: Unexpected {self.rest[:20]!r}.")
        self.rest = self.rest[found.end() :].lstrip()
        text, number, word, sign = found.groups(default="")
        return text, number, word, sign

    def word(self) -> str:
        word = self._next()[2]
        if not word:
            raise Refused(f"Syntax Error: Expected Name before {self.rest[:20]!r}.")
        return word

    def skip(self, sign: str) -> None:
        if self._next()[3] != sign:
            raise Refused(f"Syntax Error: Expected {sign!r} before {self.rest[:20]!r}.")

    def at(self, sign: str) -> bool:
        """Whether the sign comes next, which is then read. Commas are spaces."""
        self.rest = self.rest.lstrip(" ,\n")
        if self.rest.startswith(sign):
            self.skip(sign)
            return True
        return False

    def value(self) -> Any:
        if self.at("{"):
            fields = {}
            while not self.at("}"):
                name = self.word()
                self.skip(":")
                fields[name] = self.value()
            return fields
        if self.at("["):
            values = []
            while not self.at("]"):
                values.append(self.value())
            return values
        text, number, word, _ = self._next()
        known = {"true": True, "false": False, "null": None}
        return json.loads(text) if text else int(number) if number else known.get(word, Word(word))

    def selection(self) -> dict[str, Any]:
        """The fields that are asked for, and what of each."""
        self.skip("{")
        fields: dict[str, Any] = {}
        while not self.at("}"):
            name = self.word()
            fields[name] = self.selection() if self.rest.startswith("{") else {}
        return fields

    def end(self) -> None:
        if self.rest:
            raise Refused(f"Syntax Error: Unexpected {self.rest[:20]!r}.")


def check(fields: Fields, schema: dict[str, str], needed: tuple[str, ...]) -> None:
    """Refuse what the schema does not know, what has another type, and what is not there."""
    for name, value in fields.items():
        if name not in schema:
            raise Refused(f'Field "{name}" is not defined by type.')
        if value is not None and not fits(value, schema[name]):
            raise Refused(f'{schema[name]} cannot represent value of "{name}": {json.dumps(value)}')
    for name in needed:
        if fields.get(name) in (None, ""):
            raise Refused(f'Field "{name}" was not provided.')


def fits(value: Any, kind: str) -> bool:
    if kind == FLASHBOOT:
        return isinstance(value, Word) and value in {"OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"}
    if kind == PAIRS:
        return isinstance(value, list) and all(set(one) == {"key", "value"} for one in value)
    if kind == STRINGS:
        return isinstance(value, list) and all(fits(one, STRING) for one in value)
    if kind == STRING:
        return isinstance(value, str) and not isinstance(value, Word)
    return type(value) is (bool if kind == BOOLEAN else int)


def selected(fields: Fields, inner: dict[str, Any], schema: dict[str, str]) -> Fields:
    """What was asked for of it."""
    for name in inner:
        if name not in schema:
            raise Refused(f'Cannot query field "{name}".')
    return {name: fields.get(name) for name in inner}


@contextmanager
def running_runpod_api() -> Iterator[RunPodApi]:
    """An empty account on a free port of 127.0.0.1, served by a thread of its own: the SDK blocks."""
    api, loop, ready, stop = RunPodApi(), asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        application = web.Application()
        application.router.add_post("/graphql", api.answer)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ((_, port, *_),) = runner.addresses
        api.url = f"http://127.0.0.1:{port}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield api
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
