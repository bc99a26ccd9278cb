"""The files that RunPod's Hub reads: of the form that its guide describes, and saying what our settings say."""

import asyncio
import base64
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from tests.conftest import no_report
from tests.media import ROOT
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.contract import parse_job
from voxtral_serverless.deploy.deployment import MINI, POOL_GB, SMALL, Deployment, disk_gb
from voxtral_serverless.deploy.worker_settings import worker_settings
from voxtral_serverless.settings import Settings

FOLDER = ROOT / ".runpod"
Variable = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
Cuda = Annotated[str, Field(pattern=r"^\d\d\.\d$")]


class Strict(BaseModel):
    """What it has no field for is refused. Names are in camel case there."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class Option(Strict):
    label: str
    value: str


class Input(Strict):
    """What the owner of an endpoint fills in."""

    name: Annotated[str, Field(min_length=2)]
    type: Literal["string", "huggingface", "number", "boolean"]
    description: Annotated[str, Field(min_length=10)]
    default: str | bool | int | float | None = None
    required: bool = False
    advanced: bool = False
    min: float | None = None
    max: float | None = None
    options: list[Option] | None = None
    true_value: str | None = None
    false_value: str | None = None

    @model_validator(mode="after")
    def _one_type(self) -> "Input":
        kinds: dict[str, type | tuple[type, ...]] = {
            "string": str,
            "huggingface": str,
            "number": (int, float),
            "boolean": bool,
        }
        assert self.default is None or isinstance(self.default, kinds[self.type])
        assert self.type == "number" or (self.min is None and self.max is None)
        assert (self.type == "boolean") == (self.true_value is not None and self.false_value is not None)
        assert not self.options or self.default in [option.value for option in self.options]
        return self


class HubVariable(Strict):
    """A variable: fixed, or filled in."""

    key: Variable
    value: str | None = None
    input: Input | None = None

    @model_validator(mode="after")
    def _either(self) -> "HubVariable":
        assert (self.value is None) != (self.input is None)
        return self


class Preset(Strict):
    name: str
    defaults: dict[Variable, str | bool | int | float]


class HubConfig(Strict):
    runs_on: Literal["GPU", "CPU"]
    endpoint_type: Literal["LB"] | None = None
    container_disk_in_gb: Annotated[int, Field(gt=0)]
    gpu_ids: str
    gpu_count: Annotated[int, Field(gt=0)]
    allowed_cuda_versions: list[Cuda]
    presets: list[Preset]
    env: list[HubVariable]


class Hub(Strict):
    """hub.json, by RunPod's publishing guide."""

    title: str
    description: str
    type: Literal["serverless"]
    category: Literal["audio", "embedding", "language", "video", "image"]
    icon_url: str | None = None
    config: HubConfig


class HubTest(Strict):
    name: str
    input: dict[str, JsonValue]
    timeout: Annotated[int, Field(gt=0)]


class HubTestVariable(Strict):
    key: Variable
    value: str


class HubTestConfig(Strict):
    gpu_type_id: str
    gpu_count: Annotated[int, Field(gt=0)]
    env: list[HubTestVariable]
    allowed_cuda_versions: list[Cuda]


class HubTests(Strict):
    """tests.json, by the same guide. `timeout` is in milliseconds."""

    tests: list[HubTest]
    config: HubTestConfig


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/hub_files.py."""
    spec = importlib.util.spec_from_file_location("hub_files", ROOT / "scripts" / "hub_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hub_files"] = module
    spec.loader.exec_module(module)
    return module


HUB = Hub.model_validate_json((FOLDER / "hub.json").read_text())
HUB_TESTS = HubTests.model_validate_json((FOLDER / "tests.json").read_text())


def test_hub_file_says_what_the_settings_say(script: ModuleType) -> None:
    assert (FOLDER / "hub.json").read_text() == script.hub(), "run python scripts/hub_files.py, and see LEFT_OUT there"


def test_every_setting_is_offered_or_left_out_for_a_reason(script: ModuleType) -> None:
    offered = {variable.key.lower() for variable in HUB.config.env if variable.input}
    assert offered | set(script.LEFT_OUT) == set(Settings.model_fields)
    assert not offered & set(script.LEFT_OUT)
    assert all(len(reason) > 10 for reason in script.LEFT_OUT.values())


def filled_in() -> dict[str, str]:
    """The environment of an endpoint whose owner changed nothing."""
    values = {}
    for variable in HUB.config.env:
        value: Any = variable.value if variable.value is not None else variable.input and variable.input.default
        if value is not None:
            values[variable.key] = value if isinstance(value, str) else json.dumps(value)
    return values


def test_defaults_of_the_form_are_those_of_the_worker() -> None:
    assert worker_settings(filled_in()) == worker_settings({})


def test_a_first_start_has_the_time_that_it_takes() -> None:
    assert filled_in()["RUNPOD_INIT_TIMEOUT"] == "800"
    assert {"key": "RUNPOD_INIT_TIMEOUT", "value": "800"} in [one.model_dump() for one in HUB_TESTS.config.env]


def test_secrets_have_no_default_and_speak_of_runpods() -> None:
    forms = {variable.key: variable.input for variable in HUB.config.env if variable.input}
    for name, field in Settings.model_fields.items():
        if "SecretStr" in str(field.annotation) and name.upper() in forms:
            form = forms[name.upper()]
            assert form.default is None
            assert "RUNPOD_SECRET_" in form.description


@pytest.mark.parametrize("preset", HUB.config.presets, ids=lambda preset: preset.name)
def test_presets_are_settings_that_work(preset: Preset) -> None:
    offered = {variable.key for variable in HUB.config.env}
    assert preset.defaults.keys() <= offered
    settings = worker_settings(filled_in() | {key: str(value) for key, value in preset.defaults.items()})
    assert settings.voxtral_model in {MINI, SMALL}
    assert disk_gb(settings.voxtral_model, 4, 4.096, 9000) <= HUB.config.container_disk_in_gb


def test_hardware_is_what_deploy_would_take() -> None:
    deployment = Deployment.model_validate({"image": "a/b:1"})
    assert HUB.config.gpu_ids.split(",") == deployment.pools
    assert HUB.config.allowed_cuda_versions == HUB_TESTS.config.allowed_cuda_versions == deployment.cuda
    assert {pool for pool in HUB.config.gpu_ids.split(",") if not pool.startswith("-")} <= POOL_GB.keys()


def test_hub_tests_need_no_volume_no_token_and_no_download_of_a_recording() -> None:
    environment = {variable.key: variable.value for variable in HUB_TESTS.config.env}
    assert environment["DIARIZER"] == "none"
    assert environment["VOXTRAL_MODEL"] == MINI
    assert worker_settings(environment).hf_token is None
    assert not [test.name for test in HUB_TESTS.tests if "audio_url" in test.input]
    assert all(test.timeout <= 900_000 for test in HUB_TESTS.tests)
    assert len((FOLDER / "tests.json").read_text()) < 64_000


def recording(test: HubTest, folder: Path) -> Recording:
    encoded = test.input["audio_base64"]
    assert isinstance(encoded, str)
    (folder / "clip").write_bytes(base64.b64decode(encoded, validate=True))
    return asyncio.run(decode(folder / "clip", folder, 9000, no_report))


@pytest.mark.parametrize(
    ("test", "seconds"), list(zip(HUB_TESTS.tests, (6.2, 11.8), strict=True)), ids=lambda one: getattr(one, "name", "")
)
def test_hub_tests_are_jobs_with_recordings_that_can_be_heard(test: HubTest, seconds: float, tmp_path: Path) -> None:
    job = parse_job({"input": test.input}, {})
    assert job.language == "en"
    found = recording(test, tmp_path)
    assert abs(found.duration - seconds) < 0.2
    assert loudest(found, Span(0, found.duration)) > 1000


def loudest(found: Recording, span: Span, channel: int | None = None) -> int:
    return int(abs(found.clip(span, channel).astype("int64")).max())


def test_the_two_channels_have_a_party_each(tmp_path: Path) -> None:
    found = recording(HUB_TESTS.tests[1], tmp_path)
    agent, customer = (Span(0.6, 5.9), Span(6.4, 11.5))
    loud = [[loudest(found, span, channel) > 1000 for channel in (0, 1)] for span in (agent, customer)]
    assert loud == [[True, False], [False, True]]


def test_the_job_of_two_channels_is_done_without_a_diarizer() -> None:
    environment = {**os.environ, "ENGINE": "embedded", "DIARIZER": "none"}
    job = json.dumps({"input": HUB_TESTS.tests[1].input})
    done = subprocess.run(
        [sys.executable, "-m", "voxtral_serverless", "transcribe", "--job", "-"],
        input=job, capture_output=True, text=True, check=True, timeout=100, env=environment,
    )  # fmt: skip
    answer = json.loads(done.stdout)
    agent, customer = answer["transcriptions"]
    assert (agent["speaker"], customer["speaker"]) == ("Agent", "Customer")
    assert "garden" in agent["text"]
    assert "table" in customer["text"]
    assert None not in (answer["summary"], answer["sentiment"])


def test_handler_is_the_worker() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "handler.py")], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 1
    assert "invalid_configuration: RUNPOD_WEBHOOK_GET_JOB is not set" in done.stderr
