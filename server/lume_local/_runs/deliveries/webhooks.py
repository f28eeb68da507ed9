"""Decides which URLs the server may call when a run ends, and builds and signs the request. Pure.

Clients with a `submit` key choose the URL, but the request comes from the server's place in the network. So hosts are
compared literally with the operator's list, by the parser that also sends the request, and without a secret nothing
is called. Services on this machine may trust local requests, so it is called only at ports that the operator listed.

Besides our own header, deliveries carry the headers of Standard Webhooks (https://www.standardwebhooks.com). They
sign the delivery's id and time with the body, so that a replayed delivery is refused. During a rotation both secrets
sign; receivers accept either.
"""

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

import orjson
from attrs import field, frozen
from yarl import URL

from lume_async._base import arguments
from lume_async._webhooks.signatures import signed, standard_key
from lume_async.errors import ConfigurationError
from lume_local._runs.store.records import StoredRun

_DELIVERY_HEADER = "X-Lume-Delivery"


def event_body(run: StoredRun, status: str, finished_at: str) -> bytes:
    document = {
        "event": "run.finished",
        "run_id": run.run_id,
        "status": status,
        "flow_version": run.flow_version,
        "source_path": run.source_path,
        "run_metadata": run.run_metadata,
        "submitted_by": run.submitted_by,
        "finished_at": finished_at,
    }
    return orjson.dumps(document)


def checked_secrets(secret: str | bytes | Iterable[str | bytes] | None) -> tuple[bytes, ...]:
    """Return the validated secrets; empty if there are none. Raises `ConfigurationError`."""
    if secret is None:
        return ()
    given = (secret,) if isinstance(secret, str | bytes) else secret
    secrets = list[bytes]()
    for one in arguments.several(given, "webhook_secret", "secrets", error=ConfigurationError):
        if not isinstance(one, str | bytes):
            raise ConfigurationError(f"webhook_secret must be a string or bytes, not {type(one).__name__}")
        secrets.append(one if isinstance(one, bytes) else one.encode("utf-8", "surrogatepass"))
    if not secrets or not all(one.strip() for one in secrets):
        raise ConfigurationError("webhook_secret is empty, so anyone could forge a signature: set a secret")
    for one in secrets:
        standard_key(one)
    return tuple(secrets)


def signed_headers(secrets: tuple[bytes, ...], delivery_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers of an attempt made `at` a time, in seconds since 1970."""
    return {_DELIVERY_HEADER: delivery_id} | signed(body, secrets, delivery_id, str(at))


class WebhookRefused(Exception):
    """This URL may not be called. The message says why and how to fix it."""


class WebhooksOff(WebhookRefused):
    """No URL may be called because there is no secret to sign with."""


class NotAWebhook(WebhookRefused):
    """This is not a valid webhook URL."""


ListedHost = tuple[str, int | None]
"""A host as spelled by the parser, with its port; None for any port."""


@frozen
class WebhookRules:
    """The operator's settings. Create it with `of`.

    Attributes:
        secrets: the signing secrets, several during a rotation; empty if no URL may be called.
        hosts: the hosts that may be called.
    """

    secrets: tuple[bytes, ...] = field(repr=False)
    hosts: tuple[ListedHost, ...]

    @classmethod
    def of(cls, secret: str | bytes | Iterable[str | bytes] | None, hosts: Iterable[str]) -> "WebhookRules":
        """Return the validated settings. Raises `ConfigurationError`."""
        given = (hosts,) if isinstance(hosts, str) else hosts
        names = arguments.several(given, "webhook_hosts", "hosts", error=ConfigurationError)
        return cls(checked_secrets(secret), tuple(_checked_host(name) for name in names))

    def check(self, url: str) -> ListedHost:
        """Return the entry of `hosts` that allows this URL. Raises `WebhookRefused` if it may not be called.

        The message does not reveal the listed hosts, since anyone who may submit can read it.
        """
        if not self.secrets:
            raise WebhooksOff("this server sends no webhooks, since it has no webhook_secret: leave it out")
        parsed = parse_webhook(url)
        host = parsed.raw_host or ""
        for listed in ((host, None), (host, parsed.port)):
            if listed in self.hosts:
                return listed
        raise WebhookRefused(
            f"{host}:{parsed.port} is not a host that this server calls: its operator may list it as a "
            "webhook host (webhook_hosts, --webhook-host)"
        )


def parse_webhook(text: str) -> URL:
    """Parse the URL of a webhook. Raises `NotAWebhook` if it is not valid on any server."""
    url = None
    if text.isascii() and text.isprintable() and " " not in text and "\\" not in text:
        with suppress(ValueError):
            url = URL(text)
    if (
        url is None
        or url.scheme not in ("http", "https")
        or not url.raw_host
        or url.raw_user is not None
        or url.raw_password is not None
    ):
        raise NotAWebhook("must be an http:// or https:// URL with a host, without user and password")
    return url


def is_this_machine(host: str) -> bool:
    """Return whether a host name or address refers to the machine that the server runs on."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _checked_host(name: str) -> ListedHost:
    arguments.text(name, "webhook_hosts", ConfigurationError)
    has_port = name.rpartition("]")[2].count(":") == 1
    authority = name if has_port or name.startswith("[") or ":" not in name else f"[{name}]"
    try:
        url = URL(f"http://{authority}")
        host, port = url.raw_host, url.explicit_port
    except ValueError:
        host, port = None, None
    if not host or set(name) & set("/@?#% "):
        raise ConfigurationError(
            f"webhook_hosts: {name!r} is not a valid host: write host or host:port, without scheme and path"
        )
    if port is None and is_this_machine(host):
        raise ConfigurationError(
            f"webhook_hosts: {name!r} is this machine: name it with its port, such as {authority}:9000"
        )
    return host, port
