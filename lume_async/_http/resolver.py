"""Looks up host names in the library's own threads."""

import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from lume_async._base.threads import run_in_thread

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
_ONLY_USABLE = getattr(socket, "AI_ADDRCONFIG", 0)  # no IPv6 addresses on a machine without IPv6


class Resolver(AbstractResolver):
    """The system's resolver. aiohttp's uses the loop's default threads, which may be busy for hours."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return every address of the host. Raises `OSError` if it has none, or the lookup failed."""
        return await run_in_thread(_look_up, host, port, family)

    async def close(self) -> None:
        """Do nothing, as there are no resources."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=_ONLY_USABLE)
    return [
        ResolveResult(
            hostname=host,
            host=_numeric(address),
            port=int(address[1]),
            family=kind,
            proto=proto,
            flags=_NUMERIC,
        )
        for kind, _, proto, _, address in found
        if kind in (socket.AF_INET, socket.AF_INET6)
    ]


def _numeric(address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    """Return the address as text, with its zone (`fe80::1%eth0`) if it is link-local."""
    if len(address) == 4 and address[3]:
        return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    return str(address[0])
