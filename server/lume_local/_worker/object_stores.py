"""Connections to object stores, and the meaning of their refusals. No message contains a secret.

Credentials and endpoints come only from the environment.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from lume_local._flow.urls import is_store_url, split_store_url
from lume_local._shared.failing import require

T = TypeVar("T")
LOOK_CLOSER = ("301", "400", "401", "403", "404")
"""Answers without a reason, for example to HEAD; listing the bucket gets a reason."""
MISSING = ("404", "NoSuchKey", "BlobNotFound")
PASSING = ("", "429", "SlowDown", "InternalError", "ServiceUnavailable", "ServerBusy", "ExpiredToken")
"""No answer, or a trouble that an operator or the store itself resolves."""
_CODE, _STATUS = re.compile(r"<Code>(\w+)</Code>"), re.compile(r"status code: (\d{3})")
_REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>|expecting '([a-z0-9-]+)'")
_QUERY = re.compile(r"(https?://[^\s?]*)\?\S*")
"""The query of a URL, which may contain a signature."""
_NAMES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
_RIGHTS = {"s3": "to s3:ListBucket, s3:GetObject, s3:PutObject and s3:AbortMultipartUpload"}
_MEANINGS = {
    "there is no {kind} {bucket}": ("404", "NoSuchBucket", "ContainerNotFound"),
    "the access key is not known there: check {names}": ("InvalidAccessKeyId",),
    "the signature is wrong: check {names}": ("SignatureDoesNotMatch", "AuthenticationFailed"),
    "the credentials have expired: start the server with new ones": (
        *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"),
    ),
    "the session token is not valid: check AWS_SESSION_TOKEN": ("InvalidToken",),
    "the bucket lies in another region: set AWS_REGION{region}": (
        *("301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    ),
    "this machine's clock is wrong": ("RequestTimeTooSkewed",),
    "the store is overloaded or out of order{said}": (
        *("429", "500", "502", "503", "504", "SlowDown", "InternalError", "ServiceUnavailable", "ServerBusy"),
    ),
    "the credentials do not allow it: check {names}, which need the right {rights}": (
        *("401", "403", "AccessDenied", "AuthorizationFailure", "AuthorizationPermissionMismatch"),
    ),
}
_BY_CODE = {code: meaning for meaning, codes in _MEANINGS.items() for code in codes}
_NO_CREDENTIALS = ("://169.254.", "Unable to locate credentials", "metadata.google.internal")
"""Signs of missing credentials: without any, a library asks the cloud's machine for its own."""
_UNREACHED = ("error sending request", "Could not connect to the endpoint", "Connect timeout", "timed out")


def code_of(text: str) -> str:
    """Return the store's error code, else the status; empty without an answer."""
    if "redirect without LOCATION" in text:
        return "301"
    match = _CODE.search(text) or _STATUS.search(text)
    return match[1] if match else ""


def meaning(url: str, code: str, text: str) -> str:
    """Return the meaning of an error. `text` is the library's message; its first line describes unknown codes."""
    scheme, bucket, _ = split_store_url(url)
    if any(sign in text for sign in _NO_CREDENTIALS):
        return f"there are no credentials in the server's environment: set {_NAMES[scheme]}"
    if not code and any(sign in text for sign in _UNREACHED):
        return (
            "it can't be reached: check the network and the address of the store in the server's environment"
        )
    said = _QUERY.sub(r"\1", text.split("\n", 1)[0])
    if code not in _BY_CODE:
        return said
    found = _REGION.search(text)
    return _BY_CODE[code].format(
        kind="container" if scheme == "az" else "bucket",
        bucket=bucket,
        names=_NAMES[scheme],
        rights=_RIGHTS.get(scheme, "to list, read and write there"),
        region=f" to {found[1] or found[2]}" if found else "",
        said=f" ({said})" if code.isdigit() else "",  # an emulator explains its status
    )


if TYPE_CHECKING:
    from obstore.store import ObjectStore

_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}
"""Variables for other services with the same API. obstore reads all but the first two itself."""
COPIED_AT_ONCE = 5 * 1024**3
"""Bytes of the largest object that S3 copies whole; a larger one is copied in parts, without its metadata."""
_PART = 512 * 1024**2
_CONNECT, _READ, _TIMES = 10, 60, 3
"""Seconds for a connection and for an answer, and how often a request is sent."""


_OF_PYICEBERG = {
    "s3.endpoint": _ENDPOINTS["s3"],
    "s3.region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "s3.access-key-id": ("AWS_ACCESS_KEY_ID",),
    "s3.secret-access-key": ("AWS_SECRET_ACCESS_KEY",),
    "s3.session-token": ("AWS_SESSION_TOKEN",),
    "gcs.service.host": _ENDPOINTS["gs"],
    "adls.account-name": ("AZURE_STORAGE_ACCOUNT_NAME",),
    "adls.account-key": ("AZURE_STORAGE_ACCOUNT_KEY",),
    "adls.sas-token": ("AZURE_STORAGE_SAS_TOKEN",),
}


def iceberg_settings(given: Mapping[str, Any]) -> dict[str, str]:
    """Return pyiceberg's properties of the stores that it is `given` none for, from the environment."""
    known = {name.partition(".")[0] for name in given if "." in name}
    found = {
        name: next(filter(None, map(os.environ.get, variables)), "")
        for name, variables in _OF_PYICEBERG.items()
        if not {name.partition(".")[0], "client"} & known
    }
    return {name: value for name, value in found.items() if value}


class StoreTrouble(Exception):
    """An object store can't be used; the message says what to do, `code` is the store's error code."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_missing(self) -> bool:
        return self.code in MISSING

    @property
    def is_replaced(self) -> bool:
        """Whether the object is no longer the requested version."""
        return self.code in ("412", "PreconditionFailed")

    @property
    def may_pass(self) -> bool:
        """Whether a retry may succeed: the store can't be reached or has an internal error."""
        return self.code in PASSING or self.code.startswith("5")


def store_of(url: str) -> "ObjectStore":
    """Open the bucket of a URL with obstore. Raises `StoreTrouble`."""
    _require("obstore")
    from obstore.store import AzureStore, GCSStore, S3Store

    scheme, bucket, _ = split_store_url(url)
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS[scheme])), "")
    # A whole download has no time limit of its own, as it depends on the object's size.
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


def options_for_delta(place: str) -> dict[str, str]:
    """Return the settings of a bucket for deltalake, which reads the other variables itself; none for a folder."""
    if not is_store_url(place):
        return {}
    scheme, _, _ = split_store_url(place)
    name = {"s3": "aws_endpoint", "gs": "google_base_url", "az": "azure_endpoint"}[scheme]
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS[scheme])), "")
    options = {"connect_timeout": f"{_CONNECT}s", "timeout": "1h", "max_retries": str(_TIMES - 1)}
    if scheme == "s3":  # the store decides between two writers of one commit
        options |= {"aws_region": _region(), "aws_conditional_put": "etag"}
    if endpoint:
        options |= {name: endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
    return options


@frozen
class ObjectVersion:
    """The version of an object, which identifies its content."""

    size: int
    tag: str

    @classmethod
    def of(cls, size: int, tag: str | None) -> "ObjectVersion":
        """Return the version in a store's metadata. Azure quotes its tags, except in a listing."""
        return cls(size, (tag or "").strip('"'))


def head(store: "ObjectStore", url: str) -> ObjectVersion:
    """Return an object's current version. Raises `StoreTrouble`."""
    import obstore

    with obstore_errors(url):
        found = obstore.head(store, split_store_url(url)[2])
    return ObjectVersion.of(found["size"], found["e_tag"])


def if_there(url: str, ask: Callable[[], T]) -> T | None:
    """Return the store's answer about an object; None if it does not exist. Raises `StoreTrouble`."""
    try:
        with obstore_errors(url):
            return ask()
    except StoreTrouble as trouble:
        if trouble.is_missing:
            return None
        raise


class Buckets:
    """Opens each bucket once, so that all its objects share credentials and connections."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], ObjectStore] = {}

    def of(self, url: str) -> "ObjectStore":
        """Return the bucket of a URL. Raises `StoreTrouble`."""
        scheme, bucket, _ = split_store_url(url)
        if (scheme, bucket) not in self._open:
            self._open[scheme, bucket] = store_of(url)
        return self._open[scheme, bucket]


def s3_copy(bucket: str, key: str, name: str, tag: str) -> None:
    """Copy an object of any size if it still has that tag. Raises boto's errors."""
    client = aws_client("s3")
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(multipart_threshold=COPIED_AT_ONCE + 1, multipart_chunksize=_PART)
    client.copy(
        *({"Bucket": bucket, "Key": key}, bucket, name),
        ExtraArgs={"CopySourceIfMatch": tag},
        Config=config,
    )


def s3_listed(bucket: str, prefix: str, after: str = "") -> Iterator[list[dict[str, Any]]]:
    """Yield pages of the objects with this key prefix after `after`, whatever their keys, in obstore's form.

    Raises `StoreTrouble`.
    """
    with boto_errors(f"s3://{bucket}/{prefix}"):
        pages = aws_client("s3").get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, StartAfter=after):
            yield [
                {
                    "path": one["Key"],
                    "size": one["Size"],
                    "e_tag": one["ETag"],
                    "last_modified": one["LastModified"],
                }
                for one in page.get("Contents", ())
                if not one["Key"].endswith("/")
            ]


def aws_client(service: str) -> Any:
    """Open a service of AWS, or one with the same API. Raises `StoreTrouble`."""
    _require("boto3")
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        connect_timeout=_CONNECT,
        read_timeout=_READ,
        retries={"total_max_attempts": _TIMES, "mode": "standard"},
        request_checksum_calculation="when_required",
    )
    return Session(region_name=_region()).client(service, config=config)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _require(module: str) -> None:
    try:
        require(module, "s3", "an object store")
    except ImportError as error:
        raise StoreTrouble(str(error)) from None


@contextmanager
def obstore_errors(url: str) -> Iterator[None]:
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
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        words = str(error.response.get("Error", {}).get("Message", "")) or code
        raise _trouble(url, code, f"{words} ({code})") from None
    except BotoCoreError as error:
        raise _trouble(url, "", str(error)) from None
