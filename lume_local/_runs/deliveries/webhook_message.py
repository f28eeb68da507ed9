"""The body of a webhook, and its signatures: our own header, and those of Standard Webhooks. Pure.

Standard Webhooks (https://www.standardwebhooks.com) sign the delivery's id and time with the body, so that a replayed
delivery is refused. During a rotation both secrets sign; receivers accept either.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

import orjson

from lume_async.errors import ConfigurationError
from lume_local._runs.records import StoredRun

_SIGNATURE_HEADER = "X-Lume-Signature-256"
_DELIVERY_HEADER = "X-Lume-Delivery"
_PREFIX = b"whsec_"


def event_body(run: StoredRun, status: str, finished_at: str) -> bytes:
    """The body for a run that ends now, with this status."""
    document = {
        "event": "run.finished",
        "run_id": run.run_id,
        "status": status,
        "flow_version": run.flow_version,
        "source_path": run.source_path,
        "run_metadata": run.run_metadata,
        "finished_at": finished_at,
    }
    return orjson.dumps(document)


def checked_secrets(secret: str | bytes | Iterable[str | bytes] | None) -> tuple[bytes, ...]:
    """The validated secrets; empty if there are none. Raises `ConfigurationError`."""
    if secret is None:
        return ()
    several = (secret,) if isinstance(secret, str | bytes) else tuple(secret)
    secrets = tuple(one.encode() if isinstance(one, str) else one for one in several)
    if not secrets or not all(one.strip() for one in secrets):
        raise ConfigurationError("webhook_secret is empty, so anyone could forge a signature: set a secret")
    for one in secrets:
        _key(one)
    return secrets


def signed_headers(secrets: tuple[bytes, ...], delivery_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of an attempt at a time, in seconds since 1970.

    `X-Lume-Signature-256` holds one signature: that of the first secret.
    """
    content = f"{delivery_id}.{at}.".encode() + body
    return {
        _DELIVERY_HEADER: delivery_id,
        _SIGNATURE_HEADER: "sha256=" + hmac.new(secrets[0], body, hashlib.sha256).hexdigest(),
        "webhook-id": delivery_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(
            "v1," + base64.b64encode(hmac.digest(_key(secret), content, "sha256")).decode()
            for secret in secrets
        ),
    }


def _key(secret: bytes) -> bytes:
    """The key for Standard Webhooks: a secret that begins with `whsec_` is base64, any other is the key itself."""
    if not secret.startswith(_PREFIX):
        return secret
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ConfigurationError(
            "webhook_secret begins with whsec_, but the rest is not base64: copy all of it"
        )
    return key
