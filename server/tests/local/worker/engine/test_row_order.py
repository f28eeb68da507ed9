"""Rows keep their places in every statement of a run, also where DuckDB's vectors are short: it promises little."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from local.oracles.row_order import FORMATS, given, rows_of, wanted
from local.staging import PLACES, stage_in

from lume_local._worker import sql, stage
from lume_local._worker.sources.formats import ndjson
from lume_local._worker.sources.formats.text import csv
from lume_local._worker.statements import PLACE, Statements

VECTOR = 2048
EIGHT_MEGABYTES = 8_000_000
FITTED = [62, *(pytest.param(length, marks=pytest.mark.thorough) for length in (40, 47, 129))]
"""Bytes of a row: odd and even ones, so that a piece ends in every part of one."""


@pytest.fixture
def short_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB reads a file of lines in two pieces, the first of which ends in a vector of 20 rows.

    By itself it takes pieces of 8 MB; of more than two that are so small it refuses most.
    """

    def reader(path: Path, columns: Iterable[str], dialect: Sequence[str], *options: str) -> str:
        with path.open("rb") as file:
            header, line = len(file.readline()), len(file.readline())
        size = f"buffer_size={header + line * (VECTOR + 19)}"
        return sql.csv_reader(path, columns, dialect, size, *options)

    for module in (csv, ndjson):
        monkeypatch.setattr(module, "csv_reader", reader)
    monkeypatch.setattr(stage, "_by_smaller_buffers", lambda statements: statements)


def check(folder: Path, length: int, format: str, count: int = 2 * VECTOR - 60, **more: Any) -> None:
    """A run gives what plain Python does, row by row."""
    rows = rows_of(count, length)
    mapped, rejects = wanted(rows, unique="columns" not in more, looks_up="columns" not in more)
    run = given(folder, rows, format, **more)
    assert run.mapped == mapped
    assert run.rejects == rejects
    columns = run.metrics["columns"]
    assert (columns["id"]["min"], columns["id"]["max"]) == ("0", str(max(row[0] for row in mapped)))
    assert columns["place"]["nulls"] == sum(row[3] is None for row in mapped)
    assert (run.metrics["rows_read"], run.metrics["rows_mapped"]) == (count, len(mapped))
    assert run.metrics["rows_filtered"] == count - len(mapped) - len(rejects) > 0


@pytest.mark.usefixtures("short_vectors")
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("length", FITTED)
def test_with_every_feature(tmp_path: Path, length: int, format: str) -> None:
    check(tmp_path, length, format)


PLAIN: dict[str, Any] = {
    **{"id": {"type": "integer", "required": True}, "name": {"sql": "code"}, "kind": {"sql": "upper(code)"}},
    **{"place": {"sql": "trim(other)"}, "amount": {"type": "integer", "maximum": 900}},
}
"""Nothing is looked up, and no value is unique: rows are passed on to the targets as they are read."""


@pytest.mark.usefixtures("short_vectors")
@pytest.mark.parametrize("looks_up", [True, False])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "format",
    [pytest.param(one, marks=() if one in ("csv", "ndjson") else pytest.mark.thorough) for one in FORMATS],
)
def test_wherever_they_are_staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str, place: str, looks_up: bool
) -> None:
    stage_in(monkeypatch, place)
    changes = {} if looks_up else {"columns": PLAIN, "seeds": {}, "expect": []}
    check(tmp_path, 62, format, **changes)


@pytest.mark.usefixtures("short_vectors")
@pytest.mark.parametrize("format", FORMATS)
def test_over_shards(tmp_path: Path, format: str) -> None:
    engine = {"url": "here", "shard_bytes": 1, "shards": 2}
    check(tmp_path, 62, format, engine=engine)


@pytest.mark.parametrize("place", [*PLACES, "shards"])
def test_where_a_join_loses_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """As one may in any version of DuckDB."""
    looked_up = Statements._looked_up

    def in_another_order(self: Statements, form: dict[str, Any], rows: str) -> str:
        return f"{looked_up(self, form, rows)} ORDER BY {PLACE} % 7, -{PLACE}"

    monkeypatch.setattr(Statements, "_looked_up", in_another_order)
    more: dict[str, Any] = {}
    if place == "shards":
        more = {"engine": {"url": "here", "shard_bytes": 1, "shards": 3}}
    else:
        stage_in(monkeypatch, place)
    check(tmp_path, 62, "csv", 2000, **more)


@pytest.mark.thorough
@pytest.mark.parametrize(("format", "shards"), [("csv", 0), ("ndjson", 0), ("csv", 2)])
def test_in_pieces_of_eight_megabytes(tmp_path: Path, format: str, shards: int) -> None:
    """As DuckDB takes them by itself: the rows of one of them are some vectors and a few more."""
    length = next(one for one in range(200, 400) if 0 < EIGHT_MEGABYTES // one % VECTOR < 60)
    count = 2 * max(1, shards) * EIGHT_MEGABYTES // length + 5000
    more: dict[str, Any] = {}
    if shards:
        engine = {"url": "here", "shard_bytes": 1, "shards": shards}
        more = {"engine": engine}
    check(tmp_path, length, format, count, threads=4, **more)
