"""Bundles requests of many triggers to their one supervisor.

It handles one message per iteration of its loop, each with a database query: tens of milliseconds. The events that
end tasks wait in the same queue. So equal requests of many triggers are sent once, and few triggers push at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

FRESH = 1.0
"""Seconds for which the answer to a request is shared: Airflow needs longer to clear and run a task."""

AT_ONCE = 8
"""The maximum number of concurrent pushes, as an event may have to wait for them."""


class _Questions:
    """The requests of one event loop."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.asked: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}


_QUESTIONS: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Questions]" = WeakKeyDictionary()


def _questions() -> _Questions:
    return _QUESTIONS.setdefault(asyncio.get_running_loop(), _Questions())


async def ask_once(key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
    """Return the answer to the request `key`; a recent answer is shared."""
    asked, now = _questions().asked, asyncio.get_running_loop().time()
    begun, answer = asked.get(key, (now, None))
    if (
        answer is None
        or now - begun >= FRESH
        or (answer.done() and (answer.cancelled() or answer.exception()))
    ):
        for old in [each for each, (when, _) in asked.items() if now - when >= FRESH]:
            del asked[old]
        answer = asyncio.ensure_future(ask())
        asked[key] = now, answer
    result: T = await asyncio.shield(answer)
    return result


async def in_turn(push: Callable[[], Awaitable[T]]) -> T:
    """Push when a slot is free."""
    async with _questions().turns:
        return await push()
