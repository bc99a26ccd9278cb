"""An answer on its way to RunPod: what it looks like there, and what a bucket really gets."""

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from tests.fakes.s3 import ACCESS_ID, ACCESS_SECRET, S3, running_s3
from voxtral_serverless.errors import ResultTooLarge
from voxtral_serverless.runpod_worker import results
from voxtral_serverless.runpod_worker.results import Bucket, bucket_of, deliverable
from voxtral_serverless.settings import Settings, load_settings

META = {
    "version": "1", "engine": "embedded", "models": {}, "channels": {}, "timings": {},
    "warnings": [{"code": "embedded_engine", "message": "of the pipeline"}], "quality": {},
}  # fmt: skip
SMALL = {"task": "transcribe", "language": "fr", "duration": 3.0, "transcriptions": [], "text": "", "meta": META}
LARGE: dict[str, Any] = {
    "task": "transcribe_diarized", "language": "fr", "duration": 179.2,
    "transcriptions": [
        {"speaker": "SPEAKER_00", "start": 0.5, "end": 5.2, "text": "é" * 1000, "words": [{"word": "w" * 3000}]},
        {"speaker": None, "start": 6.0, "end": 7.0, "text": None, "words": None},
    ],
    "text": "t" * 3000, "summary": "A summary.", "sentiment": {"sentiment": "positif", "score": 0.75},
    "files": {"srt": "s" * 3000, "txt": "t" * 2000, "rttm": None}, "metadata": {"id": "m" * 3000}, "meta": META,
}  # fmt: skip


def limited(kilobytes: float, **others: Any) -> Settings:
    return load_settings(max_result_mb=kilobytes / 1000, fetch_allow_private=True, **others)


async def delivered(
    answer: dict[str, Any], settings: Settings, bucket: Bucket | None = None, job_id: str = "job-1"
) -> dict[str, Any]:
    before = deepcopy(answer)
    sent = await deliverable(answer, job_id=job_id, settings=settings, bucket=bucket)
    assert repr(answer) == repr(before), "the caller's answer is left alone"
    assert sent_bytes(sent) <= settings.max_result_mb * 1e6
    return sent


def sent_bytes(answer: dict[str, Any]) -> int:
    return len(json.dumps({"output": answer}, ensure_ascii=False, allow_nan=False).encode())


def codes(answer: dict[str, Any]) -> list[str]:
    return [warning["code"] for warning in answer["meta"]["warnings"]]


def warning(answer: dict[str, Any]) -> str:
    message: str = answer["meta"]["warnings"][-1]["message"]
    return message


@pytest.fixture
async def s3() -> AsyncIterator[S3]:
    async with running_s3() as running:
        yield running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PAUSES_S", (0.0, 0.05, 0.05))


def bucket_at(s3: S3) -> Bucket:
    return Bucket(s3.url, s3.name, ACCESS_ID, ACCESS_SECRET)


async def test_answer_that_fits_comes_back_as_it_is() -> None:
    assert await delivered(SMALL, limited(2)) == SMALL
    exactly = sent_bytes(LARGE) / 1000
    assert await delivered(LARGE, limited(exactly)) == LARGE
    assert await delivered(LARGE, limited(exactly - 0.001)) != LARGE


texts = st.text(st.characters(exclude_categories=()), max_size=50)
numbers = st.integers() | st.floats() | st.floats(width=32).map(np.float32)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | texts.map(lambda text: text * 500) | st.binary(max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(texts | st.integers(), below, max_size=3),
    max_leaves=8,
)
NAMES = ["task", "language", "duration", "transcriptions", "text", "summary", "files", "metadata", "meta", "other"]
answers = st.dictionaries(st.sampled_from(NAMES), values) | st.builds(
    lambda parts: LARGE | parts, st.dictionaries(st.sampled_from(["metadata", "text", "files", "meta"]), values)
)


class TestJson:
    async def test_what_json_cannot_carry(self) -> None:
        odd = {
            "nan": math.nan, "infinite": -math.inf, "float32": np.float32(0.5), "float64": np.float64("nan"),
            "int64": np.int64(7), "array": np.zeros(2), "path": Path("/tmp"), "half": "a\ud83d!", "pair": "\ud83d\ude00",
            "tuple": (1, None), "digits": 10**5000, "many": 10**400, "fraction": Fraction(10**400),
            "bytes": b"x", 1: True, None: 2, (1, 2): 3, "half\udc00": 4,
        }  # fmt: skip
        answer = await deliverable(SMALL | {"metadata": odd}, job_id="1", settings=limited(20), bucket=None)
        assert answer["metadata"] == {
            "nan": None, "infinite": None, "float32": 0.5, "float64": None, "int64": 7, "array": None, "path": None,
            "half": "a\ufffd!", "pair": "😀", "tuple": [1, None], "digits": None, "many": 10**400, "fraction": None,
            "bytes": None, "1": True, "null": 3, "half\ufffd": 4,
        }  # fmt: skip
        assert codes(answer) == ["embedded_engine", "result_repaired"]

    async def test_nothing_lost_is_no_warning(self) -> None:
        answer = await delivered(SMALL | {"metadata": {"tuple": (np.float32(0.5),)}}, limited(20))
        assert codes(answer) == ["embedded_engine"]

    async def test_as_deep_as_the_contract_allows(self) -> None:
        deep: Any = 1
        for _ in range(256):
            deep = {"a": deep}
        assert (await delivered(SMALL | {"metadata": deep}, limited(20)))["metadata"] == deep

    @pytest.mark.parametrize("kind", ["object", "array", "circle"])
    async def test_deeper_than_can_be_written(self, kind: str) -> None:
        deep: Any = []
        for _ in range(5000):
            deep = {"a": deep} if kind == "object" else [deep]
        if kind == "circle":
            deep.append(deep)
            del deep[0]
        answer = await deliverable(SMALL | {"metadata": deep}, job_id="1", settings=limited(20), bucket=None)
        assert sent_bytes(answer) < 5000
        assert codes(answer)[-1] == "result_repaired"

    @given(answer=answers, kilobytes=st.floats(1.01, 20), named=st.booleans(), depth=st.sampled_from([0, 100, 2000]))
    @example(answer=LARGE, kilobytes=1.1, named=True, depth=0)
    def test_any_answer_is_valid_and_small_enough_or_refused(
        self, answer: dict[str, Any], kilobytes: float, named: bool, depth: int
    ) -> None:
        deep: Any = "deep"
        for _ in range(depth):
            deep = [deep]
        answer = answer | ({"metadata": deep} if depth else {})
        bucket = Bucket("ftp://nobody.example", "b", "a", "s") if named else None
        try:
            sent = asyncio.run(deliverable(answer, job_id="1", settings=limited(kilobytes), bucket=bucket))
        except ResultTooLarge:
            return
        assert sent_bytes(sent) <= kilobytes * 1000
        assert json.loads(json.dumps(sent, ensure_ascii=False).encode()) == sent
        assert answer.keys() <= sent.keys(), "what was asked for is never absent"


class TestSlimmed:
    """LARGE, without a bucket, in less and less room."""

    @pytest.mark.parametrize(
        ("kilobytes", "missing"),
        [
            (15, ["files.srt"]),
            (13, ["files.srt", "files.txt"]),
            (11, ["files.srt", "files.txt", "words"]),
            (8, ["files.srt", "files.txt", "words", "metadata"]),
            (5, ["files.srt", "files.txt", "words", "metadata", "text"]),
        ],
    )
    async def test_in_its_order(self, kilobytes: float, missing: list[str]) -> None:
        answer = await delivered(LARGE, limited(kilobytes))
        present = {
            **{f"files.{name}": answer["files"][name] for name in ("srt", "txt")},
            "words": answer["transcriptions"][0]["words"], "metadata": answer["metadata"], "text": answer["text"],
        }  # fmt: skip
        assert [name for name, value in present.items() if value is None] == missing
        assert answer.keys() == LARGE.keys()
        assert [turn["text"] for turn in answer["transcriptions"]] == ["é" * 1000, None]
        assert codes(answer) == ["embedded_engine", "result_slimmed"]
        assert f"without {', '.join(missing)}: no bucket is named" in warning(answer)

    async def test_what_was_not_asked_for_is_not_named(self) -> None:
        answer = await delivered(SMALL | {"text": "x" * 2000}, limited(2))
        assert (answer["text"], "files" in answer, "metadata" in answer) == (None, False, False)
        assert "is here without text:" in warning(answer)

    async def test_transcript_alone_too_large_is_an_error(self) -> None:
        with pytest.raises(ResultTooLarge, match=r"more than the 0\.002 of MAX_RESULT_MB, whatever is left out: no "):
            await delivered(LARGE, limited(2))


class TestUploaded:
    async def test_whole_answer_lies_at_the_url(self, s3: S3) -> None:
        answer = await delivered(LARGE, limited(10), bucket_at(s3), job_id="a1b2-é/../e1")
        key = "voxtral-serverless/a1b2-__.._e1.json"
        assert answer == LARGE | {
            "transcriptions": None, "text": None, "files": None,
            "result_url": answer["result_url"], "meta": answer["meta"],
        }  # fmt: skip
        assert codes(answer) == ["embedded_engine", "result_uploaded"]
        assert "the whole of it is at result_url, for 7 days" in warning(answer)
        assert json.loads(s3.objects[key]) == LARGE
        async with aiohttp.ClientSession() as session, session.get(URL(answer["result_url"], encoded=True)) as response:
            assert (response.status, response.content_type) == (200, "application/json")
            assert await response.json() == LARGE
        assert s3.regions == ["us-east-1"] * 2

    async def test_url_is_good_for_a_week_and_for_one_object(self, s3: S3) -> None:
        url = (await delivered(LARGE, limited(10), bucket_at(s3)))["result_url"]
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == [str(7 * 24 * 3600)]
        s3.objects["voxtral-serverless/job-2.json"] = b"of somebody else"
        other = URL(url.replace("job-1", "job-2"), encoded=True)
        async with aiohttp.ClientSession() as session, session.get(other) as response:
            assert response.status == 403

    async def test_details_too_large_stay_in_the_bucket(self, s3: S3) -> None:
        answer = await delivered(LARGE, limited(2), bucket_at(s3))
        assert (answer["metadata"], answer["summary"]) == (None, "A summary.")
        answer = await delivered(LARGE | {"summary": "s" * 3000}, limited(2), bucket_at(s3))
        assert (answer["sentiment"], answer["summary"]) == (None, None)
        assert "sentiment_by_speaker" not in answer
        with pytest.raises(ResultTooLarge, match="so are its smallest parts"):
            await delivered(LARGE | {"language": "l" * 3000}, limited(2), bucket_at(s3))

    async def test_answer_that_fits_goes_nowhere(self, s3: S3) -> None:
        await delivered(LARGE, limited(20), bucket_at(s3))
        assert s3.requests == []

    async def test_large_answer(self, s3: S3) -> None:
        answer = SMALL | {"text": "é" * 10_000_000}
        sent = await delivered(answer, load_settings(fetch_allow_private=True), bucket_at(s3))
        assert (sent["text"], len(s3.objects["voxtral-serverless/job-1.json"]) > 20_000_000) == (None, True)

    async def test_endpoint_with_a_path_and_a_capital(self, s3: S3) -> None:
        s3.name = "storage"
        port = urlsplit(s3.url).port
        bucket = replace(bucket_at(s3), endpoint_url=f"HTTP://LOCALHOST:{port}/storage/v 1/", name="answers")
        await delivered(LARGE, limited(10), bucket)
        assert [*s3.objects] == ["v 1/answers/voxtral-serverless/job-1.json"]

    async def test_bucket_that_is_down_for_a_moment(self, s3: S3, quick: None) -> None:
        s3.statuses = [500, 503]
        assert "result_url" in await delivered(LARGE, limited(10), bucket_at(s3))
        assert [method for method, _ in s3.requests] == ["PUT"] * 3


class TestNotUploaded:
    async def slim(self, bucket: Bucket, settings: Settings | None = None) -> str:
        """The warning beside an answer that had to be slimmed."""
        answer = await delivered(LARGE, settings or limited(15), bucket)
        assert "result_url" not in answer
        assert (answer["files"]["srt"], answer["files"]["txt"]) == (None, "t" * 2000)
        assert codes(answer)[-1] == "result_slimmed"
        return warning(answer)

    async def test_wrong_key_is_asked_once(self, s3: S3) -> None:
        assert "status 403 (check the key" in await self.slim(replace(bucket_at(s3), access_secret="wrong"))
        assert len(s3.requests) == 1

    async def test_no_such_bucket(self, s3: S3) -> None:
        assert "status 404 (there is no such bucket)" in await self.slim(replace(bucket_at(s3), name="../other?x#"))

    async def test_redirect_is_not_followed(self, s3: S3) -> None:
        s3.statuses = [307]
        assert "status 307 (it is in another region)" in await self.slim(bucket_at(s3))
        assert len(s3.requests) == 1

    async def test_broken_bucket_is_asked_three_times(self, s3: S3, quick: None) -> None:
        s3.statuses = [500] * 9
        assert "the bucket answered with status 500." in await self.slim(bucket_at(s3))
        assert len(s3.requests) == 3

    async def test_nobody_listens(self, s3: S3, quick: None) -> None:
        bucket = replace(bucket_at(s3), endpoint_url="http://127.0.0.1:1")
        assert "the connection to the bucket failed" in await self.slim(bucket)

    @pytest.mark.parametrize("host", ["a..b", "a" * 70, "a b", "%zz"])
    async def test_host_that_cannot_be(self, host: str, quick: None) -> None:
        told = await self.slim(Bucket(f"https://{host}", "b", ACCESS_ID, ACCESS_SECRET))
        assert "the connection to the bucket failed" in told or "address is refused" in told

    async def test_silent_bucket_is_given_up(self, s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(results, "UPLOAD_TIMEOUT_S", 0.5)
        s3.silent = True
        began = time.monotonic()
        assert "did not take it in time" in await self.slim(bucket_at(s3))
        assert time.monotonic() - began < 5

    async def test_cancelled_job_stops_at_once(self, s3: S3) -> None:
        s3.silent = True
        task = asyncio.create_task(self.slim(bucket_at(s3)))
        await s3.waiting.wait()
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 1

    @pytest.mark.parametrize(
        "endpoint",
        [
            "https://127.0.0.1", "https://localhost", "https://[::1]", "https://10.0.0.1/", "https://169.254.169.254",
            "https://[::ffff:10.0.0.1]", "http://8.8.8.8", "https://8.8.8.8:9000", "ftp://8.8.8.8", "8.8.8.8", "https://",
            "https://user:secret@8.8.8.8", "https://8.8.8.8:x", "https://[",
        ],
    )  # fmt: skip
    async def test_address_that_is_not_public(self, endpoint: str) -> None:
        settings = load_settings(max_result_mb=0.015)
        told = await self.slim(Bucket(endpoint, "b", ACCESS_ID, ACCESS_SECRET), settings)
        assert "the bucket's address is refused" in told
        assert "secret" not in told

    async def test_host_that_is_not_listed(self, s3: S3) -> None:
        """`FETCH_HOSTS` holds for buckets too, and not for the operator's own."""
        listed = load_settings(max_result_mb=0.015, fetch_allow_private=True, fetch_hosts="*.example.org")
        assert "the bucket's address is refused" in await self.slim(bucket_at(s3), listed)
        assert s3.requests == []
        assert (await delivered(LARGE, listed, replace(bucket_at(s3), trusted=True)))["result_url"]

    async def test_operators_own_bucket_may_be_anywhere(self, s3: S3) -> None:
        bucket = replace(bucket_at(s3), trusted=True)
        sent = await delivered(LARGE, load_settings(max_result_mb=0.015), bucket)
        assert sent["result_url"]

    async def test_loopback_is_not_spoken_to(self, s3: S3) -> None:
        port = urlsplit(s3.url).port
        for endpoint in (s3.url, f"https://127.0.0.1:{port}", f"https://localhost:{port}"):
            bucket = replace(bucket_at(s3), endpoint_url=endpoint)
            await self.slim(bucket, load_settings(max_result_mb=0.015))
        assert s3.requests == []

    async def test_log_and_warnings_tell_no_secret(self, s3: S3, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "voxtral_serverless")
        secret = f"{s3.url}/cAnArY?cAnArY"
        s3.statuses = [400]
        bucket = Bucket(secret, "cAnArY", "AKIAcAnArY", "cAnArY")
        told = await self.slim(bucket)
        assert "cAnArY" not in told + caplog.text
        assert "cAnArY" not in repr(Bucket("https://s3.example", "b", "AKIAcAnArY", "cAnArY"))
        assert "is too large, and not uploaded: the bucket answered with status 400" in caplog.text


CONFIG = {"endpointUrl": "https://s3.example", "bucketName": "b", "accessId": "i", "accessSecret": " s\n"}
BROUGHT = Bucket("https://s3.example", "b", "i", "s")
OURS = Bucket("https://ours.example", "o", "id", "secret", trusted=True)
ENVIRONMENT = {
    "bucket_endpoint_url": "https://ours.example", "bucket_name": "o", "bucket_access_key_id": "id",
    "bucket_secret_access_key": "secret",
}  # fmt: skip


class TestBucketOf:
    def test_own_bucket_of_the_job_comes_first(self) -> None:
        assert bucket_of({"id": "1", "s3Config": CONFIG}, load_settings(**ENVIRONMENT)) == BROUGHT
        assert bucket_of({"id": "1"}, load_settings(**ENVIRONMENT)) == OURS

    @pytest.mark.parametrize("config", [None, [], "x", {}, {**CONFIG, "accessId": ""}, {**CONFIG, "bucketName": 3}])
    def test_incomplete_one_is_none(self, config: object) -> None:
        assert bucket_of({"s3Config": config}, load_settings()) is None
        assert bucket_of({"s3Config": config}, load_settings(**ENVIRONMENT)) == OURS

    @pytest.mark.parametrize("name", [*ENVIRONMENT])
    def test_incomplete_settings_are_none(self, name: str) -> None:
        assert bucket_of({}, load_settings(**{**ENVIRONMENT, name: None})) is None

    @pytest.mark.parametrize("odd", ["a\r\nHost: x", "é", "\ud800"])
    def test_what_no_header_can_carry_is_none(self, odd: str) -> None:
        assert bucket_of({"s3Config": {**CONFIG, "accessId": odd}}, load_settings()) is None


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("s3.amazonaws.com", "us-east-1"),
        ("answers.s3.amazonaws.com", "us-east-1"),
        ("s3.eu-west-3.amazonaws.com", "eu-west-3"),
        ("s3-eu-west-1.amazonaws.com", "eu-west-1"),
        ("answers.s3.dualstack.eu-west-3.amazonaws.com", "eu-west-3"),
        ("s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("s3.eu-central-1.wasabisys.com:443", "eu-central-1"),
        ("s3.fr-par.scw.cloud", "fr-par"),
        ("s3.gra.io.cloud.ovh.net", "gra"),
        ("fra1.digitaloceanspaces.com", "fra1"),
        ("answers.fra1.digitaloceanspaces.com", "fra1"),
        ("0123.r2.cloudflarestorage.com", "us-east-1"),
        ("s3.example.com", "us-east-1"),
        ("minio:9000", "us-east-1"),
    ],
)
def test_region_of_an_endpoint(host: str, region: str) -> None:
    assert results._region(f"https://{host}/answers/voxtral-serverless/1.json") == region
