"""Emulators of Azure's and Google's object stores that tests start themselves, with one empty place in each."""

import base64
import hashlib
import hmac
import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from components import component, package
from moto_server import KEYS, wait_until_up
from postgres_server import free_port

_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Everybody's key of every Azurite."""


class Place:
    """A container or bucket.

    Attributes:
        url: what it is to a flow: `az://…` or `gs://…`.
        environment: what a server needs to reach it.
    """

    def __init__(self, url: str, environment: dict[str, str]) -> None:
        self.url, self.environment = url, environment

    def put(self, key: str, body: bytes) -> None:
        raise NotImplementedError

    def get(self, key: str) -> bytes:
        return bytes(package("obstore").get(self._store(), key).bytes())

    def names(self) -> list[str]:
        return sorted(one["path"] for page in package("obstore").list(self._store()) for one in page)

    def _store(self) -> Any:
        raise NotImplementedError


class Container(Place):
    """One of Azurite."""

    def __init__(self, address: str) -> None:
        self.name, self._endpoint = f"c{uuid.uuid4().hex}", f"{address}/{_ACCOUNT}"
        environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": _ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": _KEY,
            "AZURE_STORAGE_ENDPOINT": self._endpoint,
        }
        super().__init__(f"az://{self.name}", environment)
        self._create()

    def put(self, key: str, body: bytes) -> None:
        package("obstore").put(self._store(), key, body)

    def _store(self) -> Any:
        return package("obstore").store.AzureStore(
            self.name,
            account_name=_ACCOUNT,
            account_key=_KEY,
            endpoint=self._endpoint,
            client_options={"allow_http": True},
        )

    def _create(self) -> None:
        headers = {
            "x-ms-date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "x-ms-version": "2021-08-06",
        }
        signed = "".join(f"{name}:{value}\n" for name, value in headers.items())
        text = "PUT" + "\n" * 12 + f"{signed}/{_ACCOUNT}/{_ACCOUNT}/{self.name}\nrestype:container"
        signature = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(signature).decode()}"
        url = f"{self._endpoint}/{self.name}?restype=container"
        urlopen(Request(url, method="PUT", headers=headers)).close()


class Google(Place):
    """A bucket by the XML interface of Google's store, which obstore uses."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self._address = name, address
        self._account = json.dumps(
            {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        )
        environment = {"GOOGLE_SERVICE_ACCOUNT_KEY": self._account, "GOOGLE_BASE_URL": address}
        super().__init__(f"gs://{name}", environment)

    def put(self, key: str, body: bytes) -> None:
        package("obstore").put(self._store(), key, body)

    def _store(self) -> Any:
        return package("obstore").store.GCSStore(
            self.name,
            service_account_key=self._account,
            base_url=self._address,
            client_options={"allow_http": True},
        )


class Amazon(Place):
    """A bucket of an S3."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self._keys = KEYS | {"AWS_ENDPOINT_URL": address}
        super().__init__(f"s3://{name}", self._keys)

    def put(self, key: str, body: bytes) -> None:
        package("obstore").put(self._store(), key, body)

    def _store(self) -> Any:
        return package("obstore").store.S3Store(
            self.name, config=self._keys, client_options={"allow_http": True}
        )


class GoogleBucket(Google):
    """One of fake-gcs-server, which takes objects by Google's JSON interface only."""

    def __init__(self, address: str) -> None:
        super().__init__(f"b{uuid.uuid4().hex}", address)
        self._post("/storage/v1/b?project=p", json.dumps({"name": self.name}).encode())

    def put(self, key: str, body: bytes) -> None:
        self._post(f"/upload/storage/v1/b/{self.name}/o?uploadType=media&name={quote(key, safe='')}", body)

    def _post(self, path: str, body: bytes) -> None:
        urlopen(
            Request(self._address + path, data=body, headers={"Content-Type": "application/json"})
        ).close()


@contextmanager
def azurite() -> Iterator[str]:
    """Its address."""
    port = free_port()
    with _running(
        f"http://127.0.0.1:{port}/{_ACCOUNT}?comp=list",
        *(component("azurite-blob"), "--blobHost", "127.0.0.1", "--blobPort", str(port)),
        *("--inMemoryPersistence", "--disableTelemetry", "--silent"),
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def fake_gcs() -> Iterator[str]:
    """Its address."""
    port = free_port()
    with _running(
        f"http://127.0.0.1:{port}/_internal/healthcheck",
        *(component("fake-gcs-server"), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"),
        *("-port", str(port), "-public-host", f"127.0.0.1:{port}"),
    ):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(url: str, *command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_up(url, process)
        yield
    finally:
        process.kill()
        process.wait()
