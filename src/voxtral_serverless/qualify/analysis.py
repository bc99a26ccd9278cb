"""What the analyst makes of calls whose labels are known: right labels, inventions, and the form of its summaries.

Each call is read once, and asked for a summary in French and for a verdict, side by side, as a job does. Leaves out:
the tone of single speakers, and whether a summary tells what matters; nobody can count that.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from functools import partial
from time import monotonic
from typing import TypeVar

from voxtral_serverless.analysis.answers import labelled
from voxtral_serverless.analysis.judgement import Judgement
from voxtral_serverless.analysis.transcript import characters, lines_of
from voxtral_serverless.analysis.voxtral import sentences_for
from voxtral_serverless.concurrency import together
from voxtral_serverless.errors import VoxtralError
from voxtral_serverless.qualify.inventions import inventions
from voxtral_serverless.qualify.labelled_calls import LabelledCall
from voxtral_serverless.qualify.units import Reading, Unit
from voxtral_serverless.services import Analyst, Services
from voxtral_serverless.services import Reading as Conversation

LANGUAGE = "fr"
PREFIX = labelled("", LANGUAGE)
ROOMS = ("salle", "groupe", "porte", "option", "zone", "hall", "classe", "plan", "bâtiment", "escalier", "vitamine")
"""Behind which a capital letter is no initial."""
INITIAL = "".join(rf"(?<!{room}\s)" for room in ROOMS) + "[A-Z]"
NO_END = re.compile(
    rf"(?<!\w)(?:MM?|Mr|Mmes?|Mlles?|Dr|Pr|Me|St|Ste|{INITIAL}|n(?=\.\s+\d)|(?i:av|bd|env|art|tél|réf|p|ex|cf))\.(?=\s)"
)
"""Points that end no sentence."""
SENTENCE_END = re.compile(r"[.!?…]++(?:[\"'»”)\]]|\s»)*+(?=\s+[^\sa-zà-öø-ÿ]|\s*$)")
Value = TypeVar("Value")


def units(services: Services, calls: Sequence[LabelledCall]) -> list[Unit]:
    """A unit for each call: `analysis/<id>`."""
    return [Unit(f"analysis/{call.id}", partial(measured, services.analyst, call)) for call in calls]


async def measured(analyst: Analyst, call: LabelledCall) -> Reading:
    """What the analyst says of a call, and what is right of it. What alone fails is null, and counts as wrong.

    Raises:
        VoxtralError: the call cannot be read, or neither the summary nor the verdict can be had.
    """
    start = monotonic()
    conversation = await analyst.read(call.utterances(), LANGUAGE)
    summary, judgement = await _asked(conversation)
    if isinstance(summary, VoxtralError) and isinstance(judgement, VoxtralError):
        raise summary
    return {
        **_labels(call, None if isinstance(judgement, VoxtralError) else judgement),
        **_form(call, None if isinstance(summary, VoxtralError) else summary),
        "took_s": round(monotonic() - start, 3),
        "failures": [one.code for one in (summary, judgement) if isinstance(one, VoxtralError)],
    }


async def _asked(conversation: Conversation) -> tuple[str | VoxtralError, Judgement | VoxtralError]:
    """The summary and the verdict, or why there is none."""
    async with together() as tasks:
        summary = tasks.create_task(_tried(conversation.summarise(LANGUAGE)))
        judgement = tasks.create_task(_tried(conversation.judge()))
    return summary.result(), judgement.result()


async def _tried(work: Awaitable[Value]) -> Value | VoxtralError:
    try:
        return await work
    except VoxtralError as error:
        return error


def _labels(call: LabelledCall, judgement: Judgement | None) -> Reading:
    return {
        "sentiment": judgement.label if judgement else None,
        "satisfaction": judgement.satisfaction if judgement else None,
        "sentiment_right": judgement is not None and judgement.label in call.sentiment,
        "satisfaction_right": judgement is not None and judgement.satisfaction in call.satisfaction,
    }


def _form(call: LabelledCall, summary: str | None) -> Reading:
    own = (summary or "").removeprefix(PREFIX)
    invented = inventions(own, call.text)
    return {
        "invented": {
            "names": list(invented.names), "amounts": list(invented.amounts), "dates": list(invented.dates),
        },
        "summary": summary,
        "prefixed": summary is not None and summary.startswith(PREFIX),
        "words": len(own.split()),
        "sentences": sentences(own),
        "asked_sentences": sentences_for(characters(lines_of(call.utterances()))),
    }  # fmt: skip


def sentences(text: str) -> int:
    """How many sentences a text has; a point behind an abbreviation or an initial ends none."""
    text = NO_END.sub(" ", text).strip()
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    return len(ends) + (text[ends[-1] if ends else 0 :].strip() != "")
