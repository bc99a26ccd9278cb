"""The command as a user runs it: a process of its own, its two outputs and its exit status."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import leftovers
from tests.fakes.origin import Origin, running_origin
from tests.media import CALL, ROOT, silent_video, tone
from voxtral_serverless.qualify.media import day_of_silence, encode, riff, wav

BASE = {"ENGINE": "embedded", "FETCH_ALLOW_PRIVATE": "true", "FETCH_TIMEOUT_S": "2", "FETCH_CONNECT_TIMEOUT_S": "2"}


def command(
    *arguments: str, stdin: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voxtral_serverless", *arguments],
        input=stdin, capture_output=True, text=True, check=False, timeout=100,
        env={**os.environ, **BASE, **(environment or {})},
    )  # fmt: skip


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """The first turn of the call."""
    from voxtral_serverless.audio.decode import decode
    from voxtral_serverless.audio.recording import Span

    (tmp_path / "cut").mkdir()
    recording = asyncio.run(decode(CALL, tmp_path / "cut", 9000, lambda done, total: None))
    return wav(tmp_path / "short.wav", np.asarray(recording.clip(Span(0, 6.2)))[None])


@pytest.fixture
def origin(short: Path) -> Iterator[Origin]:
    """An origin that serves the short recording, in a thread of its own."""
    loop, ready, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found: list[Origin] = []

    async def serve() -> None:
        async with running_origin(short.read_bytes()) as running:
            found.append(running)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def test_answer_alone_is_on_stdout(short: Path) -> None:
    done = command("transcribe", str(short), "--language", "en", "--summary")
    assert done.returncode == 0
    answer = json.loads(done.stdout)
    assert answer["transcriptions"][0]["speaker"] == "SPEAKER_00"
    assert "summary" in answer
    assert done.stderr == ""


def test_job_from_a_file_with_options_before_it(short: Path) -> None:
    job = str(ROOT / "examples" / "call.json")
    done = command("transcribe", str(short), "--job", job, "--no-summary", "--metadata", '{"id": 7}')
    answer = json.loads(done.stdout)
    assert "summary" not in answer
    assert answer["sentiment"] is not None
    assert answer["metadata"] == {"id": 7}


def test_job_from_stdin_by_url(origin: Origin) -> None:
    job = {"input": {"audio_url": f"{origin.url}/ok", "language": "en", "task": "transcribe"}}
    done = command("transcribe", "--job", "-", stdin=json.dumps(job))
    assert "garden" in json.loads(done.stdout)["text"]


def test_source_may_be_a_url(origin: Origin) -> None:
    """The headers of a job's own recording do not go to another."""
    job = json.dumps({"input": {"audio_url": "https://example.com/", "audio_headers": {"X-Other": "secret"}}})
    key = ("--audio-header", "Authorization: Bearer a:b")
    done = command("transcribe", f"{origin.url}/ok", "--language", "fr", "--job", "-", *key, stdin=job)
    assert json.loads(done.stdout)["transcriptions"][0]["text"] is None
    assert origin.requests[-1]["Authorization"] == "Bearer a:b"
    assert "X-Other" not in origin.requests[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["https://example.com/", "--audio-header", "secret"],
        ["https://example.com/", "--audio-header", "A: secret", "--audio-header", "A: secret"],
        ["file.wav", "--audio-header", "Authorization: secret"],
    ],
)
def test_header_that_cannot_be_sent(arguments: list[str]) -> None:
    from typer.testing import CliRunner

    from voxtral_serverless.cli import app

    done = CliRunner().invoke(app, ["transcribe", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("invalid_input: --audio-header ")
    assert "secret" not in done.stderr


def test_defaults_of_jobs_from_the_environment(short: Path) -> None:
    done = command("transcribe", str(short), environment={"JOB_DEFAULTS": '{"language": "de", "sentiment": true}'})
    answer = json.loads(done.stdout)
    assert (answer["language"], answer["sentiment"]) == ("de", None)


@pytest.mark.parametrize(
    ("name", "start"), [("txt", "[0:00:00] Agent: "), ("srt", "1\n00:00:0"), ("vtt", "WEBVTT"), ("rttm", "SPEAKER ")]
)
def test_formats(name: str, start: str, short: Path, tmp_path: Path) -> None:
    output = tmp_path / f"answer.{name}"
    done = command(
        "transcribe",
        str(short),
        "--language",
        "en",
        "--format",
        name,
        "--speaker-label",
        "Agent",
        "--output",
        str(output),
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert output.read_text().startswith(start)


def test_version_and_help() -> None:
    assert command("--version").stdout.startswith("voxtral-serverless ")
    shown = command("transcribe", "--help").stdout
    for option in ("--job", "--num-speakers", "--speaker-label", "--word-timestamps", "--format", "--output"):
        assert option in shown


def test_machine_with_tighter_limits_than_the_jail_works(short: Path) -> None:
    script = f"ulimit -t 50; {sys.executable} -m voxtral_serverless transcribe {short} --language fr"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env={**os.environ, **BASE}
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_import_is_light() -> None:
    script = (
        "import sys, time; began = time.perf_counter(); import voxtral_serverless.cli\n"
        "taken = time.perf_counter() - began\n"
        "heavy = {'av', 'numpy', 'aiohttp', 'runpod', 'torch', 'onnxruntime', 'pocketsphinx', 'sklearn'} & set(sys.modules)\n"
        "print(sorted(heavy), taken < 0.6 * 5)"  # five times the mark: a busy machine is no defect
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.split() == ["[]", "True"]


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    wav(folder / "secret.wav", tone())
    playlist = f"#EXTM3U\n#EXTINF:1,\nfile://{folder}/secret.wav\n#EXT-X-ENDLIST\n".encode()
    return {
        "missing": (folder / "missing.wav", "source_not_found"),
        "a folder": (folder, "source_unreadable"),
        "empty": (written(folder / "empty.wav", b""), "audio_empty"),
        "text": (written(folder / "text.mp3", b"Dear Sir or Madam,\n" * 20), "audio_unreadable"),
        "video": (silent_video(folder / "video.mp4"), "audio_missing"),
        "ffconcat": (written(folder / "concat.wav", b"ffconcat version 1.0\nfile secret.wav\n"), "audio_unreadable"),
        "HLS": (written(folder / "hls.wav", playlist), "audio_unreadable"),
        "24 hours": (day_of_silence(folder / "day.flac"), "audio_too_long"),
        "1 Hz": (riff(folder / "1hz.wav", 1, bytes(20_000)), "audio_parameters"),
    }


def test_bad_files_are_told_quickly_and_leave_nothing(tmp_path: Path, temporary: Path) -> None:
    for name, (path, code) in bad_files(tmp_path).items():
        began = time.monotonic()
        done = command("transcribe", str(path))
        assert time.monotonic() - began < 5, name
        assert (done.returncode, done.stdout) == (2, ""), name
        assert done.stderr.startswith(f"{code}: "), (name, done.stderr)
        assert len(done.stderr.splitlines()) == 1, name
    assert leftovers(temporary) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--num-speakers", "0"],
        ["--min-speakers", "3", "--max-speakers", "2"],
        ["--language", "xx"],
        ["--task", "translate"],
        ["--formats", "doc"],
        ["--metadata", "[1]"],
        ["--metadata", "{"],
        ["--metadata", '{"a": NaN}'],
        ["--metadata", "[" * 100_000],
        ["--speaker-label", "A", "--speaker-label", "A"],
    ],
)
def test_bad_options(arguments: Sequence[str], short: Path) -> None:
    done = command("transcribe", *([str(short), *arguments] if arguments else []))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("invalid_input: ")


@pytest.mark.parametrize(
    ("job", "code"),
    [
        ("{", "invalid_input"),
        ("[]", "invalid_input"),
        ('{"input": {}}', "invalid_input"),
        ('{"input": {"audio_url": "https://a.example/b", "audio_base64": "AAAA"}}', "invalid_input"),
        ('{"input": {"audio_url": "https://a.example/b", "langage": "fr"}}', "invalid_input"),
        ('{"input": {"audio_url": "https://a.example/b", "summary": "yes"}}', "invalid_input"),
        ('{"input": {"audio_base64": "%%%"}}', "invalid_input"),
        ('{"input": {"audio_base64": "AAAA"}}', "audio_unreadable"),
        ('{"input": {"audio_url": "/etc/hostname"}}', "invalid_input"),
        ('{"input": {"audio_base64": "AAAA", "formats": 5}}', "invalid_input"),
        ('{"input": {"audio_base64": "AAAA", "formats": "srt"}}', "invalid_input"),
    ],
)  # fmt: skip
def test_bad_jobs(job: str, code: str) -> None:
    done = command("transcribe", "--job", "-", "--format", "srt", stdin=job)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{code}: ")


@pytest.mark.parametrize("source", ["s3://bucket/call.wav?sig=SECRET", "file:///etc/passwd", "x" * 5000, "a\x00b"])
def test_source_that_is_neither_a_file_nor_a_web_address(source: str) -> None:
    from typer.testing import CliRunner

    from voxtral_serverless.cli import app

    done = CliRunner().invoke(app, ["transcribe", source])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "SECRET" not in done.stderr
    assert done.stderr.partition(":")[0] in ("invalid_input", "source_unreadable")


def test_source_takes_the_place_of_the_recording_and_of_nothing_else(short: Path) -> None:
    job = '{"input": {"audio_url": "https://a.example/b", "audio_urll": 1}}'
    done = command("transcribe", str(short), "--job", "-", stdin=job)
    assert "'audio_urll'" in done.stderr


def test_scheme_in_capitals(origin: Origin) -> None:
    done = command("transcribe", f"{origin.url}/ok".replace("http", "HTTP"), "--language", "fr")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/status/404", "fetch_rejected"),
        ("/status/403", "fetch_rejected"),
        ("/html", "fetch_not_audio"),
        ("/never", "fetch_timeout"),
        ("/drip", "fetch_timeout"),
    ],
)
def test_bad_urls(path: str, code: str, origin: Origin, temporary: Path) -> None:
    began = time.monotonic()
    done = command("transcribe", origin.url + path)
    assert time.monotonic() - began < 5
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"{code}: ")
    assert leftovers(temporary) == []


def test_private_address_is_refused(origin: Origin) -> None:
    done = command("transcribe", f"{origin.url}/ok", environment={"FETCH_ALLOW_PRIVATE": "false"})
    assert done.stderr.startswith("fetch_refused: ")
    assert origin.requests == []


@pytest.mark.parametrize(
    "environment",
    [
        {"ENGINE": "vllm", "DIARIZATION_PYTHON": "no/python"},
        {"MAX_DURATION_S": "soon"},
        {"MAX_DURATION_S": "inf"},
        {"JOB_DEFAULTS": "{"},
        {"JOB_DEFAULTS": '{"num_speaker": 2}'},
        {"DIARIZER": "pyannote", "DIARIZATION_PYTHON": "no/python"},
    ],
)
def test_our_fault_is_exit_1(environment: dict[str, str], short: Path) -> None:
    done = command("transcribe", str(short), environment=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(("engine_unavailable: ", "invalid_configuration: "))


def test_unwritable_output_is_noticed_before_the_work(short: Path) -> None:
    began = time.monotonic()
    for target in ("/nonexistent/folder/answer.json", str(short.parent)):
        done = command("transcribe", str(short), "--language", "en", "--output", target)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("output_unwritable: ")
    assert time.monotonic() - began < 5


def test_output_never_overwrites_what_is_read(short: Path, tmp_path: Path) -> None:
    before = short.read_bytes()
    link = tmp_path / "link.wav"
    link.symlink_to(short)
    for target in (short, link):
        done = command("transcribe", str(short), "--output", str(target))
        assert (done.returncode, done.stderr.partition(":")[0]) == (2, "output_unwritable")
    assert short.read_bytes() == before


def test_output_on_stdout_whatever_the_locale(short: Path) -> None:
    arguments = (
        "transcribe",
        str(short),
        "--language",
        "fr",
        "--format",
        "rttm",
        "--speaker-label",
        "Zoé",
        "--output",
        "-",
    )
    done = command(*arguments, environment={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert done.returncode == 0
    assert " Zoé " in done.stdout
    assert not Path("-").exists()


def test_source_too_long_for_a_path_is_told_beside_an_output_that_exists(tmp_path: Path) -> None:
    (tmp_path / "answer.json").touch()
    done = command("transcribe", "x" * 5000, "--output", str(tmp_path / "answer.json"))
    assert (done.returncode, done.stderr.partition(":")[0]) == (2, "source_unreadable")


def test_verbose_tells_the_stages(short: Path) -> None:
    done = command("transcribe", str(short), "--language", "fr", "--verbose")
    assert "decoding took" in done.stderr
    json.loads(done.stdout)


def test_full_disk_does_not_lose_the_answer(short: Path) -> None:
    done = command("transcribe", str(short), "--language", "fr", "--output", "/dev/full")
    assert done.returncode == 2
    assert done.stderr.startswith("output_unwritable: ")
    assert json.loads(done.stdout)["language"] == "fr"


def test_reader_that_went_away_is_no_error(short: Path) -> None:
    script = f"{sys.executable} -m voxtral_serverless transcribe {short} --language fr | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env={**os.environ, **BASE}
    )
    assert (done.returncode, done.stderr) == (141, "")


def test_truncated_recording_is_a_success_with_a_warning(tmp_path: Path) -> None:
    file = encode(tmp_path / "a.mp3", tone(4.0, 44_100), container="mp3", codec="libmp3lame", rate=44_100)
    os.truncate(file, file.stat().st_size // 2)
    answer = json.loads(command("transcribe", str(file)).stdout)
    assert "audio_truncated" in [warning["code"] for warning in answer["meta"]["warnings"]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_job_leaves_nothing(number: signal.Signals, temporary: Path) -> None:
    arguments = [sys.executable, "-m", "voxtral_serverless", "transcribe", str(CALL), "--language", "en"]
    process = subprocess.Popen(
        arguments, env={**os.environ, **BASE}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 20
    while not list(temporary.glob("*/*/jail")) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.5)
    below = children.read_text().split()
    process.send_signal(number)
    out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (128 + number, "", "interrupted\n")
    assert leftovers(temporary) == []
    for pid in below:
        with contextlib.suppress(FileNotFoundError):
            assert "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
