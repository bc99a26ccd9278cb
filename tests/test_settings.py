import subprocess
import sys

import pytest

from tests.media import ROOT
from voxtral_serverless.errors import InvalidConfiguration
from voxtral_serverless.settings import Settings, load_settings


def test_defaults() -> None:
    settings = load_settings()
    assert settings.voxtral_model == "mistralai/Voxtral-Mini-3B-2507"
    assert settings.max_duration_s == 9000
    assert settings.max_audio_bytes == 4_096_000_000
    assert not settings.fetch_allow_private


def test_the_variables_of_the_users_readme_come_first() -> None:
    assert list(Settings.model_fields)[:4] == ["hf_token", "voxtral_model", "vllm_port", "max_duration_s"]


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_DURATION_S", "60")
    monkeypatch.setenv("JOB_DEFAULTS", '{"language": "fr"}')
    monkeypatch.setenv("HF_TOKEN", "")
    settings = load_settings()
    assert (settings.max_duration_s, settings.job_defaults, settings.hf_token) == (60, {"language": "fr"}, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_DURATION_S", "long"),
        ("MAX_DURATION_S", "-1"),
        ("ENGINE", "whisper"),
        ("JOB_DEFAULTS", "{"),
        ("PORT", "99999"),
    ],
)
def test_wrong_setting_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfiguration, match=name):
        load_settings()


def test_secrets_are_not_printed() -> None:
    assert "hf_abc" not in repr(load_settings(hf_token="hf_abc", api_key="key_xyz"))


def test_every_setting_is_documented() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_documentation_is_current() -> None:
    script = ROOT / "scripts" / "configuration_docs.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0
