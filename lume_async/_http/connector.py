"""aiohttp's connector and protocol, with three gaps closed."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler


class SocksError(aiohttp.ClientConnectionError):
    """No connection through a SOCKS proxy: nothing was sent."""


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector, but attempts to connect can be ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        protocol: type[ResponseHandler] = _Protocol
        self._factory = partial(protocol, loop=self._loop)
        self._connecting: dict[asyncio.Task[Any] | None, asyncio.Timeout] = {}

    def is_connecting(self, task: asyncio.Task[Any]) -> bool:
        """Return whether the task has no connection yet, and so has sent nothing."""
        return task in self._connecting

    def give_up(self) -> None:
        """Raise a timeout in every task that is resolving a name, connecting or shaking hands."""
        for alarm in list(self._connecting.values()):
            with suppress(RuntimeError):  # its loop is closed
                alarm.reschedule(0)

    async def _create_connection(self, *arguments: Any, **named: Any) -> Any:
        async with asyncio.timeout(None) as alarm:
            task = asyncio.current_task()
            self._connecting[task] = alarm
            try:
                return await super()._create_connection(*arguments, **named)
            finally:
                del self._connecting[task]


class _Protocol(ResponseHandler):
    """One connection."""

    def is_connected(self) -> bool:
        """Return whether a kept connection can be used again: not if unrequested data arrived, such as a late 408.

        aiohttp would read that as the response to the next request.
        """
        return super().is_connected() and not self.should_close

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """Let the error also end the body, whose reader would wait for its timeout in aiohttp."""
        cause = () if exc_cause is None else (exc_cause,)
        super().set_exception(exc, *cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("malformed"), *cause)
