"""What an object store's refusal means, and what to do about it. Pure; no word of it is a secret."""

import re

from lume_local._flow.store_urls import split_store_url

LOOK_CLOSER = ("301", "400", "401", "403", "404")
"""Answers without a reason, such as to HEAD: a listing of the bucket gets one."""
MISSING = ("404", "NoSuchKey", "NoSuchUpload", "BlobNotFound")
PASSING = ("", "429", "SlowDown", "InternalError", "ServiceUnavailable", "ServerBusy", "ExpiredToken")
"""Nothing at all, or what an operator or the store itself puts right."""
_CODE, _STATUS = re.compile(r"<Code>(\w+)</Code>"), re.compile(r"status code: (\d{3})")
_REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>|expecting '([a-z0-9-]+)'")
_QUERY = re.compile(r"(https?://[^\s?]*)\?\S*")
"""Of a URL: a signature may be part of it."""
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
    "the credentials do not allow it: check {names}, which need the right {rights}": (
        *("401", "403", "AccessDenied", "AuthorizationFailure", "AuthorizationPermissionMismatch"),
    ),
}
_BY_CODE = {code: meaning for meaning, codes in _MEANINGS.items() for code in codes}
_NO_CREDENTIALS = ("://169.254.", "Unable to locate credentials", "metadata.google.internal")
"""Without any, a machine of the cloud would be asked for its own."""
_UNREACHED = ("error sending request", "Could not connect to the endpoint", "Connect timeout", "timed out")


def code_of(text: str) -> str:
    """The store's own error code, else the status; empty without an answer."""
    if "redirect without LOCATION" in text:
        return "301"
    match = _CODE.search(text) or _STATUS.search(text)
    return match[1] if match else ""


def meaning(url: str, code: str, text: str) -> str:
    """What it means. `text` is the library's message, whose first line is used for unknown codes."""
    scheme, bucket, _ = split_store_url(url)
    if any(sign in text for sign in _NO_CREDENTIALS):
        return f"there are no credentials in the server's environment: set {_NAMES[scheme]}"
    if not code and any(sign in text for sign in _UNREACHED):
        return (
            "it can't be reached: check the network and the address of the store in the server's environment"
        )
    if code not in _BY_CODE:
        return _QUERY.sub(r"\1", text.split("\n", 1)[0])
    found = _REGION.search(text)
    return _BY_CODE[code].format(
        kind="container" if scheme == "az" else "bucket",
        bucket=bucket,
        names=_NAMES[scheme],
        rights=_RIGHTS.get(scheme, "to list, read and write there"),
        region=f" to {found[1] or found[2]}" if found else "",
    )
