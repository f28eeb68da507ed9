"""How deliveries are signed: in our own header, and in those of Standard Webhooks. Pure.

Standard Webhooks (https://www.standardwebhooks.com) sign the delivery's id and time with the body, so that a recorded
delivery is refused later. During a rotation both secrets sign, and receivers take either.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from lume_async.errors import ConfigurationError

_SIGNATURE_HEADER = "X-Lume-Signature-256"
_DELIVERY_HEADER = "X-Lume-Delivery"
_PREFIX = b"whsec_"


def checked_secrets(secret: str | bytes | Iterable[str | bytes] | None) -> tuple[bytes, ...]:
    """The secrets as they are written; none where nothing may be signed. Raises `ConfigurationError`."""
    if secret is None:
        return ()
    several = (secret,) if isinstance(secret, str | bytes) else tuple(secret)
    secrets = tuple(one.encode() if isinstance(one, str) else one for one in several)
    if not secrets or not all(one.strip() for one in secrets):
        raise ConfigurationError("webhook_secret is empty: then anybody could sign; set a real one")
    for one in secrets:
        _key(one)
    return secrets


def signed_headers(secrets: tuple[bytes, ...], delivery_id: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of an attempt that is made at a time, in seconds since 1970.

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
    """What Standard Webhooks sign with: a secret that begins with `whsec_` is base64, any other is the key itself."""
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
