"""Sounds without a word, and what is written of them."""

import wave
from pathlib import Path

import numpy as np
import pytest

from voxtral_serverless.contract import JobResult, Meta, Transcription
from voxtral_serverless.errors import StageFailed
from voxtral_serverless.qualify.jobs import run_job
from voxtral_serverless.qualify.sounds import SOUNDS, unit, write
from voxtral_serverless.services import embedded_services
from voxtral_serverless.settings import load_settings

RATE = 16_000


def test_what_they_are() -> None:
    made = {name: make(4 * RATE) for name, make in SOUNDS.items()}
    assert all(len(sound) == 4 * RATE for sound in made.values())
    assert np.abs(made["silence"]).max() == 0
    loudness = {name: float(np.sqrt((sound**2).mean())) for name, sound in made.items()}
    assert 0.01 < loudness["noise"] < loudness["music"] < 0.4
    for name in ("noise", "music"):
        assert np.array_equal(made[name], SOUNDS[name](4 * RATE)), "the same every time"


def test_music_has_notes_and_is_a_telephones() -> None:
    spectrum = np.abs(np.fft.rfft(SOUNDS["music"](8 * RATE))) ** 2
    hertz = np.fft.rfftfreq(8 * RATE, 1 / RATE)
    outside = spectrum[(hertz < 290) | (hertz > 3410)].sum()
    assert outside < 0.01 * spectrum.sum()
    assert np.sort(spectrum)[-200:].sum() > 0.3 * spectrum.sum(), "tones, not noise"


def test_written_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.array([0.0, 0.5, -0.5, 2.0]))
    with wave.open(str(tmp_path / "a.wav")) as file:
        samples = np.frombuffer(file.readframes(9), "<i2")
    assert samples.tolist() == [0, 16_383, -16_383, 32_767]


def answered(*texts: str | None) -> JobResult:
    return JobResult(
        task="transcribe_diarized", language="fr", duration=10,
        transcriptions=[Transcription(speaker="SPEAKER_00", start=0, end=1, text=text) for text in texts],
        meta=Meta(version="0", engine="vllm", models={}, channels={}, timings={}, warnings=[], quality={}),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ((), 0), (("", ""), 0), (("… ♪ !",), 0), (("Sous-titrage ST'501", ""), 2), (("merci d'avoir regardé", "à bientôt"), 5),
    ],
)  # fmt: skip
async def test_words_are_counted(texts: tuple[str | None, ...], words: int) -> None:
    heard: list[float] = []

    async def transcribe(file: Path) -> JobResult:
        with wave.open(str(file)) as source:
            heard.append(source.getnframes() / RATE)
        return answered(*texts)

    reading = await unit("music", transcribe, 6).measure()
    assert (reading["minutes"], reading["words"]) == (0.1, words)
    assert heard == [6.0]


async def test_what_could_not_be_transcribed_is_not_silence() -> None:
    async def transcribe(_file: Path) -> JobResult:
        return answered("", None)

    with pytest.raises(StageFailed):
        await unit("music", transcribe, 6).measure()


@pytest.mark.parametrize("name", SOUNDS)
async def test_through_the_whole_pipeline(name: str) -> None:
    services = embedded_services(load_settings(engine="embedded"))
    reading = await unit(name, lambda file: run_job(services, file, {"language": "en"}), 5).measure()
    assert isinstance(reading["words"], int)
    if name == "silence":
        assert reading["words"] == 0
