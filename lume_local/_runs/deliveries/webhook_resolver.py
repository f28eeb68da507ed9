"""Where a webhook's host leads: never to this machine by the detour of a name in the DNS."""

import errno
import socket
from typing import Any

from aiohttp import DefaultResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from lume_local._runs.deliveries.webhook_rules import is_this_machine


class OutwardResolver(AbstractResolver):
    """Resolves names, and refuses one that leads to this machine without being one of its own names."""

    def __init__(self) -> None:
        self._resolver: Any = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host. Raises OSError where there are none, or one that may not be called."""
        found: list[ResolveResult] = await self._resolver.resolve(host, port, family)
        if not is_this_machine(host) and any(is_this_machine(one["host"]) for one in found):
            words = f"{host} leads to this machine, which is called only by its own name and port"
            raise OSError(errno.EACCES, words)
        return found

    async def close(self) -> None:
        """Release what resolving holds."""
        await self._resolver.close()
