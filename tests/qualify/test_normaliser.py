"""What counts as the same word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxtral_serverless.qualify.normaliser import normalised


@pytest.mark.parametrize(
    ("text", "language", "normal"),
    [
        ("J'ai 20 ans, euh… est-ce que l\u2019eau [rires] coûte 23,50 € ?", "fr", "j ai vingt ans est ce que l eau coûte vingt trois euros cinquante"),
        ("Le 15, j\u2019écoute", "fr", "le quinze j écoute"),
        ("Hum, heu, mm-hm, m'appelle <unk> (toux)", "fr-FR", "m appelle"),
        ("Uh, it's um 5 kg {noise} (555) OK?", "en", "it s five kilos five hundred fifty five ok"),
        ("um homem", "pt", "um homem"),
        ("20 ans", None, "20 ans"),
        ("ÉTÉ\u00a0cœur", "fr", "été cœur"),
        ("", "fr", ""),
    ],
)  # fmt: skip
def test_normal_texts(text: str, language: str | None, normal: str) -> None:
    assert normalised(text, language) == normal


@given(st.text(), st.sampled_from(["fr", "en", "de", None]))
def test_what_is_normal_stays_as_it_is(text: str, language: str | None) -> None:
    once = normalised(text, language)
    assert normalised(once, language) == once
