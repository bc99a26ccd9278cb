"""What follows from a description, and what is refused of it."""

import json

import pytest

from voxtral_serverless.deploy.deployment import GPUS, MINI, POOL_GB, SMALL, Deployment, disk_gb
from voxtral_serverless.deploy.description import described
from voxtral_serverless.deploy.worker_settings import (
    container_disk_gb,
    execution_timeout_s,
    is_secret,
    notes,
    scaler_value,
    worker_settings,
)
from voxtral_serverless.errors import DeploymentInvalid

IMAGE = "ghcr.io/example/voxtral-serverless:0.1.0"


def deployment(**fields: object) -> Deployment:
    return described(None, {"image": IMAGE, **fields})


def told(**fields: object) -> str:
    with pytest.raises(DeploymentInvalid) as refused:
        worker_settings(deployment(**fields).environment)
    return refused.value.message


def noted(**fields: object) -> str:
    found = deployment(**fields)
    return "\n".join(notes(found, worker_settings(found.environment)))


def test_time_for_the_longest_recording_follows_from_the_settings() -> None:
    # Its start, its download, and half its length: RunPod's 600 s would end it.
    plain = deployment()
    assert execution_timeout_s(plain, worker_settings({})) == 1200 + 1800 + 4500
    short = {"MAX_DURATION_S": "600", "FETCH_TIMEOUT_S": "60"}
    assert execution_timeout_s(plain, worker_settings(short)) == 1200 + 60 + 300
    assert execution_timeout_s(deployment(execution_timeout_s=900), worker_settings({})) == 900


def test_disk_holds_the_weights_and_the_recordings() -> None:
    assert disk_gb(MINI, 4, 4.1, 9000) == 40
    assert disk_gb(SMALL, 4, 4.1, 9000) - disk_gb(MINI, 4, 4.1, 9000) in (40, 50)
    assert disk_gb(MINI, 16, 4.1, 9000) > 80
    found = deployment(env={"MAX_CONCURRENCY": "16"})
    assert container_disk_gb(found, worker_settings(found.environment)) > 80
    assert container_disk_gb(deployment(container_disk_gb=77), worker_settings({})) == 77


def test_scaling_follows_what_a_worker_does_at_once() -> None:
    found = deployment(env={"MAX_CONCURRENCY": 8})
    assert scaler_value(found, worker_settings(found.environment)) == 8
    assert scaler_value(deployment(scaler="queue_delay"), worker_settings({})) == 4
    assert scaler_value(deployment(scaler_value=2), worker_settings({})) == 2


@pytest.mark.parametrize(("model", "count"), GPUS)
def test_default_pools_hold_their_model(model: str, count: int) -> None:
    assert "too small" not in noted(model=model, gpu_count=count)
    assert all(pool in POOL_GB or pool.startswith("-") for pool in GPUS[model, count])


def test_gpus_that_are_too_small_are_told() -> None:
    assert "1 GPU(s) of AMPERE_48 are too small" in noted(model=SMALL, gpu=["AMPERE_48"])
    assert "too small" in noted(gpu=["AMPERE_16"])
    halved = {"VLLM_EXTRA_ARGS": "--quantization fp8"}
    assert "too small" not in noted(model=SMALL, gpu=["AMPERE_48"], env=halved)


def test_cached_model_is_at_the_revision_that_the_worker_wants() -> None:
    assert deployment().model_reference == f"https://huggingface.co/{MINI}:main"
    pinned = deployment(env={"VOXTRAL_REVISION": "abc123"})
    assert pinned.model_reference == f"https://huggingface.co/{MINI}:abc123"
    assert deployment(cached_model=False).model_reference is None
    assert deployment(model="/models/voxtral", gpu=["ADA_24"]).model_reference is None


def test_environment_of_the_worker() -> None:
    found = deployment(
        hf_token_secret="hugging_face",
        job_defaults={"language": "fr"},
        env={"MAX_CONCURRENCY": 2, "FETCH_ALLOW_PRIVATE": True},
    )
    assert found.environment == {
        "FETCH_ALLOW_PRIVATE": "true",
        "HF_TOKEN": "{{ RUNPOD_SECRET_hugging_face }}",
        "JOB_DEFAULTS": '{"language": "fr"}',
        "MAX_CONCURRENCY": "2",
        "RUNPOD_INIT_TIMEOUT": "800",
        "VOXTRAL_MODEL": MINI,
    }
    settings = worker_settings(found.environment)
    assert (settings.max_concurrency, settings.job_defaults, settings.hf_token) == (2, {"language": "fr"}, None)


def test_settings_of_this_machine_are_not_those_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_CONCURRENCY", "nonsense")
    monkeypatch.setenv("MAX_DURATION_S", "60")
    assert worker_settings({}).max_duration_s == 9000


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"image": "two words"}, "image"),
        ({"name": "-x"}, "name"),
        ({"gpu": ["NVIDIA GeForce RTX 4090"]}, "pool's id"),
        ({"gpu": ["-NVIDIA RTX A4500"]}, "no pool is named"),
        ({"gpu_count": 3}, "there is no default"),
        ({"model": "someone/else"}, "there is no default"),
        ({"cuda": ["13"]}, "cuda.0"),
        ({"workers_min": 4}, "workers_max (3) is less than workers_min (4)"),
        ({"workers_max": "three"}, "workers_max"),
        ({"idle_timeout_s": 0}, "idle_timeout_s"),
        ({"env": {"NOT A NAME": "x"}}, "env"),
        ({"env": {"LABEL_LANGUAGE": None}}, "env.LABEL_LANGUAGE"),
        ({"env": {"VOXTRAL_MODEL": "x"}}, "say it with model"),
        ({"env": {"HF_TOKEN": "x"}, "hf_token_secret": "y"}, "say it with hf_token_secret"),
        ({"env": {"MAX_CONCURRENCY": "many"}}, "env.MAX_CONCURRENCY"),
        ({"env": {"ALIGNMENT_MODELS": "{"}}, "env.ALIGNMENT_MODELS: not valid JSON"),
        ({"job_defaults": {"langauge": "fr"}}, "job_defaults: unknown field 'langauge': did you mean 'language'?"),
    ],
)
def test_faults_are_told(fields: dict[str, object], reason: str) -> None:
    assert reason in told(**fields)


def test_all_faults_at_once_and_no_value_of_a_variable() -> None:
    message = told(wrokers_max=3, idle_timeout_s=0, env={"HF_TOKEN": ["hf_secret"], "A B": "hf_other"})
    assert "'A B' is not a variable's name" in message
    assert "unknown key 'wrokers_max': did you mean 'workers_max'?" in message
    assert "idle_timeout_s" in message
    assert "hf_" not in message
    assert "hf_" not in told(env={"MAX_CONCURRENCY": "hf_secret"})


def test_token_in_place_of_a_secrets_name_is_not_taken_and_not_shown() -> None:
    message = told(hf_token_secret="hf_" + "aB3" * 11)
    assert "make a RunPod secret of it" in message
    assert "aB3" not in message


def test_what_the_owner_should_know() -> None:
    assert "no HF_TOKEN" in noted()
    assert noted(hf_token_secret="x", workers_max=5) == ""
    assert "the first GPU pool alone, ADA_24" in noted(hf_token_secret="x")
    assert "the first GPU pool" not in noted(gpu=["ADA_24"])
    assert "EMBEDDED=1" in noted(env={"DIARIZER": "embedded"})
    assert "no HF_TOKEN" not in noted(env={"DIARIZER": "none"})
    assert "plain text" in noted(env={"HF_TOKEN": "hf_abc"})
    assert "hf_abc" not in noted(env={"HF_TOKEN": "hf_abc"})
    assert "did you mean MAX_CONCURRENCY?" in noted(env={"MAX_CONCURENCY": "3"})
    assert "billed from now on" in noted(workers_min=1)
    assert "no fixed tag" in noted(image="ghcr.io/example/voxtral-serverless")
    assert "no fixed tag" in noted(image="localhost:5000/voxtral:latest")


@pytest.mark.parametrize("name", ["HF_TOKEN", "VLLM_API_KEY", "BUCKET_ACCESS_KEY_ID", "MY_PASSWORD"])
def test_secrets_are_known_as_such(name: str) -> None:
    assert is_secret(name, "value")
    assert not is_secret(name, "{{ RUNPOD_SECRET_x }}")


def test_variables_that_are_no_secrets_are_shown() -> None:
    assert not is_secret("MAX_CONCURRENCY", "4")
    assert not is_secret("JOB_DEFAULTS", json.dumps({"language": "fr"}))
