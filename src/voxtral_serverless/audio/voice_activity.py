"""Where somebody speaks: Silero VAD on onnxruntime, on one core of the CPU.

The model file is Silero's own 16 kHz sequence model (silero-vad 6.2.3, MIT, in `silero_vad/`), which runs all
32 ms frames of a batch through the encoder at once and only the small LSTM in order: the wheel it comes from
would bring torch. Promises regions in order, apart from each other and inside the recording. Not here: who
speaks (`diarization`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span
from voxtral_serverless.reporting import Report

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL = Path(__file__).parent / "silero_vad" / "model.onnx"
FRAME_SAMPLES = 512
CONTEXT_SAMPLES = 64
"""Samples of the frame before that the model sees with each frame."""
BATCH_FRAMES = 1024
FRAME_S = FRAME_SAMPLES / SAMPLE_RATE

SPEECH_THRESHOLD = 0.5
SILENCE_THRESHOLD = 0.35
"""Between the two thresholds the frame before decides (Silero's own rule)."""
MIN_SPEECH_S = 0.2
MIN_SILENCE_S = 0.15
"""More than twice the padding, so that regions stay apart."""
PADDING_S = 0.06


def detect_speech(recording: Recording, *, report: Report, channel: int | None = None) -> tuple[Span, ...]:
    """The stretches of speech of the mix, or of one channel of a stereo recording.

    Blocks; `report` hears seconds of seconds.
    """
    import numpy as np

    batches: list[NDArray[np.float32]] = []
    for batch in _probabilities(recording, channel):
        batches.append(batch)
        report(min(len(batches) * BATCH_FRAMES * FRAME_S, recording.duration), recording.duration)
    speaking = _hysteresis(np.concatenate(batches)) if batches else np.zeros(0, dtype=bool)
    return _regions(speaking, recording.duration)


def _probabilities(recording: Recording, channel: int | None) -> Iterator[NDArray[np.float32]]:
    """Speech probability of each frame, in batches that carry the model's state along."""
    import numpy as np

    samples = recording.clip(Span(0, recording.duration), channel)
    state = cell = np.zeros((1, 1, 128), dtype=np.float32)
    before: NDArray[np.float32] = np.zeros(CONTEXT_SAMPLES, dtype=np.float32)
    for first in range(0, len(samples), BATCH_FRAMES * FRAME_SAMPLES):
        batch = samples[first : first + BATCH_FRAMES * FRAME_SAMPLES].astype(np.float32) / np.float32(32768)
        frames = np.pad(batch, (0, -len(batch) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
        contexts = np.vstack([before[None], frames[:-1, -CONTEXT_SAMPLES:]])
        before = frames[-1, -CONTEXT_SAMPLES:]
        inputs = {"input": np.hstack([contexts, frames]), "h": state, "c": cell}
        probabilities, state, cell = _model().run(None, inputs)
        yield probabilities.reshape(-1)


@cache
def _model() -> Any:
    # Recent versions (1.30 for one) report to Microsoft over HTTPS unless they find this when they are imported.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])


def _hysteresis(probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Speech above the upper threshold, silence below the lower one, in between as the frame before."""
    import numpy as np

    decided = np.where(probabilities >= SPEECH_THRESHOLD, 1, np.where(probabilities < SILENCE_THRESHOLD, 0, -1))
    last = np.maximum.accumulate(np.where(decided >= 0, np.arange(len(decided)), -1))
    speaking: NDArray[np.bool_] = (last >= 0) & (decided[np.maximum(last, 0)] == 1)
    return speaking


def _regions(speaking: NDArray[np.bool_], duration_s: float) -> tuple[Span, ...]:
    """Frames to regions: pauses too short are bridged, then regions too short dropped, the rest padded."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate([[0], speaking.astype(np.int8), [0]])))
    bridged: list[Span] = []
    for start, end in zip(edges[::2] * FRAME_S, edges[1::2] * FRAME_S, strict=True):
        if bridged and start - bridged[-1].end < MIN_SILENCE_S:
            bridged[-1] = Span(bridged[-1].start, float(end))
        else:
            bridged.append(Span(float(start), float(end)))
    return tuple(
        Span(max(0.0, region.start - PADDING_S), min(duration_s, region.end + PADDING_S))
        for region in bridged
        if region.duration >= MIN_SPEECH_S
    )
