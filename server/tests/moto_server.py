"""An S3 that tests start themselves: moto's server, in a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from components import package
from postgres_server import free_port

BUCKET = "warehouse"
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "s3cret", "AWS_REGION": "eu-west-1"}


class Bucket:
    """One bucket, empty at first, whose address and credentials are in the environment."""

    def __init__(self, url: str) -> None:
        boto3 = package("boto3")
        self.url = url
        self._s3 = boto3.session.Session("testing", "s3cret", region_name="eu-west-1").client(
            "s3", endpoint_url=url
        )

    def empty(self) -> None:
        with urlopen(f"{self.url}/moto-api/reset", data=b"") as answer:
            answer.read()
        place: Any = {"LocationConstraint": "eu-west-1"}
        self._s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)

    def put(self, key: str, body: bytes) -> None:
        self._s3.put_object(Bucket=BUCKET, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def tag(self, key: str) -> str:
        return self._s3.head_object(Bucket=BUCKET, Key=key)["ETag"].strip('"')

    def remove(self, key: str) -> None:
        self._s3.delete_object(Bucket=BUCKET, Key=key)

    def names(self) -> list[str]:
        return [one["Key"] for one in self._s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    @contextmanager
    def guarded(self, allowed: str) -> Iterator[dict[str, str]]:
        """Only keys that it knows are let in now: one is given, of a user who may do what is `allowed`."""
        iam = (
            package("boto3")
            .session.Session("testing", "s3cret", region_name="eu-west-1")
            .client("iam", endpoint_url=self.url)
        )
        iam.create_user(UserName="lume")
        statement = {"Effect": "Allow", "Action": allowed, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName="lume", PolicyName="lume", PolicyDocument=policy)
        key = iam.create_access_key(UserName="lume")["AccessKey"]
        self._check_keys_after("0")
        try:
            yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        finally:
            self._check_keys_after("inf")

    def _check_keys_after(self, requests: str) -> None:
        headers = {"Content-Type": "text/plain"}
        urlopen(Request(f"{self.url}/moto-api/reset-auth", requests.encode(), headers)).close()

    def uploads(self) -> list[str]:
        """What was begun in parts, and neither completed nor aborted."""
        return [one["Key"] for one in self._s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


@contextmanager
def running() -> Iterator[Bucket]:
    package("moto")
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            str(Path(__file__).with_name("moto_program.py")),
            "-H",
            "127.0.0.1",
            "-p",
            str(port),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/moto-api/", process)
        yield Bucket(f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def wait_until_up(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None
        try:
            with urlopen(url) as answer:
                answer.read()
        except HTTPError:
            return  # it refuses, and so is there
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def in_environment(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": bucket.url}).items():
        monkeypatch.setenv(name, value)
