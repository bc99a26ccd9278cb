"""The log as it comes out on stderr, and what never does."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from voxtral_serverless.log import MAX_CHARACTERS, SECRETS, job_id, redacted, set_up_logging

MARKER = "cAnArY7"
log = logging.getLogger("voxtral_serverless.test")


@pytest.fixture(autouse=True)
def root_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def set_up_afresh(level: int = logging.WARNING, **style: Any) -> None:
    """As in a process of its own: without the handlers of pytest."""
    logging.getLogger().handlers.clear()
    set_up_logging(level, **style)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def fails(text: str) -> None:
    try:
        {"": ""}[text]
    except KeyError as error:
        raise ValueError(f"because of {text}") from error


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError(MARKER)


class TestPlain:
    def test_level_logger_message(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh()
        log.info("not shown")
        log.warning("a clip is lost: %s", "/tmp/voxtral/a.wav", extra={"clips": 3})
        assert capsys.readouterr().err == "WARNING voxtral_serverless.test: a clip is lost: /tmp/voxtral/a.wav\n"

    def test_own_log_from_the_level_on_and_of_others_warnings(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh(logging.INFO)
        for name in ("httpx", "botocore.auth", "aiohttp.access", "huggingface_hub"):
            logging.getLogger(name).info("a request")
        log.info("took %.1f s", 1.25)
        logging.getLogger("aiohttp").warning("unclosed")
        assert capsys.readouterr().err == "INFO voxtral_serverless.test: took 1.2 s\nWARNING aiohttp: unclosed\n"

    def test_traceback_is_below(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh()
        try:
            fails(f"https://host/{MARKER}")
        except ValueError:
            log.exception("unexpected failure")
        shown = capsys.readouterr().err
        assert shown.startswith(
            "ERROR voxtral_serverless.test: unexpected failure\nTraceback (most recent call last):\n"
        )
        assert shown.endswith("ValueError: because of https://host/…\n")
        assert MARKER not in shown

    def test_handlers_of_a_program_around_us_stay(self, capsys: pytest.CaptureFixture[str]) -> None:
        other = logging.NullHandler()
        logging.getLogger().handlers[:] = [other]
        set_up_logging()
        log.warning("theirs")
        assert (logging.getLogger().handlers, capsys.readouterr().err) == ([other], "")


class TestJson:
    def test_one_object_a_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh(logging.INFO, style="json")
        log.info("pénible\n%s", "\ud800")
        assert lines(capsys) == [
            {"requestId": None, "level": "INFO", "logger": "voxtral_serverless.test", "message": "pénible\n\ud800"}
        ]

    def test_numbers_of_the_closed_list(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh(logging.INFO, style="json")
        log.info(
            "x", extra={"stage": "decoding", "duration_s": 1.5, "turns": 3, "text": MARKER, "percent": float("nan")}
        )
        log.info(
            "x", extra={"status": f"https://h/{MARKER}", "clips": 10**5000, "audio_s": [MARKER], "stage": "s" * 500}
        )
        first, second = lines(capsys)
        assert {name: first[name] for name in first if name not in ("requestId", "level", "logger", "message")} == {
            "stage": "decoding", "duration_s": 1.5, "turns": 3, "percent": None,
        }  # fmt: skip
        assert (second["status"], second["clips"], second["audio_s"]) == ("https://h/…", None, None)
        assert len(second["stage"]) == 100

    def test_exception_is_part_of_the_message(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh(style="json")
        try:
            fails(f"hf_{MARKER}{MARKER}")
        except ValueError:
            log.exception("unexpected failure")
        (line,) = lines(capsys)
        assert line["message"].startswith("unexpected failure\nTraceback (most recent call last):\n")
        assert line["message"].endswith("\nValueError: because of ***")

    def test_last_style_counts_and_nothing_is_told_twice(self, capsys: pytest.CaptureFixture[str]) -> None:
        for style in ("json", "plain", "json"):
            set_up_logging(style=style)
        log.warning("once")
        assert [line["message"] for line in lines(capsys)] == ["once"]

    def test_other_handlers_go(self, capsys: pytest.CaptureFixture[str]) -> None:
        logging.basicConfig(level=logging.INFO, force=True)
        set_up_logging(style="json")
        logging.getLogger("httpx").info("no")
        log.warning("once")
        assert len(lines(capsys)) == 1

    def test_warnings_of_python_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            set_up_afresh(style="json")
            warnings.warn(f"deprecated: https://host/{MARKER}", stacklevel=1)
        (line,) = lines(capsys)
        assert (line["logger"], "https://host/…" in line["message"]) == ("py.warnings", True)

    async def test_job_of_each_task_and_thread(self, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh(style="json")

        async def work(name: str) -> None:
            job_id.set(name)
            await asyncio.sleep(0)
            log.warning("task of %s", name)
            await asyncio.to_thread(log.warning, "thread of %s", name)

        await asyncio.gather(work("a"), work("b"))
        thread = threading.Thread(target=log.warning, args=("of nobody",))
        thread.start()
        thread.join()
        told = {line["message"]: line["requestId"] for line in lines(capsys)}
        assert told == {"task of a": "a", "thread of a": "a", "task of b": "b", "thread of b": "b", "of nobody": None}


@pytest.mark.parametrize("style", ["plain", "json"])
class TestNeverRaises:
    def test_message_that_cannot_be_put_together(self, style: Any, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh(style=style)
        log.warning("%d turns", MARKER)
        log.warning("%s", Unprintable())
        log.warning(Unprintable())
        shown = capsys.readouterr().err
        assert len(shown.splitlines()) == 3
        assert shown.count("a message of ") == shown.count("test_log.py:") == 3
        assert MARKER not in shown

    def test_exception_that_cannot_be_shown(self, style: Any, capsys: pytest.CaptureFixture[str]) -> None:
        class Odd(Exception, Unprintable):
            pass

        set_up_afresh(style=style)
        log.error("odd", exc_info=Odd())
        assert "odd" in capsys.readouterr().err

    def test_no_stderr(self, style: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        set_up_afresh(style=style)
        with open(os.devnull, "w") as closed:  # noqa: PTH123
            pass
        for stream in (None, closed):
            monkeypatch.setattr(sys, "stderr", stream)
            log.warning("to nobody")

    def test_full_stderr(self, style: Any) -> None:
        script = f"import voxtral_serverless.log as l, logging; l.set_up_logging(style={style!r}); logging.warning('x')"
        done = subprocess.run(["bash", "-c", f'{sys.executable} -c "{script}" 2> /dev/full'], check=False)
        assert done.returncode in (0, 120)  # 120: Python itself could not flush it

    def test_length(self, style: Any, capsys: pytest.CaptureFixture[str]) -> None:
        set_up_afresh(style=style)
        log.warning("begin %s end", "x" * 100_000)
        shown = capsys.readouterr().err
        message = json.loads(shown)["message"] if style == "json" else shown.rstrip("\n")
        assert MAX_CHARACTERS - 10 < len(message) <= MAX_CHARACTERS
        assert ("begin xx" in message, message.endswith("xx end")) == (True, True)


def test_runpod_does_not_win() -> None:
    script = (
        "import logging, sys; from voxtral_serverless.log import set_up_logging; set_up_logging(style='json')\n"
        "import runpod; from runpod.serverless.utils import rp_upload\n"
        "logging.getLogger('httpx').info('no'); logging.getLogger('httpx').warning('yes')\n"
        "print(len(logging.getLogger().handlers))"
    )
    environment = {**os.environ, "RUNPOD_LOG_LEVEL": "ERROR"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "1\n"
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["yes"]


class TestRedacted:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("GET https://a.example:8443/b/c.wav?sig=1 failed", "GET https://a.example:8443/… failed"),
            ("at HTTP://A.example, or wss://b:1/x.", "at HTTP://A.example, or wss://b:1/…."),
            ('(url: "http://10.0.0.1/x")', '(url: "http://10.0.0.1/…")'),
            ("s3://bucket/key ws://h?x s3://bucket", "s3://bucket/… ws://h/… s3://bucket"),
            ("http://[::1]:80/x https://[::1]", "http://[::1]:80/… https://[::1]"),
            ("https://me:word@host/x https://me:w/rd@host/x", "https://host/… https:///…"),
            (r"{\"url\": \"https:\/\/host\/path\"}", r"{\"url\": \"https://host/…\"}"),
            ("to=https%3A%2F%2Fhost%2Fpath", "to=https://host/…"),
            ("https://host/a\u00a0b\u2028c d", "https://host/… d"),
            ("Max retries exceeded with url: /b/c?X=1 (Caused by", "Max retries exceeded with url: /… (Caused by"),
            ("what/why? and /tmp/voxtral-x/file", "what/why? and /tmp/voxtral-x/file"),
            ("http:/host and https:", "http:/host and https:"),
            ("token hf_abcdefghijKLMN, key rpa_ABC123DEF456.", "token ***, key ***."),
            ("Authorization: Bearer ab.cd-ef_1=='", "Authorization: Bearer ***'"),
            ("AKIA0123456789ABCDEF and ASIA0123456789ABCDEF", "*** and ***"),
            ("X-Amz-Signature=0123456789abcdef&x", "X-Amz-Signature=***&x"),
            ("'X-Amz-Credential': '0123456789/x'", "'X-Amz-Credential': '***'"),
            ("x-amz-security-token%3D0123456789", "x-amz-security-token%***"),
            ("Credential=AKIA0123456789ABCDEF/x, Signature=01234567", "Credential=***/x, Signature=***"),
            ("hf_hub_download bears a bearer of news", "hf_hub_download bears a bearer of news"),
        ],
    )
    def test_examples(self, text: str, shown: str) -> None:
        assert redacted(text) == shown
        assert redacted(shown) == shown

    def test_secrets_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_KEY", "hush 'n' hush/é")
        monkeypatch.setenv("HF_TOKEN", "hush 'n' hush/é, longer\n")
        monkeypatch.setenv("VLLM_API_KEY", "short")
        monkeypatch.setenv("BUCKET_NAME", "answers-of-ours")
        key = "hush 'n' hush/é"
        assert redacted(f"{key}! {key}, longer; short answers-of-ours") == "***! ***; short answers-of-ours"
        assert redacted(f"{quote(key, safe='')} {json.dumps(key)} {[key]}") == '*** "***" ["***"]'

    @pytest.mark.parametrize(
        "text",
        [
            "http://",
            "http://a/?",
            "/",
            "?",
            "=",
            "a/b?",
            "bearer ",
            "bearer" + " " * 99,
            "X-Amz-Signature",
            "hf_",
            "\\/@",
        ],
    )
    def test_time_is_linear(self, text: str) -> None:
        long = text * (1_000_000 // len(text))
        began = time.monotonic()
        redacted(long)
        assert time.monotonic() - began < 5


word = st.text(st.characters(exclude_characters=" \t\n\r\f\v"), max_size=20)
around = st.text(max_size=20)
scheme = st.sampled_from(["http", "https", "HTTPS", "ws", "wss", "s3"])
host = st.sampled_from(["host", "a.example:8443", "[::1]:80", "me:word@host", "é.example", "10.0.0.1", ""])
url = st.builds(
    lambda scheme, host, mark, before, after: f"{scheme}://{host}{mark}{before}{MARKER}{after}",
    scheme, host, st.sampled_from(["/", "?", "#", "/a/b?c=d&e=", "\\"]), word, word,
)  # fmt: skip
token = st.builds(
    lambda head, tail: f"{head}{MARKER}{tail}",
    st.sampled_from(
        ["hf_abc", "rpa_", "Bearer ", "bearer\t", "X-Amz-Signature=", "x-amz-credential: '", "me://Bearer "]
    ),
    st.text("abcdef0123456789", min_size=6, max_size=40),
)


@given(before=around, secret=url | token, after=around)
@example(before="https://", secret=f"s3://host/{MARKER}", after="")
@example(before="", secret=f"https://host/@{MARKER}", after="")
@example(before="http:/", secret=f"/host/{MARKER}?a=b", after="")
def test_nothing_shows_the_marker(before: str, secret: str, after: str) -> None:
    assert MARKER not in redacted(f"{before}{secret} {after}")


@given(
    name=st.sampled_from(SECRETS),
    secret=st.builds(lambda a, b: a + MARKER + b, word.filter(lambda text: "\x00" not in text), st.just("0123")),
    before=around,
    after=around,
)
def test_nothing_shows_a_secret(name: str, secret: str, before: str, after: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        try:
            patch.setenv(name, secret)
        except UnicodeEncodeError:  # half a character: no environment can hold it
            return
        for form in (secret.strip(), repr(secret.strip()), json.dumps(secret.strip()), quote(secret.strip())):
            assert MARKER not in redacted(before + form + after)
