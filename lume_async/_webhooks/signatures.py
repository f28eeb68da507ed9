"""Signs a delivery, and checks its signature: our own header, and the Standard Webhooks headers. Pure.

Our own header signs only the body, so a recorded delivery stays valid for ever. Standard Webhooks
(https://www.standardwebhooks.com) also sign the delivery's ID and the time of the attempt.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from lume_async._base.secret import SecretBytes, Veiled
from lume_async.errors import ConfigurationError, WebhookSignatureError

SIGNATURE_HEADER = "X-Lume-Signature-256"
ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = 300.0
"""The maximum difference between a delivery's time and now, in seconds."""

Secrets: TypeAlias = str | bytes | Iterable[str | bytes]
"""One secret, or several during a rotation."""

_OWN = re.compile(rb"(?:sha256=)?([0-9a-fA-F]{64})")
_TIME = re.compile(r"[0-9]{1,12}")
_PREFIX = b"whsec_"


def veiled_secrets(secret: Secrets) -> list[SecretBytes | Veiled]:
    """Wrap the secrets, so that no traceback with locals shows them; call it before anything can raise."""
    given = secret if isinstance(secret, Iterable) and not isinstance(secret, (str, bytes)) else [secret]
    encoded = (item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item for item in given)
    return [SecretBytes(item) if isinstance(item, bytes) else Veiled(item) for item in encoded]


def check_secrets(secrets: list[SecretBytes | Veiled]) -> list[bytes]:
    """Return the secrets as bytes. Raises `ConfigurationError`."""
    keys: list[bytes] = []
    for secret in secrets:
        if isinstance(secret, Veiled):
            raise ConfigurationError(f"a webhook secret must be a string or bytes, not {secret.kind}")
        keys.append(secret)
    if not keys or any(not key.strip() for key in keys):
        raise ConfigurationError("a webhook secret is empty, so that anybody could sign: set a secret")
    for key in keys:
        standard_key(key)
    return keys


def standard_key(secret: bytes) -> bytes:
    """Return the Standard Webhooks key: a secret with the prefix `whsec_` is base64, any other is the key itself."""
    if not secret.startswith(_PREFIX):
        return secret
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise ConfigurationError(
            "a webhook secret begins with whsec_, but the rest is not valid base64: copy all of it"
        )
    return key


def check_own(body: bytes, signature: str | bytes, keys: list[bytes]) -> None:
    """Check our own header. Raises `WebhookSignatureError`."""
    given = signature if isinstance(signature, bytes) else str(signature).encode("utf-8", "replace")
    found = _OWN.fullmatch(given.strip())
    if found is None:
        state = "malformed" if given.strip() else "missing"
        raise WebhookSignatureError(f"the header {SIGNATURE_HEADER} is {state}: do not trust the body")
    wanted = found[1].lower()
    matches = [
        hmac.compare_digest(hmac.new(key, body, hashlib.sha256).hexdigest().encode(), wanted) for key in keys
    ]
    if not any(matches):
        raise WebhookSignatureError("the signature does not match the body: do not trust it")


def check_standard(
    body: bytes, headers: Mapping[str, str], keys: list[bytes], now: float, tolerance: float
) -> None:
    """Check the headers of Standard Webhooks, by their names in lower case. Raises `WebhookSignatureError`."""
    for name in (ID, TIMESTAMP, SIGNATURE):
        if not headers.get(name, "").strip():
            raise WebhookSignatureError(f"the header {name} is missing: do not trust the body")
    at = headers[TIMESTAMP].strip()
    if not _TIME.fullmatch(at):
        raise WebhookSignatureError(f"the header {TIMESTAMP} is malformed: do not trust the body")
    content = _content(body, headers[ID].strip(), at)
    given = [
        text.removeprefix("v1,").encode("utf-8", "surrogateescape")
        for text in headers[SIGNATURE].split()
        if text.startswith("v1,")
    ]
    matches = [hmac.compare_digest(_digest(key, content), one) for key in keys for one in given]
    if not any(matches):
        raise WebhookSignatureError(
            "the signature does not match the body, its id and its time: do not trust it"
        )
    age = now - int(at)
    if abs(age) > tolerance:
        words = f"{age:.0f} s ago" if age > 0 else f"{-age:.0f} s in the future"
        raise WebhookSignatureError(
            f"the delivery was signed {words}, more than {tolerance:g} s: it was replayed, or a clock is wrong"
        )


def signed(body: bytes, keys: Sequence[bytes], delivery_id: str, at: str) -> dict[str, str]:
    """Return our own header, signed with the first key, and those of Standard Webhooks; `at` is in Unix seconds."""
    content = _content(body, delivery_id, at)
    return {
        SIGNATURE_HEADER: "sha256=" + hmac.new(keys[0], body, hashlib.sha256).hexdigest(),
        ID: delivery_id,
        TIMESTAMP: at,
        SIGNATURE: " ".join(f"v1,{_digest(key, content).decode()}" for key in keys),
    }


def _content(body: bytes, delivery_id: str, at: str) -> bytes:
    return f"{delivery_id}.{at}.".encode("utf-8", "surrogateescape") + body


def _digest(key: bytes, content: bytes) -> bytes:
    return base64.b64encode(hmac.digest(standard_key(key), content, "sha256"))
