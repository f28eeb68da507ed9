"""One run of the engine in this process, between a query and a table."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb as engine
import postgres_server
import pytest
from attrs import asdict, frozen
from local.flows import people
from local.one_run import carried_out

from lume_local._flow.definition import Flow, read_definition
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.run_paths import _rejects_table
from lume_local._shared.protocol import Execute
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

ENV = "WAREHOUSE_URL"
ROOTS = Roots.of((Path("/"),), Path("/tmp/.lume"))
NUMBERS = {"id": {"type": "integer", "required": True, "unique": True}, "name": {"type": "string"}}


@frozen
class Database:
    """A real database, empty at first, whose URL is in the environment."""

    kind: str
    shown: str
    execute: Callable[..., list[tuple[Any, ...]]]


@contextmanager
def sqlite(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    path = folder / "warehouse.db"
    monkeypatch.setenv(ENV, f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 1")

    def execute(statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(path)) as connection, connection:
            return connection.execute(statement, parameters).fetchall()

    yield Database("sqlite", f"sqlite:///{path}", execute)


@contextmanager
def duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    path = folder / "warehouse.duckdb"
    monkeypatch.setenv(ENV, f"duckdb:///{path}")
    engine.connect(path).close()

    def execute(statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with closing(opened(path)) as connection:
            return connection.execute(statement, parameters).fetchall()

    yield Database("duckdb", f"duckdb:///{path}", execute)


def opened(path: Path) -> engine.DuckDBPyConnection:
    """Open a file of DuckDB as a stranger does, once nobody else has it open."""
    end = time.monotonic() + 60
    while True:
        try:
            return engine.connect(path)
        except engine.IOException:
            if time.monotonic() > end:
                raise
        time.sleep(0.01)


@contextmanager
def postgresql(server: postgres_server.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv(ENV, server.url)
    server.execute("DROP SCHEMA public CASCADE")
    server.execute("CREATE SCHEMA public")
    yield Database("postgresql", server.shown, server.execute)


def flow_of(**changes: Any) -> Flow:
    """A flow from a query into a table; `query` and `mapped` change a part of it."""
    source = {"format": "sql", "url_env": ENV, "query": changes.pop("query", "SELECT id, name FROM people")}
    definition = {"source": source, "columns": NUMBERS, **changes}
    return read_definition(people(**definition))


def job_of(
    flow: Flow,
    folder: Path,
    run_id: str = "run_1",
    source_path: str = "b1",
    source: Any = None,
    at: str = "2026-01-02T03:04:05.000006Z",
) -> Execute:
    """What a server would ask a worker for."""
    folder.mkdir(parents=True, exist_ok=True)
    with connect() as connection:
        compiled = compile_flow(connection, flow)
    query = flow.source.query
    place = source or {
        **{"kind": "query", "url_env": query.url_env, "query": query.query, "source_path": source_path},
    }
    mapped: dict[str, Any] = {"kind": "file", "path": str(folder / "mapped.ndjson")}
    if not isinstance(flow.mapped, str):
        columns = [[column.name, column.sql_type] for column in flow.columns]
        one = flow.mapped
        mapped = {
            "kind": "database",
            **asdict(one),
            "key": list(one.key),
            "columns": columns,
            "required": [column.name for column in flow.columns if column.required],
            "ever": [column.name for column in flow.columns if column.ever],
            "flow": flow.name,
            "source_path": source_path,
            "at": at,
        }
    rejects = {"kind": "file", "path": str(folder / "rejects.csv")}
    table = _rejects_table(ROOTS, flow, {}, source_path)
    return Execute(
        run_id, compiled, place, str(folder / "run"), mapped, rejects, 10**9, 2, rejects_table=table
    )


def execute(
    flow: Flow, folder: Path, run_id: str = "run_1", source_path: str = "b1", **more: Any
) -> dict[str, Any]:
    """Run it; what its commit records."""
    job = job_of(flow, folder / run_id, run_id, source_path, **more)
    Path(job.folder).mkdir()
    with connect() as connection:
        return carried_out(connection, job)
