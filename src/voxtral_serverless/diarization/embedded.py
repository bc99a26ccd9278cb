"""The embedded diarizer: features of the voice, clustered. A self-test of the path, not pyannote's equal.

Promises turns without overlap, cut where the voice changes, for clearly different voices on a clean recording.
Leaves out: overlapping speech, similar voices, more than a few speakers; every result says so in a warning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints, Turn, merge_gaps
from voxtral_serverless.errors import Notice
from voxtral_serverless.reporting import Report, in_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WINDOW_S = 2.0
HOP_S = 1.0
MAX_CLUSTERED = 3000
"""Windows that are clustered (its memory grows with their square); the others go to the nearest voice."""
MAX_AUTO_SPEAKERS = 4
SEARCHED = 8
"""Where the job bounds the number of speakers, so many above the least are tried."""
MIN_SILHOUETTE = 0.33
"""Below this separation all windows are one voice. Chosen on the recordings named in docs/embedded-engine.md."""
MIN_GAIN = 0.1
"""A further voice must separate better by so much."""
MIN_WINDOWS, MIN_SHARE = 2, 0.04
"""A voice heard in fewer windows, or a smaller share of them, is no voice, unless the job asks for so many."""
BASIC = Notice(
    "diarization_basic",
    "speakers were told apart by the embedded diarizer, which needs clearly different voices and hears no overlap.",
)


class EmbeddedDiarizer:
    """Tells speakers apart by the features of their voices."""

    async def diarize(
        self, recording: Recording, speech: tuple[Span, ...], hints: SpeakerHints, report: Report
    ) -> Diarization:
        """Turns of `recording`, whose stretches of speech are `speech`."""
        return await in_thread(lambda tell: _diarize(recording, speech, hints, tell), report)


def _diarize(recording: Recording, speech: tuple[Span, ...], hints: SpeakerHints, report: Report) -> Diarization:
    if not speech:
        return Diarization(())
    windows = [_windows(region) for region in speech]
    features = _features(recording, [window for region in windows for window in region], report)
    voices = _voices(features, hints, report)
    turns: list[Turn] = []
    first = 0
    for region, inside in zip(speech, windows, strict=True):
        labels = voices[first : first + len(inside)]
        turns += _region_turns(recording, region, inside, labels)
        first += len(inside)
    return Diarization(tuple(merge_gaps(turns)), (BASIC,))


def _windows(region: Span) -> list[Span]:
    """Windows of `WINDOW_S` about every `HOP_S`, evenly over the region; a short region is one window."""
    count = max(1, round((region.duration - WINDOW_S) / HOP_S) + 1)
    step = (region.duration - WINDOW_S) / (count - 1) if count > 1 else 0.0
    starts = [region.start + index * step for index in range(count)]
    return [Span(start, min(start + WINDOW_S, region.end)) for start in starts]


def _features(recording: Recording, windows: list[Span], report: Report) -> NDArray[np.float32]:
    import numpy as np

    from voxtral_serverless.diarization.voice_features import voice_features

    rows = []
    for index, window in enumerate(windows):
        report(index, len(windows))
        rows.append(voice_features(recording.clip(window)))
    return np.stack(rows)


def _voices(features: NDArray[np.float32], hints: SpeakerHints, report: Report) -> NDArray[np.intp]:
    """A voice number for each window."""
    import numpy as np
    from scipy.spatial.distance import cdist

    chosen = np.unique(np.linspace(0, len(features) - 1, MAX_CLUSTERED).round().astype(int))
    sample = features[chosen]
    labels = _cluster(sample, hints, report)
    if len(sample) == len(features):
        return labels
    centres = np.stack([sample[labels == voice].mean(axis=0) for voice in range(labels.max() + 1)])
    return np.asarray(cdist(features, centres).argmin(axis=1))


def _cluster(features: NDArray[np.float32], hints: SpeakerHints, report: Report) -> NDArray[np.intp]:
    """Ward clustering into the number of voices that the hints name, or that separates best."""
    import numpy as np
    from scipy.cluster.hierarchy import fcluster, linkage
    from sklearn.metrics import silhouette_score

    best, best_score = np.zeros(len(features), dtype=np.intp), MIN_SILHOUETTE - MIN_GAIN
    least, most = _counts(hints, len(features))
    tree = linkage(features, method="ward") if len(features) > 1 else None
    for count in range(max(least, 2), most + 1):
        report(count, most)
        labels = fcluster(tree, count, criterion="maxclust") - 1
        forced = count == least
        smallest = np.bincount(labels).min()
        if not forced and (count >= len(features) or smallest < max(MIN_WINDOWS, MIN_SHARE * len(features))):
            continue
        separable = 2 <= labels.max() + 1 < len(features)
        score = float(silhouette_score(features, labels)) if separable else 1.0
        if forced or score >= best_score + MIN_GAIN:
            best, best_score = labels, score
    return best


def _counts(hints: SpeakerHints, windows: int) -> tuple[int, int]:
    """The least and the greatest number of voices to try."""
    if hints.exact:
        return min(hints.exact, windows), min(hints.exact, windows)
    least = hints.least or 1
    most = min(hints.most or windows, max(MAX_AUTO_SPEAKERS, least + SEARCHED), windows)
    return min(least, most), most if hints.most or hints.least else min(most, MAX_AUTO_SPEAKERS)


def _region_turns(recording: Recording, region: Span, windows: list[Span], voices: NDArray[np.intp]) -> list[Turn]:
    """The region as turns, cut at a quiet point between windows of different voices."""
    smooth = _without_flickers([int(voice) for voice in voices])
    turns, start = [], region.start
    for index in range(1, len(smooth)):
        if smooth[index] != smooth[index - 1]:
            middle = (windows[index - 1].start + windows[index].end) / 2
            cut = _quietest(recording, Span(max(start, middle - HOP_S / 2), min(region.end, middle + HOP_S / 2)))
            turns.append(Turn(Span(start, cut), str(smooth[index - 1])))
            start = cut
    return [*turns, Turn(Span(start, region.end), str(smooth[-1]))]


def _without_flickers(voices: list[int]) -> list[int]:
    """A single window between two of one other voice takes that voice: two seconds straddle a change."""
    return [
        voices[index - 1] if 0 < index < len(voices) - 1 and voices[index - 1] == voices[index + 1] else voice
        for index, voice in enumerate(voices)
    ]


def _quietest(recording: Recording, where: Span) -> float:
    """The middle of the quietest 50 ms of a stretch."""
    import numpy as np

    width = SAMPLE_RATE // 20
    samples = recording.clip(where).astype(np.float64)
    if len(samples) < 2 * width:
        return (where.start + where.end) / 2
    energy = np.convolve(samples**2, np.ones(width), mode="valid")
    return where.start + (int(energy.argmin()) + width / 2) / SAMPLE_RATE
