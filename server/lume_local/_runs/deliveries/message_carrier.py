"""The carrier of messages, in separate processes: apprise may wait indefinitely, but a process can be ended."""

import os
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import orjson

from lume_local._runs.health import Health
from lume_local._runs.store.records import VARIABLE, PendingDelivery
from lume_local._runs.workers.child import Secrets
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import Notify, without_address

PATIENCE = 20.0
"""Seconds allowed for one attempt."""
MOST_AT_ONCE = 4
"""Concurrent attempts, each in a process of limited lifetime; further ones wait."""


class MessageCarrier:
    """Sends messages to the addresses in environment variables.

    Args:
        secrets: values to keep out of the environment of its processes.
    """

    kind = name = "message"
    most_per_host = 1
    """Messages to one address keep their order."""

    def __init__(self, health: Health | None = None, secrets: Secrets = frozenset) -> None:
        self._pool = WorkerPool(1, health, secrets=secrets)
        self._turns = anyio.Semaphore(MOST_AT_ONCE)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._pool.running():
            yield

    def host(self, delivery: PendingDelivery) -> Hashable:
        return delivery.url

    async def carry(self, delivery: PendingDelivery, body: bytes) -> str | None:
        return await self.send(delivery.url.removeprefix(VARIABLE), body)

    async def send(self, variable: str, body: bytes) -> str | None:
        """Send a message to the address in a variable. Return None, or the error without the address."""
        address = os.environ.get(variable, "").strip()
        if not address:
            return f"the variable {variable} is not set"
        message: dict[str, Any] = orjson.loads(body)
        async with self._turns:
            try:
                with anyio.move_on_after(PATIENCE):
                    return (await self._pool.notify(Notify(address, **message))).problem
            except WorkerDied as error:
                return without_address(str(error), address)
        return f"no answer within {PATIENCE:.0f} s"
