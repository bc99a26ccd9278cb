"""What stands on RunPod after a deployment, and after it was repeated, changed, refused or cut in half."""

import pytest

from tests.deploy.test_deployment import IMAGE, deployment
from tests.fakes.runpod_api import KEY, RunPodApi
from voxtral_serverless.deploy import api as api_module
from voxtral_serverless.deploy.api import RunPodApi as Client
from voxtral_serverless.deploy.rollout import Outcome, Part, roll_out
from voxtral_serverless.deploy.worker_settings import worker_settings
from voxtral_serverless.errors import DeploymentInvalid, RunPodKeyRefused, RunPodRefused, RunPodUnreachable


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "PAUSE_S", 0.01)


def rolled_out(key: str = KEY, seen: list[str] | None = None, **fields: object) -> Outcome:
    found = deployment(**fields)

    def agreed(*parts: Part) -> None:
        for part in parts:
            (seen if seen is not None else []).extend(part.changes)

    return roll_out(found, worker_settings(found.environment), Client(key), agreed)


def test_template_and_endpoint_are_created(runpod: RunPodApi) -> None:
    done = rolled_out(
        hf_token_secret="hf", job_defaults={"language": "fr", "speaker_labels": ['The "agent"', "客户"]}, workers_max=2
    )
    assert (done.template, done.endpoint) == ("created", "created")
    [template], [endpoint] = runpod.templates, runpod.endpoints
    assert (template["id"], endpoint["id"]) == (done.template_id, done.endpoint_id)
    assert (template["imageName"], template["isServerless"], template["containerDiskInGb"]) == (IMAGE, True, 40)
    environment = {pair["key"]: pair["value"] for pair in template["env"]}
    assert environment["HF_TOKEN"] == "{{ RUNPOD_SECRET_hf }}"
    assert environment["RUNPOD_INIT_TIMEOUT"] == "800"
    assert environment["JOB_DEFAULTS"] == '{"language": "fr", "speaker_labels": ["The \\"agent\\"", "客户"]}'
    expected = {
        "name": "voxtral-serverless", "templateId": template["id"], "gpuIds": "ADA_24,AMPERE_24,-NVIDIA RTX A4500",
        "gpuCount": 1, "allowedCudaVersions": "13.0", "executionTimeoutMs": 7_500_000, "idleTimeout": 60,
        "scalerType": "REQUEST_COUNT", "scalerValue": 4, "workersMin": 0, "workersMax": 2, "flashBootType": "FLASHBOOT",
        "modelReferences": ["https://huggingface.co/mistralai/Voxtral-Mini-3B-2507:main"],
    }  # fmt: skip
    assert {name: endpoint[name] for name in expected} == expected


def test_repeated_it_changes_nothing_and_sends_nothing(runpod: RunPodApi) -> None:
    first = rolled_out()
    again = rolled_out()
    assert (again.template, again.endpoint) == ("unchanged", "unchanged")
    assert (again.template_id, again.endpoint_id) == (first.template_id, first.endpoint_id)
    assert runpod.mutations == ["saveTemplate", "saveEndpoint"]


@pytest.mark.parametrize("ending", [" -fb", "-fb"])
def test_endpoint_is_found_by_what_runpod_made_of_its_name(ending: str, runpod: RunPodApi) -> None:
    runpod.behind_names = ending
    rolled_out()
    assert rolled_out().endpoint == "unchanged"
    assert len(runpod.endpoints) == 1


def test_changed_it_is_updated_and_nothing_is_there_twice(runpod: RunPodApi) -> None:
    rolled_out(env={"MAX_CONCURRENCY": "4", "HF_TOKEN": "hf_old"}, network_volume="vol1")
    seen: list[str] = []
    done = rolled_out(
        seen=seen, image="ghcr.io/example/voxtral-serverless:0.2.0", flashboot=False, data_centers=["EU-RO-1", "EU-FR-1"],
        env={"MAX_CONCURRENCY": "8", "HF_TOKEN": "hf_new"}, cached_model=False, registry_auth="reg1",
    )  # fmt: skip
    assert (done.template, done.endpoint) == ("updated", "updated")
    [template], [endpoint] = runpod.templates, runpod.endpoints
    assert (template["imageName"], template["containerRegistryAuthId"]) == (
        "ghcr.io/example/voxtral-serverless:0.2.0",
        "reg1",
    )
    assert (endpoint["flashBootType"], endpoint["modelReferences"], endpoint["scalerValue"]) == ("OFF", [], 8)
    assert (endpoint["locations"], endpoint["networkVolumeId"]) == ("EU-RO-1,EU-FR-1", "")
    assert "env.MAX_CONCURRENCY: 4 → 8" in seen
    assert "env.HF_TOKEN: *** → ***" in seen
    assert "networkVolumeId: vol1 → none" in seen
    assert "scalerValue: 4 → 8" in seen
    assert not [line for line in seen if "hf_" in line]
    assert rolled_out(
        image="ghcr.io/example/voxtral-serverless:0.2.0", flashboot=False, data_centers=["EU-RO-1", "EU-FR-1"],
        env={"MAX_CONCURRENCY": "8", "HF_TOKEN": "hf_new"}, cached_model=False, registry_auth="reg1",
    ).endpoint == "unchanged"  # fmt: skip


def test_only_the_part_that_differs_is_sent(runpod: RunPodApi) -> None:
    rolled_out()
    done = rolled_out(workers_max=9)
    assert (done.template, done.endpoint) == ("unchanged", "updated")
    assert runpod.mutations == ["saveTemplate", "saveEndpoint", "saveEndpoint"]


def test_nothing_is_sent_where_its_owner_does_not_agree(runpod: RunPodApi) -> None:
    def refuse(*_: Part) -> None:
        raise KeyboardInterrupt

    found = deployment()
    with pytest.raises(KeyboardInterrupt):
        roll_out(found, worker_settings(found.environment), Client(KEY), refuse)
    assert runpod.mutations == []


def test_half_done_it_can_be_repeated(runpod: RunPodApi) -> None:
    runpod.refusals["saveEndpoint"] = "Max workers quota exceeded (5)."
    with pytest.raises(RunPodRefused) as refused:
        rolled_out()
    assert refused.value.message == "the endpoint: Max workers quota exceeded (5)."
    assert (len(runpod.templates), runpod.endpoints) == (1, [])
    done = rolled_out()
    assert (done.template, done.endpoint) == ("unchanged", "created")
    assert (len(runpod.templates), len(runpod.endpoints)) == (1, 1)


def test_template_that_was_deleted_is_made_anew_and_the_endpoint_led_to_it(runpod: RunPodApi) -> None:
    rolled_out()
    runpod.templates[0] |= {"id": "tpl9", "name": "somebody's"}
    done = rolled_out()
    assert (done.template, done.endpoint) == ("created", "updated")
    assert runpod.endpoints[0]["templateId"] == done.template_id != "tpl9"


def test_names_that_lead_to_something_else_are_refused(runpod: RunPodApi) -> None:
    rolled_out()
    runpod.endpoints.append(runpod.endpoints[0] | {"id": "ep7"})
    with pytest.raises(DeploymentInvalid, match=r"there are 2 of the endpoints named .* \(ep0, ep7\)"):
        rolled_out()
    runpod.templates[0]["isServerless"] = False
    runpod.endpoints.clear()
    with pytest.raises(DeploymentInvalid, match="template for Pods"):
        rolled_out()


def test_wrong_key_is_refused(runpod: RunPodApi) -> None:
    with pytest.raises(RunPodKeyRefused) as refused:
        rolled_out(key="rpa_wrong")
    assert "rpa_wrong" not in refused.value.message
    assert runpod.templates == []


def test_question_is_asked_again_when_the_api_stumbles(runpod: RunPodApi) -> None:
    runpod.statuses = [502, 503]
    assert rolled_out().endpoint == "created"
    runpod.statuses = [502, 502, 502]
    with pytest.raises(RunPodUnreachable, match="no JSON"):
        rolled_out()


def test_what_changes_something_is_sent_once(runpod: RunPodApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: Part) -> None:
        runpod.statuses = [502]

    found = deployment()
    with pytest.raises(RunPodUnreachable, match="the template: "):
        roll_out(found, worker_settings(found.environment), Client(KEY), stumble)
    assert runpod.requests == 2


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address"])
def test_api_that_is_down(address: str, runpod: RunPodApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNPOD_API_BASE_URL", address)
    with pytest.raises(RunPodUnreachable, match="cannot be reached"):
        rolled_out()


def test_refusal_without_a_reason(runpod: RunPodApi) -> None:
    runpod.refusals["saveTemplate"] = ""
    with pytest.raises(RunPodRefused, match="without a reason"):
        rolled_out()


def test_reason_that_quotes_what_was_sent_tells_no_secret(runpod: RunPodApi) -> None:
    runpod.refusals["saveTemplate"] = f'got {{key: "HF_TOKEN",\n value: "hf_verysecret"}} from {KEY}' + "x" * 1000
    with pytest.raises(RunPodRefused) as refused:
        rolled_out(env={"HF_TOKEN": "hf_verysecret"})
    assert "hf_verysecret" not in refused.value.message
    assert KEY not in refused.value.message
    assert len(refused.value.message) < 500
    assert "\n" not in refused.value.message
