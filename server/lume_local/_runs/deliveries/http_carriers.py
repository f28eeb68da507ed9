"""The carriers of webhooks and lineage events, by HTTP."""

import errno
import socket
import time
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from lume_async._base.elided import elided
from lume_local._runs.deliveries.lineage import LineageEvents
from lume_local._runs.deliveries.outbox import MOST_AT_ONCE, MOST_PER_HOST, Carrier
from lume_local._runs.deliveries.webhooks import WebhookRefused, WebhookRules, is_this_machine, signed_headers
from lume_local._runs.store.records import PendingDelivery

PATIENCE = 10.0
"""The time limit of one attempt, in seconds."""
_NAT64 = IPv6Network("64:ff9b::/96")


def http_carriers(rules: WebhookRules, lineage: LineageEvents | None) -> Iterator[Carrier]:
    """Yield the carriers: webhooks need a secret, lineage events a URL."""
    if rules.secrets:
        yield WebhookCarrier(rules)
    if lineage is not None:
        yield LineageCarrier(lineage)


class _HttpCarrier:
    """Posts JSON, in one session."""

    most_per_host = MOST_PER_HOST
    _session: aiohttp.ClientSession

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(
            limit=MOST_AT_ONCE, force_close=True, resolver=self._resolver(), use_dns_cache=False
        )
        async with aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=PATIENCE),
            headers={"User-Agent": "lume_local"},
            auto_decompress=False,
        ) as self._session:
            yield

    def _resolver(self) -> AbstractResolver | None:
        return None

    async def _post(
        self, url: str, delivery: PendingDelivery, body: bytes, more: Mapping[str, str]
    ) -> str | None:
        headers = {
            "Content-Type": "application/json",
            **more,
            **({"traceparent": delivery.traceparent} if delivery.traceparent else {}),
        }
        try:
            async with self._session.post(
                URL(url), data=body, headers=headers, allow_redirects=False
            ) as answer:
                return None if 200 <= answer.status < 300 else f"answered with status {answer.status}"
        except TimeoutError:
            return f"no answer within {PATIENCE:.0f} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return elided(f"{type(error).__name__}: {error}")


class LineageCarrier(_HttpCarrier):
    """Posts lineage events to the operator's own address."""

    kind, name = "lineage", "lineage event"

    def __init__(self, lineage: LineageEvents) -> None:
        self._lineage = lineage

    def host(self, delivery: PendingDelivery) -> Hashable:
        return delivery.url

    async def carry(self, delivery: PendingDelivery, body: bytes) -> str | None:
        return await self._post(self._lineage.url, delivery, body, self._lineage.headers)


class WebhookCarrier(_HttpCarrier):
    """Signs webhooks, and posts them to hosts that the operator has listed."""

    kind = name = "webhook"

    def __init__(self, rules: WebhookRules) -> None:
        self._rules = rules

    def _resolver(self) -> AbstractResolver | None:
        return OutwardResolver(self._rules)

    def host(self, delivery: PendingDelivery) -> Hashable:
        """Return the entry of `webhook_hosts`, or the URL if it has none."""
        try:
            return self._rules.check(delivery.url)
        except WebhookRefused:
            return delivery.url

    async def carry(self, delivery: PendingDelivery, body: bytes) -> str | None:
        try:
            # The operator may have changed the list since the run was submitted.
            self._rules.check(delivery.url)
        except WebhookRefused as refused:
            return str(refused)
        headers = signed_headers(self._rules.secrets, delivery.id, int(time.time()), body)
        return await self._post(delivery.url, delivery, body, headers)


class OutwardResolver(AbstractResolver):
    """Resolves host names to public addresses and to addresses that the operator has listed literally.

    Otherwise the owner of a name's DNS could send the server to any address that it can reach: its own services, its
    network, the metadata service of a cloud. The connection uses the address that was checked here: the name is not
    resolved again.
    """

    def __init__(self, rules: WebhookRules) -> None:
        self._resolver: Any = aiohttp.DefaultResolver()
        self._rules = rules

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError if there are none or if one may not be called."""
        found: list[ResolveResult] = await self._resolver.resolve(host, port, family)
        if not is_this_machine(host):  # such a name is listed with its port
            for one in found:
                address = one["host"]
                is_listed = bool({(address, None), (address, port)} & set(self._rules.hosts))
                if not is_listed and (not is_public(address) or is_own(address)):
                    raise OSError(
                        errno.EACCES,
                        f"{host} leads to an address of this machine or of a private network, which is called "
                        "only if webhook_hosts lists the address, too",
                    )
        return found

    async def close(self) -> None:
        await self._resolver.close()


def is_public(text: str) -> bool:
    """Return whether an address is on the public internet; IPv6 forms of an IPv4 address count as that address."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        is_translated = address in _NAT64
        address = IPv4Address(int(address) & 0xFFFFFFFF) if is_translated else address.ipv4_mapped or address
    return address.is_global and not address.is_multicast


def is_own(text: str) -> bool:
    """Return whether an address belongs to this machine; packets sent to it then have it as their source."""
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((text, 9))  # UDP: sends nothing
        return ip_address(probe.getsockname()[0]) == ip_address(text)
    return False
