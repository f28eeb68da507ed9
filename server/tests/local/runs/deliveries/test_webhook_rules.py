"""Who may be called by webhooks: by URL, by name, and by the address that a name leads to."""

import socket
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from aiohttp import DefaultResolver
from local.receiver import SECRET

from lume_local._runs.deliveries import http_carriers
from lume_local._runs.deliveries.http_carriers import is_own, is_public
from lume_local._runs.deliveries.webhooks import NotAWebhook, WebhookRefused, WebhookRules

HOSTS = ("127.0.0.1:9", "127.0.0.1:8080", "localhost:443", "localhost:80", "hooks.example", "[::1]:9")
RULES = WebhookRules.of(SECRET, HOSTS)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://127.0.0.1:9/",
            "http://127.0.0.1:8080/a?b=c",
            "https://localhost/x",
            "http://LOCALHOST/%41",
        ),
        *("http://hooks.example/", "https://hooks.example:8443/", "http://[::1]:9/"),
    ],
)
def test_urls_that_may_be_called(url: str) -> None:
    RULES.check(url)


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("http://example.org/", WebhookRefused),
        ("http://127.0.0.1/", WebhookRefused),
        ("http://127.0.0.1:10/", WebhookRefused),
        ("https://127.0.0.1/", WebhookRefused),
        ("http://localhost:9/", WebhookRefused),
        ("http://127.0.0.2/", WebhookRefused),
        ("http://127.1/", WebhookRefused),
        ("http://2130706433/", WebhookRefused),
        ("http://0x7f.0.0.1/", WebhookRefused),
        ("http://0/", WebhookRefused),
        ("http://[::1]/", WebhookRefused),
        ("http://[::ffff:127.0.0.1]/", WebhookRefused),
        ("http://169.254.169.254/latest/meta-data", WebhookRefused),
        ("http://localhost./", WebhookRefused),
        ("http://localhost.example.org/", WebhookRefused),
        ("http://127.0.0.1@example.org/", NotAWebhook),
        ("http://user:pass@127.0.0.1/", NotAWebhook),
        ("http://example.org\\@127.0.0.1/", NotAWebhook),
        ("http://127.0.0.1:99999/", NotAWebhook),
        ("http:///hook", NotAWebhook),
        ("//127.0.0.1/hook", NotAWebhook),
        ("ftp://127.0.0.1/", NotAWebhook),
        ("file:///etc/passwd", NotAWebhook),
        ("gopher://127.0.0.1/", NotAWebhook),
        ("http://127.0.0.1/a b", NotAWebhook),
        ("http://ⓛocalhost/", NotAWebhook),
        ("nonsense", NotAWebhook),
    ],
)
def test_urls_that_may_not_be_called(url: str, refusal: type[WebhookRefused]) -> None:
    with pytest.raises(WebhookRefused) as caught:
        RULES.check(url)
    assert type(caught.value) is refusal


def test_rules_do_not_show_the_secret() -> None:
    assert SECRET not in repr(RULES)
    assert WebhookRules.of("s", "Receiver.Example").hosts == (("receiver.example", None),)
    assert WebhookRules.of("s", ["a.example:8080", "::2"]).hosts == (("a.example", 8080), ("::2", None))


def test_ports_of_a_host_that_is_listed_without_one_share_its_places() -> None:
    rules = WebhookRules.of(SECRET, ["hooks.example", "other.example:8080"])
    urls = ("http://hooks.example/a", "https://HOOKS.example:8443/b", "http://other.example:8080/")
    assert [rules.check(url) for url in urls] == [("hooks.example", None)] * 2 + [("other.example", 8080)]


@pytest.mark.parametrize(
    ("address", "public"),
    [
        *(
            ("8.8.8.8", True),
            ("2001:4860:4860::8888", True),
            ("::ffff:8.8.8.8", True),
            ("64:ff9b::8.8.8.8", True),
        ),
        *(
            (text, False)
            for text in ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254")
        ),
        *((text, False) for text in ("100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "192.0.2.1")),
        *(
            (text, False)
            for text in ("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1")
        ),
        *((text, False) for text in ("::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:808:808::1")),
    ],
)
def test_addresses_of_the_internet(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_addresses_of_this_machine() -> None:
    assert is_own("127.0.0.1")
    assert not is_own("8.8.8.8")
    assert not is_own("2001:4860:4860::8888")


Resolve = Callable[[str, int], str]


def resolved_by(monkeypatch: pytest.MonkeyPatch, resolve: Resolve) -> list[str]:
    """Names lead where `resolve` says. Gives the names that were looked up."""
    asked: list[str] = []

    async def answer(resolver: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        asked.append(host)
        found = {"hostname": host, "host": resolve(host, len(asked)), "port": port}
        return [{**found, "family": socket.AF_INET, "proto": 0, "flags": socket.AI_NUMERICHOST}]

    monkeypatch.setattr(DefaultResolver, "resolve", answer)
    return asked


@pytest.mark.parametrize(
    ("address", "more", "allowed"),
    [
        ("8.8.8.8", [], True),
        ("8.8.4.4", [], False),  # of an interface of this machine
        ("8.8.4.4", ["8.8.4.4:80"], True),
        ("10.0.0.5", [], False),
        ("10.0.0.5", ["10.0.0.6", "10.0.0.5:81"], False),
        ("10.0.0.5", ["10.0.0.5"], True),
        ("10.0.0.5", ["10.0.0.5:80"], True),
        ("169.254.169.254", [], False),
        ("127.0.0.1", ["127.0.0.1:80"], True),
    ],
)
async def test_a_listed_name_leads_to_the_internet_or_to_a_listed_address(
    monkeypatch: pytest.MonkeyPatch, address: str, more: list[str], allowed: bool
) -> None:
    monkeypatch.setattr(http_carriers, "is_own", lambda text: text == "8.8.4.4")
    resolved_by(monkeypatch, lambda host, count: address)
    resolver = http_carriers.OutwardResolver(WebhookRules.of(SECRET, ["hooks.example", *more]))
    with (
        nullcontext() if allowed else pytest.raises(OSError, match="only if webhook_hosts lists the address")
    ):
        assert [one["host"] for one in await resolver.resolve("hooks.example", 80)] == [address]
    await resolver.close()
