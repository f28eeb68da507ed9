"""DuckDB's parallel CSV reader can't read some files that are in order: they are read again without."""

import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from local import one_run
from local.shards.twice import compared
from local.staging import PLACES, stage_in

from lume_local._worker.connection import connect
from lume_local._worker.engine import RunBroke
from lume_local._worker.shards import access

REFUSAL = "The Parallel CSV Reader currently does not support a full read on this file."
_SCANS = "CREATE OR REPLACE TEMP TABLE _lume_stage", "COPY", "WITH _lume_rows"
MISTAKE = "CSV Error on Line: 262861\nOriginal Line: 262858, Name 45"


class Refusing:
    """A connection whose parallel reader raises."""

    def __init__(self, error: duckdb.Error) -> None:
        self._real, self._error = connect(), error
        self.refused = 0

    def __enter__(self) -> "Refusing":
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, query: str, *more: Any) -> Any:
        if "parallel=true" in query and query.startswith(_SCANS):
            self.refused += 1
            raise self._error
        return self._real.execute(query, *more)


@pytest.mark.parametrize(
    "error", [duckdb.NotImplementedException(REFUSAL), duckdb.InvalidInputException(MISTAKE)]
)
def test_by_one_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: duckdb.Error) -> None:
    connection = Refusing(error)
    monkeypatch.setattr(one_run, "connect", lambda: connection)
    assert one_run.execute(tmp_path, "id\n1\nx\n3\n").mapped == [(1,), (3,)]
    assert connection.refused == 1


class Forgetful(Refusing):
    """A connection whose parallel reader leaves a row out."""

    def execute(self, query: str, *more: Any) -> Any:
        if "parallel=true" in query and query.startswith(_SCANS):
            self.refused += 1
            reader = re.search(r"FROM read_csv\(.*?parallel=true\)", query)
            assert reader is not None
            query = query.replace(reader[0], f"FROM (SELECT * {reader[0]} LIMIT 2)")
        return self._real.execute(query, *more)


@pytest.mark.parametrize("place", PLACES)
def test_a_row_that_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    stage_in(monkeypatch, place)
    connection = Forgetful(duckdb.NotImplementedException())
    monkeypatch.setattr(one_run, "connect", lambda: connection)
    result = one_run.execute(tmp_path, "id\n1\nx\n3\n")
    assert (result.mapped, result.raws, connection.refused) == ([(1,), (3,)], [], 1)
    assert [row["id"] for row in result.rejects] == ["x"]


LINES = '{"id": 1}\n{"id": "x"}\n{"id": 3}\n\n'


@pytest.mark.parametrize("kind", [Refusing, Forgetful])
def test_the_first_scan_of_ndjson(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Refusing]
) -> None:
    """What it leaves out would be in no account."""
    connection = kind(duckdb.NotImplementedException(REFUSAL))
    monkeypatch.setattr(one_run, "connect", lambda: connection)
    result = one_run.execute(tmp_path, LINES, source={"format": "ndjson"})
    assert (result.mapped, connection.refused) == ([(1,), (3,)], 2)
    assert result.metrics["rows_read"] == 3


def test_other_errors_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Refusing(duckdb.InvalidInputException("no such thing"))
    monkeypatch.setattr(one_run, "connect", lambda: connection)
    with pytest.raises(RunBroke, match="no such thing"):
        one_run.execute(tmp_path, "id\n1\n")
    assert connection.refused == 1


@pytest.mark.parametrize(("files", "kind"), [(1, Refusing), (2, Forgetful)])
def test_over_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: int, kind: type[Refusing]
) -> None:
    made: list[Refusing] = []

    def failing() -> Refusing:
        made.append(kind(duckdb.NotImplementedException(REFUSAL)))
        return made[-1]

    monkeypatch.setattr(access, "connect", failing)
    content = b"id\n" + b"".join(b"%d\n" % n for n in range(50))
    engine = {"url": "here", "shard_bytes": 1, "shards": 3}
    sources = [(f"{n}.csv", content) for n in range(files)]
    sharded = compared(tmp_path, sources, engine, columns={"id": {"type": "integer"}})
    assert sharded.metrics["rows_mapped"] == 50 * files
    assert sum(one.refused for one in made) == sharded.shards["count"]
