"""strptime by way of try_strptime: the same values, and the same rejects, as DuckDB's TRY gives."""

from pathlib import Path
from typing import Any

import duckdb
import pytest
from local.one_run import one_column

VALUES = [
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
        return one_column(tmp_path / name, VALUES, sql=sql, sql_type="TIMESTAMP")

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
    from lume_local._flow.fields import FlowError

    with pytest.raises(FlowError, match=r"columns\.v\.sql: .*format"):
        one_column(tmp_path, ["x"], sql="strptime(v, '%!')")
