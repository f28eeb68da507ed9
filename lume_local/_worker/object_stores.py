"""Connections to object stores. Credentials and endpoints come from the environment, and from nowhere else."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lume_async._base.extras import require
from lume_local._flow.store_urls import split_store_url
from lume_local._worker.store_errors import MISSING, PASSING, code_of, meaning

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Variables for other services with the same interface. obstore reads all but the first two itself."""
_CONNECT, _READ, _TIMES = 10, 60, 3
"""Seconds for a connection and an answer, and how often a request is sent."""


class StoreTrouble(Exception):
    """An object store can't be used. The message says what to do; `code` is the store's error code."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Whether there is no such object or upload."""
        return self.code in MISSING

    @property
    def may_pass(self) -> bool:
        """Whether it may work in a while: the store can't be reached or is in trouble itself."""
        return self.code in PASSING or self.code.startswith("5")


def store_of(url: str) -> "ObjectStore":
    """The bucket of a URL, through obstore. Raises `StoreTrouble`."""
    _require("obstore")
    from obstore.store import AzureStore, GCSStore, S3Store

    scheme, bucket, _ = split_store_url(url)
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS[scheme])), "")
    # No limit to the time of a whole download: it is as long as the object is large.
    options: Any = {"connect_timeout": f"{_CONNECT}s", "read_timeout": f"{_READ}s", "timeout": "24h"}
    options["allow_http"] = endpoint.startswith("http://")
    retries: Any = {"max_retries": _TIMES - 1}
    with obstore_errors(url):
        if scheme == "gs":
            return GCSStore(bucket, client_options=options, retry_config=retries)
        if scheme == "az":
            return AzureStore(bucket, client_options=options, retry_config=retries)
        config: Any = {"endpoint": endpoint} if endpoint else {}
        return S3Store(bucket, region=_region(), client_options=options, retry_config=retries, **config)


class Buckets:
    """Buckets that are each opened once: credentials and connections then serve all their objects."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], ObjectStore] = {}

    def of(self, url: str) -> "ObjectStore":
        """The bucket of a URL. Raises `StoreTrouble`."""
        scheme, bucket, _ = split_store_url(url)
        if (scheme, bucket) not in self._open:
            self._open[scheme, bucket] = store_of(url)
        return self._open[scheme, bucket]


def s3_client() -> Any:
    """S3 itself, for uploads in parts whose number is known. Raises `StoreTrouble`."""
    _require("boto3")
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT,
        read_timeout=_READ,
        retries={"total_max_attempts": _TIMES, "mode": "standard"},
        request_checksum_calculation="when_required",
    )
    return Session(region_name=_region()).client("s3", config=config)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _require(module: str) -> None:
    try:
        require(module, "s3", "an object store")
    except ImportError as error:
        raise StoreTrouble(str(error)) from None


@contextmanager
def obstore_errors(url: str) -> Iterator[None]:
    """Errors of obstore as `StoreTrouble`."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise StoreTrouble(f"there is no object {url}", "404") from None
    except (BaseError, OSError) as error:
        raise _trouble(url, code_of(str(error)), str(error)) from None


def _trouble(url: str, code: str, text: str) -> StoreTrouble:
    return StoreTrouble(f"{url} can't be used: {meaning(url, code, text)}", code)


@contextmanager
def boto_errors(url: str) -> Iterator[None]:
    """Errors of boto3 as `StoreTrouble`."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        words = str(error.response.get("Error", {}).get("Message", "")) or code
        raise _trouble(url, code, f"{words} ({code})") from None
    except BotoCoreError as error:
        raise _trouble(url, "", str(error)) from None
