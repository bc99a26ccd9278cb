"""Train the tiny aligner on the bundled call: a CTC model of wav2vec 2.0's kind that spells what it hears there.

Needs two CPU cores, 2 GB of memory, some ten minutes, and an environment with torch, transformers and av (the engine's
has them). From the repository's root:

    .venv-engine/bin/python -m tests.engines.tiny_aligner.train FOLDER

fills FOLDER with config.json, preprocessor_config.json, vocab.json and model.safetensors. Promised is a model that
knows the words of this one recording wherever and in whatever order they come; it knows no other speech. README.md has
the figures.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, ctc_loss
from torch.nn.utils.rnn import pad_sequence
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

LOG = logging.getLogger(__name__)

Wave = NDArray[np.float32]

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[2] / "examples"
RATE, STRIDE = 16_000, 320
SEED, THREADS = 1, 1
STEPS, LABELLED_STEPS, WARM_UP = 1_000, 450, 50
PEAK_RATE = 2e-3
BATCH_S = 20.0
"""Sound in a batch: a few short clips, or one long one."""
LENGTHS_S = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 30.0)
PAUSE_S = 0.6
NOISE = 0.003
TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
VOCABULARY = {token: number for number, token in enumerate(TOKENS)}
BLANK, DELIMITER, IGNORED = 0, 4, -100


@dataclass(frozen=True)
class Word:
    """A word of the call, spelled in the vocabulary; its samples."""

    spelled: str
    start: int
    end: int


@dataclass(frozen=True)
class Clip:
    """A window to learn from: its sound, the tokens that are said in it, and the token of each of its frames."""

    sound: Tensor
    tokens: Tensor
    frames: Tensor


def config() -> Wav2Vec2Config:
    """wav2vec 2.0's shape, as its large models have it (layer norm, and so an attention mask), in small."""
    return Wav2Vec2Config(
        vocab_size=len(TOKENS),
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=256,
        conv_dim=(16, 16, 32, 32, 64, 64, 64),
        conv_bias=True,
        feat_extract_activation="relu",  # a tenth of the time that gelu takes
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=32,
        num_conv_pos_embedding_groups=8,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        apply_spec_augment=False,
        pad_token_id=BLANK,
    )


def decode(path: Path) -> Wave:
    """A sound file as mono samples at 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(str(path)) as container:
        frames = [*container.decode(audio=0), None]
        pieces = [piece.to_ndarray()[0] for frame in frames for piece in resampler.resample(frame)]
    return np.concatenate(pieces).astype(np.float32)


def read_turns() -> list[list[Word]]:
    """The call's words, turn by turn."""
    words = []
    for line in (HERE / "call.ctm").read_text().splitlines():
        _, _, start, duration, name = line.split()
        first, last = round(float(start) * RATE), round((float(start) + float(duration)) * RATE)
        words.append(Word(name.upper(), first, last))
    turns = []
    for line in (EXAMPLES / "call.stm").read_text().splitlines():
        begin, end = (float(value) * RATE for value in line.split(maxsplit=5)[3:5])
        turns.append([word for word in words if begin - 1 < word.start < end])
    return turns


def labelled(words: list[Word], length: int) -> Tensor:
    """The token of each frame: a word's letters share its time; a delimiter and then blanks follow it."""
    frames = torch.full((length,), BLANK)
    for word in words:
        first, last = word.start // STRIDE, max(word.end // STRIDE, word.start // STRIDE + 1)
        letters = len(word.spelled)
        for frame in range(first, min(last, length)):
            share = (frame - first) / (last - first) * letters
            letter = int(share)
            again = (
                letter
                and word.spelled[letter] == word.spelled[letter - 1]
                and share - letter < letters / (last - first)
            )
            frames[frame] = BLANK if again else VOCABULARY[word.spelled[letter]]
        frames[last - 1 if last - first > letters else last : last + 1] = DELIMITER
    return frames


def cut(call: Wave, words: list[Word], before: int, after: int) -> tuple[Wave, list[Word]]:
    """The stretch of some words, with so many samples around it; the words as they lie in it."""
    start, end = max(words[0].start - before, 0), min(words[-1].end + after, len(call))
    return call[start:end], [Word(word.spelled, word.start - start, word.end - start) for word in words]


def clip(call: Wave, turns: list[list[Word]], length_s: float, dice: random.Random) -> Clip:
    """Runs of words from anywhere in the call, one after the other, with pauses of any length."""
    sounds: list[Wave] = []
    said: list[Word] = []
    at = 0
    while at < length_s * RATE:
        turn = dice.choice(turns)
        first = dice.randrange(len(turn)) if dice.random() < 0.5 else 0
        last = dice.randrange(first, len(turn)) if dice.random() < 0.3 else len(turn) - 1
        room = round(0.35 * RATE) if first == 0 and last == len(turn) - 1 else 0
        sound, words = cut(call, turn[first : last + 1], dice.randint(0, room), dice.randint(0, room))
        pause = np.zeros(dice.randint(0, round(PAUSE_S * RATE)), np.float32)
        if at + len(sound) + len(pause) > 30 * RATE:
            break
        said += [Word(word.spelled, word.start + at, word.end + at) for word in words]
        sounds += [sound * np.float32(dice.uniform(0.6, 1.2)), pause]
        at += len(sound) + len(pause)
    sound = worsened(np.concatenate(sounds), dice)
    tokens = [VOCABULARY[letter] for letter in "|".join(word.spelled for word in said)]
    frames = (len(sound) - 400) // STRIDE + 1
    return Clip(torch.from_numpy(sound), torch.tensor(tokens), labelled(said, frames))


def worsened(sound: Wave, dice: random.Random) -> Wave:
    """Louder or softer, with noise, some through a telephone's band."""
    if dice.random() < 0.25:
        spectrum = np.fft.rfft(sound)
        spectrum[round(len(spectrum) * dice.uniform(3_400, 4_000) / (RATE / 2)) :] = 0
        sound = np.fft.irfft(spectrum, len(sound)).astype(np.float32)
    noise = np.random.default_rng(dice.getrandbits(32)).normal(0, dice.uniform(0, NOISE), len(sound))
    return np.asarray(sound * dice.uniform(0.3, 1.3) + noise, dtype=np.float32)


def batch(call: Wave, turns: list[list[Word]], dice: random.Random) -> list[Clip]:
    """Clips of one length, whichever."""
    length_s = dice.choice(LENGTHS_S)
    return [clip(call, turns, length_s, dice) for _ in range(max(1, round(BATCH_S / (length_s + 2))))]


def loss_of(model: Wav2Vec2ForCTC, clips: list[Clip], weight: float) -> Tensor:
    """CTC's loss, and with that `weight` the one of the frames' own labels."""
    normal = [(one.sound - one.sound.mean()) / torch.sqrt(one.sound.var() + 1e-7) for one in clips]
    heard = pad_sequence(normal, batch_first=True)
    mask = pad_sequence([torch.ones(len(one.sound), dtype=torch.long) for one in clips], batch_first=True)
    logits = model(heard, attention_mask=mask).logits
    lengths = torch.tensor([len(one.frames) for one in clips])
    tokens = pad_sequence([one.tokens for one in clips], batch_first=True)
    spelled = torch.tensor([len(one.tokens) for one in clips])
    log_probs = logits.float().log_softmax(-1).transpose(0, 1)
    loss = ctc_loss(log_probs, tokens, lengths, spelled, blank=BLANK, zero_infinity=True)
    if weight:
        frames = pad_sequence([one.frames for one in clips], batch_first=True, padding_value=IGNORED)
        loss = (1 - weight) * loss + weight * cross_entropy(logits.transpose(1, 2), frames, ignore_index=IGNORED)
    return loss


def train(model: Wav2Vec2ForCTC) -> None:
    """Learn where the letters are from labels at first, and then only what is said, as CTC models do."""
    dice = random.Random(SEED)
    call, turns = decode(EXAMPLES / "call.ogg"), read_turns()
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=STEPS, pct_start=WARM_UP / STEPS)
    began, mean = time.monotonic(), 0.0
    for step in range(1, STEPS + 1):
        loss = loss_of(model, batch(call, turns, dice), 1.0 if step <= LABELLED_STEPS else 0.0)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean += (loss.item() - mean) * max(0.02, 1 / step)
        if step % 50 == 0:
            LOG.info("step %d, loss %.4f, %.0f s", step, mean, time.monotonic() - began)


def main() -> None:
    """Train, and write the four files."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = Path(sys.argv[1])
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    model = Wav2Vec2ForCTC(config())
    LOG.info("%d weights", sum(weights.numel() for weights in model.parameters()))
    train(model)
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY) + "\n")


if __name__ == "__main__":
    main()
