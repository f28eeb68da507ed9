"""Values of Parquet that DuckDB has no type for: they are read exactly, or the run says which column it is."""

import datetime as dt
import struct
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import pyarrow.parquet
import pytest
from local.one_run import execute

from lume_async import ConfigurationError
from lume_local import open_sample
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats import parquet

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

IS_OLD = int(duckdb.__version__.split(".")[0]) < 2
WIDE = pa.decimal256(76, 38)
TENTH = Decimal("0.10")
NANOS = 1_700_000_000_123_456_789


def written(folder: Path, values: Any, kind: Any, **options: Any) -> bytes:
    """A file with a column `v`, and another one."""
    path = folder / "made.parquet"
    with localcontext() as context:
        context.prec = 80
        table = pa.table({"id": list(range(len(values))), "v": pa.array(values, kind)})
    pq.write_table(table, path, **options)
    return path.read_bytes()


def sampled(path: Path) -> list[list[str | None]]:
    with open_sample(path) as sample:
        return sample.rows({"format": "parquet"}).rows


def run(folder: Path, content: bytes, **column: Any) -> list[Any]:
    columns = {"id": {"type": "integer"}, "v": column}
    result = execute(folder / "run", content, source={"format": "parquet"}, columns=columns)
    return [value for _, value in result.mapped]


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ([TENTH], WIDE, r"column 'v' of .*source is decimal\(76,38\): no more than 38 digits"),
        ([TENTH], pa.decimal256(39, 2), r"decimal\(39,2\): no more than 38 digits"),
        ([[TENTH]], pa.list_(WIDE), r"decimal\(76,38\) \(in it v\.list\.element\)"),
        ([{"a": TENTH}], pa.struct([("a", WIDE)]), r"decimal\(76,38\) \(in it v\.a\)"),
        ([[("k", TENTH)]], pa.map_(pa.string(), WIDE), r"decimal\(76,38\) \(in it v\.key_value\.value\)"),
        ([[{"a": [TENTH]}]], pa.list_(pa.struct([("a", pa.list_(WIDE))])), r"\(in it v\.list\.element\.a"),
    ],
)
def test_decimals_of_more_digits_are_refused(tmp_path: Path, values: Any, kind: Any, words: str) -> None:
    """Also where the flow doesn't read them: they would stand in its rejects."""
    content = written(tmp_path, values, kind)
    with pytest.raises(RunFailed, match=f"{words}.* or as a string, then submit that. Nothing was read"):
        run(tmp_path, content, sql="v" if kind is WIDE else "id")
    with pytest.raises(ConfigurationError, match=r"^column 'v' of made.parquet is dec"):
        sampled(tmp_path / "made.parquet")


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (Decimal("0.10"), pa.decimal256(38, 2), "0.10"),
        (Decimal("-" + "9" * 36 + ".99"), pa.decimal128(38, 2), "-" + "9" * 36 + ".99"),
        ([Decimal("9" * 36 + ".99")], pa.list_(pa.decimal256(38, 2)), "[" + "9" * 36 + ".99]"),
        (2**64 - 1, pa.uint64(), "18446744073709551615"),
        ([2**64 - 1], pa.list_(pa.uint64()), "[18446744073709551615]"),
        (NANOS, pa.timestamp("ns"), "2023-11-14 22:13:20.123456789"),
        ([NANOS], pa.list_(pa.timestamp("ns")), '["2023-11-14 22:13:20.123456789"]'),
    ],
)
def test_what_has_room_is_exact(tmp_path: Path, value: Any, kind: Any, text: str) -> None:
    assert run(tmp_path, written(tmp_path, [value], kind)) == [text]


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1, pa.time64("ns"), "00:00:00.000000001"),
        (NANOS, pa.timestamp("ns", "UTC"), "2023-11-14 22:13:20.123456789+00"),
        ([NANOS], pa.list_(pa.timestamp("ns", "UTC")), '["2023-11-14 22:13:20.123456789+00"]'),
    ],
)
def test_nanoseconds(tmp_path: Path, value: Any, kind: Any, text: str) -> None:
    content = written(tmp_path, [value], kind)
    if IS_OLD:
        with pytest.raises(RunFailed, match=r"column 'v' of .* in nanoseconds.* Install DuckDB 2 or later"):
            run(tmp_path, content)
    else:
        assert run(tmp_path, content) == [text]


def test_nanoseconds_that_a_type_has_no_room_for_are_a_reject(tmp_path: Path) -> None:
    content = written(tmp_path, [NANOS, NANOS // 1000 * 1000], pa.timestamp("ns"))
    moment = dt.datetime(2023, 11, 14, 22, 13, 20, 123456)
    assert run(tmp_path, content, format="date-time", sql_type="TIMESTAMP") == [moment]


MOMENTS = [
    "2023-11-14 22:13:20.5",
    "0001-01-01 00:00:00",
    "9999-12-31 23:59:59.999999",
    "1969-12-31 23:59:59",
    None,
]


def test_int96_as_other_moments_are_written(tmp_path: Path) -> None:
    values = [moment and dt.datetime.fromisoformat(moment) for moment in MOMENTS]
    content = written(tmp_path, values, pa.timestamp("us"), use_deprecated_int96_timestamps=True)
    if IS_OLD:
        with pytest.raises(RunFailed, match=r"column 'v' of .* is a timestamp of the type INT96"):
            run(tmp_path, content)
    else:
        assert run(tmp_path, content) == MOMENTS


@pytest.mark.skipif(IS_OLD, reason="it is refused")
def test_int96_keeps_its_nanoseconds(tmp_path: Path) -> None:
    content = written(tmp_path, [NANOS, -1], pa.timestamp("ns"), use_deprecated_int96_timestamps=True)
    assert run(tmp_path, content) == ["2023-11-14 22:13:20.123456789", "1969-12-31 23:59:59.999999999"]


@pytest.mark.skipif(IS_OLD, reason="it is refused")
def test_int96_in_a_column_whose_name_is_there_twice(tmp_path: Path) -> None:
    """But for case: DuckDB then calls the second one otherwise."""
    path = tmp_path / "made.parquet"
    moments = [pa.array([nanos], pa.timestamp("ns")) for nanos in (NANOS, NANOS + 1)]
    table = pa.Table.from_arrays([pa.array([{"a": 1}]), *moments], names=["v", "At", "at"])
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    (row,) = sampled(path)
    assert row == ['{"a":1}', "2023-11-14 22:13:20.123456789", "2023-11-14 22:13:20.12345679"]


def test_int96_within_another_value_is_refused(tmp_path: Path) -> None:
    content = written(tmp_path, [[NANOS]], pa.list_(pa.timestamp("ns")), use_deprecated_int96_timestamps=True)
    words = r"column 'v' of .* is a timestamp of the type INT96 \(in it v\.list\.element\): its nanoseconds"
    with pytest.raises(RunFailed, match=words):
        run(tmp_path, content)


def test_int96_of_spark_has_microseconds(tmp_path: Path) -> None:
    path = tmp_path / "made.parquet"
    moments = [[dt.datetime(2023, 11, 14, 22, 13, 20, 5)]]
    table = pa.table({"id": [0], "v": pa.array(moments, pa.list_(pa.timestamp("us")))})
    table = table.replace_schema_metadata({parquet._OF_SPARK: "3.5.1"})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    assert run(tmp_path, path.read_bytes()) == ['["2023-11-14 22:13:20.000005"]']


def test_a_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    ends = pyarrow.py_buffer(struct.pack("<4i", 0, 2, 6, 7))
    names = pyarrow.StringArray.from_buffers(3, ends, pyarrow.py_buffer(b"okJ\xf6rgx"))
    path = tmp_path / "people.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"id": [1, 2, 3], "name": names}), path)
    said = r"the column 'name' of .* has a text that is not valid UTF-8: \"J\\xF6rg\": write the file again"
    with pytest.raises(RunFailed, match=said):
        execute(tmp_path, path.read_bytes(), columns={"name": {}}, source={"format": "parquet"})
    with open_sample(path) as sample, pytest.raises(ConfigurationError, match=said):
        sample.rows({"format": "parquet"})
