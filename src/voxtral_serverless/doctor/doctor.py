"""All checks, in their order."""

from __future__ import annotations

import asyncio

from voxtral_serverless.doctor.api import api_check
from voxtral_serverless.doctor.engines import embedded_check, engine_check, server_check, vllm_check
from voxtral_serverless.doctor.examination import Check, blocking, examine, in_thread, listening
from voxtral_serverless.doctor.findings import Line
from voxtral_serverless.doctor.gpus import driver_check, gpu_check, placement_check
from voxtral_serverless.doctor.models import aligners_check, hub_check, pipeline_check, pyannote_check, weights_check
from voxtral_serverless.doctor.room import disk_check, downloads_check, files_check, memory_check
from voxtral_serverless.doctor.situation import look_around
from voxtral_serverless.doctor.sound import sound_check
from voxtral_serverless.doctor.surroundings import ports_check, readable_settings, runpod_check, settings_check

CHECKS = (
    blocking("settings", settings_check),
    blocking("RunPod", runpod_check),
    blocking("engine", engine_check),
    blocking("GPU", gpu_check),
    blocking("driver", driver_check),
    blocking("model", placement_check),
    blocking("vLLM", vllm_check),
    blocking("weights", weights_check),
    Check("server", server_check),
    blocking("pyannote", pyannote_check),
    blocking("diarization", pipeline_check),
    blocking("aligners", aligners_check),
    blocking("Hugging Face", hub_check),
    blocking("downloads", downloads_check),
    blocking("disk", disk_check),
    blocking("memory", memory_check),
    blocking("files", files_check),
    Check("decoding", sound_check),
    blocking("ports", ports_check),
    blocking("HTTP API", api_check),
    blocking("embedded", embedded_check),
)


def examined(*, offline: bool = False) -> list[Line]:
    """What all checks find on this machine, by the settings of the environment. Blocks: for seconds, and never for
    more than two minutes, most of which a driver or a network that hangs would take.
    """
    return asyncio.run(_examined(offline))


async def _examined(offline: bool) -> list[Line]:
    settings, faults = readable_settings()
    with listening():
        situation = await in_thread(lambda: look_around(settings, faults, offline=offline))
        return await examine(CHECKS, situation)
