"""Results that may be long are read while other requests are answered."""

import asyncio
from pathlib import Path

import pytest

from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import StoreFailed

COUNT = (
    "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?) SELECT count(*) AS c FROM n"
)


async def test_the_event_loop_goes_on_meanwhile(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.sqlite")
    try:
        work = asyncio.create_task(
            store.sql.read(lambda: store.sql.many((COUNT, [300_000]), ("SELECT count(*) FROM runs", [])))
        )
        turns = 0
        while not work.done():
            await asyncio.sleep(0)
            turns += 1
        first, second = work.result()
        assert (first[0]["c"], second[0][0]) == (300_000, 0)
        assert turns > 10
    finally:
        store.close()


async def test_it_changes_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "runs.sqlite")
    try:
        with pytest.raises(StoreFailed):
            await store.sql.read(lambda: store.sql.many(("DELETE FROM runs", [])))
    finally:
        store.close()
