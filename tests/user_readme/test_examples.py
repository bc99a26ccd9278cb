"""The request and the answer of the user's README, to the letter."""

from typing import Any

import pytest

from tests.user_readme.contract import ANSWER, REQUEST, shows
from tests.user_readme.stand import SAYS, SUMMARY, VERDICT, example
from voxtral_serverless.contract import JobResult, parse_job


def shape(value: Any) -> Any:
    """Keys and types, without what they hold; of a list, its first entry."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])]
    return float if isinstance(value, int | float) else type(value)


@shows("Examples: request")
def test_request_is_a_job() -> None:
    assert parse_job(REQUEST).model_dump(exclude_unset=True) == REQUEST["input"]
    assert parse_job(REQUEST).num_speakers is None


@shows("Examples: answer")
def test_answer_has_the_shape_of_the_example() -> None:
    answer = dict(example().answer)
    answer.pop("meta")
    assert list(answer) == list(ANSWER)
    assert shape(answer) == shape(ANSWER)
    assert list(answer["transcriptions"][0]) == list(ANSWER["transcriptions"][0])
    assert list(answer["sentiment"]) == list(ANSWER["sentiment"])


@shows("Examples: answer")
def test_answer_holds_what_was_heard() -> None:
    answer = example().answer
    assert (answer["task"], answer["language"], answer["duration"]) == ("transcribe_diarized", "fr", 12.0)
    assert [entry["text"] for entry in answer["transcriptions"]] == [SAYS, SAYS]
    assert SUMMARY in answer["summary"]
    assert answer["sentiment"] == VERDICT


@shows("Examples: answer")
def test_example_of_an_answer_is_one() -> None:
    meta = example().answer["meta"]
    assert JobResult.model_validate(ANSWER | {"meta": meta}).to_json() == ANSWER | {"meta": meta}
    with pytest.raises(ValueError, match="transcript"):
        JobResult.model_validate(ANSWER | {"meta": meta, "transcript": ""})


@shows("Rules: additions")
def test_nothing_is_added_beside_meta_that_was_not_asked_for() -> None:
    assert set(example().answer) == set(ANSWER) | {"meta"}
    meta = example().answer["meta"]
    assert {"version", "engine", "models", "timings", "warnings", "quality"} <= set(meta)
