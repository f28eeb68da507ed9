"""What tests of the state in PostgreSQL do beside it."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg

from lume_local._runs.store.records import NewRun

NEW = NewRun("f:v1", "a.csv", "/a.csv", {"n": 1}, False, None, "print")


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


async def until_done_or_locked(url: str, task: asyncio.Task[Any]) -> None:
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while not task.done() and not await asyncio.to_thread(execute, url, waits):
            await asyncio.sleep(0.01)
