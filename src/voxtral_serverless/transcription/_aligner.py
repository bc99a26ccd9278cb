"""When words are spoken, told by a CTC model of wav2vec 2.0's kind, in the process that holds torch.

Promises seconds for words that are spelled in the model's own letters; the same ones however the windows are batched,
up to rounding. Fetches nothing, and runs no code of a model's folder. Leaves out where the models are, how a written
word is spelled in their letters, and what becomes of words that get no time.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from voxtral_serverless.transcription.ctc import TokenFrames, align

if TYPE_CHECKING:
    from voxtral_serverless._torch_process import Progress

SAMPLE_RATE = 16_000
KEPT = {"cuda": 1, "cpu": 2}
"""Models that stay loaded, those of the languages asked for last: a large one has 1.3 GB, half of it on a GPU."""
BATCH_S = {"cuda": 60, "cpu": 30}
"""Sound at once, padding included: with a large model 0.6 GB in single precision for 30 s, so as much in half for 60."""
DELIMITER = "|"
EARLY_S, LATE_S = 0.02, 0.04
"""How far a word reaches beyond its first and its last token, where no other word is nearer."""

Floats = NDArray[np.float32]
WordTime = tuple[float, float, float]
"""Start and end in seconds from the start of a window's sound, and a score in [0, 1]."""
Place = tuple[int, int] | None
"""A word's first token and the one after its last; None for a word that the model cannot spell."""


class Window(NamedTuple):
    """What is aligned: the sound, of shape `(samples,)`, and the words that are spoken in it."""

    sound: Floats
    spoken: Sequence[str]


class Aligners:
    """The models, on one device, each loaded when it is first asked for."""

    def __init__(self, device: str) -> None:
        """`device` as `LoadedPipeline` tells it: behind a GPU may stand its model."""
        self._device = torch.device(device.split(maxsplit=1)[0])
        self._loaded: OrderedDict[str, Aligner] = OrderedDict()

    def align(self, *, model: str, windows: Sequence[dict[str, Any]], progress: Progress) -> dict[str, Any]:
        """The times of the words of each of the `windows`, by the model in the folder `model`.

        A window has `audio`, a file of 16-bit PCM at 16 kHz; `pieces` of it, each its first sample and the one after
        its last, heard one after the other; and `spoken`, its words in the model's letters. The answer's `windows`
        have for each word a `WordTime`, or None where it has no letters, or others than the model's; a whole window is
        None where so much cannot be spoken in so little sound.
        """
        progress(0.0)
        aligner = self._aligner(model)
        lengths = [sum(after - first for first, after in window["pieces"]) for window in windows]
        batches = list(_batches(lengths, aligner.most_samples, aligner.least_samples))
        done, total = 0, sum(lengths[index] for batch in batches for index in batch)
        found: list[list[WordTime | None] | None] = [None] * len(windows)
        for batch in batches:
            opened = [_opened(windows[index]) for index in batch]
            for index, times in zip(batch, aligner.align(opened), strict=True):
                found[index] = times
                done += lengths[index]
            progress(done / total)
        return {"windows": found}

    def _aligner(self, folder: str) -> Aligner:
        if folder not in self._loaded:
            while len(self._loaded) >= KEPT[self._device.type]:
                self._loaded.popitem(last=False)
            self._loaded[folder] = Aligner(Path(folder), self._device)
        self._loaded.move_to_end(folder)
        return self._loaded[folder]


class Aligner:
    """A loaded model.

    Attributes:
        most_samples: How much sound it takes at once, padding included; 0 where windows must come one by one.
        least_samples: How much sound makes a frame.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        from transformers import AutoFeatureExtractor, AutoModelForCTC
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        here = {"local_files_only": True, "trust_remote_code": False}
        # These models were trained in half precision; a processor is no quicker with it. They are loaded in single
        # precision, since loading sets torch's default for the whole process, in which pyannote may be at work.
        model = AutoModelForCTC.from_pretrained(folder, weights_only=True, dtype=torch.float32, **here)
        self._model = model.eval().to(device, torch.float16 if device.type == "cuda" else torch.float32)
        self._extractor = AutoFeatureExtractor.from_pretrained(folder, **here)
        self._letters: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        config = model.config
        self._blank, self._anything = config.pad_token_id, config.vocab_size
        # Group norm spreads over a whole window, its padding included, and such models know no attention mask.
        self.most_samples = BATCH_S[device.type] * SAMPLE_RATE if config.feat_extract_norm == "layer" else 0
        self._convolutions = list(zip(config.conv_kernel, config.conv_stride, strict=True))
        self._stride = math.prod(config.conv_stride)
        self.least_samples = 1
        for kernel, stride in reversed(self._convolutions):
            self.least_samples = (self.least_samples - 1) * stride + kernel

    def align(self, windows: Sequence[Window]) -> Iterator[list[WordTime | None] | None]:
        """The times of the words of windows that are computed at once, each of `least_samples` or more."""
        for window, output in zip(windows, self._log_probs([window.sound for window in windows]), strict=True):
            columns, places = self._tokens(window.spoken)
            tokens = align(output, columns, self._blank)
            end_s = len(window.sound) / SAMPLE_RATE
            yield None if tokens is None else _times(tokens, places, self._stride / SAMPLE_RATE, end_s)

    def _log_probs(self, sounds: Sequence[Floats]) -> Iterator[Floats]:
        """For each sound `(frames, vocabulary + 1)`; the last column is as likely as the likeliest of the others."""
        heard = [
            torch.from_numpy(self._extractor(sound, sampling_rate=SAMPLE_RATE).input_values[0]) for sound in sounds
        ]
        given = {"input_values": pad_sequence(heard, batch_first=True).to(self._model.device, self._model.dtype)}
        if self.most_samples:
            masks = [torch.ones(len(sound), dtype=torch.long) for sound in sounds]
            given["attention_mask"] = pad_sequence(masks, batch_first=True).to(self._model.device)
        with torch.inference_mode():
            outputs = self._model(**given).logits.float().log_softmax(-1).cpu().numpy()
        for sound, output in zip(sounds, outputs, strict=True):
            own = output[: self._frames(len(sound))]
            yield np.concatenate([own, own.max(axis=1, keepdims=True)], axis=1)

    def _frames(self, samples: int) -> int:
        for kernel, stride in self._convolutions:
            samples = (samples - kernel) // stride + 1
        return samples

    def _tokens(self, spoken: Sequence[str]) -> tuple[list[int], list[Place]]:
        """The columns of the output that the path passes, and which of them are whose.

        A word that the model cannot spell is heard all the same: as one token that may be anything, for any time.
        """
        delimiter = [self._letters[DELIMITER]] if DELIMITER in self._letters else []
        columns: list[int] = []
        places: list[Place] = []
        for word in spoken:
            columns += delimiter if places else []
            letters = [self._letters[letter] for letter in word if letter in self._letters]
            known = bool(letters) and len(letters) == len(word)
            places.append((len(columns), len(columns) + len(letters)) if known else None)
            columns += letters if known else [self._anything]
        return columns, places


def _opened(window: dict[str, Any]) -> Window:
    samples = np.memmap(window["audio"], dtype="<i2", mode="r")
    sound = np.concatenate([samples[first:after] for first, after in window["pieces"]])
    return Window(np.multiply(sound, np.float32(1 / 32_768), dtype=np.float32), window["spoken"])


def _batches(lengths: Sequence[int], most: int, least: int) -> Iterator[list[int]]:
    """Indices of `lengths`, like ones together: at most `most` in sum when all are as long as the longest."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if lengths[index] < least:
            continue
        if batch and lengths[batch[0]] * (len(batch) + 1) > most:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _times(
    tokens: Sequence[TokenFrames], places: Sequence[Place], frame_s: float, end_s: float
) -> list[WordTime | None]:
    """From the frames of the tokens to the seconds of the words.

    A CTC model fires late and briefly: a word begins before its first token and ends behind its last. Each is moved by
    a fixed reach, but never past the middle between two words.
    """
    spans = [(tokens[place[0]].first * frame_s, (tokens[place[1] - 1].last + 1) * frame_s) for place in places if place]
    middles = [0.0, *((one[1] + other[0]) / 2 for one, other in pairwise(spans)), end_s]
    edges = iter(zip(spans, pairwise(middles), strict=False))  # one more, where nothing has a span
    return [_time(tokens[slice(*place)], *next(edges)) if place else None for place in places]


def _time(tokens: Sequence[TokenFrames], span: tuple[float, float], between: tuple[float, float]) -> WordTime:
    start, end = max(span[0] - EARLY_S, between[0]), min(span[1] + LATE_S, between[1])
    score = sum(token.probability for token in tokens) / len(tokens)
    return round(start, 3), round(end, 3), round(score, 4)
