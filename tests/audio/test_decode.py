import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.conftest import no_report
from tests.media import ROOT, loudest_hz, silent_video, tone
from tests.test_child import alive
from voxtral_serverless.audio import decode as decode_module
from voxtral_serverless.audio.decode import decode
from voxtral_serverless.audio.recording import Recording, Span
from voxtral_serverless.errors import (
    AudioEmpty,
    AudioMissing,
    AudioParameters,
    AudioTooLong,
    AudioUnreadable,
    DiskFull,
    StageFailed,
    VoxtralError,
)
from voxtral_serverless.qualify.media import encode, riff, wav

DATA = ROOT / "tests" / "data"
# name: container, codec, rate, channels, options
FORMATS: dict[str, tuple[str, str, int, int, dict[str, str]]] = {
    "wav-u8": ("wav", "pcm_u8", 8_000, 1, {}),
    "wav-s16": ("wav", "pcm_s16le", 16_000, 2, {}),
    "wav-s24": ("wav", "pcm_s24le", 48_000, 2, {}),
    "wav-s32": ("wav", "pcm_s32le", 44_100, 1, {}),
    "wav-f32": ("wav", "pcm_f32le", 44_100, 2, {}),
    "wav-f64": ("wav", "pcm_f64le", 16_000, 1, {}),
    "wav-mulaw": ("wav", "pcm_mulaw", 8_000, 1, {}),
    "wav-alaw": ("wav", "pcm_alaw", 8_000, 2, {}),
    "wav-adpcm-ms": ("wav", "adpcm_ms", 8_000, 1, {}),
    "wav-adpcm-ima": ("wav", "adpcm_ima_wav", 8_000, 1, {}),
    "rf64": ("wav", "pcm_s16le", 16_000, 2, {"rf64": "always"}),
    "w64": ("w64", "pcm_s16le", 16_000, 2, {}),
    "mp3": ("mp3", "libmp3lame", 44_100, 2, {}),
    "ogg-vorbis": ("ogg", "vorbis", 44_100, 2, {}),
    "ogg-opus": ("ogg", "libopus", 48_000, 1, {}),
    "flac": ("flac", "flac", 44_100, 2, {}),
    "m4a": ("ipod", "aac", 44_100, 2, {}),
    "mp4": ("mp4", "aac", 48_000, 1, {}),
    "aac": ("adts", "aac", 44_100, 1, {}),
    "webm": ("webm", "libopus", 48_000, 2, {}),
    "amr": ("amr", "libopencore_amrnb", 8_000, 1, {}),
    "au": ("au", "pcm_mulaw", 8_000, 1, {}),
    "caf": ("caf", "pcm_s16be", 44_100, 2, {}),
    "aiff": ("aiff", "pcm_s16be", 44_100, 2, {}),
    "wma": ("asf", "wmav2", 44_100, 2, {}),
}
BIT_RATES = {"amr": 12_200, "wma": 96_000}


async def decoded(file: Path, tmp_path: Path, max_duration_s: float = 9000) -> Recording:
    folder = tmp_path / "decoded"
    folder.mkdir()
    return await decode(file, folder, max_duration_s, no_report)


def everything(recording: Recording, channel: int | None = None) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    return np.asarray(recording.clip(Span(0, recording.duration), channel))


@pytest.mark.parametrize("name", FORMATS)
async def test_format_is_decoded(name: str, tmp_path: Path) -> None:
    container, codec, rate, channels, options = FORMATS[name]
    file = encode(
        tmp_path / "recording", tone(2.0, rate, channels),
        container=container, codec=codec, rate=rate, options=options, bit_rate=BIT_RATES.get(name),
    )  # fmt: skip
    recording = await decoded(file, tmp_path)
    assert recording.duration == pytest.approx(2.0, abs=0.1)
    assert (recording.source_channels, recording.source_rate) == (channels, rate)
    assert recording.notices == ()
    assert len(recording.planes) == (2 if channels == 2 else 0)
    assert loudest_hz(everything(recording)) in (pytest.approx(440, abs=5), pytest.approx(880, abs=5))
    for channel in range(len(recording.planes)):
        assert loudest_hz(everything(recording, channel)) == pytest.approx((440, 880)[channel], abs=5)


@pytest.mark.parametrize("name", ["call.gsm", "call.wav49.wav", "pauses.amr-nb"])
async def test_telephone_format_is_decoded(name: str, tmp_path: Path) -> None:
    recording = await decoded(DATA / name, tmp_path)
    assert recording.duration == pytest.approx(3.0, abs=0.06)
    assert recording.notices == ()
    assert np.abs(everything(recording)).mean() > 500


async def test_lossless_samples_come_through_unchanged(tmp_path: Path) -> None:
    samples = tone(1.0, 16_000, 2)
    recording = await decoded(wav(tmp_path / "a.wav", samples), tmp_path)
    assert np.array_equal(everything(recording, 0), samples[0])
    assert np.array_equal(everything(recording, 1), samples[1])
    middle = (samples[0].astype(int) + samples[1].astype(int)) / 2
    assert np.abs(everything(recording) - middle).max() <= 1


async def test_duration_is_true_to_the_sample(tmp_path: Path) -> None:
    recording = await decoded(wav(tmp_path / "a.wav", tone(1.0, 16_000)[:, :12_345]), tmp_path)
    assert recording.samples == 12_345


async def test_more_than_two_channels_are_mixed(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w", format="wav") as file:
        stream = file.add_stream("pcm_s16le", rate=16_000, layout="5.1")
        frame = av.AudioFrame.from_ndarray(np.full((1, 6 * 16_000), 1000, np.int16), format="s16", layout="5.1")
        frame.sample_rate = 16_000
        for piece in (frame, None):
            file.mux(stream.encode(piece))
    recording = await decoded(tmp_path / "a.wav", tmp_path)
    assert (recording.source_channels, recording.planes, recording.samples) == (6, (), 16_000)
    assert everything(recording).mean() > 500


def raw(codec: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        made = encode(folder / "a.wav", tone(3.0, 8_000), container="wav", codec=codec, rate=8_000)
        file = folder / "headerless"
        file.write_bytes(made.read_bytes()[100:])
        return file

    return make


def written(data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        file = folder / "upload"
        file.write_bytes(data)
        return file

    return make


# tests/hostile has those that are made to do harm.
REFUSED: dict[str, tuple[Callable[[Path], Path], type[VoxtralError]]] = {
    "no samples": (lambda folder: riff(folder / "a.wav", 16_000, b""), AudioEmpty),
    "text": (written(b"This is not a recording but a letter.\n" * 50), AudioUnreadable),
    "random bytes": (written(bytes((i * 7919) % 251 for i in range(20_000))), AudioUnreadable),
    "video without sound": (lambda folder: silent_video(folder / "a.mp4"), AudioMissing),
    "headerless mu-law": (raw("pcm_mulaw"), AudioUnreadable),
    "headerless a-law": (raw("pcm_alaw"), AudioUnreadable),
    "headerless linear": (raw("pcm_s16le"), AudioUnreadable),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_file_is_refused(name: str, tmp_path: Path) -> None:
    make, error = REFUSED[name]
    with pytest.raises(error):
        await decoded(make(tmp_path), tmp_path)


async def test_headerless_audio_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AudioUnreadable, match=r"sox -t ul"):
        await decoded(raw("pcm_mulaw")(tmp_path), tmp_path)


@pytest.mark.parametrize("name", ["ps_awful.wav", "ps_bad.wav", "ps_evil.wav", "ps_null.wav"])
async def test_hostile_wav_heads(name: str, tmp_path: Path) -> None:
    file = ROOT.parent / "shared" / "audio" / name
    if not file.exists():
        pytest.skip("needs the project's folder of recordings, which is not part of the repository")
    with pytest.raises((AudioEmpty, AudioParameters, AudioUnreadable)):
        await decoded(file, tmp_path)


async def test_limit_of_duration_is_exact(tmp_path: Path) -> None:
    file = wav(tmp_path / "a.wav", tone(2.0))
    assert (await decoded(file, tmp_path, 2.0)).duration == 2.0
    shutil.rmtree(tmp_path / "decoded")
    with pytest.raises(AudioTooLong, match="MAX_DURATION_S"):
        await decoded(file, tmp_path, 1.99)


@pytest.mark.parametrize(("container", "codec", "rate"), [("mp3", "libmp3lame", 44_100), ("wav", "pcm_s16le", 16_000)])
async def test_cut_file_is_decoded_as_far_as_it_goes(container: str, codec: str, rate: int, tmp_path: Path) -> None:
    file = encode(tmp_path / "a", tone(6.0, rate), container=container, codec=codec, rate=rate)
    os.truncate(file, file.stat().st_size // 2)
    recording = await decoded(file, tmp_path)
    assert recording.duration == pytest.approx(3.0, abs=0.3)
    assert [notice.code for notice in recording.notices] == ["audio_truncated"]


async def test_damage_becomes_silence_and_times_stay_true(tmp_path: Path) -> None:
    """A tenth of the file is overwritten; what comes after it is still where it was."""
    second = np.concatenate([tone(20.0, 48_000), tone(10.0, 48_000) // 8], axis=1)
    for container, codec in (("ogg", "libopus"), ("webm", "libopus"), ("flac", "flac"), ("ipod", "aac")):
        file = encode(tmp_path / container, second, container=container, codec=codec, rate=48_000)
        data = bytearray(file.read_bytes())
        first = len(data) * 4 // 10
        data[first : first + len(data) // 10] = np.random.default_rng(5).bytes(len(data) // 10)
        file.write_bytes(data)
        recording = await decoded(file, tmp_path)
        assert recording.duration == pytest.approx(30.0, abs=0.1), container
        before, after = (np.abs(recording.clip(span)).mean() for span in (Span(19.5, 19.9), Span(20.1, 20.5)))
        assert before > 4 * after, container
        assert {notice.code for notice in recording.notices} & {"audio_damaged", "audio_gaps"}, container
        shutil.rmtree(tmp_path / "decoded")


def video(path: Path, container: str, *, picture_from_s: float, sound_from_s: float) -> Path:
    """Three seconds of tone beside a picture, each with a start of its own."""
    with av.open(str(path), "w", format=container, options={"avoid_negative_ts": "disabled"}) as file:
        picture, sound = file.add_stream("libx264", rate=5), file.add_stream("aac", rate=16_000, layout="mono")
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        for index in range(30):
            image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            image.pts = round(picture_from_s * 5) + index
            file.mux(picture.encode(image))
        for start in range(0, 48_000, 1024):
            frame = av.AudioFrame.from_ndarray(tone(3.0)[:, start : start + 1024], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = 16_000, Fraction(1, 16_000)
            frame.pts = round(sound_from_s * 16_000) + start
            file.mux(sound.encode(frame))
        for stream in (picture, sound):
            file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("container", ["mp4", "matroska"])
async def test_late_start_beside_a_picture_is_kept(container: str, tmp_path: Path) -> None:
    """Sound that starts two seconds into a video is two seconds into the recording."""
    file = video(tmp_path / "a", container, picture_from_s=0, sound_from_s=2)
    recording = await decoded(file, tmp_path)
    assert recording.duration == pytest.approx(5.0, abs=0.15)
    assert np.abs(recording.clip(Span(0, 1.8))).max() < 10
    assert np.abs(recording.clip(Span(2.2, 4.8))).mean() > 1000
    assert recording.notices == ()


async def test_clock_that_starts_late_starts_the_file(tmp_path: Path) -> None:
    """A piece cut from a live stream keeps the stream's time stamps; they do not make it longer."""
    recording = await decoded(video(tmp_path / "a", "matroska", picture_from_s=1000, sound_from_s=1000), tmp_path, 60)
    assert recording.duration == pytest.approx(3.0, abs=0.15)
    assert recording.notices == ()


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1", "7.1"])
async def test_gap_in_the_time_stamps_becomes_silence(layout: str, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w", format="matroska") as file:
        stream = file.add_stream("libopus", rate=48_000, layout=layout)
        for index in range(100):
            samples = np.full((1, 960 * stream.codec_context.channels), 3000, np.int16)
            samples[:, ::2] *= -1
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
            frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
            frame.pts = index * 960 + (48_000 * 4 if index >= 50 else 0)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    recording = await decoded(tmp_path / "a.mkv", tmp_path)
    assert recording.duration == pytest.approx(6.0, abs=0.1)
    assert np.abs(recording.clip(Span(1.2, 4.8))).max() == 0
    assert [notice.code for notice in recording.notices] == ["audio_gaps"]


async def test_long_gap_is_no_fruitless_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing the silence takes longer than FFmpeg may look for the next packet."""
    script = tmp_path / "impatient.py"
    script.write_text(
        "import runpy\nfrom voxtral_serverless.audio import _media\n_media.FRUITLESS_S = 0.1\n"
        "runpy.run_module('voxtral_serverless.audio._decoder', run_name='__main__')\n"
    )
    monkeypatch.setattr(decode_module, "DECODER", (str(script),))
    with av.open(str(tmp_path / "a.mkv"), "w", format="matroska") as file:
        stream = file.add_stream("pcm_s16le", rate=48_000, layout="stereo")
        assert isinstance(stream, av.AudioStream)
        for index in range(100):
            samples = np.full((1, 2 * 48_000), 3000, np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
            frame.sample_rate, frame.time_base = 48_000, Fraction(1, 48_000)
            frame.pts = index * 48_000 + (48_000 * 1500 if index >= 2 else 0)
            file.mux(stream.encode(frame))
    recording = await decoded(tmp_path / "a.mkv", tmp_path)
    assert recording.duration == pytest.approx(1600, abs=0.1)
    assert [notice.code for notice in recording.notices] == ["audio_gaps"]


async def test_guessed_duration_neither_refuses_nor_warns(tmp_path: Path) -> None:
    """Low bit rate first and no Xing head, so that FFmpeg's guess is far too long."""
    parts = []
    for rate in (32_000, 320_000):
        part = encode(
            tmp_path / f"{rate}.mp3", tone(20.0, 44_100), container="mp3", codec="libmp3lame", rate=44_100,
            options={"write_xing": "0", "id3v2_version": "0"}, bit_rate=rate,
        )  # fmt: skip
        parts.append(part.read_bytes())
    (tmp_path / "a.mp3").write_bytes(b"".join(parts))
    with av.open(str(tmp_path / "a.mp3")) as file:
        assert (file.duration or 0) / av.time_base > 120
    recording = await decoded(tmp_path / "a.mp3", tmp_path, 60)
    assert recording.duration == pytest.approx(40, abs=0.3)
    assert recording.notices == ()


@pytest.mark.parametrize("miscounted", [8, 36])
async def test_wav_head_that_is_a_little_off_is_no_cut(miscounted: int, tmp_path: Path) -> None:
    file = riff(tmp_path / "a.wav", 16_000, bytes(64_000), data_size=64_000 + miscounted)
    assert (await decoded(file, tmp_path)).notices == ()


@pytest.mark.parametrize("tail", [bytes(3000), b"TAG" + bytes(125), bytes((i * 31) % 251 for i in range(3000))])
async def test_something_behind_the_last_frame_is_no_cut(tail: bytes, tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mp3", tone(3.0, 44_100), container="mp3", codec="libmp3lame", rate=44_100)
    file.write_bytes(file.read_bytes() + tail)
    recording = await decoded(file, tmp_path)
    assert recording.duration == pytest.approx(3.0, abs=0.2)
    assert "audio_truncated" not in [notice.code for notice in recording.notices]


async def test_wav_from_a_pipe_is_whole(tmp_path: Path) -> None:
    file = riff(tmp_path / "a.wav", 16_000, bytes(64_000), data_size=0x7FFFF000)
    recording = await decoded(file, tmp_path)
    assert (recording.duration, recording.notices) == (2.0, ())


READY = 'print(\'{"event": "ready"}\', flush=True)\n'
HEADER = '{"event": "header", "duration_s": 1, "channels": 1, "sample_rate": 8000}'
DONE = '{"event": "done", "samples": 100, "damaged": 0, "filled_s": 0, "truncated": false}'
CHILDREN = {
    "crashes at once": ("import os; os.kill(os.getpid(), 11)", StageFailed),
    "cannot import": ("import no_such_module", StageFailed),
    "crashes": (READY + "import os; os.kill(os.getpid(), 11)", AudioUnreadable),
    "writes garbage": (READY + "print('{not json')", StageFailed),
    "writes another object": (READY + "print('[1, 2]')", StageFailed),
    "writes an endless line": (READY + "import sys\nwhile True: sys.stdout.write('x' * 65536)", StageFailed),
    "hangs": (READY + "import time; time.sleep(600)", StageFailed),
    "claims samples that are not there": (READY + f"print({HEADER!r})\nprint({DONE!r})", StageFailed),
    "has no room": (READY + 'print(\'{"event": "error", "code": "disk_full", "figure": 5}\')', DiskFull),
}


@pytest.mark.parametrize("name", CHILDREN)
async def test_child_that_goes_wrong_is_one_typed_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, error = CHILDREN[name]
    (tmp_path / "child.py").write_text(script)
    monkeypatch.setattr(decode_module, "DECODER", (str(tmp_path / "child.py"),))
    monkeypatch.setattr(decode_module, "SILENCE_TIMEOUT_S", 1.0)
    with pytest.raises(error):
        await decoded(wav(tmp_path / "a.wav", tone()), tmp_path)


async def test_disk_is_checked_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "small_disk.py"
    script.write_text(
        "import json, os, runpy, sys, types\n"
        "def small(descriptor):\n"
        "    written = [os.fstat(one).st_size for one in json.loads(sys.argv[1])['outputs']]\n"
        f"    open({str(tmp_path / 'written')!r}, 'w').write(str(written))\n"
        "    return types.SimpleNamespace(f_bavail=63, f_frsize=1000)\n"
        "os.fstatvfs = small\n"
        "runpy.run_module('voxtral_serverless.audio._decoder', run_name='__main__')\n"
    )
    monkeypatch.setattr(decode_module, "DECODER", (str(script),))
    with pytest.raises(DiskFull):
        await decoded(wav(tmp_path / "a.wav", tone(2.0)), tmp_path)
    assert (tmp_path / "written").read_text() == "[0, 0, 0]"
    shutil.rmtree(tmp_path / "decoded")
    assert (await decoded(wav(tmp_path / "b.wav", tone(1.9)), tmp_path)).duration == pytest.approx(1.9)


@pytest.mark.parametrize(("container", "codec"), [("voc", "pcm_u8"), ("avi", "pcm_s16le"), ("wav", "adpcm_yamaha")])
async def test_format_that_is_not_on_the_list_is_refused(container: str, codec: str, tmp_path: Path) -> None:
    file = encode(tmp_path / "a", tone(1.0, 8_000), container=container, codec=codec, rate=8_000)
    with av.open(str(file)) as readable:
        assert next(readable.decode(audio=0)).samples
    with pytest.raises(AudioUnreadable):
        await decoded(file, tmp_path)


def decoder_pids() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


async def test_running_decoder_is_jailed(tmp_path: Path) -> None:
    """Read from outside, while it decodes."""
    found: list[str] = []

    def look(done: float, total: float) -> None:
        for pid in decoder_pids() if not found else []:
            process = Path("/proc") / pid
            assert process.joinpath("environ").read_bytes() == b""
            assert list((process / "cwd").readlink().iterdir()) == []
            assert "NoNewPrivs:\t1" in process.joinpath("status").read_text()
            found.append(process.joinpath("limits").read_text())

    folder = tmp_path / "decoded"
    folder.mkdir()
    await decode(wav(tmp_path / "a.wav", np.zeros((1, 16_000 * 600), np.int16)), folder, 9000, look)
    limits = {line[:26].strip(): line[26:].split()[:2] for line in found[0].splitlines()[1:]}
    for name, value in {
        "Max address space": 1 << 30, "Max file size": 9060 * 32_000, "Max core file size": 0,
        "Max open files": 32, "Max processes": 0, "Max cpu time": 135,
    }.items():  # fmt: skip
        assert limits[name] == [str(value)] * 2, name


def test_decoder_dies_with_its_worker(tmp_path: Path) -> None:
    file = wav(tmp_path / "a.wav", np.zeros((1, 16_000 * 900), np.int16))
    (tmp_path / "decoded").mkdir()
    script = (
        "import asyncio, os, pathlib, time\n"
        "from voxtral_serverless.audio.decode import decode\n"
        "def stop(done, total):\n"
        "    print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True); time.sleep(60)\n"
        f"asyncio.run(decode(pathlib.Path({str(file)!r}), pathlib.Path({str(tmp_path / 'decoded')!r}), 9000, stop))"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    decoder = int(worker.stdout.readline())
    os.kill(decoder, signal.SIGSTOP)  # it cannot notice a closed pipe by itself now
    worker.kill()
    worker.communicate()
    deadline = time.monotonic() + 5
    while alive(decoder) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(decoder)


async def test_progress_is_told_each_minute(tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    folder = tmp_path / "decoded"
    folder.mkdir()
    file = wav(tmp_path / "a.wav", np.zeros((1, 16_000 * 200), np.int16))
    await decode(file, folder, 9000, lambda done, total: told.append((done, total)))
    assert len(told) == 3
    assert told[0][0] == pytest.approx(60, abs=10)
    assert told[0][1] == 200
