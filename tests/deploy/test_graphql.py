"""Values as GraphQL writes them, read again by the fake's own reader."""

import json

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.runpod_api import Reader, Refused, Word
from voxtral_serverless.deploy import graphql
from voxtral_serverless.deploy.graphql import literal

VALUES = st.recursive(
    st.text() | st.integers(-(2**31), 2**31) | st.booleans() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.from_regex(r"[A-Za-z_]\w{0,9}", fullmatch=True), inner)
    ),
)


@given(VALUES)
@hypothesis.settings(max_examples=50)
def test_values_come_back(value: object) -> None:
    assert Reader(literal(value)).value() == value


def test_json_within_a_variable_and_words_without_quotes() -> None:
    hostile = json.dumps({"a": 'say "no"\\'}) + '"}){id} mutation{deleteEndpoint(id:"x")}\n'
    written = literal({"env": [{"key": "JOB_DEFAULTS", "value": hostile}], "flashBootType": graphql.Word("OFF")})
    reader = Reader(written)
    read = reader.value()
    reader.end()
    assert read["env"][0]["value"] == hostile
    assert isinstance(read["flashBootType"], Word)


def test_the_reader_is_no_yes_sayer() -> None:
    with pytest.raises(Refused):
        Reader('{a: "unfinished').value()
    reader = Reader("{a: 1} {b: 2}")
    reader.value()
    with pytest.raises(Refused):
        reader.end()
