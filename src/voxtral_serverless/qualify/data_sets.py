"""Recordings with references: SimSAMU, from the Hugging Face Hub, or a folder of one's own.

Promises: nothing is decoded, and of the Hub only what is needed is downloaded, once; a call that cannot be used is told
with its reason and leaves the others alone; the same choice always gives the same calls; whatever bytes files are named
by, what is told of them can be written. Leaves out: whether a recording can be decoded, which the jobs tell.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from glob import escape
from hashlib import sha256
from itertools import count
from pathlib import Path

from voxtral_serverless.errors import InvalidJob, ModelUnavailable, SourceNotFound, SourceUnreadable
from voxtral_serverless.hub.cache import expanded, find_copy
from voxtral_serverless.hub.download import download
from voxtral_serverless.hub.repository import Family, Repository, hub_token
from voxtral_serverless.qualify.reference_files import NOBODY, read_rttm, read_stm, read_subtitles, read_text
from voxtral_serverless.qualify.reference_json import TOGETHER, read_json
from voxtral_serverless.qualify.references import DataSet, ReferenceCall, SaidTurn, SpokenSpan
from voxtral_serverless.settings import Settings

SIMSAMU = "simsamu"
SIMSAMU_REPOSITORY = "medkit/simsamu"
SIMSAMU_REVISION = "77a71d54b75a1442ef5d071b6f073c22f0184b71"
SIMSAMU_FILES = ("*.m4a", "*.json", "*.rttm", "*.srt")
DATA = Family(
    log_name="data set",
    setting="--data",
    revision_setting="--data",
    ways="--data may also name a folder of recordings with references, and --skip leaves out what needs one",
    refused_ways="--data may also name a folder of recordings with references.",
)
AUDIO = frozenset({
    ".wav", ".mp3", ".m4a", ".ogg", ".oga", ".opus", ".flac", ".webm", ".mp4", ".aac", ".amr", ".wma", ".aif", ".aiff",
    ".mka", ".mkv", ".mov", ".3gp", ".gsm",
})  # fmt: skip
TEXTS = (".json", ".stm", ".srt", ".vtt")
"""References of texts, the best first."""
RTTM = ".rttm"
DIGEST_DIGITS = 12


def load_data_set(chosen: str, settings: Settings, hours: float | None, language: str | None) -> DataSet:
    """The data set `chosen`: `simsamu`, or a folder; of its calls so many `hours`, None for all of them. Blocks.

    `language` (ISO 639-1) is spoken in them, where the caller knows; that of `simsamu` is French.

    Raises:
        SourceNotFound: the folder is not there, or has no recording with a reference.
        InvalidJob: none of its references can be used.
        ModelUnavailable: it cannot be downloaded.
    """
    hosted = chosen == SIMSAMU
    folder = _simsamu(settings) if hosted else expanded(chosen).absolute()
    if not folder.is_dir():
        raise SourceNotFound(f"--data {chosen!r} is neither {SIMSAMU!r} nor a folder.")
    recordings = _recordings(folder)
    if hosted:
        name, revision, language = SIMSAMU_REPOSITORY, folder.name, language or "fr"
    else:
        name, revision = _writable(folder.name), _revision(folder, recordings)
    calls, skipped = _calls(folder, recordings)
    if not calls:
        raise InvalidJob(f"none of the recordings in {name!r} can be used: {' '.join(skipped[:3])}")
    return DataSet(name, revision, language, tuple(_some(calls, hours)), tuple(skipped))


def _simsamu(settings: Settings) -> Path:
    wanted = Repository(
        SIMSAMU_REPOSITORY, SIMSAMU_REVISION, chosen=False, token=hub_token(settings), family=DATA, files=SIMSAMU_FILES,
        check=_check_names, kind="dataset",
    )  # fmt: skip
    if found := find_copy(wanted, settings.runpod_model_cache, _whole):
        return found
    (folder,) = download([wanted])
    return folder


def _whole(folder: Path, name: str) -> Path:
    _check_names([file.name for file in folder.rglob("*") if file.is_file()], name)
    return folder


def _check_names(names: Collection[str], name: str) -> None:
    """The audio, which is large, comes last: with as many recordings as references, all is there."""
    counts = {ending: sum(each.endswith(ending[1:]) for each in names) for ending in SIMSAMU_FILES}
    if not 0 < counts["*.json"] <= counts["*.m4a"]:
        raise ModelUnavailable(f"{name!r} has {counts['*.m4a']} recordings and {counts['*.json']} references.")


def _recordings(folder: Path) -> list[Path]:
    recordings = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in AUDIO and file.is_file()]
    if not recordings:
        raise SourceNotFound(f"there is no recording in the folder {folder.name!r}.")
    return recordings


def _revision(folder: Path, recordings: Iterable[Path]) -> str:
    """Tells folders of one name apart, without reading all of them."""
    return _digest(part for file in recordings for part in _name_and_size(file, folder))


def _name_and_size(file: Path, folder: Path) -> tuple[bytes, bytes]:
    return os.fsencode(file.relative_to(folder)), b"%d" % file.stat().st_size


def _digest(parts: Iterable[bytes]) -> str:
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()[:DIGEST_DIGITS]


def _writable(text: str) -> str:
    """The text with "?" for what UTF-8 has no bytes for: Python's way to keep names of files that are no UTF-8."""
    return text.encode(errors="replace").decode()


def _calls(folder: Path, recordings: Iterable[Path]) -> tuple[list[ReferenceCall], list[str]]:
    """The calls of a folder in order of their names, and why others are none."""
    calls: dict[str, ReferenceCall] = {}
    skipped = []
    for audio in recordings:
        try:
            call = _call(audio)
        except SourceUnreadable as error:
            skipped.append(_writable(f"{audio.relative_to(folder)}: {error.message}"))
        else:
            name = _unique(call.name, calls)
            calls[name] = replace(call, name=name)
    return [calls[name] for name in sorted(calls)], skipped


def _unique(stem: str, taken: Collection[str]) -> str:
    """A name that can stand in a path, that no other call has."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", stem).lstrip(".") or "call"
    names = (plain, *()) if plain not in taken else (f"{plain}-{number}" for number in count(2))
    return next(name for name in names if name not in taken)


def _call(audio: Path) -> ReferenceCall:
    """A recording with what lies beside it.

    Raises:
        SourceUnreadable: there is no reference, or none that can be used.
    """
    beside = _beside(audio)
    rttm, texts = beside.get(RTTM), next((beside[ending] for ending in TEXTS if ending in beside), None)
    speaking = read_rttm(read_text(rttm), rttm.name) if rttm else []
    turns = list(_turns(texts, {one.speaker for one in speaking})) if texts else []
    turns = _attributed(turns, speaking) if speaking else list(_carried_on(turns))
    speaking = speaking or [SpokenSpan(name, turn.span) for turn in turns for name in sorted(_joint(turn.speaker))]
    if not (speaking or turns):
        known = ", ".join((*TEXTS, RTTM))
        raise SourceUnreadable(f"no reference with anything in it lies beside it ({known}).")
    said = tuple(replace(turn, speaker=_first(turn.speaker, {one.speaker for one in speaking})) for turn in turns)
    references = (file.read_bytes() for file in (rttm, texts) if file)
    digest = _digest((*_name_and_size(audio, audio.parent), *references))
    return ReferenceCall(audio.stem, audio, said, tuple(speaking), digest)


def _beside(audio: Path) -> dict[str, Path]:
    """By their endings, the files that have the recording's name: of `a.wav` not `a.1.stm`, which is of `a.1.wav`."""
    alike = sorted(audio.parent.glob(f"{escape(audio.stem)}.*"))
    return {file.suffix.lower(): file for file in alike if file.stem == audio.stem}


def _turns(file: Path, known: Collection[str]) -> Iterable[SaidTurn]:
    readers = {".json": read_json, ".stm": read_stm}
    ending = file.suffix.lower()
    read = readers.get(ending) or partial(read_subtitles, form=ending[1:], known=known)
    return read(read_text(file), file.name)


def _attributed(turns: Sequence[SaidTurn], speaking: Sequence[SpokenSpan]) -> list[SaidTurn]:
    """The turns with speakers that the timeline knows.

    A text without a name is of whoever speaks most during it. One by a name that the timeline does not know is of whom all
    turns by that name have most in common with.
    """
    known = {one.speaker for one in speaking}
    by_name: dict[str, Counter[str]] = {}
    for turn in turns:
        by_name.setdefault(turn.speaker, Counter()).update(_shares(turn, speaking))
    named = []
    for turn in turns:
        speaker = turn.speaker
        if not _joint(speaker) or not _joint(speaker) <= known:
            own = _shares(turn, speaking) if speaker == NOBODY else by_name[speaker]
            speaker = max(sorted(known), key=(own or by_name[speaker]).__getitem__)
        named.append(replace(turn, speaker=speaker))
    return named


def _carried_on(turns: Sequence[SaidTurn]) -> Iterator[SaidTurn]:
    """The turns; those without a name are of who spoke last."""
    speaker = next((turn.speaker for turn in turns if turn.speaker != NOBODY), NOBODY)
    if turns and speaker == NOBODY:
        raise SourceUnreadable("its texts name no speaker, and no .rttm lies beside it.")
    for turn in turns:
        speaker = turn.speaker or speaker
        yield replace(turn, speaker=speaker)


def _shares(turn: SaidTurn, speaking: Iterable[SpokenSpan]) -> Counter[str]:
    """Milliseconds of a turn in which each of those speaks who do."""
    shares: Counter[str] = Counter()
    for one in speaking:
        if shared := turn.span.overlap(one.span):
            shares[one.speaker] += round(shared * 1000)
    return shares


def _joint(name: str) -> set[str]:
    """The names of those who speak at once."""
    return {one.strip() for one in name.split(TOGETHER)} - {NOBODY}


def _first(speaker: str, known: Collection[str]) -> str:
    """Of several who speak at once, the first: a text is one person's."""
    return speaker if speaker in known else speaker.partition(TOGETHER)[0].strip() or speaker


def _some(calls: list[ReferenceCall], hours: float | None) -> list[ReferenceCall]:
    """As many of the calls as so many hours take, evenly spread over them; all where they are fewer."""
    wanted_s = float("inf") if hours is None else hours * 3600
    lengths = [call.last_s for call in calls]
    for number in range(1, len(calls)):
        chosen = [index * len(calls) // number for index in range(number)]
        if sum(lengths[index] for index in chosen) >= wanted_s:
            return [calls[index] for index in chosen]
    return calls
