"""What the questions about a call cost: requests, tokens of prompts, and how many of these the prefix cache serves.

    python bench/analysis.py [--minutes 10 60 150]

French calls of 150 words a minute between two people, made of sentences, each asked about as in a job: a summary; a
summary and the sentiment; the sentiment by speaker. The engine is the real vLLM on a processor. It serves the tiny
Voxtral of the tests with the whole vocabulary of Tekken that mistral_common carries (131,072), so that tokens are
counted as with a large model; since it then has nothing sensible to say, one token of each answer is awaited and an
answer made here is used in its place: nothing has to be asked twice, and every summary has the length it is asked for.

Prints one JSON object. For every call and every set of questions: requests to count tokens and to chat, the prompts'
tokens and those that the prefix cache served (both by the engine's own counters), and the rest, which it had to
compute. `question first` asks the same with the transcript after the question, `marks of their own` with another mark
around it for each question; then hardly anything is shared. A claim of the project: the second question about a
transcript is nearly free, so that a summary and the sentiment of a call of ten minutes or more compute at most 1.1
times the tokens of the summary alone. wall_s is that of a toy on a processor and says nothing about a large model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from voxtral_serverless.analysis.prompts import FRENCH, framed  # noqa: E402
from voxtral_serverless.analysis.stage import analyse  # noqa: E402
from voxtral_serverless.analysis.transcript import lines_of  # noqa: E402
from voxtral_serverless.analysis.voxtral import SENTENCE_TOKENS  # noqa: E402
from voxtral_serverless.audio.recording import Span  # noqa: E402
from voxtral_serverless.contract import parse_options  # noqa: E402
from voxtral_serverless.engine.client import Answer, Engine, EngineClient, Size  # noqa: E402
from voxtral_serverless.engine.machine import find_vllm  # noqa: E402
from voxtral_serverless.engine.running import running_engine  # noqa: E402
from voxtral_serverless.progress import Meter, NoEvents  # noqa: E402
from voxtral_serverless.run import Run  # noqa: E402
from voxtral_serverless.services import served_services  # noqa: E402
from voxtral_serverless.settings import load_settings  # noqa: E402
from voxtral_serverless.transcription.plan import Utterance  # noqa: E402

TINY = ROOT / "tests" / "engines" / "tiny_voxtral"
VOCABULARY, SPECIAL_TOKENS = 131_072, 1_000
EMBEDDINGS = ("mm_whisper_embeddings.tok_embeddings.weight", "output.weight")
WORDS_PER_MINUTE = 150
MOST_SENTENCES_A_TURN = 4
SENTENCES = (
    "Bonjour, {name} à l'appareil, je vous appelle au sujet de ma commande numéro {number}.",
    "Oui, je vois, vous l'avez passée le {day} {month}, pour un montant de {amount} euros.",
    "Alors je regarde tout de suite dans le dossier, un petit instant s'il vous plaît.",
    "Le colis devait arriver avant le {day} {month}, et je n'ai toujours rien reçu.",
    "Ah d'accord, je comprends.",
    "On m'avait pourtant dit que quelqu'un me rappellerait dans la semaine, et personne ne l'a fait.",
    "Je suis vraiment désolé pour ce retard, ce n'est pas normal du tout.",
    "Est-ce que vous pourriez me donner votre adresse complète, avec le code postal ?",
    "J'habite au {number} rue des Lilas, au troisième étage, l'interphone est au nom de {name}.",
    "Très bien, merci.",
    "Le transporteur indique qu'il est passé vers {hour} heures et qu'il n'y avait personne.",
    "Mais j'étais chez moi toute la journée, je travaille à la maison le mardi et le jeudi.",
    "Dans ce cas, nous allons ouvrir une enquête, cela prend en général {day} jours ouvrés.",
    "Et pendant ce temps-là, qu'est-ce que je fais, moi, sans machine à laver ?",
    "Nous pouvons vous rembourser {amount} euros dès aujourd'hui, sur la carte qui a servi au paiement.",
    "Il y a aussi une facture que je ne comprends pas, celle du mois de {month}.",
    "Vous avez été prélevée deux fois, en effet, une fois de {amount} euros et une fois de {number} euros.",
    "Je vous l'ai déjà expliqué la dernière fois que j'ai eu votre collègue {name} au téléphone.",
    "Hum, oui.",
    "Le contrat prévoit une franchise, sauf si le sinistre est déclaré dans les cinq jours.",
    "Je vous envoie un courriel de confirmation avec le numéro de dossier, c'est le {number}.",
    "Vous pouvez me le répéter plus lentement, je suis en train de le noter ?",
    "Si rien ne se passe avant la fin du mois de {month}, je résilie mon abonnement.",
    "Le technicien passera le {day} {month} entre {hour} heures et midi, il vous appellera avant de venir.",
    "C'est parfait, merci beaucoup pour votre aide et votre patience.",
    "Est-ce que je peux faire autre chose pour vous aujourd'hui ?",
)
NAMES = ("madame Lefèvre", "monsieur Benali", "Chloé Martin", "monsieur Nguyen", "madame Da Silva", "Julien Roche")
MONTHS = ("janvier", "février", "mars", "avril", "mai", "juin", "septembre", "octobre", "novembre", "décembre")
VERDICT: dict[str, Any] = {"sentiment": "neutre", "score": 0.7, "emotions": ["politesse"]}
QUESTIONS: dict[str, tuple[str, ...]] = {
    "summary": ("summary",),
    "summary and sentiment": ("summary", "sentiment"),
    "sentiment by speaker": ("sentiment_by_speaker",),
}


def sentences() -> Iterator[str]:
    """What is said, always the same."""
    dice = random.Random(1)
    while True:
        yield dice.choice(SENTENCES).format(
            name=dice.choice(NAMES),
            number=dice.randint(2, 9_999),
            day=dice.randint(2, 28),
            month=dice.choice(MONTHS),
            amount=f"{dice.randint(5, 900)},{dice.randint(10, 99)}",
            hour=dice.randint(8, 11),
        )


def call_of(minutes: float) -> list[Utterance]:
    """A call of that length: two people, in turn, one to four sentences at a time."""
    dice, said = random.Random(2), sentences()
    call: list[Utterance] = []
    words = 0
    while words < minutes * WORDS_PER_MINUTE:
        text = " ".join(next(said) for _ in range(dice.randint(1, MOST_SENTENCES_A_TURN)))
        start, words = words, words + len(text.split())
        span = Span(start / WORDS_PER_MINUTE * 60, words / WORDS_PER_MINUTE * 60)
        call.append(Utterance(span, f"SPEAKER_0{len(call) % 2}", text))
    return call


def as_it_is(material: str, question: str) -> str:
    """The prompt of a job."""
    return material + question


def question_first(material: str, question: str) -> str:
    """The transcript after the question."""
    return f"{question}\n\n{material.rstrip()}"


def marks_of_their_own(material: str, question: str) -> str:
    """Another mark for every question."""
    mark = mark_of(material)
    return (material + question).replace(mark, secrets.token_hex(len(mark) // 2))


def mark_of(prompt: str) -> str:
    """What stands around the material of a prompt."""
    [mark] = set(re.findall(r"^\[(\w+)\]$", prompt, re.MULTILINE))
    return str(mark)


Form = Callable[[str, str], str]
FORMS: dict[str, Form] = {
    "as it is": as_it_is,
    "question first": question_first,
    "marks of their own": marks_of_their_own,
}


class CountingClient(EngineClient):
    """Sends every prompt to the engine, in another form; answers as a model would that knows its work."""

    def __init__(self, client: EngineClient, form: Form) -> None:
        super().__init__(client.url, client.model, None, ours=True)
        self._headers = client._headers  # noqa: SLF001 — the engine's own key, made when it was started
        self._form = form
        self.counted = self.chatted = 0

    async def size(self, prompt: str) -> Size:
        """As the engine counts it."""
        self.counted += 1
        return await super().size(prompt)

    async def chat(
        self, prompt: str, *, max_tokens: int, temperature: float, schema: Mapping[str, Any] | None = None
    ) -> Answer:
        """An answer that can be used."""
        self.chatted += 1
        material, end, question = prompt.rpartition(f"[{mark_of(prompt)}]\n\n")
        await super().chat(self._form(material + end, question), max_tokens=1, temperature=temperature)
        return Answer(answer_to(prompt, max_tokens, schema), "stop")

    async def cache_counts(self) -> tuple[int, int]:
        """Tokens that the engine has looked for in its prefix cache so far, and those that it found there."""
        _, metrics = await self._get("/metrics", 10) or (0, "")
        found = re.findall(r"^vllm:prefix_cache_(queries|hits)_total\{.*\} (\S+)$", metrics, re.MULTILINE)
        counts = {name: int(float(value)) for name, value in found}
        return counts["queries"], counts["hits"]


def answer_to(prompt: str, max_tokens: int, schema: Mapping[str, Any] | None) -> str:
    """A summary of the length that is asked for, or a verdict with words that stand in the transcript."""
    if schema is None:
        said = sentences()
        return " ".join(next(said) for _ in range(max_tokens // SENTENCE_TOKENS - 2))
    if "quote" not in schema["properties"]:
        return json.dumps(VERDICT | {"satisfaction_client": "neutre"})
    speaker = re.findall(r"Juge le ton sur lequel parle (\S+) ici", prompt)[-1]
    own = next(line for line in prompt.splitlines() if line.startswith(f"{speaker}: "))
    return json.dumps({"quote": " ".join(own.split()[1:6])} | VERDICT)


@dataclass
class Observed:
    """The engine, asked through a client that counts."""

    client: EngineClient
    engine: Engine
    deaths: int = 0

    async def ready(self) -> None:
        """It is."""

    async def recovered(self) -> None:
        """Nothing of a measurement may be lost."""
        raise RuntimeError("the engine lost a request")


async def cost(engine: Engine, call: list[Utterance], keys: tuple[str, ...], form: str) -> dict[str, float]:
    """What the questions cost, about a call never asked about before: its mark is new."""
    client = CountingClient(engine.client, FORMS[form])
    services = served_services(load_settings(engine="vllm", diarizer="embedded"), Observed(client, engine))
    events = NoEvents()
    run = Run(parse_options(dict.fromkeys(keys, True) | {"language": "fr"}), services, events, Meter(events))
    run.language = "fr"
    try:
        before = await client.cache_counts()
        began = time.perf_counter()
        answers = await analyse(run, call)
        wall_s = time.perf_counter() - began
        after = await client.cache_counts()
    finally:
        await client.close()
    assert all(answers.values()), run.notices
    assert not run.notices
    prompts, served = after[0] - before[0], after[1] - before[1]
    return {
        "counting_requests": client.counted,
        "chats": client.chatted,
        "prompt_tokens": prompts,
        "cached_tokens": served,
        "computed_tokens": prompts - served,
        "cached_share": round(served / prompts, 3),
        "wall_s": round(wall_s, 2),
    }


async def costs(engine: Engine, minutes: float) -> dict[str, Any]:
    """All figures of one call."""
    call = call_of(minutes)
    prompt = framed(FRENCH, lines_of(call), "0" * 12, "transcript")
    measured: dict[str, Any] = {
        "words": sum(len(utterance.text.split()) for utterance in call if utterance.text),
        "turns": len(call),
        "tokens": (await engine.client.size(prompt)).tokens,
    }
    for form in FORMS:
        asked = {name: keys for name, keys in QUESTIONS.items() if form == "as it is" or len(name.split()) > 1}
        measured[form] = {name: await cost(engine, call, keys, form) for name, keys in asked.items()}
    return measured


def with_whole_vocabulary(vllm: str, folder: Path) -> Path:
    """The tiny Voxtral in `folder`, with all of Tekken's tokens; those it has not learnt mean nothing to it."""
    python = Path(vllm).with_name("python")
    subprocess.run([python, TINY / "tokenizer.py", folder], check=True)
    where = "import mistral_common, pathlib; print(pathlib.Path(mistral_common.__file__).parent)"
    package = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True).stdout.strip()
    tekken = json.loads((folder / "tekken.json").read_text("utf-8"))
    text_tokens = VOCABULARY - SPECIAL_TOKENS
    tekken["vocab"] = json.loads(Path(package, "data", "tekken_240911.json").read_text("utf-8"))["vocab"][:text_tokens]
    tekken["config"] |= {
        "num_vocab_tokens": text_tokens,
        "default_vocab_size": VOCABULARY,
        "default_num_special_tokens": SPECIAL_TOKENS,
    }
    tekken["special_tokens"] += [
        {"rank": rank, "token_str": f"<SPECIAL_{rank}>", "is_control": True}
        for rank in range(len(tekken["special_tokens"]), SPECIAL_TOKENS)
    ]
    (folder / "tekken.json").write_text(json.dumps(tekken), "utf-8")
    params = json.loads((TINY / "params.json").read_text("utf-8"))
    (folder / "params.json").write_text(json.dumps(params | {"vocab_size": VOCABULARY}), "utf-8")
    widened(TINY / "consolidated.safetensors", folder / "consolidated.safetensors")
    return folder


def widened(source: Path, target: Path) -> None:
    """The weights with a row for every token: further rows are zero. (A length, a header in JSON, the bytes.)"""
    content = source.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])
    body = bytearray()
    for name, entry in sorted(header.items()):
        if name == "__metadata__":
            continue
        first, last = entry["data_offsets"]
        values = content[begin + first : begin + last]
        if name in EMBEDDINGS:
            rows, columns = entry["shape"]
            values += bytes((VOCABULARY - rows) * len(values) // rows)
            entry["shape"] = [VOCABULARY, columns]
        entry["data_offsets"] = [len(body), len(body) + len(values)]
        body += values
    written = json.dumps(header).encode()
    target.write_bytes(len(written).to_bytes(8, "little") + written + body)


async def measure(vllm: str, lengths: list[float]) -> dict[str, Any]:
    """The figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "voxtral")
        folder.mkdir()
        model = with_whole_vocabulary(vllm, folder)
        settings = load_settings(engine="vllm", voxtral_model=str(model), vllm_executable=vllm, vllm_port=18_600)
        async with running_engine(settings) as engine:
            await engine.ready()
            context = (await engine.client.size("")).context
            return {"context": context} | {f"{length:g} min": await costs(engine, length) for length in lengths}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10, 60, 150], help="lengths of the calls")
    arguments = parser.parse_args()
    vllm = find_vllm(os.environ.get("VLLM_EXECUTABLE"))
    if vllm is None:
        sys.exit("there is no vLLM: make engine")
    print(json.dumps(asyncio.run(measure(vllm, arguments.minutes)), indent=1))


if __name__ == "__main__":
    main()
