"""The real diarizer: pyannote, in the process that holds torch.

Promises: the exclusive timeline as turns, the overlapping one beside it; every recording has an upper bound of speakers.
Leaves out: starting that process again (`torch_process`), and what runs inside it (`_pipeline`).
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.concurrency import in_daemon_thread
from voxtral_serverless.diarization.models import find_pipeline
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints, Turn
from voxtral_serverless.errors import EngineUnavailable
from voxtral_serverless.reporting import Report
from voxtral_serverless.settings import Settings
from voxtral_serverless.torch_process import TorchProcess, torch_process

log = logging.getLogger(__name__)

MAX_SPEAKERS = 20
"""Most speakers where the job does not say: without a bound noise can become a hundred of them, slowly."""
MOST_SPEAKERS = 100
"""Most speakers whatever the job says: pyannote counts them in a byte."""
STEPS = {"accurate": 0.1, "fast": 0.2}
"""How far pyannote's window of 10 s moves, as a part of it, by `DIARIZATION_SPEED`."""
ENVIRONMENT = ".venv-diarization"
"""Beside our own environment, the one that `make diarization` sets up."""


class PyannoteDiarizer:
    """Tells speakers apart with pyannote.

    Attributes:
        process: Where it runs.
        model: The name of its pipeline.
    """

    def __init__(self, process: TorchProcess, model: str) -> None:
        self.process, self.model = process, model

    async def ready(self) -> None:
        """Wait until the pipeline is loaded.

        Raises:
            EngineUnavailable, ModelUnavailable: it cannot be.
        """
        device = await self.process.ready()
        log.info("pyannote is ready on %s", device)
        if device == "cpu":
            log.warning(
                "pyannote runs on the processor: a recording takes about a quarter of its length, over the cores."
            )

    async def diarize(
        self, recording: Recording, speech: tuple[Span, ...], hints: SpeakerHints, report: Report
    ) -> Diarization:
        """Turns of `recording`, whose stretches of speech are `speech`.

        Raises:
            StageFailed: the process died, hung or failed twice over it.
        """
        if not speech:
            return Diarization((), timeline=())
        question = {"audio": str(recording.mix), "samples": recording.samples, **_bounds(hints)}
        answer = await self.process.ask("diarize", question, report)
        turns, timeline = (_turns(answer[name], recording.duration) for name in ("exclusive", "overlapping"))
        return Diarization(turns, timeline=timeline)


@asynccontextmanager
async def running_pyannote(settings: Settings) -> AsyncIterator[PyannoteDiarizer]:
    """The diarizer, beside the block: its models are there when the block is entered, and still being loaded.

    Raises:
        EngineUnavailable: no Python has pyannote.
        ModelUnavailable: its models cannot be had; told before anything is started, and before Voxtral is downloaded.
    """
    python = find_python(settings.diarization_python)
    if python is None:
        wanted = f"{settings.diarization_python!r} (DIARIZATION_PYTHON)" if settings.diarization_python else "pyannote"
        raise EngineUnavailable(
            f"{wanted} is not found: install pyannote.audio 4 and set DIARIZATION_PYTHON to the Python that has it, or "
            "choose DIARIZER=embedded (the self-test one) or DIARIZER=none."
        )
    files = await in_daemon_thread(lambda: find_pipeline(settings))
    step = STEPS[settings.diarization_speed]
    models = {"diarization": {"config": files.config, "segmentation_step": step}}
    async with torch_process(python, lambda: models, freeze_timeout_s=settings.diarization_freeze_timeout_s) as process:
        yield PyannoteDiarizer(process, files.name)


def find_python(chosen: str | None) -> str | None:
    """The Python that has pyannote: the one chosen, our own, or one in an environment beside ours; None without any."""
    if chosen:
        return shutil.which(str(Path(chosen).expanduser().absolute()) if os.sep in chosen else chosen)
    if importlib.util.find_spec("pyannote") and importlib.util.find_spec("pyannote.audio"):
        return sys.executable
    return shutil.which("python", path=str(Path(sys.prefix).parent / ENVIRONMENT / "bin"))


def _bounds(hints: SpeakerHints) -> dict[str, int | None]:
    """What pyannote is told of the number of speakers: always a greatest one."""
    exact, least = (count and min(count, MOST_SPEAKERS) for count in (hints.exact, hints.least))
    most = exact or hints.most or max(MAX_SPEAKERS, least or 0)
    return {"exact": exact, "least": least, "most": min(most, MOST_SPEAKERS)}


def _turns(found: Iterable[tuple[float, float, str]], duration: float) -> tuple[Turn, ...]:
    """The turns, as far as they lie in the recording: pyannote's last window may reach past its end."""
    return tuple(Turn(Span(start, min(end, duration)), speaker) for start, end, speaker in found if start < duration)
