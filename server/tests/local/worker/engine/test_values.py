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


def test_integers_beyond_a_double(tmp_path: Path) -> None:
    """Parquet has no HUGEINT: such a column would be a DOUBLE there, and its values no longer unique."""
    big = [10**37 + n for n in range(3)]
    columns = {"v": {"type": "integer", "sql_type": "HUGEINT", "unique": True}}
    for suffix in (".parquet", ".csv", ".ndjson"):
        content = "v\n" + "".join(f"{value}\n" for value in (*big, 10**38 - 1, 10**38))
        result = execute(tmp_path / suffix, content, suffix, columns=columns)
        found = [int(value) for (value,) in result.mapped] if suffix == ".parquet" else None
        assert found in (None, [*big, 10**38 - 1])
        assert result.reasons == ["v: is not a valid HUGEINT"]
    lines = (tmp_path / ".ndjson/mapped.ndjson").read_text().splitlines()
    assert lines == [f'{{"v":{value}}}' for value in (*big, 10**38 - 1)]


def test_a_timestamp_has_no_offset(tmp_path: Path) -> None:
    values = ["2024-01-05T10:00:00+02:00", "2024-01-05 10:00:00Z", "2024-01-05 10:00:00", "2024-01-05"]
    column = {"format": "date-time", "sql_type": "TIMESTAMP"}
    assert kept(one_column(tmp_path / "a", values, **column)) == [
        *("reject", "reject", "2024-01-05 10:00:00", "2024-01-05 00:00:00")
    ]
    assert kept(one_column(tmp_path / "b", values, format="date-time")) == [
        *("2024-01-05 08:00:00", "2024-01-05 10:00:00", "2024-01-05 10:00:00", "2024-01-05 00:00:00")
    ]


@pytest.mark.parametrize(
    ("column", "prefix"),
    [
        ({"format": "time"}, ""),
        ({"format": "date-time"}, "2024-01-05 "),
        ({"format": "date-time", "sql_type": "TIMESTAMP"}, "2024-01-05T"),
    ],
)
def test_times_of_day(tmp_path: Path, column: dict[str, Any], prefix: str) -> None:
    times = ["10:00:00.123456", "10:00:00.1234560", "10:00:00.1234567", "10:00:00.000000001"]
    times += ["24:00:00", "23:59:60", "23:60", "23:59:59.999999"]
    found = kept(one_column(tmp_path, [prefix + time for time in times], **column))
    day = "2024-01-05 " if prefix else ""
    assert found == [
        *(f"{day}10:00:00.123456", f"{day}10:00:00.123456", "reject", "reject"),
        *("reject", "reject", "reject", f"{day}23:59:59.999999"),
    ]


def test_days_that_no_calendar_has(tmp_path: Path) -> None:
    values = ["0000-01-01", "0001-01-01", "9999-12-31", "2023-02-29", "infinity"]
    assert kept(one_column(tmp_path / "a", values, format="date")) == [
        *("reject", "0001-01-01", "9999-12-31", "reject", "reject")
    ]
    edges = ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00Z"]
    assert kept(one_column(tmp_path / "b", edges, format="date-time")) == [
        *("reject", "reject", "0001-01-01 00:00:00")
    ]


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


@pytest.mark.parametrize(
    ("sql_type", "type_", "generous"),
    [
        ("BIGINT", "integer", ["12.7", "1e3", "1_000", "0x1F", "0b1", "1.", ""]),
        ("DECIMAL(12,2)", "number", ["1e2", "1_0.00", "1.005", "1.2.3", "inf"]),
    ],
)
def test_spellings_that_only_duckdb_takes(
    tmp_path: Path, sql_type: str, type_: str, generous: list[str]
) -> None:
    values = [*generous, " 12", "+12", "012", "12"]
    found = kept(one_column(tmp_path, values, type=type_, sql_type=sql_type))
    plain = "12.00" if type_ == "number" else "12"
    assert found == ["None" if value == "" else "reject" for value in generous] + [plain] * 4


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
