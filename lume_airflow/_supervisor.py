"""Questions of many triggers to their one supervisor.

It answers one message per turn of its loop, and looks into the database in every turn: tens of milliseconds each. The
events that end tasks wait in the same queue. So what many triggers ask is asked once, and few push at a time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")

FRESH = 1.0
"""Seconds from a question within which others take its answer: Airflow needs longer to clear and run a task."""

AT_ONCE = 8
"""Pushes under way, so that an event waits for no more than these."""


class _Questions:
    """Those of one event loop."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(AT_ONCE)
        self.asked: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}


_QUESTIONS: "WeakKeyDictionary[asyncio.AbstractEventLoop, _Questions]" = WeakKeyDictionary()


def _questions() -> _Questions:
    return _QUESTIONS.setdefault(asyncio.get_running_loop(), _Questions())


async def asked_once(key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
    """The answer; of somebody else's question, where that was asked just now."""
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
    """Push when it is its turn."""
    async with _questions().turns:
        return await push()
