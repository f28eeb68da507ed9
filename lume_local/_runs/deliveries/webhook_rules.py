"""Which URLs the server may call when a run ends. Pure.

Clients with a `submit` key choose the URL, but the request comes from the server's place in the network. So hosts are
compared literally with the operator's list, by the parser that also sends the request, and without a secret nothing
is called. Services on this machine may trust local requests, so it is called only at ports that the operator listed.
"""

from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

from attrs import field, frozen
from yarl import URL

from lume_async.errors import ConfigurationError
from lume_local._runs.deliveries.webhook_message import checked_secrets


class WebhookRefused(Exception):
    """This URL may not be called. The message says why and what to do."""


class WebhooksOff(WebhookRefused):
    """No URL may be called, since there is no secret to sign with."""


class NotAWebhook(WebhookRefused):
    """This is not a valid URL of a webhook."""


@frozen
class WebhookRules:
    """The operator's settings. Create it with `of`.

    Attributes:
        secrets: what deliveries are signed with, several during a rotation; empty if no URL may be called.
        hosts: the hosts that may be called, as the parser spells them, each with its port or None for any.
    """

    secrets: tuple[bytes, ...] = field(repr=False)
    hosts: tuple[tuple[str, int | None], ...]

    @classmethod
    def of(cls, secret: str | bytes | Iterable[str | bytes] | None, hosts: Iterable[str]) -> "WebhookRules":
        """The validated settings. Raises `ConfigurationError`."""
        names = (hosts,) if isinstance(hosts, str) else hosts
        return cls(checked_secrets(secret), tuple(_checked_host(name) for name in names))

    def check(self, url: str) -> None:
        """Raises `WebhookRefused` if the URL may not be called; the message lists the hosts that may."""
        if not self.secrets:
            raise WebhooksOff("this server sends no webhooks, since it has no webhook_secret: leave it out")
        parsed = parse_webhook(url)
        if not {(parsed.raw_host, None), (parsed.raw_host, parsed.port)} & set(self.hosts):
            listed = ", ".join(host if port is None else f"{host}:{port}" for host, port in self.hosts)
            raise WebhookRefused(
                f"{parsed.raw_host}:{parsed.port} is not a host that this server calls; "
                f"webhook_hosts names {listed or 'none'}"
            )


def parse_webhook(text: str) -> URL:
    """The URL of a webhook. Raises `NotAWebhook` if it is not valid on any server."""
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
    """Whether a host name or address refers to the machine that the server runs on."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)


def _checked_host(name: str) -> tuple[str, int | None]:
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
