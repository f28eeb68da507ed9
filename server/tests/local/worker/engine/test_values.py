"""Values that a type can't hold exactly, and values that are none: kept or rejected, never changed."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from local.one_run import execute, one_column

from lume_local._flow.fields import FlowError
from lume_local._worker.compiler import columns


def kept(values: list[Any]) -> list[str]:
    return ["reject" if value is ... else str(value) for value in values]


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("DATE '0001-01-01' - CAST(v AS INTEGER)", {"format": "date"}),
        ("DATE 'infinity' + CAST(v AS INTEGER)", {"format": "date"}),
        ("DATE '9999-12-31' + CAST(v AS INTEGER)", {"format": "date"}),
        (
            "TIMESTAMP '0001-01-01' - to_days(CAST(v AS INTEGER))",
            {"format": "date-time", "sql_type": "TIMESTAMP"},
        ),
        ("CAST('2' || CAST(v AS INTEGER) + 3 || ':00:00' AS TIME)", {"format": "time"}),
        ("CAST(v AS DOUBLE) / 0", {"type": "number"}),
        ("CAST(v AS DOUBLE) / 0", {"type": "number", "sql_type": "FLOAT"}),
        ("sqrt(-CAST(v AS DOUBLE))", {"type": "number"}),
        ("CAST('nan' AS DOUBLE)", {"type": "number"}),
        ("CAST(v AS INTEGER) + 1", {"type": "boolean"}),
        ("CAST('9.99' AS DECIMAL(3,2))", {"type": "number", "sql_type": "DECIMAL(3,0)"}),
        ("strptime('2024-01-01 10:00:00.123456789', '%Y-%m-%d %H:%M:%S.%n')", {"format": "date-time"}),
        ("strptime('1900-01-01 10:00:00.123456789', '%Y-%m-%d %H:%M:%S.%n')", {"format": "time"}),
        ("strptime('2024-01-01 10:30', '%Y-%m-%d %H:%M')", {"format": "time"}),
    ],
)
def test_results_of_expressions_that_would_change(tmp_path: Path, sql: str, column: dict[str, Any]) -> None:
    columns = {
        "n": {"type": "integer", "sql": "v"},
        "v": {"sql": f"CASE WHEN v <> '0' THEN {sql} END", **column},
    }
    result = execute(tmp_path, "v\n0\n1\n", ".ndjson", columns=columns)
    assert result.mapped == [(0, None)]
    assert result.reasons[0].startswith("v: is not a valid")


@pytest.mark.parametrize(
    ("wanted", "values"),
    [
        ("TINYINT", ["-128", "127", "0"]),
        ("DECIMAL(38,0)", ["-" + "9" * 38, "7"]),
        ("DECIMAL(2,2)", ["-0.99", "0", "0.5"]),
        ("DECIMAL(18,3)", ["-123456789012345.678", "0.001"]),
        ("DATE", ["0001-01-01", "9999-12-31", "2024-02-29"]),
        ("TIME", ["00:00:00", "23:59:59.999999", "10:00:00.5"]),
        ("TIMESTAMP", ["0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", "2024-01-05 10:00:00.5"]),
    ],
)
def test_a_value_as_duckdb_writes_it_has_the_shape_of_its_type(wanted: str, values: list[str]) -> None:
    """So no pattern is tried for it."""
    shape = columns._shape(wanted)
    with duckdb.connect() as connection:
        for value in values:
            query = f"SELECT regexp_full_match(CAST(CAST('{value}' AS {wanted}) AS VARCHAR), '{shape}')"
            assert connection.execute(query).fetchall() == [(True,)], value


# strptime by way of try_strptime: the same values, and the same rejects, as DuckDB's TRY gives.

DAYS = [
    *("2024-02-29", "2023-02-29", "29/02/2024", "Feb 29, 2024", "feb 29, 2024", " 2024-02-29", "2024-02-29 "),
    *("", "0000-01-01", "9999-12-31", "10000-01-01", "infinity", "-infinity", "epoch", "today", "2024-2-3"),
    *("24-02-03", "2024-02-29 10:00", "2024-02-29T10:00:00", "x", "2024-13-01", "01/13/2024"),
    *("2024-02-29\t", "é", "20240229"),
]


@pytest.mark.parametrize(
    "formats", ["'%Y-%m-%d'", "['%Y-%m-%d', '%d/%m/%Y', '%b %d, %Y']", "['%Y-%m-%d %H:%M', '%x']", "'%Y%m%d'"]
)
def test_the_same_as_try(tmp_path: Path, formats: str) -> None:
    def outcomes(name: str, sql: str) -> list[Any]:
        return one_column(tmp_path / name, DAYS, sql=sql, sql_type="TIMESTAMP")

    value = "CASE WHEN v <> 'x' THEN upper(trim(v)) END"
    quick = outcomes("quick", f"strptime({value}, {formats})")
    assert quick == outcomes("tried", f"strptime({value}, {formats}) + INTERVAL 0 DAY")


def test_formats_with_offsets(tmp_path: Path) -> None:
    both = "SELECT typeof(strptime('2024 +02', '%Y %z')), typeof(try_strptime('2024 +02', '%Y %z'))"
    with duckdb.connect() as connection:
        (types,) = connection.execute(both).fetchall()
    assert len(set(types)) == 1
    found = one_column(
        tmp_path, ["2024-02-03 +0200", "no"], sql="strptime(v, '%Y-%m-%d %z')", format="date-time"
    )
    assert found[1] is ...


def test_a_format_that_is_no_format(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match=r"columns\.v\.sql: .*format"):
        one_column(tmp_path, ["x"], sql="strptime(v, '%!')")
