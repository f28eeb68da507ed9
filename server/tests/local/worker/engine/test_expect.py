"""Expectations of a run as a whole, and what the metrics say of its columns."""

from pathlib import Path
from typing import Any

import pytest
from local.flows import people
from local.one_run import compiled, execute

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.profile import profile
from lume_local._worker.sql import row_of

COLUMNS: dict[str, Any] = {
    "id": {"type": "integer", "required": True, "unique": True},
    "amount": {"type": "number", "sql_type": "DECIMAL(9,2)"},
    "name": {},
    "day": {"format": "date"},
}
CONTENT = (
    "id,amount,name,day\n1,2.50,Zoe,2024-01-31\n2,10.00,,2023-12-01\n2,99.00,Twin,\nx,1.00,Bad,\n3,,Ann,\n"
)


def expect(folder: Path, *expectations: dict[str, Any], content: str = CONTENT) -> dict[str, Any]:
    named = [{"name": f"e{n}", **one} for n, one in enumerate(expectations)]
    return execute(folder, content, columns=COLUMNS, expect=named).metrics


def test_what_the_columns_hold(tmp_path: Path) -> None:
    assert expect(tmp_path)["columns"] == {
        "id": {"nulls": 0, "min": "1", "max": "3", "distinct": 3},
        "amount": {"nulls": 1, "min": "2.50", "max": "10.00", "distinct": 2},
        "name": {"nulls": 1, "min": None, "max": None, "distinct": 2},
        "day": {"nulls": 1, "min": "2023-12-01", "max": "2024-01-31", "distinct": 2},
    }


def test_there_are_no_more_distinct_values_than_values() -> None:
    """Their number is an estimate, which may be too high."""
    names = [f"c{n}" for n in range(50)]
    mapped = (
        f"SELECT {', '.join(f'range + {n}000 AS {name}' for n, name in enumerate(names))} FROM range(500)"
    )
    with connect() as connection:
        estimated = row_of(
            connection, f"SELECT {', '.join(f'approx_count_distinct({n})' for n in names)} FROM ({mapped})"
        )
        columns = [{"name": name, "ordered": False} for name in names]
        found, _ = profile(connection, {"columns": columns, "whole": []}, mapped)
    assert max(estimated) > 500
    assert [one["distinct"] for one in found.values()] == [min(500, one) for one in estimated]


def test_met(tmp_path: Path) -> None:
    conditions = [
        *("rows_read = 5", "rows_mapped >= 3 AND rows_rejected = 2", "rows_rejected <= 0.4 * rows_read"),
        *("sum(amount) = 12.5", "count(*) = rows_mapped", "count(DISTINCT name) = 2"),
        *("count(*) FILTER (amount > 5) = 1", "avg(id) < rows_read", "max(day) < DATE '2025-01-01'"),
    ]
    assert expect(tmp_path, *({"sql": sql} for sql in conditions))["warnings"] == {}


@pytest.mark.parametrize(
    "sql",
    [
        *("rows_read >= 1000", "sum(amount) > 100", "max(name) = NULL", "min(name)::INT > 1"),
        *(
            "rows_mapped / (rows_read - 5) >= 0.9",
            "(rows_read - 5) / (rows_read - 5) >= 0.9",
            "avg(id) / 0 > 1",
        ),
    ],
)
def test_unmet_fails_the_run(tmp_path: Path, sql: str) -> None:
    with pytest.raises(RunFailed) as caught:
        expect(tmp_path, {"sql": "true"}, {"name": "enough", "sql": sql, "message": "too little came"})
    assert str(caught.value) == "not what the flow expects: enough: too little came. Nothing was written"
    assert caught.value.metrics is not None
    assert caught.value.metrics["rows_read"] == 5
    assert not list(tmp_path.glob("mapped*"))


def test_unmet_is_a_warning_where_it_says_so(tmp_path: Path) -> None:
    metrics = expect(
        tmp_path, {"sql": " rows_read > 9 ", "on_fail": "warn"}, {"sql": "true", "on_fail": "warn"}
    )
    assert metrics["warnings"] == {"e0: rows_read > 9 does not hold": 1}


def test_a_source_without_rows(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"e1: .*rows_read > 0"):
        expect(tmp_path, {"sql": "count(*) = 0"}, {"sql": "rows_read > 0"}, content="id,amount,name,day\n")
    with pytest.raises(RunFailed, match=r"rows_mapped / rows_read >= 0\.9"):
        expect(tmp_path / "ratio", {"sql": "rows_mapped / rows_read >= 0.9"}, content="id,amount,name,day\n")
    assert expect(tmp_path / "again", content="id,amount,name,day\n")["columns"]["id"] == {
        "nulls": 0,
        "min": None,
        "max": None,
        "distinct": 0,
    }


@pytest.mark.parametrize(
    ("sql", "place", "words"),
    [
        ("id > 1", "sql", "must be a condition over all rows: .*GROUP BY"),
        ("sum(amount)", "sql", "must be a condition .true or false., but is of type DECIMAL"),
        (
            "sum(price) > 1",
            "sql",
            "reads 'price', but an expectation sees only id, amount, name, day, rows_read",
        ),
        ("(SELECT 1) > 0", "sql", "a subquery"),
        ("row_number() OVER () > 1", "sql", "a window function"),
        ("now() > TIMESTAMP '2020-01-01'", "sql", "must give the same output"),
        ("sum(", "sql", "is not an SQL expression"),
    ],
)
def test_refused_when_the_flow_is_checked(sql: str, place: str, words: str) -> None:
    with pytest.raises(FlowError, match=words) as caught:
        compiled(columns=COLUMNS, expect=[{"name": "ok", "sql": "true"}, {"name": "e", "sql": sql}])
    assert caught.value.place == f"expect[1].{place}"


def test_refused_when_it_is_read() -> None:
    with pytest.raises(FlowError, match=r"expect\[0\]\.on_fail: 'reject' is not one of fail, warn"):
        read_definition(people(expect=[{"name": "e", "sql": "true", "on_fail": "reject"}]))
    with pytest.raises(FlowError, match="'e' appears twice"):
        read_definition(people(rules=[{"name": "e", "sql": "true"}], expect=[{"name": "e", "sql": "true"}]))
