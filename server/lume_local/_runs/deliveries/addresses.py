"""Decides which addresses the host name of a webhook may resolve to.

Otherwise the owner of the name's DNS could send the server to any address that it can reach: its own services, its
network, the metadata service of a cloud.
"""

import errno
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from lume_local._runs.deliveries.webhooks import WebhookRules, is_this_machine

_NAT64 = IPv6Network("64:ff9b::/96")


class OutwardResolver(AbstractResolver):
    """Resolves host names to public addresses and to addresses that the operator has listed literally.

    The connection uses the address that was checked here: the name is not resolved again.
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
                self._check(host, one["host"], port)
        return found

    def _check(self, host: str, address: str, port: int) -> None:
        if {(address, None), (address, port)} & set(self._rules.hosts):
            return
        if not is_public(address) or is_own(address):
            raise OSError(
                errno.EACCES,
                f"{host} leads to an address of this machine or of a private network, which is called only "
                "if webhook_hosts lists the address, too",
            )

    async def close(self) -> None:
        """Release the resources of the resolver."""
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
