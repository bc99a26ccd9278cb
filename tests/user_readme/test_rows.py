"""Every row of the contract is shown by a test, or named here with what it needs that no test here has."""

from __future__ import annotations

import ast
from importlib import import_module

import pytest

from tests.media import ROOT
from tests.user_readme import contract

ELSEWHERE = {
    "Examples: request": "tests/runpod_worker/test_jobs.py::test_example_of_the_user",
    "Inputs: audio_base64": "tests/test_contract.py::test_base64_in_lines_and_as_data_url",
    "Inputs: word_timestamps": "tests/engines/test_words.py::test_words_by_turns_over_the_real_engine",
    "Limits: 2 h 30": "tests/audio/test_decode.py::test_limit_of_duration_is_exact",
    "Rules: order of appearance": "tests/test_pipeline.py::test_speakers_are_numbered_by_appearance_and_called_by_their_labels",
    "Rules: times": "tests/audio/test_decode.py::test_duration_is_true_to_the_sample",
    "Rules: one entry per turn": "tests/diarization/test_turns.py::test_short_gap_of_one_speaker_is_closed",
    "Rules: order of entries": "tests/diarization/test_channels.py::test_turns_are_the_speech_of_both_sides_in_order",
    "Errors: shape": "tests/runpod_worker/test_jobs.py::test_malformed_jobs_are_answered_and_the_worker_lives_on",
    "Errors: discretion": "tests/runpod_worker/test_privacy.py::test_errors_hold_neither_tokens_nor_queries",
    "Errors: partial success": "tests/test_pipeline.py::test_failed_diarization_never_loses_the_transcript",
    "Environment: HF_TOKEN": "tests/diarization/test_models.py::test_every_gate_is_told_at_once",
    "Environment: ENGINE": "tests/test_services.py::test_worker_does_not_fall_back",
    "Environment: MAX_CONCURRENCY": "tests/runpod_worker/test_jobs.py::test_ten_jobs_at_once_each_with_its_own_answer",
    "Environment: engine's environment": "tests/engine/test_command.py::test_environment_is_an_allow_list",
}
"""What tests of single modules show, by row."""

NEEDS = {
    "Commands: docker build -t voxtral-serverless .": "Docker and the vLLM image of many GB",
    "Commands: docker run … -p 8000:8000": "Docker, and a GPU for the engine in the image",
    "Limits: 10 MB and 20 MB": "RunPod: it is its queue that refuses more; what we answer stays below MAX_RESULT_MB",
    "Environment: VOXTRAL_MODEL": "a GPU for Mistral's weights; here they are small files of the same form",
    "Environment: DIARIZATION_MODEL": "an account that accepted pyannote's conditions; here toy networks in the real library",
}
"""What cannot be shown without it; where a test shows a part, the rest."""

MODULES = ("test_api", "test_environment", "test_examples", "test_inputs", "test_rules")


@pytest.fixture(scope="module")
def shown() -> set[str]:
    """The rows that the tests beside this one show."""
    for module in MODULES:
        import_module(f"tests.user_readme.{module}")
    return set(contract.SHOWN)


def test_every_row_is_shown_or_named(shown: set[str]) -> None:
    assert len(contract.rows()) > 60
    assert [row for row in contract.rows() if row not in shown | ELSEWHERE.keys() | NEEDS.keys()] == []


def test_nothing_is_shown_that_is_no_row(shown: set[str]) -> None:
    assert shown | ELSEWHERE.keys() | NEEDS.keys() <= set(contract.rows())


def test_no_row_is_there_twice() -> None:
    assert len(contract.rows()) == len(set(contract.rows()))


@pytest.mark.parametrize("place", ELSEWHERE.values())
def test_what_shows_it_elsewhere_is_there(place: str) -> None:
    file, _, name = place.partition("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_all_modules_are_listed() -> None:
    here = {path.stem for path in (ROOT / "tests" / "user_readme").glob("test_*.py")} - {"test_rows"}
    assert here == set(MODULES)
