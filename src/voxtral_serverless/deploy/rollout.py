"""From a description to what stands on RunPod: found by name, else created; repeated as often as one likes.

The template goes first. Where the endpoint is refused after it, the same command goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from voxtral_serverless.deploy.api import RunPodApi
from voxtral_serverless.deploy.bodies import Body, bare_name, changes, endpoint_body, template_body
from voxtral_serverless.deploy.deployment import Deployment
from voxtral_serverless.errors import DeploymentInvalid
from voxtral_serverless.settings import Settings

Action = Literal["created", "updated", "unchanged"]
NEW_TEMPLATE = "(the new template's id)"


@dataclass(frozen=True)
class Part:
    """A template or an endpoint: what is there, what is wanted, and how they differ.

    Attributes:
        there: As RunPod has it; None where it has none of the name.
        changes: A line each; none where it is there as wanted, or not at all.
    """

    kind: Literal["template", "endpoint"]
    there: Body | None
    wanted: Body
    changes: list[str]

    @property
    def action(self) -> Action:
        """What is to be done with it."""
        if self.there is None:
            return "created"
        return "updated" if self.changes else "unchanged"

    @property
    def body(self) -> Body:
        """What is sent."""
        return ({"id": self.there["id"]} if self.there else {}) | self.wanted


@dataclass(frozen=True)
class Outcome:
    """What was done, and the ids of it."""

    template_id: str
    template: Action
    endpoint_id: str
    endpoint: Action


def parts(deployment: Deployment, settings: Settings, api: RunPodApi) -> tuple[Part, Part]:
    """The template and the endpoint, held against what is there.

    Raises:
        DeploymentInvalid: the name leads to something that is not ours to replace.
        RunPodKeyRefused, RunPodRefused, RunPodUnreachable
    """
    templates, endpoints = api.everything()
    template = _only("template", deployment.name, templates)
    if template and template.get("isServerless") is False:
        raise DeploymentInvalid(f"name: {deployment.name!r} is the name of a template for Pods; take another.")
    endpoint = _only("endpoint", deployment.name, endpoints)
    template_id = template["id"] if template else NEW_TEMPLATE
    return (
        _part("template", template, template_body(deployment, settings)),
        _part("endpoint", endpoint, endpoint_body(deployment, settings, template_id)),
    )


def roll_out(
    deployment: Deployment, settings: Settings, api: RunPodApi, agreed: Callable[[Part, Part], None]
) -> Outcome:
    """Bring RunPod to what the deployment says; `agreed` sees what will happen first, and may raise.

    Raises:
        DeploymentInvalid, RunPodKeyRefused, RunPodRefused, RunPodUnreachable
    """
    template, endpoint = parts(deployment, settings, api)
    agreed(template, endpoint)
    template_id = _id_of(template, api.save_template)
    if endpoint.wanted["templateId"] != template_id:
        endpoint = _part("endpoint", endpoint.there, endpoint.wanted | {"templateId": template_id})
    return Outcome(template_id, template.action, _id_of(endpoint, api.save_endpoint), endpoint.action)


def _id_of(part: Part, save: Callable[[Body], Body]) -> str:
    found = part.there if part.action == "unchanged" else save(part.body)
    assert found is not None
    return str(found["id"])


def _part(kind: Literal["template", "endpoint"], there: Body | None, wanted: Body) -> Part:
    return Part(kind, there, wanted, changes(there, wanted) if there else [])


def _only(kind: str, name: str, found: list[Body]) -> Body | None:
    """The one of the name; None where there is none."""
    named = [one for one in found if bare_name(str(one.get("name"))) == name]
    if len(named) > 1:
        ids = ", ".join(str(one["id"]) for one in named)
        raise DeploymentInvalid(
            f"name: there are {len(named)} of the {kind}s named {name!r} ({ids}); rename or delete one."
        )
    return named[0] if named else None
