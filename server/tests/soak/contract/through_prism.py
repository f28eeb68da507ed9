"""A pytest plugin, `-p soak.contract.through_prism`: every embedded server is reached through a Prism that judges it.

A server on a port of the test's choice is left alone: such a test knows where it listens.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from attrs import frozen
from soak.contract.prism import DESCRIPTION, Prism, started
from soak.contract.relay import Relay
from yarl import URL

from lume_local._http.listener import Listener


@frozen
class Door:
    """A Prism, and the relay between it and whichever server it stands before."""

    prism: Prism
    relay: Relay


class Doors:
    """As many as there are servers at once: a Prism takes seconds to start, and is used again.

    Attributes:
        servers: how many were behind them.
    """

    def __init__(self, stack: ExitStack, portal: BlockingPortal, folder: Path) -> None:
        self._stack, self._portal, self._folder = stack, portal, folder
        self.all: list[Door] = []
        self._free: list[Door] = []
        self._taken: dict[Listener, Door] = {}
        self.servers = 0

    def before(self, listener: Listener, upstream: str) -> str:
        """The URL of a Prism before that server."""
        door = self._taken[listener] = self._free.pop() if self._free else self._made()
        url = URL(upstream)
        self._portal.call(door.relay.point, (url.host, url.port))
        self.servers += 1
        return door.prism.url

    def leave(self, listener: Listener) -> None:
        """That server has ended."""
        if door := self._taken.pop(listener, None):
            self._portal.call(door.relay.point, None)
            self._free.append(door)

    def _made(self) -> Door:
        relay = self._stack.enter_context(self._portal.wrap_async_context_manager(Relay().running()))
        upstream = f"http://127.0.0.1:{relay.port}"
        prism = self._stack.enter_context(started(self._folder, "proxy", str(DESCRIPTION), upstream))
        self.all.append(door := Door(prism, relay))
        return door


@contextmanager
def _before_every_server() -> Iterator[Doors]:
    opens, closes = Listener.open, Listener.close

    async def open_(self: Listener, host: str, port: int) -> str:
        url = await opens(self, host, port)
        return url if port else await asyncio.to_thread(doors.before, self, url)

    async def close(self: Listener) -> None:
        await closes(self)
        await asyncio.to_thread(doors.leave, self)

    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        folder = stack.enter_context(TemporaryDirectory())
        doors = Doors(stack, stack.enter_context(start_blocking_portal()), Path(folder))
        patch.setattr(Listener, "open", open_)
        patch.setattr(Listener, "close", close)
        yield doors


_SAID = pytest.StashKey[tuple[int, int, list[str]]]()


@pytest.fixture(scope="session", autouse=True)
def _through_prism(pytestconfig: pytest.Config) -> Iterator[None]:
    with _before_every_server() as doors:
        yield
        pytestconfig.stash[_SAID] = (
            doors.servers,
            sum(door.prism.requests for door in doors.all),
            [line for door in doors.all for line in door.prism.violations],
        )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """For whoever runs it, and for `test_prism_proxy`."""
    servers, requests, violations = config.stash.get(_SAID, (0, 0, []))
    terminalreporter.write_line(
        f"Prism: {servers} servers, {requests} requests, {len(violations)} violations"
    )
    for line in violations[:50]:
        terminalreporter.write_line(f"Prism: {line}")
