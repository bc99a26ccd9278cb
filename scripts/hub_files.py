"""Bring .runpod/hub.json up to date with the settings; with --check, only say whether it is (exit 1 if not).

With --clips, cut the recordings of .runpod/tests.json anew from the bundled call. Which settings an owner of an endpoint
has no use for, and why, is said here.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import av
import numpy as np
from numpy.typing import NDArray
from pydantic.fields import FieldInfo

from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span
from voxtral_serverless.deploy.deployment import SMALL, disk_gb
from voxtral_serverless.settings import Settings

ROOT = Path(__file__).parent.parent
HUB, TESTS = ROOT / ".runpod" / "hub.json", ROOT / ".runpod" / "tests.json"

LEFT_OUT = {
    "vllm_port": "nobody else listens in a worker, and a taken port is left by itself",
    "runpod_model_cache": "RunPod mounts its cache where it mounts it",
    "engine": "the image has one engine, and says so",
    "vllm_executable": "where the image has it",
    "diarization_python": "where the image has it",
    "fetch_allow_private": "a worker on RunPod has no private network whose recordings it should read",
    "host": "of the HTTP API, which no queue worker runs",
    "port": "of the HTTP API",
    "port_health": "of the HTTP API",
    "api_key": "of the HTTP API: RunPod checks its own keys",
    "allow_anonymous": "of the HTTP API",
    "data_dir": "of the HTTP API: a worker keeps nothing",
    "max_queue": "of the HTTP API: RunPod has its own queue",
    "result_ttl_s": "of the HTTP API",
}
"""Settings that the Hub does not offer, and why."""
PLAIN = ("hf_token", "voxtral_model", "diarizer", "job_defaults", "label_language", "max_concurrency", "max_duration_s")
"""Settings that are shown first; the others are behind "advanced"."""
FIXED = {"RUNPOD_INIT_TIMEOUT": "800"}
"""Variables that every endpoint gets. A first start takes 5 to 10 minutes, and RunPod gives up after 7 by itself."""
WORDS = {
    "Hf": "Hugging Face",
    "vllm": "vLLM",
    "Vllm": "vLLM",
    "s": "(s)",
    "mb": "(MB)",
    "url": "URL",
    "id": "id",
    "Url": "URL",
}
SECRET_HELP = " A RunPod secret is best: {{ RUNPOD_SECRET_name }}."


def title(name: str) -> str:
    """A setting's name in words, with its unit."""
    if name.endswith("_kib_s"):
        return f"{title(name.removesuffix('_kib_s'))} (KiB/s)"
    first, *rest = name.split("_")
    return " ".join(WORDS.get(word, word) for word in (first.capitalize(), *rest))


def unmarked(text: str) -> str:
    """A docstring as a form shows it: without marks, on one line."""
    return " ".join(text.replace("`", "").split())


def bounds(field: FieldInfo) -> dict[str, float]:
    """The least and the greatest value that are taken. The form knows no bound that is itself refused."""
    found = {}
    for rule in field.metadata:
        for ours, theirs in (("ge", "min"), ("le", "max")):
            if getattr(rule, ours, None) is not None:
                found[theirs] = getattr(rule, ours)
    return found


def kind(name: str, field: FieldInfo) -> dict[str, Any]:
    """The type of a setting's value, as the Hub names it, with what it may be."""
    if name == "voxtral_model":
        return {"type": "huggingface"}
    if field.annotation is bool:
        return {"type": "boolean", "trueValue": "true", "falseValue": "false"}
    if field.annotation in (int, float):
        return {"type": "number", **bounds(field)}
    if get_origin(field.annotation) is Literal:
        values = [value for value in get_args(field.annotation) if value != "embedded"]  # not in the image
        return {"type": "string", "options": [{"label": value, "value": value} for value in values]}
    return {"type": "string"}


def default(field: FieldInfo) -> dict[str, Any]:
    """The value where nothing is said, in the form's words; none where there is none."""
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == "":
        return {}
    return {"default": value if isinstance(value, bool | int | float | str) else json.dumps(value)}


def entry(name: str, field: FieldInfo) -> dict[str, Any]:
    """A setting in the Hub's form."""
    secret = "SecretStr" in str(field.annotation)
    form = {
        "name": title(name),
        **kind(name, field),
        "description": unmarked(field.description or "") + (SECRET_HELP if secret else ""),
        **default(field),
        "required": False,
        "advanced": name not in PLAIN,
    }
    return {"key": name.upper(), "input": form}


def variables() -> list[dict[str, Any]]:
    """The whole form, what is plain first."""
    offered = {name: field for name, field in Settings.model_fields.items() if name not in LEFT_OUT}
    order = [*PLAIN, *(name for name in offered if name not in PLAIN)]
    return [
        *(entry(name, offered[name]) for name in order),
        *({"key": key, "value": value} for key, value in FIXED.items()),
    ]


def written(content: dict[str, Any]) -> str:
    """A file as it stands in the repository."""
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def hub() -> str:
    """hub.json as it should be."""
    content = json.loads(HUB.read_text("utf-8"))
    fields = Settings.model_fields
    concurrency, megabytes, longest_s = (
        fields[name].default for name in ("max_concurrency", "max_audio_mb", "max_duration_s")
    )
    content["config"]["containerDiskInGb"] = disk_gb(SMALL, concurrency, megabytes / 1000, longest_s)
    content["config"]["env"] = variables()
    return written(content)


def opus(samples: NDArray[np.int16], bit_rate: int) -> str:
    """Samples, shape (channels, samples) at 16 kHz, as Opus in base64."""
    layout, buffer = ("mono" if len(samples) == 1 else "stereo"), io.BytesIO()
    with av.open(buffer, "w", format="ogg") as file:
        # Family 255 keeps the channels apart, which Opus else gives up at so few bits.
        stream = file.add_stream("libopus", rate=48_000, layout=layout, options={"mapping_family": "255"})
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1).copy(), format="s16", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        resampler = av.AudioResampler("s16", layout, 48_000, frame_size=960)
        for piece in (*resampler.resample(frame), *resampler.resample(None), None):
            file.mux(stream.encode(piece))
    return base64.b64encode(buffer.getvalue()).decode()


def bundled_call() -> Recording:
    """The bundled call, decoded."""
    folder = Path(tempfile.mkdtemp())
    return asyncio.run(decode(ROOT / "examples" / "call.ogg", folder, 9000, lambda _done, _total: None))


def clips() -> list[str]:
    """The first turn; and the first two, each party on a channel."""
    call = bundled_call()
    turn, both = (np.asarray(call.clip(Span(0, end)), np.int16) for end in (6.2, 11.8))
    split = np.stack([both, both])
    split[1, : len(turn)], split[0, len(turn) :] = 0, 0
    return [opus(turn[None], 8_000), opus(split, 16_000)]


if __name__ == "__main__":
    if "--clips" in sys.argv[1:]:
        tests = json.loads(TESTS.read_text("utf-8"))
        for test, clip in zip(tests["tests"], clips(), strict=True):
            test["input"]["audio_base64"] = clip
        TESTS.write_text(written(tests), "utf-8")
    elif "--check" in sys.argv[1:]:
        if HUB.read_text("utf-8") != hub():
            sys.exit(
                ".runpod/hub.json is not current: run python scripts/hub_files.py (LEFT_OUT there says what is no setting for the Hub)"
            )
    else:
        HUB.write_text(hub(), "utf-8")
