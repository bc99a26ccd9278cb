"""How right: every call of the data set as a whole job, with the number of its speakers given and not given, against what
is truly said in it; stock pyannote beside ours; and sounds in which nobody speaks.

Leaves out: how errors are counted (`scores`), and the averages over the calls (`findings`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.contract import JobResult
from voxtral_serverless.diarization.models import find_pipeline
from voxtral_serverless.diarization.pyannote import STEPS, PyannoteDiarizer
from voxtral_serverless.qualify import sounds
from voxtral_serverless.qualify.jobs import codes_of, run_job, timed_job
from voxtral_serverless.qualify.references import ReferenceCall
from voxtral_serverless.qualify.scores import Scorer
from voxtral_serverless.qualify.stand import Stand
from voxtral_serverless.qualify.stock import beside_stock
from voxtral_serverless.qualify.units import Reading, Unit
from voxtral_serverless.torch_parts import find_python

STOCK_CALLS = 5
"""So many calls are also given to stock pyannote, which takes about three times as long as ours."""


def units(stand: Stand, scorer: Scorer, sound_s: float) -> Iterator[Unit]:
    """Two units for each call, one for stock pyannote for the first few, one for each sound, of so many seconds."""
    for call in stand.data.calls:
        for given in (True, False):
            name = f"accuracy/{call.name}/{'given' if given else 'free'}"
            yield Unit(name, partial(_scored, stand, scorer, call, given=given), _of(call), call.last_s)
    if isinstance(stand.services.diarizer, PyannoteDiarizer):
        for call in stand.data.calls[:STOCK_CALLS]:
            yield Unit(f"accuracy/{call.name}/stock", partial(_beside_stock, stand, call), _of(call))
    for name in sounds.SOUNDS:
        yield sounds.unit(name, partial(_heard_in, stand), sound_s)


def _of(call: ReferenceCall) -> Reading:
    """A call whose reference was corrected is measured anew."""
    return {"call": call.digest}


async def _scored(stand: Stand, scorer: Scorer, call: ReferenceCall, *, given: bool) -> Reading:
    fields: dict[str, Any] = {"language": stand.data.language, "formats": ["rttm"]}
    done = await timed_job(stand.services, call.audio, fields | ({"num_speakers": call.speakers} if given else {}))
    answer = done.result.to_json()
    scores = await scorer.score(call, answer, stand.data.language)
    return {
        "duration_s": done.result.duration,
        "speakers": call.speakers,
        **scores.to_json(),
        "warnings": list(codes_of(done.result)),
        "took_s": round(done.took_s, 3),
    }


async def _heard_in(stand: Stand, file: Path) -> JobResult:
    return await run_job(stand.services, file, {"language": stand.data.language})


async def _beside_stock(stand: Stand, call: ReferenceCall) -> Reading:
    settings, ours = stand.settings, stand.services.diarizer
    assert isinstance(ours, PyannoteDiarizer)
    python = find_python(settings.diarization_python)
    assert python is not None
    pipeline = await in_daemon_thread(partial(find_pipeline, settings))
    recording = await stand.material.decoded(call)
    return await beside_stock(python, pipeline, STEPS[settings.diarization_speed], ours, recording)
