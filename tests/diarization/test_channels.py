"""The bundled call with each speaker on a channel of its own, and what telephony and studios make of such a call."""

import asyncio
import tracemalloc
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import no_report
from tests.media import CALL, ROOT
from tests.reference import bundled_call
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import SAMPLE_RATE, Recording, Span
from voxtral_serverless.audio.voice_activity import FRAME_S, FRAME_SAMPLES, detect_speech
from voxtral_serverless.diarization.channels import (
    ALIKE,
    CHUNK_FRAMES,
    MIN_APART_DB,
    Sides,
    Verdict,
    channel_turns,
    judge,
    screen,
    similarity,
    without_crosstalk,
)
from voxtral_serverless.diarization.turns import SpeakerHints, Turn, in_order, merge_gaps
from voxtral_serverless.qualify.media import encode

Sound = NDArray[np.float64]
Stereo = tuple[Sound, Sound]
SHARED = ROOT.parent / "shared" / "audio"
NO_HINTS = SpeakerHints()


@cache
def sound(file: Path) -> tuple[Sound, ...]:
    """The samples of a file: of both channels, or of the one."""
    with TemporaryDirectory() as folder:
        recording = asyncio.run(decode(file, Path(folder), 9000, no_report))
        planes = range(len(recording.planes)) if recording.planes else [None]
        return tuple(recording.clip(Span(0, recording.duration), plane).astype(np.float64) for plane in planes)


@cache
def parties() -> Stereo:
    """The agent and the customer in the first seven turns of the bundled call, each alone."""
    call = sound(CALL)[0][: round(36.5 * SAMPLE_RATE)]
    sides = {"agent": np.zeros_like(call), "customer": np.zeros_like(call)}
    for turn in bundled_call()[:7]:
        own = slice(round((turn.start - 0.17) * SAMPLE_RATE), round((turn.end + 0.17) * SAMPLE_RATE))
        sides[turn.speaker][own] = call[own]
    return sides["agent"], sides["customer"]


def stereo(folder: Path, sides: Stereo) -> Recording:
    """A recording of two channels."""
    length = min(len(side) for side in sides)
    paths = [folder / name for name in ("mix.s16", "channel0.s16", "channel1.s16")]
    for path, samples in zip(paths, ((sides[0] + sides[1]) / 2, *sides), strict=True):
        path.write_bytes(np.clip(samples[:length], -32768, 32767).round().astype("<i2").tobytes())
    return Recording(paths[0], (paths[1], paths[2]), length, 2, SAMPLE_RATE)


def heard(recording: Recording) -> Sides:
    first, second = (detect_speech(recording, report=no_report, channel=channel) for channel in (0, 1))
    return first, second


def gain(side: Sound, by_db: float) -> Sound:
    return np.asarray(side * 10 ** (by_db / 20))


def later(side: Sound, by_ms: float) -> Sound:
    samples = round(by_ms * SAMPLE_RATE / 1000)
    return np.concatenate([np.zeros(samples), side[: len(side) - samples]])


def duller(side: Sound) -> Sound:
    """Without what lies above some 2 kHz, as the shell of a headset leaves it."""
    return np.convolve(side, np.hanning(13) / np.hanning(13).sum(), "same")


def noisy(sides: Stereo, below_db: float) -> Stereo:
    """White noise of its own in each channel, so far below the loud half of its speech."""
    draw = np.random.default_rng(1)
    one, other = (side + gain(draw.normal(size=len(side)) * speech_rms(side), -below_db) for side in sides)
    return one, other


def speech_rms(side: Sound) -> float:
    seconds = np.sqrt(np.square(side[: len(side) // 1600 * 1600]).reshape(-1, 1600).mean(axis=1))
    return float(np.median(seconds[seconds > 30]))


def crosstalk(sides: Stereo, by_db: float, by_ms: float = 0) -> Stereo:
    one, other = (gain(later(duller(side), by_ms), by_db) for side in sides)
    return sides[0] + other, sides[1] + one


def panned(sides: Stereo, *places: float) -> Stereo:
    """Each voice at its place, -1 for the left to 1 for the right, by constant power."""
    angles = [(place + 1) * np.pi / 4 for place in places]
    left, right = (sum(side * of(angle) for side, angle in zip(sides, angles, strict=True)) for of in (np.cos, np.sin))
    return np.asarray(left), np.asarray(right)


def microphones(sides: Stereo, apart_ms: float, apart_db: float) -> Stereo:
    """Two microphones in one room, either nearer to one of the voices."""
    one, other = (gain(later(side, apart_ms), -apart_db) for side in sides)
    return sides[0] + other, sides[1] + one


def reverberant(sides: Stereo) -> Stereo:
    draw = np.random.default_rng(2)
    fade = np.exp(-np.arange(3200) / 900)
    size = 1 << 20

    def walls(side: Sound) -> Sound:
        answer = np.concatenate([[1.0], 0.15 * draw.normal(size=3200) * fade])
        return np.fft.irfft(np.fft.rfft(side, size) * np.fft.rfft(answer, size), size)[: len(side)]

    return walls(sides[0]), walls(sides[1])


def mono() -> Sound:
    return np.asarray(sum(parties()))


def both(side: Sound) -> Stereo:
    return side, side


def overlapping() -> Stereo:
    """Both speak at once half of the time."""
    agent, customer = parties()
    return agent, np.roll(customer, -3 * SAMPLE_RATE)


def of_few_words() -> Stereo:
    """The customer says no more than 'Hello'."""
    agent, customer = parties()
    return agent, np.where(np.arange(len(customer)) < 7.05 * SAMPLE_RATE, customer, 0.0)


def of_a_constant_talker() -> Stereo:
    """The agent speaks all the time."""
    agent, customer = parties()
    voiced = np.concatenate(
        [agent[round(span.start * SAMPLE_RATE) : round(span.end * SAMPLE_RATE)] for span in truth()[0]]
    )
    return np.resize(voiced, len(agent)), customer


@cache
def truth() -> Sides:
    """Where each party of the call speaks, heard alone."""
    with TemporaryDirectory() as folder:
        return heard(stereo(Path(folder), parties()))


def frames(spans: tuple[Span, ...], recording: Recording) -> NDArray[np.bool_]:
    middles = (np.arange(round(recording.duration / FRAME_S)) + 0.5) * FRAME_S
    speaks = np.zeros(len(middles), dtype=bool)
    for span in spans:
        speaks |= (span.start <= middles) & (middles < span.end)
    return speaks


def agreement(found: Sides, expected: Sides, recording: Recording) -> float:
    """The share of frames in which what was found of a party is what is expected: the worse of the two parties."""
    pairs = zip(found, expected, strict=True)
    return min(float((frames(one, recording) == frames(other, recording)).mean()) for one, other in pairs)


def merged(sides: Sides) -> Sides:
    """With each side's short gaps closed."""
    one, other = (tuple(turn.span for turn in merge_gaps(Turn(span, "A") for span in side)) for side in sides)
    return one, other


CALLS: dict[str, Callable[[], Stereo]] = {
    "clean": parties,
    "one side 20 dB quieter": lambda: (parties()[0], gain(parties()[1], -20)),
    "the other side 20 dB quieter": lambda: (gain(parties()[0], -20), parties()[1]),
    "noise": lambda: noisy(parties(), 20),
    "cross-talk": lambda: crosstalk(parties(), -12),
    "late cross-talk": lambda: crosstalk(parties(), -12, 200),
    "very late cross-talk": lambda: crosstalk(parties(), -18, 300),
    "faint cross-talk": lambda: crosstalk(parties(), -25, 50),
    "cross-talk one way": lambda: (parties()[0], crosstalk(parties(), -15, 80)[1]),
    "inverted cross-talk": lambda: crosstalk((parties()[0], -parties()[1]), -15, 30),
    "cross-talk in noise": lambda: noisy(crosstalk(parties(), -15, 100), 20),
    "cross-talk into a quiet side": lambda: (parties()[0], gain(crosstalk(parties(), -18)[1], -15)),
    "panned to the sides": lambda: panned(parties(), -0.9, 0.9),
}


@pytest.mark.parametrize("name", CALLS)
def test_call_is_split_and_each_party_found_on_its_side(name: str, tmp_path: Path) -> None:
    recording = stereo(tmp_path, CALLS[name]())
    speech = heard(recording)
    assert screen(recording, "auto", NO_HINTS) is None
    assert judge(recording, speech).reason == "two_parties"
    assert agreement(without_crosstalk(recording, speech), truth(), recording) >= 0.96


@pytest.mark.parametrize("make", [overlapping, of_few_words, of_a_constant_talker])
@pytest.mark.parametrize("by_db", [None, -18])
def test_uneven_call_is_split(make: Callable[[], Stereo], by_db: float | None, tmp_path: Path) -> None:
    alone = stereo(tmp_path, make())
    expected = heard(alone)
    recording = stereo(tmp_path, crosstalk(make(), by_db, 50)) if by_db else alone
    speech = heard(recording)
    assert judge(recording, speech).split
    assert agreement(without_crosstalk(recording, speech), expected, recording) >= (0.94 if by_db else 1)


def test_sides_coded_one_by_one_are_split(tmp_path: Path) -> None:
    coded = []
    for index, side in enumerate(crosstalk(parties(), -15, 120)):
        samples = side[::2].round().astype(np.int16)[None]
        path = encode(
            tmp_path / f"{index}.mp3", samples, container="mp3", codec="libmp3lame", rate=8000, bit_rate=16000
        )
        coded.append(sound(path)[0])
    recording = stereo(tmp_path, (coded[0], coded[1]))
    speech = heard(recording)
    assert judge(recording, speech).split
    assert agreement(without_crosstalk(recording, speech), truth(), recording) >= 0.95


@pytest.mark.parametrize(
    "make",
    [
        lambda: both(mono()),
        lambda: (mono(), gain(mono(), -20)),
        lambda: (mono(), -mono()),
        lambda: both(np.zeros(SAMPLE_RATE)),
        lambda: panned(parties(), -0.1, 0.1),
    ],
    ids=["same", "quieter", "inverted", "silent", "near the middle"],
)
def test_same_sound_twice_is_alike(make: Callable[[], Stereo], tmp_path: Path) -> None:
    recording = stereo(tmp_path, make())
    alike = Verdict(split=False, reason="alike", similarity=round(similarity(recording), 2))
    assert screen(recording, "auto", NO_HINTS) == screen(recording, "split", NO_HINTS) == alike
    assert ALIKE <= similarity(recording) <= 1.0001


MIXES: dict[str, Callable[[], Stereo]] = {
    "dual mono": lambda: both(mono()),
    "inverted, with noise": lambda: noisy((mono(), -mono()), 15),
    "one channel duller": lambda: (mono(), duller(mono())),
    "one channel 20 ms later": lambda: (mono(), later(mono(), 20)),
    "panned by 30 %": lambda: panned(parties(), -0.3, 0.3),
    "panned by 50 %": lambda: panned(parties(), -0.5, 0.5),
    "panned by 30 %, overlapping": lambda: panned(overlapping(), -0.3, 0.3),
    "one in the middle, one aside": lambda: panned((parties()[0], gain(parties()[1], -6)), 0, 1),
    "microphones close together": lambda: microphones(parties(), 0.5, 1),
    "microphones apart": lambda: microphones(parties(), 5, 6),
    "microphones in a hall": lambda: reverberant(microphones(parties(), 3, 6)),
    "an echo alone": lambda: (mono(), gain(later(duller(mono()), 250), -15)),
    "an echo of a hall alone": lambda: (mono(), gain(later(reverberant(both(mono()))[0] - mono(), 250), -10)),
}


@pytest.mark.parametrize("name", MIXES)
def test_voices_in_both_channels_are_mixed(name: str, tmp_path: Path) -> None:
    recording = stereo(tmp_path, MIXES[name]())
    assert judge(recording, heard(recording)).reason == "mixed"


@pytest.mark.parametrize("hiss", [0, 30])
def test_two_voices_on_one_side_are_not_split(hiss: float, tmp_path: Path) -> None:
    recording = stereo(tmp_path, (mono(), np.random.default_rng(3).normal(size=len(mono())) * hiss))
    speech = heard(recording)
    assert judge(recording, speech) == Verdict(split=False, reason="one_silent")
    assert without_crosstalk(recording, speech) == speech


def test_click_that_passes_for_speech_is_no_party(tmp_path: Path) -> None:
    agent, customer = parties()
    recording = stereo(tmp_path, (mono(), np.where(np.abs(np.arange(len(agent)) / 16_000 - 7.2) < 0.1, customer, 0.0)))
    verdict = judge(recording, (heard(recording)[0], (Span(7.1, 7.4),)))
    assert verdict.reason == "one_silent"


def test_verdict_tells_how_far_the_voices_are_apart(tmp_path: Path) -> None:
    figures = {}
    for width in (0.3, 0.8):
        recording = stereo(tmp_path, panned(parties(), -width, width))
        verdict = judge(recording, heard(recording))
        assert verdict.apart_db is not None
        assert verdict.split == (verdict.apart_db >= MIN_APART_DB)
        figures[width] = verdict.apart_db
    # 20 log10 of the tangent of the angle between the places
    assert figures == {0.3: pytest.approx(8.5, abs=1), 0.8: pytest.approx(32, abs=2)}


@pytest.mark.parametrize(
    "make", [parties, overlapping, CALLS["late cross-talk"], CALLS["noise"], MIXES["panned by 50 %"]]
)
def test_swapped_channels_give_the_mirrored_answer(make: Callable[[], Stereo], tmp_path: Path) -> None:
    recording = stereo(tmp_path, make())
    swapped = Recording(recording.mix, recording.planes[::-1], recording.samples, 2, SAMPLE_RATE)
    speech = heard(recording)
    assert judge(swapped, speech[::-1]) == judge(recording, speech)
    assert similarity(swapped) == pytest.approx(similarity(recording))
    assert without_crosstalk(swapped, speech[::-1]) == without_crosstalk(recording, speech)[::-1]


def test_clean_call_keeps_every_region_as_it_is(tmp_path: Path) -> None:
    recording = stereo(tmp_path, parties())
    assert without_crosstalk(recording, truth()) == truth()


@pytest.mark.parametrize("name", ["dual mono", "panned by 50 %", "microphones in a hall"])
def test_nothing_is_taken_where_channels_cannot_be_told_apart(name: str, tmp_path: Path) -> None:
    recording = stereo(tmp_path, MIXES[name]())
    speech = heard(recording)
    assert without_crosstalk(recording, speech) == speech


@pytest.mark.parametrize("name", ["late cross-talk", "cross-talk in noise"])
def test_what_stays_lies_inside_the_speech_in_order(name: str, tmp_path: Path) -> None:
    recording = stereo(tmp_path, CALLS[name]())
    speech = heard(recording)
    for found, before in zip(without_crosstalk(recording, speech), speech, strict=True):
        assert all(one.end < other.start for one, other in pairwise(found))
        for part in found:
            assert sum(part.overlap(region) for region in before) == pytest.approx(part.duration)
            assert part.duration >= 0.2


@pytest.mark.parametrize("at_s", [1.5, 13.0, 22.5, 31.0])
def test_quiet_word_under_the_others_speech_is_kept(at_s: float, tmp_path: Path) -> None:
    agent, customer = parties()
    word = gain(sound(CALL)[0][round(64.9 * SAMPLE_RATE) : round(65.5 * SAMPLE_RATE)], -6)  # 'Thank you'
    first = round(at_s * SAMPLE_RATE)
    customer = customer.copy()
    customer[first : first + len(word)] += word
    recording = stereo(tmp_path, crosstalk((agent, customer), -18, 100))
    speech = heard(recording)
    found = without_crosstalk(recording, speech)[1]
    said = Span(at_s, at_s + len(word) / SAMPLE_RATE)
    assert sum(said.overlap(part) for part in found) >= said.duration / 2


@pytest.mark.parametrize(
    ("asked", "hints", "expected"),
    [
        ("mix", NO_HINTS, Verdict(split=False, reason="asked")),
        ("split", SpeakerHints(exact=3), Verdict(split=True, reason="asked", similarity=0.0)),
        ("auto", SpeakerHints(exact=3), Verdict(split=False, reason="speaker_count")),
        ("auto", SpeakerHints(exact=1), Verdict(split=False, reason="speaker_count")),
        ("auto", SpeakerHints(least=3), Verdict(split=False, reason="speaker_count")),
        ("auto", SpeakerHints(most=1), Verdict(split=False, reason="speaker_count")),
        ("auto", SpeakerHints(exact=2), None),
        ("auto", SpeakerHints(least=1, most=4), None),
        ("auto", SpeakerHints(least=2), None),
    ],
)
def test_what_the_job_says(asked: str, hints: SpeakerHints, expected: Verdict | None, tmp_path: Path) -> None:
    recording = stereo(tmp_path, parties())
    assert screen(recording, asked, hints) == expected  # type: ignore[arg-type]


def test_mono_file_is_never_split(tmp_path: Path) -> None:
    recording = stereo(tmp_path, parties())
    flat = Recording(recording.mix, (), recording.samples, 1, SAMPLE_RATE)
    assert screen(flat, "split", NO_HINTS) == Verdict(split=False, reason="mono")


sides = st.lists(st.integers(0, 500), unique=True, max_size=20).map(
    lambda edges: tuple(Span(start / 10, end / 10) for start, end in zip(*[iter(sorted(edges))] * 2, strict=False))
)


@given(sides, sides)
def test_turns_are_the_speech_of_both_sides_in_order(one: tuple[Span, ...], other: tuple[Span, ...]) -> None:
    turns = channel_turns((one, other))
    assert turns == in_order(turns)
    assert [turn.span for turn in turns if turn == Turn(turn.span, "SPEAKER_00", 0)] == list(one)
    assert [turn.span for turn in turns if turn == Turn(turn.span, "SPEAKER_01", 1)] == list(other)
    assert len(turns) == len(one) + len(other)


@pytest.mark.parametrize("samples", [0.5 * SAMPLE_RATE, CHUNK_FRAMES * FRAME_SAMPLES + 1, CHUNK_FRAMES * FRAME_SAMPLES])
@pytest.mark.parametrize("early", [False, True])
def test_any_length_is_read_to_its_end(samples: float, early: bool, tmp_path: Path) -> None:
    agent, customer = (side[-int(samples) :] for side in parties())
    echo = gain(later(agent, 300), -18) if len(agent) > SAMPLE_RATE else agent
    recording = stereo(tmp_path, (echo, agent + customer) if early else (agent, customer + echo))
    whole = (Span(0, recording.duration),)
    judge(recording, (whole, whole))
    for side in without_crosstalk(recording, (whole, whole)):
        assert all(0 <= span.start < span.end <= recording.duration for span in side)


def test_long_recording_is_read_in_pieces(tmp_path: Path) -> None:
    short = stereo(tmp_path, crosstalk(parties(), -15, 100))
    times = 20
    for path in (short.mix, *short.planes):
        path.write_bytes(path.read_bytes() * times)
    recording = Recording(short.mix, short.planes, short.samples * times, 2, SAMPLE_RATE)
    first, second = (
        tuple(
            Span(span.start + at * short.duration, span.end + at * short.duration)
            for at in range(times)
            for span in side
        )
        for side in heard(short)
    )
    tracemalloc.start()
    try:
        assert screen(recording, "auto", NO_HINTS) is None
        assert judge(recording, (first, second)).split
        assert tracemalloc.get_traced_memory()[1] < 2 * recording.samples  # one channel, as it lies on disk
    finally:
        tracemalloc.stop()


def shared(name: str) -> tuple[Sound, ...]:
    if not (SHARED / name).exists():
        pytest.skip("needs the project's folder of recordings, which is not part of the repository")
    return sound(SHARED / name)


@pytest.mark.parametrize("by_db", [None, -15])
def test_real_call_is_split(by_db: float | None, tmp_path: Path) -> None:
    call = shared("ar40_agent.wav")[0][: 120 * SAMPLE_RATE], shared("ar40_caller.wav")[0][: 120 * SAMPLE_RATE]
    expected = heard(stereo(tmp_path, call))
    recording = stereo(tmp_path, crosstalk(call, by_db, 200) if by_db else call)
    speech = heard(recording)
    assert judge(recording, speech).split
    found = without_crosstalk(recording, speech)
    assert agreement(found, expected, recording) >= 0.97
    assert agreement(merged(found), merged(expected), recording) >= 0.97


def test_two_that_speak_at_once_are_split(tmp_path: Path) -> None:
    one, other = shared("stereo_diarization.wav")
    recording = stereo(tmp_path, (one, other))
    speech = heard(recording)
    assert judge(recording, speech).split
    assert without_crosstalk(recording, speech) == speech


@pytest.mark.parametrize("name", ["hibiki.mp3", "musanmix.mp3", "commercial_mono.wav", "lamartine.wav"])
def test_real_mono_in_two_channels_is_not_split(name: str, tmp_path: Path) -> None:
    (one,) = shared(name)
    assert screen(stereo(tmp_path, (one, gain(one, -6))), "auto", NO_HINTS) is not None
    recording = stereo(tmp_path, noisy((one, later(one, 12)), 20))
    assert judge(recording, heard(recording)).reason == "mixed"
