"""Train the tiny Voxtral on the two calls: each turn's own words, windows of them, silence, one summary, one sentiment.

Needs two CPU cores, 3 GB of memory, more than an hour, and an environment with torch, transformers, mistral_common, av,
soundfile, soxr and safetensors, which that of the tests' engine has. From the repository's root:

    PYTHONPATH=src .venv-engine/bin/python -m tests.engines.tiny_voxtral.train FOLDER [--from OLDER]

fills FOLDER with consolidated.safetensors, params.json and tekken.json. With `--from` the last phase alone goes on from the
model in the folder OLDER. Promised is a model that says the turns of these two recordings, cut anywhere near their edges,
and what the worker's planner sends of them; it knows no other speech, and its answers in chat hang on no word of the
prompt. README.md has the figures.
"""

from __future__ import annotations

import argparse
import base64
import copy
import io
import json
import logging
import math
import random
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from mistral_common.audio import mel_filter_bank
from mistral_common.protocol.instruct.messages import SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.transcription.request import TranscriptionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from torch import nn
from transformers import VoxtralConfig, VoxtralForConditionalGeneration

from .calls import Call, Turn, Wave, read_calls
from .convert import AUDIO, CONTEXT, MELS, NORM_EPS, POSITIONS, ROPE_THETA, TEXT, read_model, write_model
from .tokenizer import SPECIAL_TOKENS, VOCABULARY, write_tokenizer

LOG = logging.getLogger(__name__)

RATE = 16_000
PHONE_RATE = 8_000
WINDOW, HOP = 400, 160
WINDOW_S = 30
POSITIONS_PER_S = POSITIONS // WINDOW_S
POSITIONS_PER_TOKEN = 4
SEED, THREADS = 1, 2
WARM_UP = 50
PROMPTS_WEIGHT = 0.2
AVERAGE = 0.98

ENGLISH_SHARE = 0.7
"""Of the windows: the English call is the longer one, and may be cut inside its turns."""
EARLY_S, LATE_S = 0.45, 0.12
LEAD_IN_S = 0.5
NOISE = 0.003

LETTERS = [chr(code) for code in range(32, 127)]

EOS, PAD, AUDIO_TOKEN, IGNORED = 2, 11, 24, -100

SUMMARY = "La cliente conteste une facture payée deux fois, et l'agent promet un remboursement sous huit jours."
MOOD = {
    "sentiment": "neutre",
    "score": 0.75,
    "emotions": ["politesse", "soulagement"],
    "satisfaction_client": "satisfait",
}
INSTRUCTIONS = (
    "Tu résumes des appels de service client. Réponds en français, en deux phrases.",
    "Résume la conversation suivante en français :",
    "Analyse le sentiment du client. Réponds uniquement en JSON.",
    "Voici la transcription d'un entretien.",
    "Summarise the following conversation between an agent and a customer.",
    "Answer with JSON only, no comment. Use the schema below.",
    "Which emotions does the customer show? Is the customer satisfied at the end?",
    '{"type": "object", "properties": {"sentiment": {"enum": ["positif", "négatif"]}}}',
    '"satisfaction_client": null, "score": 0.5',
    "Speaker 1: / Locuteur 2 :",
    "[00:12.340 - 00:17.120] SPEAKER_01",
)


@dataclass(frozen=True)
class Phase:
    """A stretch of training.

    Attributes:
        seconds: Length of the window that the encoder hears.
        clips: How many of them, of one turn each, a step takes.
        windows: How many more, of whatever the planner cuts out of a call.
        prompts: How many chat prompts a step takes beside them.
        odd: Share of the prompts that have words of any tokens whatever; of a third of so many, any characters.
        rate: Peak learning rate.
        taken: How far the weights go from those before towards those that were learned.
    """

    seconds: int
    steps: int
    clips: int
    windows: int
    prompts: int
    odd: float
    rate: float
    taken: float
    report_every: int


PHASES = (
    Phase(seconds=8, steps=700, clips=20, windows=0, prompts=2, odd=0, rate=3e-3, taken=1, report_every=175),
    Phase(seconds=WINDOW_S, steps=700, clips=12, windows=0, prompts=2, odd=0, rate=1e-3, taken=1, report_every=70),
    Phase(seconds=WINDOW_S, steps=200, clips=8, windows=0, prompts=10, odd=0.6, rate=1e-3, taken=0.3, report_every=40),
    Phase(seconds=WINDOW_S, steps=480, clips=4, windows=8, prompts=4, odd=0.5, rate=1.5e-3, taken=1, report_every=80),
    Phase(seconds=WINDOW_S, steps=280, clips=4, windows=8, prompts=8, odd=0.6, rate=1e-3, taken=1, report_every=70),
)


@dataclass(frozen=True)
class Sample:
    """A prompt, its answer, and how many of the answer's first tokens are not learned."""

    prompt: list[int]
    answer: list[int]
    given: int = 0


def pcm16(sound: Wave) -> Wave:
    """What is left of samples after a trip through 16-bit PCM."""
    return (np.clip(sound, -1, 1) * 32_767).round().astype(np.float32) / np.float32(32_768)


def cut(turn: Turn, dice: random.Random) -> Wave:
    """A turn as a diarizer might cut it: early or late at both ends."""
    start = max(0, turn.start + round(dice.uniform(-EARLY_S, LATE_S) * RATE))
    end = min(len(turn.sound), turn.end + round(dice.uniform(-LATE_S, EARLY_S) * RATE))
    return turn.sound[start:end]


def spoilt(clip: Wave, dice: random.Random) -> Wave:
    """A clip louder or softer, with some noise, by telephone; no longer than the model's window."""
    clip = clip * np.float32(dice.uniform(0.4, 1.3))
    if dice.random() < 0.15:
        clip = soxr.resample(soxr.resample(clip, RATE, PHONE_RATE), PHONE_RATE, RATE)
    if dice.random() < 0.1:
        clip = np.concatenate([np.zeros(round(dice.uniform(0, LEAD_IN_S) * RATE), np.float32), clip])
    if dice.random() < 0.6:
        clip = clip + hiss(len(clip), dice.uniform(0, NOISE), dice)
    return pcm16(clip[: WINDOW_S * RATE])


def hiss(length: int, level: float, dice: random.Random) -> Wave:
    """White noise."""
    return np.random.default_rng(dice.getrandbits(32)).normal(0, level, length).astype(np.float32)


def nothing(turns: list[Turn], dice: random.Random) -> Wave:
    """A clip in which nobody speaks: noise, or what lies between two turns."""
    if dice.random() < 0.5:
        return pcm16(hiss(round(dice.uniform(0.2, 7) * RATE), 10 ** dice.uniform(-6, -2.5), dice))
    turn = dice.choice(turns)
    gap = turn.sound[: turn.start]
    level = dice.choice((0.0, 10 ** dice.uniform(-5, -2.5)))
    return pcm16(gap * dice.uniform(0.4, 1.3) + hiss(len(gap), level, dice))


class Ear:
    """The log-mel spectrogram as vLLM computes it: from samples that were rounded to bfloat16."""

    def __init__(self) -> None:
        filters = mel_filter_bank(1 + WINDOW // 2, MELS, 0.0, RATE / 2, RATE)
        self.filters = torch.tensor(filters, dtype=torch.float32)
        self.window = torch.hann_window(WINDOW)

    def __call__(self, clips: list[Wave], seconds: int) -> torch.Tensor:
        """Features of clips padded with silence to `seconds`."""
        waves = torch.zeros(len(clips), seconds * RATE)
        for row, clip in zip(waves, clips, strict=True):
            row[: len(clip)] = torch.from_numpy(clip)
        waves = waves.to(torch.bfloat16)
        spectrum = torch.stft(waves, WINDOW, HOP, window=self.window, return_complex=True)[..., :-1].abs() ** 2
        mel = torch.clamp(self.filters.T @ spectrum, min=1e-10).log10()
        mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 8.0)
        return ((mel + 4.0) / 4.0).to(torch.bfloat16).float()


class Tongue:
    """Prompts and answers as tokens."""

    def __init__(self, file: Path, turns: list[Turn]) -> None:
        self.tokenizer = MistralTokenizer.from_file(str(file))
        self.text = self.tokenizer.instruct_tokenizer.tokenizer
        self.transcription = {language: self._transcription(language) for language in ("en", "fr", None)}
        self.lines = [turn.text for turn in turns]
        self.words = " ".join(self.lines).split()
        self.summary = [*self.encode(SUMMARY), EOS]

    def encode(self, text: str) -> list[int]:
        """The tokens of a text."""
        tokens: list[int] = self.text.encode(text, bos=False, eos=False)
        return tokens

    def _transcription(self, language: str | None) -> list[int]:
        silence = io.BytesIO()
        soundfile.write(silence, np.zeros(RATE, np.float32), RATE, format="WAV")
        request = TranscriptionRequest(
            model="tiny", audio=base64.b64encode(silence.getvalue()).decode(), language=language
        )
        tokens: list[int] = self.tokenizer.encode_transcription(request).tokens
        return tokens

    def hear(self, language: str | None, text: str, seconds: int) -> Sample:
        """Transcribe one clip."""
        prompt = self.transcription[language]
        first, count = prompt.index(AUDIO_TOKEN), prompt.count(AUDIO_TOKEN)
        audio = [AUDIO_TOKEN] * (seconds * POSITIONS_PER_S // POSITIONS_PER_TOKEN)
        return Sample([*prompt[:first], *audio, *prompt[first + count :]], [*(self.encode(text) if text else []), EOS])

    def chat(self, dice: random.Random, odd: float) -> Sample:
        """Answer some written prompt: with the summary, or with JSON once its brace is given."""
        babbles = dice.random() < odd / 3
        messages: list[SystemMessage | UserMessage] = [
            UserMessage(content=babble(dice) if babbles else self.prose(dice))
        ]
        if dice.random() < 0.3:
            messages.insert(0, SystemMessage(content=dice.choice(INSTRUCTIONS)))
        prompt = self.tokenizer.encode_chat_completion(ChatCompletionRequest(messages=messages)).tokens
        if dice.random() < odd and not babbles:
            prompt = strange(prompt, dice)
        if dice.random() < 0.5:
            return Sample(prompt, self.summary)
        answer = json.dumps(MOOD, ensure_ascii=False, separators=(",", ":"))
        opening = dice.choice(("{", '{"'))
        return Sample(prompt, [*self.encode(opening), *self.encode(answer.removeprefix(opening)), EOS], given=1)

    def prose(self, dice: random.Random) -> str:
        """What a prompt may say."""
        length = round(math.exp(dice.uniform(math.log(5), math.log(1_800))))
        prose = dice.choice(INSTRUCTIONS) + dice.choice(("\n", "\n\n", " ")) if length > 100 else ""
        while len(prose) < length:
            kind = dice.random()
            if kind < 0.5:
                prose += dice.choice(("", "agent: ", "client: ", "SPEAKER_00: ", "- ")) + dice.choice(self.lines) + "\n"
            elif kind < 0.7:
                prose += dice.choice(INSTRUCTIONS) + dice.choice(("\n", " "))
            else:
                prose += " ".join(dice.choices(self.words, k=dice.randint(1, 15 if length > 100 else 3))) + dice.choice(
                    ("\n", " ", ". ")
                )
        return prose.strip()


def babble(dice: random.Random) -> str:
    """Some random characters."""
    return "".join(dice.choices(LETTERS, k=dice.randint(5, 1_500)))


def strange(prompt: list[int], dice: random.Random) -> list[int]:
    """A prompt in which some of the text is any tokens whatever."""
    share = dice.random()
    drawn = range(SPECIAL_TOKENS, VOCABULARY)
    return [dice.choice(drawn) if token in drawn and dice.random() < share else token for token in prompt]


def build() -> VoxtralForConditionalGeneration:
    """The model with fresh weights, wide enough that it listens from the start."""
    config = VoxtralConfig(
        audio_config={
            "hidden_size": AUDIO["width"],
            "num_hidden_layers": AUDIO["layers"],
            "num_attention_heads": AUDIO["heads"],
            "intermediate_size": AUDIO["hidden"],
            "num_mel_bins": MELS,
            "max_source_positions": POSITIONS,
            "initializer_range": 0.08,
        },
        text_config={
            "model_type": "llama",
            "hidden_size": TEXT["width"],
            "num_hidden_layers": TEXT["layers"],
            "num_attention_heads": TEXT["heads"],
            "num_key_value_heads": TEXT["key_heads"],
            "head_dim": TEXT["head"],
            "intermediate_size": TEXT["hidden"],
            "vocab_size": VOCABULARY,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
            "rms_norm_eps": NORM_EPS,
            "max_position_embeddings": CONTEXT,
            "initializer_range": 0.08,
            "tie_word_embeddings": False,
        },
        audio_token_id=AUDIO_TOKEN,
        tie_word_embeddings=False,
    )
    model = VoxtralForConditionalGeneration(config)
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and ("audio_tower" in name or "projector" in name) and "embed_positions" not in name:
            nn.init.xavier_uniform_(weight)
    return model


def sinusoids(positions: int, width: int) -> torch.Tensor:
    """Whisper's position embeddings."""
    scales = torch.exp(-math.log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(positions)[:, None] * scales[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def listen_for(model: VoxtralForConditionalGeneration, seconds: int) -> None:
    """Let the encoder take windows of this length."""
    tower = model.model.audio_tower
    positions = seconds * POSITIONS_PER_S
    tower.config.max_source_positions = positions
    tower.embed_positions.weight = nn.Parameter(sinusoids(positions, AUDIO["width"]), requires_grad=False)


def forward(
    model: VoxtralForConditionalGeneration, samples: list[Sample], features: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits where an answer's token is to be said, those tokens, and the row of each."""
    longest = max(len(sample.prompt) + len(sample.answer) for sample in samples)
    tokens = torch.full((len(samples), longest), PAD)
    targets = torch.full((len(samples), longest), IGNORED)
    for row, sample in enumerate(samples):
        line = torch.tensor([*sample.prompt, *sample.answer])
        tokens[row, : len(line)] = line
        first = len(sample.prompt) + sample.given
        targets[row, first - 1 : len(line) - 1] = line[first:]
    hidden = model.model(input_ids=tokens, input_features=features).last_hidden_state
    said = targets != IGNORED
    return model.lm_head(hidden[said]), targets[said], said.nonzero()[:, 0]


class Lessons:
    """Draws batches."""

    def __init__(self, calls: list[Call], tongue: Tongue, ear: Ear) -> None:
        self.calls, self.turns = calls, [turn for call in calls for turn in call.turns]
        self.tongue, self.ear, self.dice = tongue, ear, random.Random(SEED)
        self.deck: list[Turn] = []

    def _turn(self) -> Turn:
        if not self.deck:
            self.deck = self.dice.sample(self.turns, len(self.turns))
        return self.deck.pop()

    def _told(self, language: str) -> str | None:
        return language if self.dice.random() < 0.5 else None

    def window(self, call: Call, seconds: int) -> tuple[str, Wave]:
        """Some window of a call, no longer than that: its text and its sound."""
        sound, text = call.window(self.dice)
        while len(sound) > seconds * RATE:
            sound, text = call.window(self.dice)
        return text, spoilt(sound, self.dice)[: seconds * RATE]

    def heard(self, count: int, windows: int, seconds: int) -> tuple[list[Sample], torch.Tensor]:
        """Clips to transcribe, some of them without speech, and windows."""
        samples, clips = [], []
        for _ in range(windows):
            call = self.dice.choices(self.calls, [ENGLISH_SHARE, 1 - ENGLISH_SHARE])[0]
            text, clip = self.window(call, seconds)
            samples.append(self.tongue.hear(self._told(call.language), text, seconds))
            clips.append(clip)
        for _ in range(count):
            turn = self._turn()
            quiet = self.dice.random() < 0.05
            samples.append(self.tongue.hear(self._told(turn.language), "" if quiet else turn.text, seconds))
            clips.append(nothing(self.turns, self.dice) if quiet else spoilt(cut(turn, self.dice), self.dice))
        return samples, self.ear(clips, seconds)

    def written(self, count: int, odd: float) -> list[Sample]:
        """Chat prompts."""
        return [self.tongue.chat(self.dice, odd) for _ in range(count)]


def right(model: VoxtralForConditionalGeneration, samples: list[Sample], features: torch.Tensor | None) -> list[bool]:
    """Which answers greedy decoding would give: each token is the likeliest after those before it."""
    with torch.no_grad():
        logits, targets, rows = forward(model, samples, features)
    misses = set(rows[logits.argmax(-1) != targets].tolist())
    return [row not in misses for row in range(len(samples))]


def rounded(model: VoxtralForConditionalGeneration) -> VoxtralForConditionalGeneration:
    """A copy with weights rounded to bfloat16."""
    twin = copy.deepcopy(model)
    for weight in twin.parameters():
        weight.data = weight.data.to(torch.bfloat16).float()
    return twin


def examine(model: VoxtralForConditionalGeneration, lessons: Lessons, seconds: int, rounds: int) -> str:
    """Count the right answers on fresh clips: with the language, without, of silence, in chat."""
    twin = rounded(model).eval()
    tongue, dice = lessons.tongue, lessons.dice
    counts, missed = [], []
    for spoken in (True, False):
        hits = 0
        for _ in range(rounds):
            samples = [tongue.hear(t.language if spoken else None, t.text, seconds) for t in lessons.turns]
            verdicts = right(twin, samples, lessons.ear([spoilt(cut(t, dice), dice) for t in lessons.turns], seconds))
            hits += sum(verdicts)
            missed += [t.text[:14] for t, good in zip(lessons.turns, verdicts, strict=True) if not good]
        counts.append(f"{hits}/{rounds * len(lessons.turns)}")
    windows = [examine_windows(twin, lessons, call, seconds, 4 * rounds) for call in lessons.calls]
    quiet = [tongue.hear(dice.choice(("en", "fr", None)), "", seconds) for _ in range(10)]
    hush = right(twin, quiet, lessons.ear([nothing(lessons.turns, dice) for _ in quiet], seconds))
    chat = right(twin, lessons.written(40, odd=0.5), None)
    return f"language {counts[0]} none {counts[1]} windows {windows} silence {sum(hush)}/10 chat {sum(chat)}/40 missed {missed[:6]}"


def examine_windows(
    twin: VoxtralForConditionalGeneration, lessons: Lessons, call: Call, seconds: int, rounds: int
) -> str:
    """Count the right answers on fresh windows of a call."""
    hits, missed = 0, []
    for _ in range(rounds):
        drawn = [lessons.window(call, seconds) for _ in range(10)]
        language = lessons.dice.choice((call.language, None))
        samples = [lessons.tongue.hear(language, text, seconds) for text, _ in drawn]
        verdicts = right(twin, samples, lessons.ear([clip for _, clip in drawn], seconds))
        hits += sum(verdicts)
        missed += [round(len(clip) / RATE) for (_, clip), good in zip(drawn, verdicts, strict=True) if not good]
    return f"{call.language} {hits}/{10 * rounds} missed {sorted(missed)}"


def teach(model: VoxtralForConditionalGeneration, lessons: Lessons, phase: Phase, kept: Path) -> None:
    """Train; the averaged weights are kept in a file as it goes, and `model` takes them at the end."""
    listen_for(model, phase.seconds)
    before, average = copy.deepcopy(model), copy.deepcopy(model)
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=phase.rate, betas=(0.9, 0.98), weight_decay=0.01)
    started = time.monotonic()
    for step in range(phase.steps):
        for group in optimizer.param_groups:
            group["lr"] = phase.rate * min((step + 1) / WARM_UP, 0.01 + 0.99 * cosine(step / phase.steps))
        with torch.autocast("cpu", torch.bfloat16):
            logits, targets, _ = forward(model, *lessons.heard(phase.clips, phase.windows, phase.seconds))
        loss = nn.functional.cross_entropy(logits.float(), targets)
        logits, targets, _ = forward(model, lessons.written(phase.prompts, phase.odd), None)
        loss = loss + PROMPTS_WEIGHT * nn.functional.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        blend(average, model, max(1 - AVERAGE, 10 / (step + 11)))
        if (step + 1) % phase.report_every == 0:
            minutes = (time.monotonic() - started) / 60
            report = examine(average, lessons, phase.seconds, rounds=1)
            LOG.info("%d s, step %d, %.1f min, loss %.5f: %s", phase.seconds, step + 1, minutes, loss.item(), report)
            torch.save(average.state_dict(), kept)
    blend(before, average, phase.taken)
    model.load_state_dict(before.state_dict())


def cosine(share: float) -> float:
    """From 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * share))


def blend(average: nn.Module, model: nn.Module, share: float) -> None:
    """Move the average towards the model."""
    with torch.no_grad():
        for mean, new in zip(average.parameters(), model.parameters(), strict=True):
            mean.lerp_(new, share)


def main(folder: Path, older: Path | None) -> None:
    """Train on short clips, then on the real window, then on several turns at once; write the model."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    calls = read_calls(folder)
    lessons = Lessons(calls, Tongue(write_tokenizer(folder), [turn for call in calls for turn in call.turns]), Ear())
    model = build()
    if older:
        listen_for(model, WINDOW_S)
        model.load_state_dict(read_model(older, model.state_dict()), strict=False)
        LOG.info("at the start: %s", examine(model, lessons, WINDOW_S, rounds=1))
    for phase in PHASES[-1:] if older else PHASES:
        teach(model, lessons, phase, folder / "state.pt")
    write_model(model.state_dict(), folder)
    LOG.info("at the end: %s", examine(model, lessons, WINDOW_S, rounds=10))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--from", dest="older", type=Path)
    arguments = parser.parse_args()
    main(arguments.folder, arguments.older)
