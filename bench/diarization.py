"""Stock pyannote against `FastSpeakerDiarization`: processor time, embeddings, turns, memory.

    PYTHON bench/diarization.py [--seconds 18] [--device cuda]   random networks of full size
    PYTHON bench/diarization.py --conversations 10 --seconds 60  toy networks, both styles: the same turns?
    PYTHON bench/diarization.py --hours 2.5 [--style vbx]        toy networks: time of the stages, peak of memory

PYTHON is one that has pyannote.audio; the networks are made on the spot (tests/engines/toy_pyannote). Prints one JSON
object. Processor time is that of all threads (--threads, 1 unless told). Differences of embeddings are the largest of
one number, over all speakers that speak in their chunk. --batch 16 lets a processor work as a GPU does. With --hours every pipeline has a process of its own, and
ours drops the waveform once its embeddings are there, as our diarization process does. A claim of the project: at
least 2.5 times less processor time, embeddings within 1e-5, the same turns; 2 h 30 in under 3 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
TOY = ROOT / "tests" / "engines" / "toy_pyannote"
STYLES = ("ahc", "vbx")
HINTS: tuple[dict[str, int], ...] = ({}, {"num_speakers": 2}, {"max_speakers": 3}, {"min_speakers": 2})
WARM_UP_S = 12.0
GB = 1e9


@dataclass
class Run:
    """What one pipeline made of one recording, and what it took."""

    turns: list[tuple[float, float, str]] = field(default_factory=list)
    activity: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    embeddings: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    progress: list[tuple[str, int, int]] = field(default_factory=list)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)
    cpu_s: float = 0.0
    wall_s: float = 0.0
    gpu: dict[str, float] = field(default_factory=dict)


class Stages:
    """The pipeline's hook: keeps segmentation and embeddings, and takes the time of each stage."""

    def __init__(self, run: Run, release: bool) -> None:
        self.run, self.release = run, release
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def __call__(self, step: str, artifact: Any, *, file: Any, total: int | None = None, completed: int = 0) -> None:
        """A stage has ended if it hands over what it made; otherwise it only reports progress."""
        if total is not None:
            self.run.progress.append((step, completed, total))
            return
        if step == "segmentation":
            self.run.activity = artifact.data
        if step == "embeddings":
            self.run.embeddings = artifact
            if self.release:
                file.pop("waveform")
        self.end({"discrete_diarization": "clustering"}.get(step, step))

    def end(self, stage: str) -> None:
        """Note what the stage took, and start the next."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.run.stages[stage] = {"cpu_s": round(cpu - self.cpu, 2), "wall_s": round(wall - self.wall, 2)}
        self.run.cpu_s, self.run.wall_s = self.run.cpu_s + cpu - self.cpu, self.run.wall_s + wall - self.wall
        self.cpu, self.wall = cpu, wall


class MemoryWatch(threading.Thread):
    """Samples a number until stopped, and keeps the largest."""

    def __init__(self, used: Callable[[], float]) -> None:
        super().__init__(daemon=True)
        self.used, self.peak, self.done = used, 0.0, threading.Event()

    def run(self) -> None:
        """Sample a hundred times a second."""
        while not self.done.wait(0.01):
            self.peak = max(self.peak, self.used())

    def stop(self) -> float:
        """The largest seen."""
        self.done.set()
        self.join()
        return self.peak


def load(folder: Path, fast: bool, device: str) -> Any:
    """The pipeline of a local folder, of the stock class or of ours."""
    import torch
    import yaml
    from pyannote.audio import Pipeline
    from pyannote.audio.core.plda import PLDA

    config = yaml.safe_load((folder / "config.yaml").read_text())
    parameters = config["pipeline"]["params"]
    for name, value in parameters.items():
        if str(value).startswith("$model/"):
            parameters[name] = {"checkpoint": str(folder), "subfolder": value.removeprefix("$model/")}
    parameters.setdefault("plda", object.__new__(PLDA))  # 3.1 never uses it, but asks the hub for one
    if fast:
        config["pipeline"]["name"] = "voxtral_serverless.diarization.fast_embeddings.FastSpeakerDiarization"
    return Pipeline.from_pretrained(config).to(torch.device(device))


def diarize(pipeline: Any, audio: NDArray[np.float32], hints: Mapping[str, int], release: bool = False) -> Run:
    """One recording through one pipeline. With `release`, the caller must not hold the audio."""
    import torch

    run = Run()
    recording = {"waveform": torch.from_numpy(audio)[None], "sample_rate": 16_000, "uri": "bench"}
    del audio
    stages = Stages(run, release)
    answer = pipeline(recording, hook=stages, **hints)
    stages.end("turns")
    for annotation in (answer.speaker_diarization, answer.exclusive_speaker_diarization):
        run.turns += [(turn.start, turn.end, who) for turn, _, who in annotation.itertracks(yield_label=True)]
    return run


def diarize_on_gpu(pipeline: Any, audio: NDArray[np.float32]) -> Run:
    """The same, warmed up, with the peaks of the GPU's memory: of tensors, of the allocator, of the whole device."""
    import torch

    diarize(pipeline, audio[: int(WARM_UP_S * 16_000)], {})
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    watch = MemoryWatch(lambda: float(np.subtract(*torch.cuda.mem_get_info()[::-1])))
    watch.start()
    run = diarize(pipeline, audio, {})
    run.gpu = {"device": watch.stop(), "reserved": torch.cuda.max_memory_reserved()}
    run.gpu["allocated"] = torch.cuda.max_memory_allocated()
    return run


def difference(stock: Run, ours: Run) -> float:
    """The largest of any number of any embedding, over the speakers that speak in their chunk."""
    speaking = stock.activity.any(axis=1)
    return float(np.abs(stock.embeddings[speaking] - ours.embeddings[speaking]).max(initial=0.0))


def at_full_size(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Stock and ours on the same recording, one after the other in this process."""
    from tests.engines.toy_pyannote.dialogue import random_turns, toy_dialogue

    audio = toy_dialogue(random_turns(3, options.seconds, seed=1), options.seconds)
    runs = []
    for fast in (False, True):
        pipeline = load(folder, fast, options.device)
        runs.append(diarize_on_gpu(pipeline, audio) if options.device == "cuda" else diarize(pipeline, audio, {}))
    stock, ours = runs
    return {
        "audio_s": options.seconds,
        "embedding_difference": difference(stock, ours),
        "same_turns": stock.turns == ours.turns,
        "stock_cpu_s": stock.cpu_s,
        "ours_cpu_s": ours.cpu_s,
        "times_less_cpu": stock.cpu_s / ours.cpu_s,
        "stock_wall_s": stock.wall_s,
        "ours_wall_s": ours.wall_s,
        "stock_gpu_gb": {name: peak / GB for name, peak in stock.gpu.items()},
        "ours_gpu_gb": {name: peak / GB for name, peak in ours.gpu.items()},
    }


def conversations(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Random conversations of one to six voices, the later half with hints, every other with a pause of half of it."""
    from tests.engines.toy_pyannote.dialogue import random_turns, toy_dialogue

    pipelines = [load(folder, fast, "cpu") for fast in (False, True)]
    worst, same = 0.0, 0
    for seed in range(options.conversations):
        length_s = options.seconds * (1 + seed % 4) / 4 + 0.1
        audio = toy_dialogue(random_turns(1 + seed % 6, length_s, seed), length_s, seed)
        if seed % 2:
            audio[len(audio) // 4 : -len(audio) // 4] = 0.0
        hints = HINTS[seed % len(HINTS)] if seed >= options.conversations // 2 else {}
        stock, ours = (diarize(pipeline, audio, hints) for pipeline in pipelines)
        worst, same = max(worst, difference(stock, ours)), same + (stock.turns == ours.turns)
    return {"same_turns": same, "embedding_difference": worst}


def long_recording(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One pipeline in this process: time of the stages, peak of resident memory."""
    from tests.engines.toy_pyannote.dialogue import random_turns, toy_dialogue

    length_s = options.hours * 3600
    pipeline = load(folder, options.only == "ours", "cpu")
    release = options.only == "ours"
    run = diarize(pipeline, toy_dialogue(random_turns(3, length_s, seed=1), length_s), {}, release)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB
    return {"cpu_s": run.cpu_s, "wall_s": run.wall_s, "stages": run.stages, "peak_gb": peak, "turns": run.turns}


def long_recordings(options: argparse.Namespace) -> dict[str, Any]:
    """Stock and ours, each in a process of its own."""
    figures: dict[str, Any] = {"hours": options.hours, "style": options.style}
    for only in ("stock", "ours"):
        arguments = [sys.executable, __file__, "--only", only, "--style", options.style, "--hours", str(options.hours)]
        child = subprocess.Popen([*arguments, "--threads", str(options.threads)], stdout=subprocess.PIPE, text=True)
        watch = MemoryWatch(lambda pid=child.pid: anonymous_bytes(pid))  # type: ignore[misc]
        watch.start()
        answer, _ = child.communicate()
        figures[only] = json.loads(answer.splitlines()[-1]) | {"peak_anonymous_gb": round(watch.stop() / GB, 2)}
    figures["same_turns"] = figures["stock"].pop("turns") == figures["ours"].pop("turns")
    return figures


def anonymous_bytes(pid: int) -> float:
    """RssAnon of a process, 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("RssAnon"))


def prepare(threads: int) -> None:
    """Before pyannote is imported: no telemetry, no hub, no warnings, and the folders that are not installed."""
    os.environ |= {"PYANNOTE_METRICS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}
    warnings.simplefilter("ignore")
    sys.path[:0] = [str(ROOT / "src"), str(ROOT), str(TOY)]
    import torch

    torch.set_num_threads(threads)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Make the networks, and run what is asked for."""
    prepare(options.threads)
    from tests.engines.toy_pyannote.make import make
    from voxtral_serverless.diarization import fast_embeddings

    fast_embeddings.CPU_BATCH = options.batch

    with tempfile.TemporaryDirectory() as name:
        arch = "toy" if options.hours or options.conversations else "full"
        for style in STYLES:
            make(style, arch, Path(name) / style)
        if options.conversations:
            return {style: conversations(Path(name) / style, options) for style in STYLES}
        return (long_recording if options.hours else at_full_size)(Path(name) / options.style, options)


def rounded(value: Any) -> Any:
    """Two decimals for what is above one in a thousand, two digits below."""
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return float(f"{value:.2f}" if abs(value) > 1e-3 else f"{value:.1e}") if isinstance(value, float) else value


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=18.0)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--conversations", type=int, default=0)
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--style", choices=STYLES, default="vbx")
    parser.add_argument("--only", choices=("stock", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    apart = options.hours and not options.only
    print(json.dumps(rounded(long_recordings(options) if apart else measure(options))))


if __name__ == "__main__":
    main()
