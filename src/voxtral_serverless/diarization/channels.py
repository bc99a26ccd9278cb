"""Stereo calls with one party per channel, which need no diarization: each channel is a speaker of its own.

`screen` settles what needs no voice activity: a mono file, what the job asks for, channels that are alike. `judge`
settles the rest, from the voice activity of both channels and their levels in frames of 32 ms:

1. Voice in one channel only is no such call: that channel may hold both parties (`one_silent`).
2. The loud frames of speech fall into two groups by the difference of the channels' levels, whatever their gains. Of
   each channel the loudest of the last 0.35 s counts, since a voice may reach the other channel late. Groups less than
   `MIN_APART_DB` apart are voices mixed into both channels (`mixed`).
3. A channel about as loud while the other dominates as while it does itself either carries the other's voice in full
   (`mixed`) or has a party that never pauses: the correlation of the channels tells.
4. Each party must be heard for `MIN_PARTY_S` once cross-talk is taken away (else `one_silent`): `two_parties`.

Cross-talk is speech of a channel that is no louder than what the other party's voice usually leaves there, once its
copy (one delay, one gain for the whole recording) is subtracted. Not here: sound cleaned of echo, and where in a mixed
stereo recording somebody sits. A party that speaks less than about 1 % of the time beside loud cross-talk, and a call
whose channels are the same for half of its speech (an announcement, say), count as mixed; so do two that never pause.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span
from voxtral_serverless.audio.voice_activity import FRAME_S, FRAME_SAMPLES, MIN_SPEECH_S, PADDING_S
from voxtral_serverless.diarization.turns import SpeakerHints, Turn, in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
    Levels = NDArray[np.float32]
    Mask = NDArray[np.bool_]

Asked = Literal["auto", "mix", "split"]
Reason = Literal[
    "not_diarized", "mono", "asked", "speaker_count", "alike", "one_silent", "mixed", "two_parties"
]  # fmt: skip
Sides = tuple[tuple[Span, ...], tuple[Span, ...]]
"""The stretches of speech of channel 0 and of channel 1, as `detect_speech` gives them."""

CHUNK_FRAMES = 1024
"""About half a minute is read at once."""
BLOCK_FRAMES = 16
"""`similarity` compares blocks of half a second, longer than a pause between words."""
AUDIBLE_DB = 15.0
"""Blocks so far below the loud ones do not count: there the noise of two codecs differs."""
UNLIKE_SHARE = 0.01
"""A party that speaks 3 % of a call's speech makes more blocks unlike than this."""
ALIKE = 0.8
"""Measured: dual mono 0.87 (GSM coded at two gains) to 1; voices panned to 30 % 0.88; cross-talk of -12 dB 0.45."""

HOLD_S = 0.35
"""Longest way of a voice into the other channel: an echo of 0.3 s and a frame."""
RUN_S = 0.4
"""A party dominates for so long at least; an echo of up to `HOLD_S` looks like that for its delay only."""
LOUD_DB = 15.0
"""So far below a channel's loud speech, levels say more of the noise than of the voices."""
FLOOR_DB = 40.0
"""Lower levels count as this, digital silence for one."""
EDGE_SHARE = 0.01
"""What lies beyond the strongest of either channel against the other is left out as a slip."""
MIN_APART_DB = 18.0
"""Measured: cross-talk of -12 dB both ways 24; voices panned to 50 % 15, microphones that differ by 6 dB 12."""
MIN_QUIETER_DB = 5.0
"""Measured: cross-talk of -12 dB 8 to 15, 6 on a party 6 dB quieter; one voice in the middle, one as loud aside 2."""

ECHO_BLOCK_S = 1.0
ECHO_BLOCKS = 40
"""So many blocks, spread over the recording, tell how a voice reaches the other channel."""
COPY = 0.5
"""Correlation of a copy. Measured: filtered, delayed, coded copies 0.7 to 1, in much noise less; two voices 0 to 0.3."""
OWN_DB = 10.0
"""So far above what cross-talk usually leaves a party's own voice begins. Measured, with cross-talk of -18 dB: of 25
words of the listener, 10 dB below the speaker, 20 are kept, beside 2 s of cross-talk in 245 s (at 8 dB 22 and 5 s)."""
STRETCH_S = 0.3
"""Shorter cross-talk inside a stretch of speech is a pause of the party, and stays."""
MIN_PARTY_S = 0.5
"""A word or two."""


@dataclass(frozen=True)
class Verdict:
    """Whether each channel is taken as a party of its own, and why.

    Attributes:
        split: Whether it is.
        reason: `not_diarized`: speakers do not matter. `mono`: the file has no two channels. `asked`: the job says so. `speaker_count`: the job counts other
            than two speakers. `alike`: both channels carry the same sound. `one_silent`: nobody speaks in a channel,
            cross-talk aside. `mixed`: both channels carry both voices. `two_parties`: each carries its own.
        similarity: 1 for the same sound in both channels, at any gain, down to 0; None where not measured.
        apart_db: How far the voices are apart between the channels; None where not measured.
    """

    split: bool
    reason: Reason
    similarity: float | None = None
    apart_db: float | None = None


def screen(recording: Recording, asked: Asked, hints: SpeakerHints) -> Verdict | None:
    """The verdict where it needs no voice activity, else None: `judge` it. The same sound twice is never split."""
    if not recording.planes:
        return Verdict(split=False, reason="mono")
    if asked == "mix":
        return Verdict(split=False, reason="asked")
    if asked == "auto" and not (hints.exact or hints.least or 2) <= 2 <= (hints.exact or hints.most or 2):
        return Verdict(split=False, reason="speaker_count")
    measured = similarity(recording)
    if measured >= ALIKE:
        return Verdict(split=False, reason="alike", similarity=round(measured, 2))
    return Verdict(split=True, reason="asked", similarity=round(measured, 2)) if asked == "split" else None


def similarity(recording: Recording) -> float:
    """How alike the channels of a stereo recording are, from 0 to 1, their gains and polarities aside.

    The least alike blocks decide, all but `UNLIKE_SHARE` of the audible ones. A silent recording is alike.
    """
    import numpy as np

    sums = np.concatenate(list(_block_sums(recording)))
    gains = np.sqrt(np.maximum(sums[:, :2].mean(axis=0), 1.0))
    energies, product = sums[:, :2] / gains**2, np.abs(sums[:, 2]) / gains.prod()
    loudness = energies.max(axis=1)
    audible = loudness > np.percentile(loudness, 95) * 10 ** (-AUDIBLE_DB / 10)
    alike = 2 * product[audible] / energies[audible].sum(axis=1)
    return float(np.percentile(alike, 100 * UNLIKE_SHARE)) if len(alike) else 1.0


def judge(recording: Recording, speech: Sides) -> Verdict:
    """Whether a stereo recording, whose channels' stretches of speech are `speech`, has one party per channel."""
    if not all(speech):
        return Verdict(split=False, reason="one_silent")
    scene = _scene(recording, speech)
    apart_db = round(scene.apart_db, 1)
    if scene.apart_db < MIN_APART_DB or any(_carries_both(recording, scene, channel) for channel in (0, 1)):
        return Verdict(split=False, reason="mixed", apart_db=apart_db)
    heard_s = (sum(span.duration for span in side) for side in _own_speech(recording, speech, scene))
    if min(heard_s) < MIN_PARTY_S:
        return Verdict(split=False, reason="one_silent", apart_db=apart_db)
    return Verdict(split=True, reason="two_parties", apart_db=apart_db)


def without_crosstalk(recording: Recording, speech: Sides) -> Sides:
    """`speech` less the stretches in which a channel carries only the other party's voice.

    Regions come back whole, trimmed, in pieces or not at all, padded as `detect_speech` pads them. Where the channels
    cannot be told apart, nothing is taken away.
    """
    if not all(speech):
        return speech
    scene = _scene(recording, speech)
    return speech if scene.apart_db < MIN_APART_DB else _own_speech(recording, speech, scene)


def channel_turns(speech: Sides) -> list[Turn]:
    """Every stretch of speech as a turn of its channel's party, in order. Turns of the two may overlap."""
    sides = enumerate(speech)
    return in_order(Turn(span, f"SPEAKER_{channel:02d}", channel) for channel, side in sides for span in side)


def _block_sums(recording: Recording) -> Iterator[NDArray[np.float64]]:
    """For each block, the energy of channel 0, that of channel 1, and the sum of their product."""
    import numpy as np

    for one, other in zip(_chunks(recording, 0), _chunks(recording, 1), strict=True):
        blocks = [_rows(chunk, BLOCK_FRAMES * FRAME_SAMPLES) for chunk in (one, other)]
        pairs = ((blocks[0], blocks[0]), (blocks[1], blocks[1]), tuple(blocks))
        yield np.stack([np.einsum("ij,ij->i", *pair) for pair in pairs], axis=1).astype(np.float64)


@dataclass(frozen=True)
class _Scene:
    """Who dominates when.

    Attributes:
        levels: Level of each channel in each frame, in dB.
        recent: The highest level of the last `HOLD_S`.
        led: Loud frames of speech of each channel in which its party dominates.
        apart_db: How far the differences of level in the two groups of frames are apart.
    """

    levels: tuple[Levels, Levels]
    recent: tuple[Levels, Levels]
    led: tuple[Mask, Mask]
    apart_db: float

    def quieter_db(self, channel: int) -> float:
        """How much quieter a channel is while the other dominates."""
        import numpy as np

        own, others = (np.percentile(self.levels[channel][self.led[side]], 75) for side in (channel, 1 - channel))
        return float(own - others)


def _scene(recording: Recording, speech: Sides) -> _Scene:
    import numpy as np

    (one, loud_one), (other, loud_other) = (_heard(recording, channel, speech[channel]) for channel in (0, 1))
    recent = _highest(one, before_s=HOLD_S), _highest(other, before_s=HOLD_S)
    difference = recent[1] - recent[0]
    least = np.percentile(-_sustained(-difference)[loud_one], 100 * EDGE_SHARE)
    most = np.percentile(_sustained(difference)[loud_other], 100 - 100 * EDGE_SHARE)
    middle = (least + most) / 2
    led = loud_one & (difference < middle), loud_other & (difference >= middle)
    apart = np.median(difference[led[1]]) - np.median(difference[led[0]]) if led[0].any() and led[1].any() else 0.0
    return _Scene((one, other), recent, led, float(apart))


def _heard(recording: Recording, channel: int, speech: tuple[Span, ...]) -> tuple[Levels, Mask]:
    """The levels of a channel, and its loud frames of speech."""
    import numpy as np

    levels = _levels(_chunks(recording, channel))
    spoken = np.zeros(len(levels), dtype=bool)
    for span in speech:
        spoken[_frames(span)] = True
    loud_db = np.percentile(levels[spoken], 95)
    return np.maximum(levels, np.float32(loud_db - FLOOR_DB)), spoken & (levels > loud_db - LOUD_DB)


def _highest(values: Levels, *, before_s: float = 0.0, after_s: float = 0.0) -> Levels:
    """The highest value from `before_s` before each frame to `after_s` after it."""
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    before, after = round(before_s / FRAME_S), round(after_s / FRAME_S)
    padded = np.pad(values, (before, after), mode="edge")
    highest: Levels = sliding_window_view(padded, before + after + 1).max(axis=1)
    return highest


def _sustained(values: Levels) -> Levels:
    """The highest value that each frame is part of a run of `RUN_S` of."""
    run_s = RUN_S - FRAME_S
    return _highest(-_highest(-values, after_s=run_s), before_s=run_s)


@dataclass(frozen=True)
class _Echo:
    """How a party's voice reaches the other channel.

    Attributes:
        strength: Correlation of the two channels at the best delay of each block, 0 to 1: the median.
        delay: The delay for the whole recording, in samples; less than 0 where the echo comes first.
        gain: The gain that goes with it, less than 0 for an inverted copy.
    """

    strength: float
    delay: int
    gain: float


def _echo(recording: Recording, scene: _Scene, channel: int) -> _Echo:
    """The echo that a channel carries of the other's voice, from the frames in which that dominates."""
    import numpy as np

    led = np.flatnonzero(scene.led[1 - channel])
    chosen = led[np.unique(np.linspace(0, len(led) - 1, ECHO_BLOCKS).round().astype(int))]
    most = round(HOLD_S * SAMPLE_RATE)
    products, energy = np.zeros(2 * most), 0.0
    strengths: list[float] = []
    for frame in chosen:
        around = Span(frame * FRAME_S - ECHO_BLOCK_S / 2, frame * FRAME_S + ECHO_BLOCK_S / 2)
        carrier, source = (recording.clip(around, side).astype(np.float32) for side in (channel, 1 - channel))
        product = _cross_correlation(carrier, source, most)
        strengths.append(np.abs(product).max() / max(np.sqrt((carrier @ carrier) * (source @ source)), 1.0))
        products += product
        energy += float(source @ source)
    best = int(np.abs(products).argmax())
    return _Echo(float(np.median(strengths)), best - most, float(products[best] / max(energy, 1.0)))


def _cross_correlation(carrier: Samples, source: Samples, most: int) -> NDArray[np.floating]:
    """For delays of the carrier from `-most` samples to less than `most`."""
    import numpy as np

    size = 1 << (len(carrier) + most).bit_length()
    spectrum = np.fft.rfft(carrier, size) * np.conj(np.fft.rfft(source, size))
    return np.roll(np.fft.irfft(spectrum, size), most)[: 2 * most]


def _carries_both(recording: Recording, scene: _Scene, channel: int) -> bool:
    """Whether a channel carries the other party's voice about as loud as its own."""
    return scene.quieter_db(channel) < MIN_QUIETER_DB and _echo(recording, scene, channel).strength >= COPY


def _own_speech(recording: Recording, speech: Sides, scene: _Scene) -> Sides:
    one, other = (_own_side(recording, speech[channel], scene, channel) for channel in (0, 1))
    return one, other


def _own_side(recording: Recording, speech: tuple[Span, ...], scene: _Scene, channel: int) -> tuple[Span, ...]:
    import numpy as np

    echo = _echo(recording, scene, channel)
    levels, loudest = scene.levels[channel], scene.recent[1 - channel]
    rest = np.minimum(levels, _levels(_residue(recording, channel, echo)))
    led = scene.led[1 - channel]
    usual_db = np.median((_highest(np.maximum(rest, levels.min()), before_s=HOLD_S) - loudest)[led])
    if scene.quieter_db(channel) < MIN_QUIETER_DB and echo.strength < COPY:
        # Its own party hardly pauses: that, and no cross-talk, is what was measured.
        usual_db = min(usual_db, 20 * np.log10(abs(echo.gain) + 1e-3))
    own = _highest(rest, before_s=FRAME_S, after_s=FRAME_S) > loudest + usual_db + OWN_DB
    return tuple(part for region in speech for part in _own_parts(region, own[_frames(region)]))


def _own_parts(region: Span, own: Mask) -> Iterator[Span]:
    """The parts of a region that are its party's own voice, by its frames."""
    for start, end in _runs(~own):
        own[start:end] |= (end - start) * FRAME_S < STRETCH_S
    if own.all():
        yield region
        return
    first = _frames(region).start
    for start, end in _runs(own):
        if (end - start) * FRAME_S >= MIN_SPEECH_S:
            padded = Span((first + start) * FRAME_S - PADDING_S, (first + end) * FRAME_S + PADDING_S)
            yield Span(max(region.start, padded.start), min(region.end, padded.end))


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """Of each run of frames that hold, the first and the one after the last."""
    import numpy as np

    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _frames(span: Span) -> slice:
    return slice(round(span.start / FRAME_S), round(span.end / FRAME_S))


def _chunks(recording: Recording, channel: int) -> Iterator[Samples]:
    """The samples of a channel."""
    import numpy as np

    samples = recording.clip(Span(0, recording.duration), channel)
    for first in range(0, len(samples), CHUNK_FRAMES * FRAME_SAMPLES):
        yield samples[first : first + CHUNK_FRAMES * FRAME_SAMPLES].astype(np.float32)


def _residue(recording: Recording, channel: int, echo: _Echo) -> Iterator[Samples]:
    """The samples of a channel less its echo."""
    import numpy as np

    source = recording.clip(Span(0, recording.duration), 1 - channel)
    first = -echo.delay
    for chunk in _chunks(recording, channel):
        start, end = np.clip((first, first + len(chunk)), 0, len(source))
        heard = np.zeros_like(chunk)
        heard[start - first : end - first] = source[start:end]
        yield chunk - np.float32(echo.gain) * heard
        first += len(chunk)


def _levels(chunks: Iterator[Samples]) -> Levels:
    """The level of each frame in dB, 0 for silence."""
    import numpy as np

    powers = [np.square(_rows(chunk, FRAME_SAMPLES)).mean(axis=1) for chunk in chunks]
    levels: Levels = 10 * np.log10(np.concatenate(powers) + np.float32(1))
    return levels


def _rows(samples: Samples, length: int) -> Samples:
    """Rows of `length` samples, the last one filled up with silence."""
    import numpy as np

    return np.pad(samples, (0, -len(samples) % length)).reshape(-1, length)
