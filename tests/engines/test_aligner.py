"""The real transformers and torch, in the environment of their process, with a tiny CTC model that knows one call."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.engines.conftest import TINY_ALIGNER
from tests.media import CALL, ROOT
from tests.reference import bundled_call
from voxtral_serverless.torch_process import OFFLINE

MODEL_FILES = ("config.json", "preprocessor_config.json", "vocab.json", "model.safetensors")
RATE = 16_000

Time = list[float]


@dataclass(frozen=True)
class Word:
    """A word of the call, in the model's letters, and when it is truly spoken."""

    spelled: str
    start: float
    end: float


@dataclass(frozen=True)
class Cut:
    """A window as it is asked for, and the true times of its words in its own sound."""

    pieces: list[list[int]]
    words: list[Word]

    def asked(self, call: Path, spoken: Sequence[str] | None = None) -> dict[str, Any]:
        words = [word.spelled for word in self.words] if spoken is None else list(spoken)
        return {"audio": str(call), "pieces": self.pieces, "spoken": words}


class Child:
    """The process that aligns."""

    def __init__(self, python: str) -> None:
        environment = {**os.environ, **OFFLINE, "PYTHONPATH": str(ROOT / "src")}
        command = (python, "-W", "ignore", str(TINY_ALIGNER / "answering.py"))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.first = self._heard()

    def ask(self, *windows: dict[str, Any], model: Path = TINY_ALIGNER, **more: Any) -> dict[str, Any]:
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"model": str(model), "windows": windows, **more}) + "\n")
        self.process.stdin.flush()
        return self._heard()

    def align(self, *windows: dict[str, Any], model: Path = TINY_ALIGNER) -> list[Any]:
        answer = self.ask(*windows, model=model)
        found: list[Any] = answer["windows"]
        assert len(found) == len(windows)
        return found

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(10) == 0

    def _heard(self) -> dict[str, Any]:
        assert self.process.stdout
        message: dict[str, Any] = json.loads(self.process.stdout.readline())
        return message


@pytest.fixture(scope="module")
def child(diarization_python: str) -> Iterator[Child]:
    child = Child(diarization_python)
    yield child
    child.close()


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled call, as the decoder leaves a recording."""
    path = tmp_path_factory.mktemp("call") / "mix.pcm"
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(str(CALL)) as container:
        frames = [*container.decode(audio=0), None]
        path.write_bytes(b"".join(piece.to_ndarray().tobytes() for one in frames for piece in resampler.resample(one)))
    return path


def copied(folder: Path, **config: Any) -> Path:
    """The tiny model in another folder, with changes of its configuration."""
    folder.mkdir()
    for name in MODEL_FILES:
        shutil.copy(TINY_ALIGNER / name, folder)
    wanted = {**json.loads((TINY_ALIGNER / "config.json").read_text()), **config}
    (folder / "config.json").write_text(json.dumps(wanted))
    return folder


def turns() -> list[list[Word]]:
    """The words of each turn of the call."""
    rows = [line.split() for line in (TINY_ALIGNER / "call.ctm").read_text().splitlines()]
    words = [Word(name.upper(), float(start), float(start) + float(length)) for _, _, start, length, name in rows]
    told = [[word for word in words if turn.start - 0.01 < word.start < turn.end] for turn in bundled_call()]
    assert sum(map(len, told)) == len(words) == 199
    return told


def cut(spoken: list[list[Word]], *, gaps: bool) -> Cut:
    """A window of some turns in a row, with the gaps between them or with most of each cut out."""
    edges = [(turn[0].start - 0.1, turn[-1].end + 0.15) for turn in spoken]
    wanted = edges if not gaps else [(edges[0][0], edges[-1][1])]
    pieces = [[round(start * RATE), round(end * RATE)] for start, end in wanted]
    words, before = [], 0.0
    for first, after in pieces:
        here = [word for turn in spoken for word in turn if first < word.start * RATE < after]
        shift = before - first / RATE
        words += [Word(word.spelled, word.start + shift, word.end + shift) for word in here]
        before += (after - first) / RATE
    return Cut(pieces, words)


def several(*, gaps: bool) -> list[Cut]:
    """The whole call in windows of three turns, of two, and of five (nearly half a minute)."""
    spoken = turns()
    bounds = (0, 3, 5, 10, 12, 14)
    return [cut(spoken[first:after], gaps=gaps) for first, after in pairwise(bounds)]


def errors(found: list[Time], words: list[Word]) -> list[float]:
    """How far the edges are from the true ones, in seconds."""
    assert len(found) == len(words)
    return [
        abs(edge - truth)
        for (start, end, _), word in zip(found, words, strict=True)
        for edge, truth in ((start, word.start), (end, word.end))
    ]


@pytest.mark.parametrize("gaps", [True, False])
def test_words_are_found_where_they_are_spoken(child: Child, call: Path, gaps: bool) -> None:
    windows = several(gaps=gaps)
    wrong: list[float] = []
    for window, found in zip(windows, child.align(*(window.asked(call) for window in windows)), strict=True):
        wrong += errors(found, window.words)
        assert found[0][0] >= 0
        assert found[-1][1] <= sum(after - first for first, after in window.pieces) / RATE
        assert all(start < end for start, end, _ in found)
        assert all(one[1] <= other[0] for one, other in pairwise(found))
    assert len(wrong) == 2 * 199
    assert statistics.median(wrong) <= 0.06
    assert np.quantile(wrong, 0.95) <= 0.1


def test_score_tells_right_text_from_wrong(child: Child, call: Path) -> None:
    spoken = turns()
    windows = [cut([turn], gaps=True) for turn in spoken[:-1]]
    others = [[word.spelled for word in turn] for turn in [*spoken[5:-1], *spoken[:5]]]
    right = child.align(*(window.asked(call) for window in windows))
    wrong = child.align(*(window.asked(call, words) for window, words in zip(windows, others, strict=True)))
    of_right = [statistics.mean(score for _, _, score in found) for found in right]
    of_wrong = [statistics.mean(score for _, _, score in found) for found in wrong if found]
    assert len(of_wrong) > 10
    assert min(of_right) > 2 * max(of_wrong)
    assert all(0 <= score <= 1 for found in (*right, *wrong) for _, _, score in found or ())


@pytest.mark.parametrize("unknown", ["", "42", "café", "Hello", "GAR DEN"])
def test_word_outside_the_alphabet_gets_no_time_and_harms_no_other(child: Child, call: Path, unknown: str) -> None:
    window = cut(turns()[:2], gaps=True)
    spelled = [word.spelled for word in window.words]
    places = [spelled.index("GARDEN"), spelled.index("ORDERED"), len(spelled) - 1]
    for place in places:
        spelled[place] = unknown
    whole, found = child.align(window.asked(call), window.asked(call, spelled))
    assert [place for place, time in enumerate(found) if time is None] == places
    for place, (time, before) in enumerate(zip(found, whole, strict=True)):
        if place not in places:
            assert time == pytest.approx(before, abs=0.05)


def test_no_word_in_the_alphabet(child: Child, call: Path) -> None:
    window = cut(turns()[:1], gaps=True)
    assert child.align(window.asked(call, ["", "42"]), window.asked(call, [])) == [[None, None], []]


def test_more_text_than_sound(child: Child, call: Path) -> None:
    window = cut(turns()[:1], gaps=True)
    quick, nothing = Cut([[16_000, 20_000]], window.words), Cut([[16_000, 16_399]], window.words[:1])
    asked = [one.asked(call) for one in (quick, window, nothing, Cut([], window.words), Cut([[5, 5]], window.words))]
    found = child.align(*asked)
    assert [times is None for times in found] == [True, False, True, True, True]
    assert child.align(asked[0]) == child.align(asked[2]) == [None]
    assert child.align() == []


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_batches_change_no_answer(child: Child, call: Path, norm: str, tmp_path: Path) -> None:
    model = copied(tmp_path / "model", feat_extract_norm=norm)
    asked = [cut([turn], gaps=True).asked(call) for turn in turns()]
    together = child.align(*asked, model=model)
    for window, found in zip(asked, together, strict=True):
        [alone] = child.align(window, model=model)
        assert [time[:2] for time in alone] == [time[:2] for time in found]
        assert [time[2] for time in alone] == pytest.approx([time[2] for time in found], abs=2e-3)


def test_progress_and_an_answer_that_nobody_wants(child: Child, call: Path) -> None:
    assert child.first == {"early": False}
    asked = [window.asked(call) for window in several(gaps=True)]
    shares = child.ask(*asked)["shares"]
    assert shares == sorted(set(shares))
    assert (shares[0], shares[-1]) == (0, 1)
    assert len(shares) > 3
    left = child.ask(*asked, stops_at=0.3)
    assert left["failed"] == "Unwanted"
    assert left["shares"][-1] < 1
    assert child.align(*asked)


def test_two_models_stay_loaded(child: Child, call: Path, tmp_path: Path) -> None:
    window = cut(turns()[:1], gaps=True).asked(call)
    first, second = copied(tmp_path / "first"), copied(tmp_path / "second")
    found = child.align(window)
    assert child.align(window, model=first) == found
    shutil.rmtree(first)
    assert child.align(window, model=first) == child.align(window) == found
    assert child.align(window, model=second) == found  # in the place of the first one, asked for longest ago
    assert "failed" in child.ask(window, model=first)
    assert child.align(window) == found


class Trap:
    """Leaves a mark where a model's file may run code."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_no_code_of_a_model_is_run(child: Child, call: Path, tmp_path: Path) -> None:
    window, mark = cut(turns()[:1], gaps=True).asked(call), tmp_path / "mark"
    own = copied(tmp_path / "own", auto_map={"AutoModelForCTC": "own.Own", "AutoConfig": "own.Own"})
    (own / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    assert "windows" in child.ask(window, model=own)
    pickled = copied(tmp_path / "pickled")
    (pickled / "model.safetensors").unlink()
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": Trap(mark)}))
    assert "failed" in child.ask(window, model=pickled)
    assert not mark.exists()
