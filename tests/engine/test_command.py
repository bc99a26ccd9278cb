"""The launch lines of the machines that people rent, and what is refused."""

from dataclasses import replace

import pytest

from tests.engine.test_placement import A100_40, A100_80, MINI, RTX_3060, RTX_4090, SMALL
from voxtral_serverless.engine.checkpoint import Weights
from voxtral_serverless.engine.command import AS_IT_COMES, Boot, Launch, launch, refuse_too_large
from voxtral_serverless.engine.machine import Gpu
from voxtral_serverless.errors import EngineUnavailable, InvalidConfiguration


def launched(
    weights: Weights, *gpus: Gpu, extra: str = "", inherited: dict[str, str] | None = None, boot: Boot = AS_IT_COMES
) -> Launch:
    return launch("/opt/vllm", weights, gpus, port=8000, key="k3y", extra=extra, inherited=inherited or {}, boot=boot)


def flags(command: Launch) -> dict[str, str]:
    """Each flag's last value: the one that counts."""
    pairs = zip(command.arguments[3:], [*command.arguments[4:], ""], strict=True)
    return {flag: "" if value.startswith("--") else value for flag, value in pairs if flag.startswith("--")}


ALWAYS = {
    "--host": "127.0.0.1",
    "--port": "8000",
    "--tokenizer-mode": "mistral",
    "--config-format": "mistral",
    "--load-format": "mistral",
    "--generation-config": "vllm",
    "--max-model-len": "16384",
    "--limit-mm-per-prompt": '{"audio": 1}',
    "--mm-processor-cache-gb": "0",
    "--structured-outputs-config": '{"backend": "xgrammar", "disable_any_whitespace": true}',
    "--disable-fastapi-docs": "",
    "--disable-uvicorn-access-log": "",
    "--enable-prefix-caching": "",
}
ON_GPU = ALWAYS | {
    "--max-num-seqs": "32",
    "--max-num-batched-tokens": "4096",
    "--max-cudagraph-capture-size": "32",
}


@pytest.mark.parametrize(
    ("weights", "gpus", "expected"),
    [
        (MINI, [RTX_4090], {"--tensor-parallel-size": "1", "--gpu-memory-utilization": "0.77"}),
        (MINI, [A100_80], {"--tensor-parallel-size": "1", "--gpu-memory-utilization": "0.92"}),
        (MINI, [RTX_4090, RTX_4090], {"--tensor-parallel-size": "1", "--gpu-memory-utilization": "0.77"}),
        (SMALL, [A100_40, A100_40], {"--tensor-parallel-size": "2", "--gpu-memory-utilization": "0.86"}),
        (SMALL, [A100_80], {"--tensor-parallel-size": "1", "--gpu-memory-utilization": "0.92"}),
    ],
)
def test_launch_lines(weights: Weights, gpus: list[Gpu], expected: dict[str, str]) -> None:
    command = launched(weights, *gpus)
    assert command.arguments[:3] == ("/opt/vllm", "serve", str(weights.folder))
    assert flags(command) == ON_GPU | expected | {"--served-model-name": weights.name}


def test_without_a_gpu_it_runs_on_the_processor() -> None:
    command = launched(MINI)
    own = {"--served-model-name": MINI.name, "--max-num-seqs": "4", "--dtype": "bfloat16", "--enforce-eager": ""}
    assert flags(command) == ALWAYS | own
    # Four requests of 16384 tokens of 120 KiB each.
    assert command.environment["VLLM_CPU_KVCACHE_SPACE"] == "8"


@pytest.mark.parametrize(
    ("weights", "gpus"),
    [(SMALL, [RTX_4090]), (SMALL, [RTX_4090, RTX_4090]), (MINI, [RTX_3060])],
)
def test_model_that_cannot_fit_is_refused(weights: Weights, gpus: list[Gpu]) -> None:
    with pytest.raises(EngineUnavailable):
        launched(weights, *gpus)


def test_refusal_on_gpus_and_on_the_processor() -> None:
    with pytest.raises(EngineUnavailable, match="of GPU memory"):
        refuse_too_large(SMALL, [RTX_4090], 10**6, "")
    with pytest.raises(EngineUnavailable, match=r"about 57 GB of memory .* and 31 are free"):
        refuse_too_large(SMALL, [], 32_000, "")
    refuse_too_large(MINI, [], 32_000, "")
    refuse_too_large(MINI, [], 8_000, "--max-model-len 2048")


def test_who_quantises_knows_what_fits() -> None:
    refuse_too_large(SMALL, [A100_40], 0, "--quantization fp8")
    command = launched(SMALL, A100_40, extra="--quantization=fp8")
    assert command.arguments[-1] == "--quantization=fp8"


@pytest.mark.parametrize("extra", ["", "--max-model-len 32768", "--max_model_len=32768", "--quantization fp8"])
def test_a_flag_of_their_own_does_not_change_over_how_many_gpus_it_lies(extra: str) -> None:
    assert flags(launched(SMALL, A100_40, A100_40, extra=extra))["--tensor-parallel-size"] == "2"


def test_model_that_is_larger_than_we_reckon_lies_over_all() -> None:
    assert flags(launched(SMALL, *[RTX_3060] * 4, extra="--quantization fp8"))["--tensor-parallel-size"] == "4"


def test_card_without_room_is_refused_whatever_is_given() -> None:
    with pytest.raises(EngineUnavailable):
        launched(MINI, Gpu("an old card", 6_144, 6_000), extra="--quantization fp8")


def test_extra_arguments_come_last_and_win() -> None:
    command = launched(MINI, RTX_4090, extra="--max-model-len 32768 --hf-overrides '{\"a\": 1}'")
    assert command.arguments[-4:] == ("--max-model-len", "32768", "--hf-overrides", '{"a": 1}')
    assert flags(command)["--max-model-len"] == "32768"


@pytest.mark.parametrize(
    "extra",
    [
        "--disable-log-stats",
        "--disable_log_stats",
        "--disable-log-stat",
        "--hos 0.0.0.0",
        "--host 0.0.0.0",
        "--port=9",
        "--api-key x",
        "--x 'open",
    ],
)
def test_extra_arguments_that_would_blind_or_expose_us(extra: str) -> None:
    with pytest.raises(InvalidConfiguration, match="VLLM_EXTRA_ARGS"):
        launched(MINI, extra=extra)


def test_environment_is_an_allow_list() -> None:
    ours = {
        "PATH": "/bin", "CUDA_VISIBLE_DEVICES": "1", "VLLM_CACHE_ROOT": "/cache",
        "VLLM_PORT": "8000", "VLLM_API_KEY": "theirs", "VLLM_EXTRA_ARGS": "x", "VLLM_BASE_URL": "x",
        "HF_TOKEN": "hf_secret", "API_KEY": "secret", "RUNPOD_AI_API_KEY": "secret", "PYTHONPATH": "/ours",
    }  # fmt: skip
    environment = launched(MINI, inherited=ours).environment
    assert {name: environment[name] for name in ours if name in environment} == {
        "PATH": "/opt:/bin",  # with what lies beside vllm: it compiles with ninja
        "CUDA_VISIBLE_DEVICES": "1",
        "VLLM_CACHE_ROOT": "/cache",
        "VLLM_API_KEY": "k3y",
    }
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert float(environment["VLLM_MAX_AUDIO_DECODE_DURATION_S"]) > 600


def test_short_model_is_not_asked_for_more_than_it_has() -> None:
    assert flags(launched(replace(MINI, max_positions=4096)))["--max-model-len"] == "4096"


def test_without_compiling() -> None:
    command = flags(launched(MINI, RTX_4090, boot=Boot(compiles=False)))
    assert "--enforce-eager" in command
    assert "--max-cudagraph-capture-size" not in command


@pytest.mark.parametrize(
    "extra", ["-cc.mode=0", "--compilation-config '{}'", "--cudagraph_capture_sizes 1 2", "--max-num-seqs=64"]
)
@pytest.mark.parametrize("compiles", [True, False])
def test_who_says_what_is_compiled_is_not_contradicted(extra: str, compiles: bool) -> None:
    """vLLM ends at once where it is told twice."""
    command = launched(MINI, RTX_4090, extra=extra, boot=Boot(compiles=compiles))
    assert not {"--max-cudagraph-capture-size", "--enforce-eager"} & set(command.arguments)


def test_ways_of_reading_the_weights() -> None:
    assert flags(launched(MINI, boot=Boot(loading="prefetch"))).items() >= {
        ("--load-format", "mistral"),
        ("--safetensors-load-strategy", "prefetch"),
    }
    command = flags(launched(MINI, RTX_4090, boot=Boot(loading="instanttensor")))
    assert command["--load-format"] == "instanttensor"
    assert "--safetensors-load-strategy" not in command


def test_what_is_kept_for_the_next_start() -> None:
    boot = Boot(caches={"TRITON_CACHE_DIR": "/cache/triton", "VLLM_CACHE_ROOT": "/cache/vllm"})
    environment = launched(MINI, boot=boot, inherited={"VLLM_CACHE_ROOT": "/mine"}).environment
    assert environment["TRITON_CACHE_DIR"] == "/cache/triton"
    assert environment["VLLM_CACHE_ROOT"] == "/mine"
    assert environment["VLLM_ENABLE_STARTUP_PLAN"] == "1"
    assert "VLLM_ENABLE_STARTUP_PLAN" not in launched(MINI, boot=Boot(plans=False)).environment
    own = {"VLLM_ENABLE_STARTUP_PLAN": "0"}
    assert launched(MINI, inherited=own).environment["VLLM_ENABLE_STARTUP_PLAN"] == "0"


def test_engine_waits_for_its_core_as_long_as_we_do() -> None:
    """By itself it would give up after 600 s."""
    assert launched(MINI, boot=Boot(timeout_s=1799.5)).environment["VLLM_ENGINE_READY_TIMEOUT_S"] == "1800"
