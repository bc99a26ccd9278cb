import logging
from typing import Any

import pytest

from voxtral_serverless.errors import EngineUnavailable
from voxtral_serverless.services import build_services
from voxtral_serverless.settings import load_settings


def test_embedded_engine_names_itself() -> None:
    services = build_services(load_settings(engine="embedded"))
    assert services.engine == "embedded"
    assert set(services.models) == {"transcription", "diarization", "analysis"}
    assert [notice.code for notice in services.notices] == ["embedded_engine"]


def test_embedded_engine_is_taken_where_it_is_asked_for() -> None:
    settings = load_settings(engine="embedded", vllm_base_url="http://127.0.0.1:1")
    assert build_services(settings).engine == "embedded"


def test_auto_falls_back_loudly(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert build_services(load_settings(engine="auto")).engine == "embedded"
    assert "self-test engine" in caplog.text


@pytest.mark.parametrize(
    "settings", [{"engine": "vllm"}, {"vllm_base_url": "http://127.0.0.1:1"}, {"diarizer": "pyannote"}]
)
def test_engine_that_is_not_there_is_never_replaced_in_silence(settings: dict[str, Any]) -> None:
    with pytest.raises(EngineUnavailable, match="embedded"):
        build_services(load_settings(**settings))


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(EngineUnavailable, match=r"voxtral-serverless\[embedded\]"):
        build_services(load_settings(engine="embedded"))
