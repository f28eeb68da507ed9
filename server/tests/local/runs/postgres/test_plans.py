"""No operation of the store in PostgreSQL reads more because the server has been running for long.

PostgreSQL itself reports the plan of each statement that it executes, those of triggers and the general plans of
prepared statements, too, and how many rows each part of it has looked at.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import suppress
from typing import Any, cast

import postgres_server
import psycopg
import pytest
from attrs import frozen
from local import stores
from local.runs.store.test_growth import (
    GROW_WITH_HISTORY,
    HISTORY,
    OPERATIONS,
    Aged,
    Operation,
    numbers,
    submitted,
)
from psycopg import sql

from lume_local._runs.postgres import postgres_sql
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import Duplicate

RUNS = 20_000
TIMES = 7
"""How often an operation is carried out: PostgreSQL changes to a general plan after five times."""
MOST = 2_000
"""The rows that an operation may look at."""
WITH_A_QUEUE = (
    "create",
    "next_waiting",
    "next_waiting: keys at their limit",
    "deliveries.body",
    "deliveries.delivered",
    "deliveries.failed",
    "deliveries.waiting",
)
REPORTING = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_nested_statements": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "warning",
    "log_min_messages": "error",
}
pytestmark = pytest.mark.timeout(300)


Reading = tuple[str, str, int]
"""A statement, a part of its plan, and how many rows that has looked at."""


@frozen
class Watched:
    """A store with a long history, and what was read by its statements."""

    store: SqlStore
    runs: int
    read: list[Reading]

    async def read_much(self, names: Collection[str]) -> str:
        """What operations have read, if that is much, or all of a table."""
        found = [
            line for name in names for _ in range(TIMES) for line in await self._much(name, OPERATIONS[name])
        ]
        return "\n".join(dict.fromkeys(found))

    async def _much(self, name: str, operation: Operation) -> list[str]:
        self.read.clear()
        with suppress(Duplicate):
            await operation(cast("Aged", self))
        is_much = sum(rows for *_, rows in self.read) > MOST
        found = [one for one in self.read if "Seq Scan" in one[1] or (is_much and one[2] > 100)]
        return [f"{name}: {rows} rows by {part} of {' '.join(text.split())}" for text, part, rows in found]


def readings(notice: psycopg.errors.Diagnostic) -> list[Reading]:
    """What PostgreSQL says of a statement."""
    _, _, plan = (notice.message_primary or "").partition("plan:\n")
    found = json.loads(plan) if plan else None
    return [] if found is None else [(found["Query Text"], *part) for part in parts(found["Plan"])]


def parts(node: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The parts of a plan that read what grows, with the rows that they have looked at."""
    table = node.get("Relation Name")
    if table in GROW_WITH_HISTORY and node["Node Type"].endswith("Scan"):
        rows = node["Actual Rows"] + sum(
            rows for name, rows in node.items() if name.startswith("Rows Removed")
        )
        index = f" by {node['Index Name']}" if "Index Name" in node else ""
        yield f"{node['Node Type']} of {table}{index}", round(rows * node["Actual Loops"])
    for below in node.get("Plans", ()):
        yield from parts(below)


@pytest.fixture(scope="module")
def aged(postgres: postgres_server.Server) -> Iterator[str]:
    """The URL of a database with a long history."""
    with stores.database(postgres) as url:
        asyncio.run(created(url))
        fill(url, RUNS)
        yield url


async def created(url: str) -> None:
    async with stores.at(url):
        pass


def fill(url: str, runs: int) -> None:
    """The history; triggers would count it row by row."""
    with psycopg.connect(url, options="-c search_path=lume -c session_replication_role=replica") as db:
        db.execute("CREATE TEMP TABLE n (n BIGINT, at TEXT, body BYTEA, closed BYTEA)")
        for table, rows in {"n": numbers(runs), **submitted(runs)}.items():
            with db.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy:
                for row in rows:
                    copy.write_row(row)
        db.execute(
            f"CREATE SEQUENCE xids; ALTER TABLE changes ALTER xid SET DEFAULT nextval('xids'); {HISTORY}".encode()
        )
        db.execute("ALTER TABLE changes ALTER xid DROP DEFAULT; DROP SEQUENCE xids")
        db.execute(
            "INSERT INTO run_counts SELECT substr(created_at, 1, 13), flow_version, status, count(*), 0, 0, 0 "
            "FROM runs GROUP BY 1, 2, 3"
        )
        db.execute(
            "INSERT INTO attention SELECT flow_version, source_key, seq, 1 FROM runs WHERE status = 'FAILED'"
        )
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("VACUUM ANALYZE")
        for name, value in REPORTING.items():
            db.execute(f"ALTER DATABASE {db.info.dbname} SET {name} = '{value}'".encode())


@pytest.fixture
async def watched(aged: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    configure, read = postgres_sql._configure, list[Reading]()

    async def watching(connection: postgres_sql.Connection) -> None:
        await configure(connection)
        connection.prepare_threshold = 0  # else psycopg prepares a statement after five times
        connection.add_notice_handler(lambda notice: read.extend(readings(notice)))

    monkeypatch.setattr(postgres_sql, "_configure", watching)
    async with stores.at(aged) as store:
        yield Watched(store, RUNS, read)


@pytest.mark.thorough
async def test_no_operation_reads_more_after_a_long_history(watched: Watched) -> None:
    # The queries of `table.parts` alone are for SQLite, which doesn't count those of another connection.
    names = [name for name in OPERATIONS if not name.startswith("table.parts: query")]
    assert await watched.read_much(names) == ""


@pytest.mark.thorough
async def test_no_operation_reads_more_with_a_long_queue(aged: str, watched: Watched) -> None:
    """Of runs that wait, submitted by one key, and of deliveries to one receiver."""
    with psycopg.connect(aged, options="-c search_path=lume -c session_replication_role=replica") as db:
        db.execute(
            "UPDATE runs SET status = 'CREATED', turn = seq, source_key = '+' || seq WHERE status = 'FAILED'"
        )
        db.execute("UPDATE deliveries SET due = attempts, url = 'https://away.example/' || id")
        db.execute("ANALYZE")
    assert await watched.read_much(WITH_A_QUEUE) == ""
