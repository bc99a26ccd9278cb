import asyncio
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import no_report
from tests.media import CALL, ROOT, tone
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.audio.voice_activity import detect_speech
from voxtral_serverless.diarization import embedded
from voxtral_serverless.diarization.embedded import EmbeddedDiarizer
from voxtral_serverless.diarization.turns import Diarization, SpeakerHints, names_by_appearance, renamed
from voxtral_serverless.qualify.media import wav

Heard = tuple[Recording, tuple[Span, ...]]
SHARED = ROOT.parent / "shared" / "audio"


async def listen(file: Path, folder: Path) -> Heard:
    folder.mkdir()
    recording = await decode(file, folder, 9000, no_report)
    return recording, detect_speech(recording, report=no_report)


@pytest.fixture
async def call(tmp_path: Path) -> Heard:
    return await listen(CALL, tmp_path / "call")


async def diarize(heard: Heard, hints: SpeakerHints | None = None) -> Diarization:
    found = await EmbeddedDiarizer().diarize(*heard, hints or SpeakerHints(), no_report)
    return replace(found, turns=tuple(renamed(found.turns, names_by_appearance(found.turns))))


def speakers(answer: Diarization) -> list[str | None]:
    return sorted({turn.speaker for turn in answer.turns}, key=str)


async def test_two_voices_of_the_call_are_told_apart_without_a_hint(call: Heard) -> None:
    answer = await diarize(call)
    assert [turn.speaker for turn in answer.turns] == ["SPEAKER_00", "SPEAKER_01"] * 7
    assert [notice.code for notice in answer.notices] == ["diarization_basic"]


@pytest.mark.parametrize(
    ("hints", "count"),
    [
        (SpeakerHints(exact=1), 1),
        (SpeakerHints(exact=3), 3),
        (SpeakerHints(least=3), 3),
        (SpeakerHints(most=1), 1),
        (SpeakerHints(least=2, most=2), 2),
    ],
)
async def test_hints_are_honoured(hints: SpeakerHints, count: int, call: Heard) -> None:
    assert len(speakers(await diarize(call, hints))) == count


async def test_count_that_cannot_be_met_is_met_as_far_as_it_goes(call: Heard) -> None:
    answer = await diarize((call[0], call[1][:2]), SpeakerHints(exact=30))
    assert 2 <= len(speakers(answer)) < 30


async def test_one_voice_stays_one_speaker(call: Heard) -> None:
    assert speakers(await diarize((call[0], call[1][::2]))) == ["SPEAKER_00"]


async def test_nobody_speaks(call: Heard) -> None:
    assert await diarize((call[0], ())) == Diarization(())


async def test_change_of_voice_without_a_pause_is_found(call: Heard, tmp_path: Path) -> None:
    recording, speech = call
    pieces = [np.asarray(recording.clip(Span(region.start + 0.1, region.end - 0.1))) for region in speech[4:8]]
    edges = np.cumsum([len(piece) for piece in pieces]) / 16_000
    heard = await listen(wav(tmp_path / "a.wav", np.concatenate(pieces)[None]), tmp_path / "joined")
    one_region = (heard[0], (Span(0, heard[0].duration),))
    answer = await diarize(one_region, SpeakerHints(exact=2))
    assert [turn.speaker for turn in answer.turns] == ["SPEAKER_00", "SPEAKER_01"] * 2
    assert [turn.span.end for turn in answer.turns] == pytest.approx(list(edges), abs=1.1)  # a window and its hop


async def test_turns_cover_the_speech_without_overlap(call: Heard) -> None:
    answer = await diarize(call, SpeakerHints(exact=3))
    assert all(one.span.end <= other.span.start for one, other in zip(answer.turns, answer.turns[1:], strict=False))
    for region in call[1]:
        assert sum(turn.span.overlap(region) for turn in answer.turns) == pytest.approx(region.duration)


async def test_many_speakers_allowed_does_not_mean_many_tried(call: Heard) -> None:
    told: list[float] = []
    await EmbeddedDiarizer().diarize(*call, SpeakerHints(most=1000), lambda done, total: told.append(total))
    assert told[-1] <= 1 + embedded.SEARCHED


def test_single_window_between_two_of_one_voice_is_a_flicker() -> None:
    assert embedded._without_flickers([0, 1, 0, 0, 1, 1, 0, 1]) == [0, 0, 0, 0, 1, 1, 1, 1]


async def test_cut_falls_where_it_is_quiet(tmp_path: Path) -> None:
    samples = tone(4.0)
    samples[:, 36_000:37_000] = 0
    recording, _ = await listen(wav(tmp_path / "a.wav", samples), tmp_path / "quiet")
    assert embedded._quietest(recording, Span(1.5, 3.5)) == pytest.approx(36_500 / 16_000, abs=0.02)


async def test_sampled_windows_give_the_same_speakers(call: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = await diarize(call)
    monkeypatch.setattr(embedded, "MAX_CLUSTERED", 20)
    assert (await diarize(call)).turns == whole.turns


async def test_cancelled_at_once(call: Heard) -> None:
    recording, speech = call
    task = asyncio.create_task(diarize((recording, speech * 200)))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(("name", "count"), [("hibiki.mp3", 1), ("lamartine.wav", 2), ("commercial_mono.wav", 2)])
async def test_real_recordings(name: str, count: int, tmp_path: Path) -> None:
    if not (SHARED / name).exists():
        pytest.skip("needs the project's folder of recordings, which is not part of the repository")
    assert len(speakers(await diarize(await listen(SHARED / name, tmp_path / "real")))) == count
