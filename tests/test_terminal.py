import io
import sys

import pytest

from voxtral_serverless.audio.recording import Span
from voxtral_serverless.progress import NoEvents, Progress
from voxtral_serverless.terminal import terminal_events
from voxtral_serverless.transcription.plan import Utterance


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with terminal_events() as events:
        events.progress(Progress("voice_activity", 20, 1, 2))
        events.utterance(Utterance(Span(0, 1), None, "text"))
    assert "voice activity" in terminal.getvalue()
    assert "text" not in terminal.getvalue()


def test_silence_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal_events() as events:
        assert isinstance(events, NoEvents)
    assert capsys.readouterr().err == ""
