"""What survives when things go wrong: hostile files, an engine that is killed, a token that nobody knows, hours at once.

Each unit does the harm for real and looks at what is left. Leaves out: whether that is good enough (`targets`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.child import MACHINE
from voxtral_serverless.contract import JobResult
from voxtral_serverless.diarization.turns import union
from voxtral_serverless.engine.server import VllmServer
from voxtral_serverless.errors import InternalError, StageFailed
from voxtral_serverless.progress import Events, NoEvents
from voxtral_serverless.qualify.jobs import codes_of, run_job
from voxtral_serverless.qualify.killing import Killing, of_session
from voxtral_serverless.qualify.stand import Stand
from voxtral_serverless.qualify.units import Reading, Unit
from voxtral_serverless.qualify.watch import watching
from voxtral_serverless.workspace import workspace

if TYPE_CHECKING:
    from voxtral_serverless.qualify.hostile.files import Ground

log = logging.getLogger(__name__)
Job = Callable[[Events], Awaitable[JobResult]]

KILLED_S = 120.0
"""Length of the call in whose middle the engine is killed."""
HUNG_S = 60.0
TOLD_WITHIN_S = 120.0
"""Longest wait for the word of the Hub."""
GONE_S = 20.0
"""Longest time for what was killed to be gone."""
LOOK_S, HAND_S = 0.1, 0.002
"""Between two looks; a fast engine has its first requests in hand for hardly longer than the second."""
GATED = "pyannote/speaker-diarization-3.1"
UNREACHED = ("cannot be reached", "a retry may help")
"""Words of a message that says nothing of the token: a Hub that is busy has not judged it."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
WAY_OUT = (*PROXIES, *map(str.lower, PROXIES), "SSL_CERT_FILE", "HF_ENDPOINT")
"""How the Hub is reached from here."""


def units(stand: Stand, longest_minutes: float) -> Iterator[Unit]:
    """All that goes wrong; what ends the engine comes last."""
    yield Unit("robustness/hostile", hostile)
    yield Unit("robustness/bad_token", bad_token)
    of: Reading = {**stand.recordings, "minutes": longest_minutes}
    yield Unit("robustness/longest", partial(_longest, stand, longest_minutes), of, longest_minutes * 60)
    if isinstance(stand.services.server, VllmServer):
        killed = partial(_killed_engine, stand, stand.services.server)
        yield Unit("robustness/killed_engine", killed, stand.recordings, 2 * KILLED_S)


async def _longest(stand: Stand, minutes: float) -> Reading:
    async with _job_over(stand, minutes * 60, "robustness/longest") as job, watching() as watch:
        return await longest(job, minutes, watch.peaks)


async def _killed_engine(stand: Stand, engine: VllmServer) -> Reading:
    async with _job_over(stand, KILLED_S, "robustness/killed_engine") as job:
        return await killed_engine(job, engine)


@asynccontextmanager
async def _job_over(stand: Stand, seconds: float, name: str) -> AsyncIterator[Job]:
    """A job over so many seconds of the material."""
    with workspace() as folder:
        file = folder / "call.wav"
        await stand.material.write(file, seconds, name)
        fields = {"language": stand.data.language, "summary": True, "sentiment": True}
        yield partial(run_job, stand.services, file, fields)


async def hostile() -> Reading:
    """Every hostile file through the jailed decoder."""
    from voxtral_serverless.qualify.hostile.files import HOSTILE

    counts: Counter[str] = Counter()
    slowest, slowest_s = "", 0.0
    with workspace() as folder:
        for number, (kind, make) in enumerate(HOSTILE.items()):
            place = folder / str(number)
            place.mkdir()
            took_s = await _tried(await asyncio.to_thread(_made, make, place), place, counts)
            slowest, slowest_s = max((slowest, slowest_s), (kind, took_s), key=lambda pair: pair[1])
    figures: Reading = {name: counts[name] for name in ("refused", "harmless", "leaked_bytes", "crashed")}
    return {"files": len(HOSTILE), **figures, "slowest": slowest, "slowest_s": round(slowest_s, 3)}


def _made(make: Callable[[Ground], Path], place: Path) -> Path:
    """A hostile file in `place`, beside the secret."""
    from voxtral_serverless.qualify.hostile.files import Ground

    return make(Ground(place, udp_port=_free_port()).prepared())


async def _tried(file: Path, place: Path, counts: Counter[str]) -> float:
    """Count what the decoder makes of a file; the seconds that it took."""
    from voxtral_serverless.qualify.hostile.attempts import attempt

    try:
        tried = await attempt(file, place / "decoded")
    except Exception:
        log.exception("the decoder raised what is no error of a file")
        counts["crashed"] += 1
        return 0.0
    counts["crashed"] += tried.code in {InternalError.code, StageFailed.code} or tried.took_s > HUNG_S
    counts["refused" if tried.code else "harmless"] += 1
    counts["leaked_bytes"] += _leaked(tried.files, tried.told, place)
    return tried.took_s


def _leaked(outputs: tuple[Path, ...], told: str, place: Path) -> int:
    """Bytes of the secret: all sound in the files is silence, two bytes a sample; and what is told names nothing."""
    import numpy as np

    from voxtral_serverless.qualify.hostile.attempts import QUIET
    from voxtral_serverless.qualify.hostile.files import WORDS

    loud = sum(2 * int((np.abs(np.fromfile(file, np.int16).astype(int)) > QUIET).sum()) for file in outputs)
    return loud + len(told) * (WORDS in told or str(place) in told)


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def killed_engine(job: Job, engine: VllmServer) -> Reading:
    """The job undisturbed, and the same with the engine's core killed as soon as it has requests of the job in hand: those
    are lost, and their clips have to be asked for again.

    Raises:
        StageFailed: the job was over before that.
    """
    undisturbed, undisturbed_s = await _timed(job(NoEvents()))
    killing = Killing(engine)
    session = killing.session
    began = time.monotonic()
    running = asyncio.ensure_future(job(NoEvents()))
    try:
        while not engine.client.in_flight:
            if running.done():
                running.result()
                raise StageFailed("the job was over before the engine could be killed.")
            await asyncio.sleep(HAND_S)
        in_hand = engine.client.in_flight
        killing.core()
        disturbed = await running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    took_s = time.monotonic() - began
    return {
        "done": True,
        "took_s": round(took_s, 3),
        "undisturbed_s": round(undisturbed_s, 3),
        "requests_in_hand": in_hand,
        "texts": _texts(disturbed),
        "texts_undisturbed": _texts(undisturbed),
        "left": await _left(session),
    }


async def _timed(work: Awaitable[JobResult]) -> tuple[JobResult, float]:
    began = time.monotonic()
    return await work, time.monotonic() - began


def _texts(result: JobResult) -> int:
    return sum(bool(entry.text) for entry in result.transcriptions)


async def _left(session: int) -> int:
    """How many processes of a killed engine are left, after a while."""
    deadline = time.monotonic() + GONE_S
    while of_session(session) and time.monotonic() < deadline:  # noqa: ASYNC110 — nobody tells of it
        await asyncio.sleep(LOOK_S)
    return len(of_session(session))


async def bad_token() -> Reading:
    """Pyannote's gated models asked for with a token that nobody gave out.

    Raises:
        StageFailed: the Hub has not judged it.
    """
    token = f"hf_{secrets.token_hex(17)}"
    with workspace() as folder:
        kept = {name: value for name in (*MACHINE, *WAY_OUT) if (value := os.environ.get(name))}
        asked = {
            "HF_TOKEN": token, "HF_HOME": str(folder / "cache"), "RUNPOD_MODEL_CACHE": str(folder / "none"),
            "ENGINE": "embedded", "DIARIZER": "pyannote", "DIARIZATION_MODEL": GATED,
        }  # fmt: skip
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "voxtral_serverless", "download",
            env={**kept, **asked}, cwd="/", stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(TOLD_WITHIN_S):
                told = b"".join(await process.communicate()).decode(errors="replace")
        except TimeoutError as error:
            raise StageFailed(f"the Hub's refusal was not told within {TOLD_WITHIN_S:.0f} s.") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        took_s = time.monotonic() - began
    code, _, message = told.strip().rpartition("\n")[2].partition(": ")
    if token not in told and any(words in message for words in UNREACHED):
        raise StageFailed(f"the Hub has not judged the token: {message}")
    return {
        "code": code,
        "message": message,
        "took_s": round(took_s, 3),
        "token_shown": token in told,
    }


async def longest(job: Job, minutes: float, peaks: Callable[[], Reading]) -> Reading:
    """The longest recording as a whole; `peaks` tells what was held meanwhile."""
    result, took_s = await _timed(job(NoEvents()))
    entries = result.transcriptions
    written = union(Span(entry.start, entry.end) for entry in entries if entry.text is not None)
    return {
        "minutes": minutes,
        "took_s": round(took_s, 3),
        "duration_s": result.duration,
        "turns": len(entries),
        "turns_without_text": sum(entry.text is None for entry in entries),
        "speech_s": result.meta.quality.get("speech_s"),
        "written_s": round(sum(span.duration for span in written), 3),
        "last_turn_end_s": max((entry.end for entry in entries), default=0.0),
        "summary": result.summary is not None,
        "sentiment": result.sentiment is not None,
        "warnings": list(codes_of(result)),
        "peaks": peaks(),
    }
