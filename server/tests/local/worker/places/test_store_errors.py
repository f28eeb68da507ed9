"""A store that refuses: one error, before anything is read, which says what to do and has no secret in it."""

from pathlib import Path

import pytest
from local.store_run import OUT, answering, execute
from moto_server import Bucket
from store_servers import Place

from lume_local._worker import object_stores
from lume_local._worker.engine import RunFailed
from lume_local._worker.object_stores import code_of, meaning
from lume_local._worker.targets.file_targets import StoreTarget
from lume_local._worker.targets.target import TargetError

URL = "s3://warehouse/in/a.csv"
SECRET = "wr0ng/s3cret"


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_stores, "_TIMES", 1)


def refused(folder: Path) -> tuple[str, str]:
    """What is said of it as a source, and as a target."""
    with pytest.raises(RunFailed) as of_source:
        execute(folder, [URL])
    with pytest.raises(TargetError) as of_target:
        StoreTarget("mapped", {"url": OUT}, "run_1").check()
    assert list((folder / "run_1/run").iterdir()) == []
    said = str(of_source.value), str(of_target.value)
    assert SECRET not in "".join(said)
    assert all("\n" not in one and len(one) < 300 for one in said)
    return said


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "the access key is not known there: check AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": SECRET}, "the signature is wrong: check AWS_ACCESS_KEY_ID and AWS_SECRET"),
        ({}, "the credentials do not allow it: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which"),
    ],
)
def test_wrong_keys(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], words: str
) -> None:
    bucket.put("in/a.csv", b"id\n1\n")
    with bucket.guarded("s3:CreateBucket") as keys:
        for name, value in (keys | changed).items():
            monkeypatch.setenv(name, value)
        of_source, of_target = refused(tmp_path)
    assert of_source.startswith(f"s3://warehouse can't be used: {words}")
    assert of_target.startswith(f"target.mapped: s3://warehouse can't be used: {words}")


def test_no_credentials(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://169.254.169.254")
    for said in refused(tmp_path):
        assert "there are no credentials in the server's environment: set AWS_ACCESS_KEY_ID" in said


@pytest.mark.parametrize(
    ("status", "code", "more", "words"),
    [
        (400, "ExpiredToken", "", "the credentials have expired: start the server with new ones"),
        (400, "InvalidToken", "", "the session token is not valid: check AWS_SESSION_TOKEN"),
        (404, "NoSuchBucket", "", "there is no bucket warehouse"),
        (
            *(400, "AuthorizationHeaderMalformed", "<Region>us-west-2</Region>"),
            "the bucket lies in another region: set AWS_REGION",
        ),
        (403, "RequestTimeTooSkewed", "", "this machine's clock is wrong"),
    ],
)
def test_other_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: str, more: str, words: str
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    signed = f"<StringToSign>{SECRET}</StringToSign>"
    body = f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>No.</Message>{more}{signed}</Error>"
    with answering(status, body) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        for said in refused(tmp_path):
            assert words in said


def test_another_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3, which targets use, follows such an answer by itself."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with answering(301, "<Error><Code>PermanentRedirect</Code></Error>") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(RunFailed, match="the bucket lies in another region: set AWS_REGION"):
            execute(tmp_path, [URL])


def test_a_wrong_key_of_azure(container: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container.put("in/a.csv", b"id\n1\n")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "AAAA" * 22)
    with pytest.raises(RunFailed, match="check AZURE_STORAGE_ACCOUNT_NAME and AZURE") as caught:
        execute(tmp_path, [f"{container.url}/in/a.csv"])
    assert "AAAA" not in str(caught.value)


def test_a_signature_in_a_url_is_not_shown() -> None:
    text = "Error performing GET https://x.blob.core.windows.net/c/a?sv=2&sig=s3cret in 3ms: status code: 409\nmore"
    said = meaning("az://cont/a", code_of(text), text)
    assert said == "Error performing GET https://x.blob.core.windows.net/c/a in 3ms: status code: 409"
