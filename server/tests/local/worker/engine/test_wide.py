"""Flows and files of many columns. See also `runs/workers/test_limits.py`."""

import re
from pathlib import Path
from typing import Any

import duckdb

from lume_local._worker.profile import profile
from lume_local._worker.sources.formats.names import visible_columns
from lume_local._worker.sql import copying

FLOW: dict[str, Any] = {"ref": "people:v1", "aliases": {}, "respelled": [], "siblings": [], "format": "csv"}


class Counted(str):
    """A name that counts how often its letters are folded."""

    folded = 0

    def lower(self) -> str:
        Counted.folded += 1
        return super().lower()


def test_each_name_of_a_header_is_looked_at_as_often_as_it_is_read_and_not_by_each_column() -> None:
    names = [Counted(f"Column {n}") for n in range(1000)]
    flow = FLOW | {"sources": {str(name).lower(): "columns" for name in names}}
    assert visible_columns(flow, [*names], "a.csv") == {f"column {n}": n for n in range(1000)}
    assert Counted.folded == 1000


def test_dictionaries_of_many_columns_are_smaller() -> None:
    def dictionary(columns: int) -> int:
        found = re.search(
            r"DICTIONARY_SIZE_LIMIT (\d+)", copying("FROM a", Path("a.parquet"), columns=columns)
        )
        assert found is not None
        return int(found[1])

    assert [dictionary(n) for n in (1, 244, 1000, 5000)] == [4096, 4096, 1000, 200]


def test_a_profile_of_many_columns_is_that_of_each() -> None:
    columns = [{"name": f"c{n}", "ordered": n % 2 == 0} for n in range(1002)]
    items = ", ".join(f"i + {n} AS c{n}" for n in range(1002))
    with duckdb.connect() as connection:
        mapped = f"SELECT {items}, 1 AS same FROM range(3) AS t(i)"
        found, is_unique = profile(connection, {"columns": columns, "whole": []}, mapped, ["c0", "c1001"])
        columns[1001]["name"] = "same"
        _, is_still_unique = profile(connection, {"columns": columns, "whole": []}, mapped, ["c0", "same"])
    assert (is_unique, is_still_unique) == (True, False)
    assert list(found) == [f"c{n}" for n in range(1002)]
    assert found["c1000"] == {"nulls": 0, "min": "1000", "max": "1002", "distinct": 3}
    assert found["c1001"] == {"nulls": 0, "min": None, "max": None, "distinct": 3}
