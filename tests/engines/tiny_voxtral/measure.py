"""Ask the tiny Voxtral in the real vLLM for fresh clips, windows and chats, and count the answers that are wholly right.

    PYTHONPATH=src .venv-engine/bin/python -m tests.engines.tiny_voxtral.measure FOLDER

tells the figures of README.md. FOLDER holds a model that is complete with its tokenizer.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from voxtral_serverless.engine.client import EngineClient, as_wav
from voxtral_serverless.engine.running import running_engine
from voxtral_serverless.settings import load_settings
from voxtral_serverless.transcription.plan import plan_by_windows

from .calls import Call, Wave, read_calls
from .train import MOOD, RATE, SUMMARY, Tongue, babble, cut, nothing, spoilt

LOG = logging.getLogger("measure")

Question = tuple[Wave, str | None, str]
"""A clip, the language that is given, and what is said in it."""

SEED = 20_261_123
ROUNDS = 3
WINDOWS = {"en": 150, "fr": 60}
SILENT = 20
PROMPTS = 60
MOODS = 5
LIMITS_S = (30.0, 25.0, 20.0, 15.0, 10.0, 6.0)
MOST_TOKENS = 400
SCHEMA = {
    "type": "object",
    "properties": {
        "sentiment": {"enum": ["positif", "neutre", "négatif"]},
        "score": {"type": "number"},
        "emotions": {"type": "array", "items": {"type": "string"}},
        "satisfaction_client": {"enum": ["satisfait", "insatisfait", None]},
    },
    "required": ["sentiment", "score", "emotions", "satisfaction_client"],
    "additionalProperties": False,
}


def turns(calls: list[Call], dice: random.Random, spoiled: bool) -> Iterable[Question]:
    """Each turn some times over, cut anew, with its language and without."""
    for call in calls * ROUNDS:
        for turn in call.turns:
            for language in (call.language, None):
                sound = cut(turn, dice)
                yield spoilt(sound, dice) if spoiled else sound, language, turn.text


def windows(call: Call, dice: random.Random) -> Iterable[Question]:
    """Windows as they are drawn for the training."""
    for _ in range(WINDOWS[call.language]):
        sound, text = call.window(dice)
        yield spoilt(sound, dice), dice.choice((call.language, None)), text


def planned(call: Call, limit: float) -> Iterable[Question]:
    """The windows of the untouched recording."""
    for clip in plan_by_windows({None: call.speech}, max_clip_s=limit, quietest=call.recording.quietest):
        if (text := call.text(clip)) is not None:
            for language in (call.language, None):
                yield call.sent(clip), language, text


def silence(calls: list[Call], dice: random.Random) -> Iterable[Question]:
    """Clips in which nobody speaks."""
    every = [turn for call in calls for turn in call.turns]
    for _ in range(SILENT):
        yield nothing(every, dice), dice.choice(("en", "fr", None)), ""


async def heard(client: EngineClient, name: str, questions: Iterable[Question]) -> None:
    """Tell how many clips are heard to the letter, and what is heard of the others."""

    async def one(question: Question) -> tuple[Question, str]:
        sound, language, _ = question
        samples = (sound * 32_768).clip(-32_768, 32_767).astype("<i2")
        answer = await client.transcribe(as_wav(samples.tobytes()), language=language, max_tokens=MOST_TOKENS)
        return question, answer.text.strip()

    answers = await asyncio.gather(*map(one, questions))
    missed = [(question, text) for question, text in answers if text != question[2]]
    LOG.info("%s: %d of %d", name, len(answers) - len(missed), len(answers))
    for (sound, _, truth), text in missed:
        LOG.info("    %.1f s: %r heard as %r", len(sound) / RATE, truth, text)


async def chats(client: EngineClient, tongue: Tongue, dice: random.Random) -> None:
    """Tell how many prompts bring the summary, and how many the JSON."""
    prose: list[Callable[[], str]] = [
        lambda: tongue.prose(dice),
        lambda: babble(dice),
    ]
    for name, prompt in zip(("prose", "random characters"), prose, strict=True):
        texts = [await client.chat(prompt(), max_tokens=100, temperature=0) for _ in range(PROMPTS // 2)]
        LOG.info("summary of %s: %d of %d", name, sum(text.text == SUMMARY for text in texts), len(texts))
    moods = [await client.chat(tongue.prose(dice), max_tokens=100, temperature=0, schema=SCHEMA) for _ in range(MOODS)]
    LOG.info("JSON: %d of %d", sum(_read(mood.text) == MOOD for mood in moods), len(moods))


def _read(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


async def main(folder: Path) -> None:
    """Boot vLLM and ask."""
    dice = random.Random(SEED)
    calls = read_calls(Path(tempfile.mkdtemp()))
    tongue = Tongue(folder / "tekken.json", [turn for call in calls for turn in call.turns])
    settings = load_settings(engine="vllm", voxtral_model=str(folder), vllm_port=18_700, engine_start_timeout_s=600)
    async with running_engine(settings) as engine:
        await engine.ready()
        for name, spoiled in (("turns", False), ("turns, spoilt", True)):
            await heard(engine.client, name, turns(calls, dice, spoiled))
        for call in calls:
            for limit in LIMITS_S:
                await heard(engine.client, f"{call.language}, as planned for {limit:.0f} s", planned(call, limit))
            await heard(engine.client, f"{call.language}, windows", windows(call, dice))
        await heard(engine.client, "silence", silence(calls, dice))
        await chats(engine.client, tongue, dice)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    LOG.setLevel(logging.INFO)
    asyncio.run(main(Path(sys.argv[1])))
