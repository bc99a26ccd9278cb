"""The real diarizer: pyannote, in the process that holds torch.

Promises: the exclusive timeline as turns, the overlapping one beside it; every recording has an upper bound of speakers.
Leaves out: starting that process (`torch_parts`, `torch_process`), and what runs inside it (`_pipeline`).
"""

from __future__ import annotations

from collections.abc import Iterable

from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints, Turn
from voxtral_serverless.reporting import Report
from voxtral_serverless.torch_process import TorchProcess

MAX_SPEAKERS = 20
"""Most speakers where the job does not say: without a bound noise can become a hundred of them, slowly."""
MOST_SPEAKERS = 100
"""Most speakers whatever the job says: pyannote counts them in a byte."""
STEPS = {"accurate": 0.1, "fast": 0.2}
"""How far pyannote's window of 10 s moves, as a part of it, by `DIARIZATION_SPEED`."""


class PyannoteDiarizer:
    """Tells speakers apart with pyannote.

    Attributes:
        process: Where it runs.
        model: The name of its pipeline.
    """

    def __init__(self, process: TorchProcess, model: str) -> None:
        self.process, self.model = process, model

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


def _bounds(hints: SpeakerHints) -> dict[str, int | None]:
    """What pyannote is told of the number of speakers: always a greatest one."""
    exact, least = (count and min(count, MOST_SPEAKERS) for count in (hints.exact, hints.least))
    most = exact or hints.most or max(MAX_SPEAKERS, least or 0)
    return {"exact": exact, "least": least, "most": min(most, MOST_SPEAKERS)}


def _turns(found: Iterable[tuple[float, float, str]], duration: float) -> tuple[Turn, ...]:
    """The turns, as far as they lie in the recording: pyannote's last window may reach past its end."""
    return tuple(Turn(Span(start, min(end, duration)), speaker) for start, end, speaker in found if start < duration)
