"""Connections as aiohttp makes them, but for three things that it leaves open."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler


class Connector(aiohttp.TCPConnector):
    """Connects as aiohttp does, but can be made to give up."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        protocol: type[ResponseHandler] = _Protocol
        self._factory = partial(protocol, loop=self._loop)
        self._connecting: dict[asyncio.Task[Any] | None, asyncio.Timeout] = {}

    def is_connecting(self, task: asyncio.Task[Any]) -> bool:
        """Whether the task has no connection yet, and so has sent nothing."""
        return task in self._connecting

    def give_up(self) -> None:
        """Whoever is resolving a name, connecting or shaking hands gets a timeout, now."""
        for alarm in list(self._connecting.values()):
            with suppress(RuntimeError):  # it belonged to a loop that is closed
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
        """Asked before a kept connection is used again: one on which something came unasked is not.

        A second answer, a 408 to nobody: aiohttp would take it for the answer to the next request.
        """
        return super().is_connected() and not self.should_close

    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        """What breaks the answer ends its body, too: aiohttp's reader would wait until the time is up."""
        cause = () if exc_cause is None else (exc_cause,)
        super().set_exception(exc, *cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("malformed"), *cause)
