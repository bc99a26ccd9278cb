"""Readings and a situation of a whole examination, made up: every target is met on a card of 24 GB."""

from __future__ import annotations

from typing import Any

from voxtral_serverless.qualify.units import Reading

PEAKS: Reading = {
    "worker_rss_mib": 900, "vllm_rss_mib": 6000, "torch_rss_mib": 3000, "worker_gpu_mib": None, "vllm_gpu_mib": 18000,
    "torch_gpu_mib": 2500, "gpu_used_mib": 20600, "disk_mib": 400,
}  # fmt: skip


def situation(**other: Any) -> Reading:
    """On an L4."""
    return {
        "version": "0.1.0",
        "command": "voxtral-serverless qualify --report /report",
        "began": "2026-11-20T10:00:00+00:00",
        "ended": "2026-11-20T14:00:00+00:00",
        "machine": {
            "gpus": [{"name": "NVIDIA L4", "total_mib": 23034}], "all_gpus_mib": 23034, "driver": "570.1", "processor": "A processor",
            "cores": 8, "memory_mib": 64000, "system": "Linux 6.1", "python": "3.12.1",
        },
        "versions": {"vllm": "0.32.0", "torch": "2.9.0", "pyannote.audio": "4.0.7", "meeteval": None},
        "models": {
            "transcription": {"name": "mistralai/Voxtral-Mini-3B-2507", "revision": "abc"},
            "diarization": {"name": "pyannote/speaker-diarization-3.1", "revision": None}, "alignment": None,
        },
        "engine": "vllm",
        "data": {"name": "simsamu", "revision": "def", "calls": 2, "hours": 0.1, "language": "fr", "skipped": ["x: no reference"]},
        "options": {},
        "gpu_price": {"usd_per_hour": 0.69, "source": "as given"},
        "normaliser": "lower case, no punctuation.",
        "plan": "turns",
        "plans": ["turns", "windows"],
        "settings": {"diarizer": "auto", "max_requests": 64, "vllm_extra_args": ""},
        "max_concurrency": 8,
        "engine_elsewhere": False,
        "missing": [],
        "skipped_stages": [],
        "unreached_stages": [],
        **other,
    }  # fmt: skip


def call(**other: Any) -> Reading:
    """A call of 100 words and 50 s of speech: WER 8 %, cpWER 10 %, DER 6 %, all of it covered."""
    return {
        "duration_s": 60.0, "speakers": 2, "speakers_found": 2, "words": 100, "wer_errors": 8, "cpwer_errors": 10,
        "tcpwer_errors": 11,
        "der": {"speech_s": 50.0, "missed_s": 1.0, "false_alarm_s": 0.5, "confusion_s": 1.5},
        "der_collar": {"speech_s": 40.0, "missed_s": 0.5, "false_alarm_s": 0.25, "confusion_s": 0.25},
        "speech_s": 45.0, "covered_s": 45.0, "covered_strict_s": 49.0, "speech_strict_s": 50.0,
        "turns_without_text": 0, "warnings": ["no_speech"], "took_s": 3.0, **other,
    }  # fmt: skip


def timed(minutes: float, calls: int, times: float, **other: Any) -> Reading:
    """So many calls of so many minutes, done so many times faster than they are long."""
    audio_s = 60 * minutes * calls
    return {
        "audio_s": audio_s, "took_s": audio_s / times, "jobs_s": [audio_s / times] * calls,
        "first_text_s": [1.5] * calls, "first_token_s": 0.12,
        "stages_s": {"decoding": 0.4, "diarization": audio_s / times / 3, "transcription": audio_s / times / 2, "analysis": 0.9},
        "requests": 10 * calls, "failed_jobs": 0, "peaks": PEAKS, **other,
    }  # fmt: skip


def judged(**other: Any) -> Reading:
    """A labelled call, both labels right."""
    return {
        "sentiment": "positif", "satisfaction": "satisfait", "sentiment_right": True, "satisfaction_right": True,
        "invented": {"names": [], "amounts": [], "dates": []}, "summary": "Résumé : tout va bien.", "prefixed": True,
        "words": 5, "sentences": 1, "asked_sentences": 2, "took_s": 1.0, **other,
    }  # fmt: skip


HOSTILE: Reading = {
    "files": 80, "refused": 70, "harmless": 10, "leaked_bytes": 0, "crashed": 0, "slowest": "bomb.mp4", "slowest_s": 4.0,
}  # fmt: skip
KILLED: Reading = {
    "done": True, "took_s": 60.0, "undisturbed_s": 5.0, "texts": 20, "texts_undisturbed": 20, "left": 0,
}  # fmt: skip
TOKEN: Reading = {
    "code": "model_unavailable", "message": "the token is not known.", "took_s": 1.0, "token_shown": False,
}  # fmt: skip
LONGEST: Reading = {
    "minutes": 150.0, "took_s": 130.0, "duration_s": 9000.0, "turns": 1500, "turns_without_text": 0,
    "last_turn_end_s": 8999.0, "speech_s": 8000.0, "written_s": 8100.0, "summary": True, "sentiment": True, "warnings": [], "peaks": {**PEAKS, "disk_mib": 900},
}  # fmt: skip


def readings(**other: Reading | None) -> dict[str, Reading]:
    """All of them; others in their place, with `__` for the slashes, and None for none."""
    whole: dict[str, Reading] = {
        "start/cold": {"ready_s": 95.0, "phases_s": {"engine_process": 80.0, "torch_process": 20.0}, "peaks": PEAKS},
        "start/warm": {"ready_s": 45.0, "phases_s": {"engine_process": 35.0, "torch_process": 9.0}, "peaks": PEAKS},
        **{f"accuracy/{name}/{mode}": call() for name in ("one", "two") for mode in ("given", "free")},
        "accuracy/one/stock": {"identical": True, "turns": 12, "different_s": 0.0, "stock_s": 30.0, "ours_s": 10.0},
        "sounds/silence": {"minutes": 1.0, "words": 0, "text": ""},
        "sounds/noise": {"minutes": 1.0, "words": 3, "text": "merci d'avoir regardé"},
        "sounds/music": {"minutes": 1.0, "words": 0, "text": ""},
        **{f"analysis/call-{number}": judged() for number in range(30)},
        **{
            f"speed/{plan}/{minutes:g}min/{calls}": timed(minutes, calls, times)
            for plan, faster in (("turns", 1.0), ("windows", 1.4))
            for minutes in (1.0, 5.0, 60.0)
            for calls, times in ((1, 30 * faster), (4, 60 * faster), (8, (72 - minutes / 10) * faster))
        },
        "robustness/hostile": HOSTILE,
        "robustness/killed_engine": KILLED,
        "robustness/bad_token": TOKEN,
        "robustness/longest": LONGEST,
    }
    replaced = whole | {name.replace("__", "/"): one for name, one in other.items() if one is not None}
    return {name: one for name, one in replaced.items() if other.get(name.replace("/", "__"), one) is not None}


def without(*units: str) -> tuple[dict[str, Reading], Reading]:
    """The readings without these units, and a situation that knows that they are missing."""
    whole = readings()
    return {name: one for name, one in whole.items() if name not in units}, situation(missing=list(units))
