"""The engine over files: which rows are mapped, which are rejected and why. In this process, without HTTP."""

import csv
import datetime as dt
import gzip
import json
import re
import resource
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from local import one_run
from local.one_run import carried_out, compiled, execute, job_of, one_column
from local.staging import PLACES, stage_in

from lume_local._worker import engine, one_process
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.stage import Staged, stage
from lume_local._worker.steps import Context
from lume_local._worker.targets.target_kinds import finish

CASTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"type": "integer"},
        {
            "12": 12,
            " -3 ": -3,
            "+4": 4,
            "007": 7,
            "12.0": ...,
            "12.7": ...,
            "1e3": ...,
            "0x1F": ...,
            "1_000": ...,
        }
        | {"": None, "x": ..., "9223372036854775807": 2**63 - 1, "9223372036854775808": ..., "٣": ...},
    ),
    ({"type": "integer", "sql_type": "TINYINT"}, {"127": 127, "128": ...}),
    (
        {"type": "number"},
        {
            "1.5": 1.5,
            "-2": -2.0,
            ".5": 0.5,
            "1e3": 1000.0,
            "nan": ...,
            "inf": ...,
            "Infinity": ...,
            "1,5": ...,
            "0x1": ...,
            "1e309": ...,
            "1e-400": 0.0,
        },
    ),
    (
        {"type": "number", "sql_type": "DECIMAL(6,2)"},
        {
            "12.34": Decimal("12.34"),
            "12.3400": Decimal("12.34"),
            "12.345": ...,
            "12345.67": ...,
            "1e2": ...,
            "7": Decimal(7),
        },
    ),
    (
        {"type": "number", "sql_type": "DECIMAL(2,2)"},
        {"0.99": Decimal("0.99"), ".50": Decimal("0.5"), ".005": ..., "1": ..., "1.00": ..., ".": ...},
    ),
    (
        {"type": "number", "sql_type": "DECIMAL(3,0)"},
        {".5": ..., "5.": Decimal(5), "5.0": Decimal(5), "5.1": ...},
    ),
    (
        {"format": "date"},
        {
            "0000-01-01": ...,
            "0001-01-01": dt.date(1, 1, 1),
            "9999-12-31": dt.date(9999, 12, 31),
            "infinity": ...,
        },
    ),
    (
        {"format": "time"},
        {
            "10:00:00.1234560": dt.time(10, 0, 0, 123456),
            "10:00:00.1234567": ...,
            "24:00:00": ...,
            "23:60": ...,
        },
    ),
    (
        {"format": "date-time", "sql_type": "TIMESTAMP"},
        {
            "2024-01-05T10:00:00": dt.datetime(2024, 1, 5, 10),
            "2024-01-05T10:00:00Z": ...,
            "2024-01-05T23:59:60": ...,
        }
        | {"2024-01-05 10:00:00+02:00": ..., "2024-01-05 10:00:00.000000001": ...},
    ),
    (
        {"format": "date-time"},
        {"2024-01-05 10:00:00+02:00": dt.datetime(2024, 1, 5, 8), "9999-12-31T23:59:59-01:00": ...}
        | {"0001-01-01T00:00:00+01:00": ..., "0001-01-01T00:00:00Z": dt.datetime(1, 1, 1)},
    ),
    ({"type": "number", "sql_type": "FLOAT"}, {"1e39": ..., "0.5": 0.5}),
    ({"type": "boolean"}, {"true": True, "No": False, " Y ": True, "0": False, "2": ..., "wahr": ...}),
    (
        {"format": "email"},
        {"a@b.org": "a@b.org", "a@b": ..., "a b@c.org": ..., "@b.org": ..., "a@b@c.org": ...},
    ),
    (
        {"format": "uuid"},
        {"6f1ed002-ab5e-4f2a-8f2c-0a1b2c3d4e5f": "6f1ed002-ab5e-4f2a-8f2c-0a1b2c3d4e5f", "6f1ed002": ...},
    ),
    ({"format": "uri"}, {"https://x.org/a": "https://x.org/a", "x.org": ..., "http://a b": ...}),
    ({"format": "ipv4"}, {"192.168.0.1": "192.168.0.1", "256.1.1.1": ..., "1.2.3": ..., "01.2.3.4": ...}),
    ({"enum": ["a", "b'c"]}, {"a": "a", "b'c": "b'c", "A": ..., "": None}),
    ({"type": "integer", "enum": [1, 2]}, {"1": 1, "3": ...}),
    ({"pattern": "^[A-Z]{2}"}, {"DE1": "DE1", "de": ..., "D": ...}),
    ({"minLength": 2, "maxLength": 3}, {"é": ..., "éé": "éé", "abcd": ...}),
    ({"type": "integer", "minimum": 0, "maximum": 9}, {"0": 0, "9": 9, "-1": ..., "10": ...}),
    ({"type": "integer", "minimum": 0.5}, {"0": ..., "1": 1}),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, {"0": ..., "0.5": 0.5, "1": ...}),
    (
        {"sql": "round(CAST(v AS DOUBLE) * 2, 1)", "type": "number", "sql_type": "DECIMAL(5,1)"},
        {"1.1": Decimal("2.2"), "x": ...},
    ),
    ({"sql": "CAST(v AS DOUBLE)", "type": "integer"}, {"3.0": 3, "3.5": ...}),
    ({"sql": "CAST(v AS INTEGER)", "type": "string"}, {"3": "3", "x": ...}),
]


@pytest.mark.parametrize(("column", "expected"), CASTS, ids=lambda value: json.dumps(value, default=str)[:50])
def test_values_are_taken_strictly_or_rejected(
    tmp_path: Path, column: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert dict(zip(expected, one_column(tmp_path, list(expected), **column), strict=True)) == expected


def texts(values: list[Any]) -> list[str]:
    return ["reject" if value is ... else str(value) for value in values]


def test_dates_and_times(tmp_path: Path) -> None:
    days = ["2024-02-29", "2023-02-29", "2024/01/05", "epoch", "2024-01-05 10:00", "2024"]
    assert texts(one_column(tmp_path / "a", days, format="date")) == ["2024-02-29", *["reject"] * 5]
    limits = one_column(tmp_path / "b", ["2019-12-31", "2020-01-01"], format="date", minimum="2020-01-01")
    assert texts(limits) == ["reject", "2020-01-01"]
    dropped = ["2024-01-05 00:00", "2024-01-05 10:00"]
    sql = "strptime(v, '%Y-%m-%d %H:%M')"
    assert texts(one_column(tmp_path / "c", dropped, format="date", sql=sql)) == ["2024-01-05", "reject"]
    times = ["2024-01-05T10:00:00+02:00", "2024-01-05 10:00:00.5Z", "2024-01-05", "soon"]
    found = one_column(tmp_path / "d", times, format="date-time")
    assert found[3] is ...
    assert texts(found[:3]) == ["2024-01-05 08:00:00", "2024-01-05 10:00:00.500000", "2024-01-05 00:00:00"]
    assert texts(one_column(tmp_path / "e", ["10:30", "25:00"], format="time")) == ["10:30:00", "reject"]


@examples(25)
@given(
    st.lists(
        st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=6),
        max_size=12,
    )
)
def test_any_text_comes_through_unchanged(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    with (folder / "file").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(["v"])
        writer.writerows([[value] for value in values])
    result = execute(folder / "out", (folder / "file").read_bytes(), columns={"v": {}})
    assert [row[0] or "" for row in result.mapped] == values


def test_the_first_of_equal_values_wins(tmp_path: Path) -> None:
    columns = {"id": {"type": "integer", "unique": True}, "mail": {"unique": True, "required": True}}
    result = execute(tmp_path, "id,mail\n1,\n1,a\n1,b\n2,a\n1,a\n,c\n,d\n2,b\n", columns=columns)
    # A row that is rejected for any reason holds no value against the others.
    assert result.mapped == [(1, "a"), (None, "c"), (None, "d"), (2, "b")]
    assert result.reasons == [
        "mail: is required",
        "id: repeats the value of an earlier row",
        "mail: repeats the value of an earlier row",
        "id: repeats the value of an earlier row; mail: repeats the value of an earlier row",
    ]
    assert [row["mail"] for row in result.rejects] == ["", "b", "a", "a"]
    assert result.metrics["reject_reasons"]["id: repeats the value of an earlier row"] == 2


def test_rules(tmp_path: Path) -> None:
    columns = {"low": {"type": "integer"}, "high": {"type": "integer"}}
    rules = [
        {"name": "order", "sql": "low <= high", "message": "low is above high"},
        {"name": "wide", "sql": "high - low < 10", "message": "is a wide range", "on_fail": "warn"},
        {"name": "thrown", "sql": "CAST('1' || repeat('0', low::BIGINT) AS INTEGER) > 0", "on_fail": "warn"},
    ]
    result = execute(tmp_path, "low,high\n1,2\n3,2\n,2\n1,50\n9,9\n10,10\n", columns=columns, rules=rules)
    assert result.mapped == [(1, 2), (None, 2), (1, 50), (9, 9), (10, 10)]
    assert result.reasons == ["order: low is above high"]
    assert result.metrics["warnings"] == {"wide: is a wide range": 1, "thrown: is broken": 1}


def test_a_division_by_zero_meets_no_rule(tmp_path: Path) -> None:
    """Infinity and NaN would be greater than any limit."""
    rules = [
        {"name": "share", "sql": "1 / (id - 1) > 0"},
        {"name": "same", "sql": "(id - 1) / (id - 1) >= 0.9"},
    ]
    result = execute(tmp_path, "id\n1\n2\n", rules=rules)
    assert result.metrics["reject_reasons"] == {"share: is broken": 1, "same: is broken": 1}
    assert result.metrics["rows_mapped"] == 1


def test_a_rule_may_fail_the_run(tmp_path: Path) -> None:
    rules = [{"name": "few", "sql": "id < 3", "message": "too many", "on_fail": "fail"}]
    words = "2 rows break the rule 'few: too many', which must never be broken: line 3 is the first"
    with pytest.raises(RunFailed, match=words) as caught:
        execute(tmp_path / "two", "id\n1\n3\n4\n", rules=rules)
    assert caught.value.metrics is not None
    assert not (tmp_path / "two" / "mapped.parquet").exists()
    with pytest.raises(RunFailed, match=r"1 row breaks .*: line 4\. Nothing was written"):
        execute(tmp_path / "one", "id\n1\n2\n4\n", rules=rules)


@pytest.mark.parametrize(("ratio", "fails"), [(0.2, True), (0.25, False), (0, True), (1, False)])
def test_the_share_of_rejects_is_limited(tmp_path: Path, ratio: float, fails: bool) -> None:
    content, limit = "id\n1\n2\n3\nx\n", {"max_ratio": ratio}
    if not fails:
        assert execute(tmp_path, content, rejects=limit).metrics["rows_rejected"] == 1
        return
    with pytest.raises(RunFailed, match="1 of 4 rows was rejected") as caught:
        execute(tmp_path, content, rejects=limit)
    assert "id: is not a valid integer (1)" in str(caught.value)
    assert list(tmp_path.glob("*.*")) == []


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".ndjson"])
def test_targets(tmp_path: Path, suffix: str) -> None:
    columns = {"id": {"type": "integer"}, 'odd "name", é': {"sql": "t"}}
    result = execute(tmp_path, 'id,t\n1,"a, ""b"""\n2,\n', suffix, columns=columns)
    assert result.mapped == [(1, 'a, "b"'), (2, None)]


def test_a_wrong_encoding_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="is not utf-16"):
        execute(tmp_path, b"t\nabc", source={"csv": {"encoding": "utf-16"}}, columns={"t": {}})


@pytest.mark.parametrize(
    ("encoding", "saved", "mark"),
    [("latin-1", "utf-8-sig", "UTF-8"), ("utf-8", "utf-16", "UTF-16"), ("utf-16", "utf-8-sig", "UTF-8")],
)
def test_another_encoding_is_refused(tmp_path: Path, encoding: str, saved: str, mark: str) -> None:
    with pytest.raises(RunFailed, match=f"begins with the byte order mark of {mark}, but ") as caught:
        execute(tmp_path, "t\nab".encode(saved), source={"csv": {"encoding": encoding}}, columns={"t": {}})
    assert f"reads {encoding}: save the file with the encoding {encoding} (in Python: open(" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("utf-16-le", "\ufefft\nJörg".encode("utf-16-le")),
        ("utf-32", "t\nJörg".encode("utf-32")),
        ("latin-1", "_lume_row,t\n1,Jörg".encode("latin-1")),
        ("cp1251", "_lume_row,t\n1,Jörg".encode()),  # may well be that
        ("latin-1", "t\nJörg".encode()),  # a program's file: its text may be so
    ],
)
def test_an_encoding_that_may_be_right_is_read(tmp_path: Path, encoding: str, content: bytes) -> None:
    result = execute(tmp_path, content, source={"csv": {"encoding": encoding}}, columns={"t": {}})
    assert [row[0][0] for row in result.mapped] == ["J"]


OF_REJECTS = "_lume_row,_lume_line,_lume_reasons,id,t,_lume_raw\n1,2,id: no,1,Jörg,\n"


@pytest.mark.parametrize(
    ("content", "changes", "advice"),
    [
        ("id,t\n1,Jörg\n2,5 €\n", {}, 'set csv.encoding = "cp1252" in [source]'),
        ("id,t\n1,Jörg\n2,Ann\n", {"rejects": {"max_ratio": 0.1}}, 'set csv.encoding = "cp1252" in [source]'),
        ("id,größe\n1,Jörg\n", {"columns": {"größe": {}}}, 'set csv.encoding = "cp1252" in [source]'),
        (OF_REJECTS, {}, "save these corrected rejects with the encoding utf-8, which the flow reads"),
    ],
)
def test_of_what_is_not_utf_8_it_is_said_what_it_looks_like(
    tmp_path: Path, content: str, changes: dict[str, Any], advice: str
) -> None:
    with pytest.raises(RunFailed, match="not valid UTF-8") as caught:
        execute(tmp_path, content.encode("cp1252"), **{"columns": {"t": {}}, **changes})
    assert f". It looks like cp1252: {advice}" in str(caught.value)


def test_what_is_no_cp1252_either_is_not_called_so(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="not valid UTF-8") as caught:
        execute(tmp_path, b"t\nJ\x81rg\n", columns={"t": {}})
    assert "cp1252" not in str(caught.value)


def test_names_of_the_source_may_be_anything(tmp_path: Path) -> None:
    content = 'a\'b,"c""d",,select,same,same\n1,2,3,4,5,x\n'
    columns = {
        "id": {"sql": '"a\'b"', "type": "integer"},
        "q": {"sql": '"c""d"'},
        "s": {"sql": '"select"', "enum": ["4"]},
    }
    result = execute(tmp_path, content + "y,2,3,4,5,x\n", columns=columns)
    assert result.mapped == [(1, "2", "4")]
    (reject,) = result.rejects
    assert list(reject)[3:-1] == ["a'b", 'c"d', "column_3", "select", "same_1", "same_2"]


def test_a_source_that_is_written_to_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interfere(*args: Any) -> Staged:
        with (tmp_path / "source").open("a") as file:
            file.write("3\n")
        return stage(*args)

    monkeypatch.setattr(one_process, "stage", interfere)
    with pytest.raises(RunFailed, match="was changed while it was read"):
        execute(tmp_path, "id\n1\n2\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.csv", r'data: Could not write file "/\S+/mapped\.csv": File too large$'),
        ("a.csv.gz", r"a file can't be used: File too large \(see `ulimit -f`\)$"),
    ],
    ids=["DuckDB writes its output", "Python unpacks the source"],
)
def test_a_file_beyond_the_limit_of_the_process(tmp_path: Path, name: str, words: str) -> None:
    rows = "".join(f"{n},{n * 7919 % 100_003}\n" for n in range(60_000))
    content = f"id,name\n{rows}".encode()
    content = gzip.compress(content, 1) if name.endswith(".gz") else content
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(stage: str, rows: int | None) -> None:  # from here on, as the source is written first
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))

    (tmp_path / "run").mkdir()
    (source := tmp_path / name).write_bytes(content)
    flow = compiled(columns=one_run.ID_AND_NAME)
    job = job_of(flow, tmp_path / "run", [source], tmp_path / "mapped.csv", tmp_path / "rejects.csv")
    try:
        with connect() as connection, pytest.raises(RunFailed, match=words):
            one_process.execute(Context(connection, job, limited))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_target_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "mapped.parquet").mkdir()
    with pytest.raises(RunFailed, match=r"target\.mapped is a folder"):
        execute(tmp_path, "id\n1\n2\n")


def at_fixed_paths(folder: Path, name: str, content: str) -> dict[str, Any]:
    """What a run has committed whose targets are those of all other runs."""
    source, work = folder / f"{name}.csv", folder / name
    source.write_text(content)
    work.mkdir()
    with connect() as connection:
        job = job_of(compiled(), work, [source], folder / "mapped.csv", folder / "rejects.csv")
        record = carried_out(connection, job)
    assert finish(work) == record, "carried out again, by another process"
    return record


def test_rejects_of_an_earlier_run_do_not_stay_beside_a_clean_one(tmp_path: Path) -> None:
    rejects = tmp_path / "rejects.csv"
    assert at_fixed_paths(tmp_path, "a", "id\n1\nx\n")["target_locations"]["rejects"] == str(rejects)
    assert rejects.exists()
    assert at_fixed_paths(tmp_path, "b", "id\n2\n")["target_locations"]["rejects"] is None
    assert (tmp_path / "mapped.csv").read_text() == "id\n2\n"
    assert not rejects.exists()
    at_fixed_paths(tmp_path, "c", "id\n3\n")
    assert list(tmp_path.glob(".*")) == []


def test_rejects_that_come_while_a_clean_run_ends_are_another_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejects = tmp_path / "rejects.csv"
    at_fixed_paths(tmp_path, "a", "id\n1\nx\n")

    def commit(*args: Any) -> None:
        real(*args)
        rejects.write_text("another run's\n")

    real = engine.commit
    monkeypatch.setattr(engine, "commit", commit)
    at_fixed_paths(tmp_path, "b", "id\n2\n")
    assert rejects.read_text() == "another run's\n"


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where rows are staged."""
    name: str = request.param
    stage_in(monkeypatch, name)
    return name


def test_many_rows_stay_in_order_wherever_they_are_staged(tmp_path: Path, place: str) -> None:
    """Of several row groups, written by two threads."""
    count, columns = 150_000, {"id": {"type": "integer", "required": True}}
    content = "id\n" + "".join("x\n" if n % 1000 == 7 else f"{n}\n" for n in range(count))
    result = execute(tmp_path, content, columns=columns)
    assert [row[0] for row in result.mapped] == [n for n in range(count) if n % 1000 != 7]
    assert [int(row["_lume_row"]) for row in result.rejects] == list(range(8, count + 1, 1000))
    assert (tmp_path / "run" / "stage.parquet").exists() == (place != "memory")


class Explaining:
    """A connection that tells how DuckDB carries out the parts of the statement that writes two files."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, threads: int) -> None:
        self._real, self._threads = connection, threads
        self.modes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def execute(self, query: str, *more: Any) -> Any:
        query = query.replace("threads=2", f"threads={self._threads}")
        if query.startswith("WITH _lume_rows"):
            row = self._real.execute(f"EXPLAIN ANALYZE {query}").fetchone()
            assert row is not None
            self.modes = re.findall(r"Execution Mode: (\w+)", row[1])
        return self._real.execute(query, *more)


@pytest.mark.skipif("at once" not in PLACES, reason="before DuckDB 2 no statement writes two files")
@pytest.mark.parametrize(("threads", "at_once"), [(2, True), (1, False)])
def test_no_row_is_kept_where_two_files_are_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, at_once: bool
) -> None:
    stage_in(monkeypatch, "at once")
    made: list[Explaining] = []

    def explaining() -> Any:
        made.append(Explaining(connect(), threads))
        return closing(made[0])

    monkeypatch.setattr(one_run, "connect", explaining)
    assert execute(tmp_path, "id\n1\nx\n3\n").mapped == [(1,), (3,)]
    assert made[0].modes[:1] == (["STREAMING_FANOUT"] if at_once else [])


@pytest.mark.skipif("at once" not in PLACES, reason="DuckDB 1 writes one file at a time")
@pytest.mark.parametrize(("columns", "at_once"), [(200, True), (201, False)])
def test_a_wide_file_is_not_written_to_two_files_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int, at_once: bool
) -> None:
    """They hold their columns until there are many rows: a thousand of them didn't fit."""
    stage_in(monkeypatch, "at once")
    monkeypatch.setattr("lume_local._worker.stage.PART_IN_MEMORY", sys.maxsize)
    names = ",".join(["id", *(f"c{n}" for n in range(1, columns))])
    content = f"{names}\n" + "".join(f"{value}{',x' * (columns - 1)}\n" for value in ("1", "bad", "3"))
    assert execute(tmp_path, content, columns={"id": {"type": "integer"}}).mapped == [(1,), (3,)]
    assert (tmp_path / "run" / "stage.parquet").exists() == at_once


def test_long_lines_are_staged_wherever_rows_are(tmp_path: Path, place: str) -> None:
    """The buffers of the reader grow with them."""
    lines = [f"{n},{'x' * (2_900_000 if n % 5 == 2 else 10)}\n" for n in range(20)]
    columns = {"id": {"type": "integer"}, "t": {}}
    content = "id,t\n" + "".join(lines) + "bad,x\n"
    result = execute(tmp_path, content, columns=columns, source={"max_line_bytes": 3_000_000})
    assert [(n, len(t)) for n, t in result.mapped] == [
        (n, 2_900_000 if n % 5 == 2 else 10) for n in range(20)
    ]
    assert (tmp_path / "run" / "stage.parquet").exists() == (place != "memory")


@pytest.mark.parametrize(
    ("bad", "rules", "is_written_once"),
    [
        ([], [], True),
        ([29_000], [], False),  # behind the rows that are looked at first
        ([], [{"name": "small", "sql": "id < 29_000", "on_fail": "warn"}], False),
    ],
)
def test_rows_are_written_once_where_none_is_rejected(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bad: list[int],
    rules: list[dict[str, str]],
    is_written_once: bool,
) -> None:
    columns = {"id": {"type": "integer"}, "name": {}}
    lines = [f"{'x' if n in bad else n},n{n}\n" for n in range(30_000)]
    content = "id,name\n" + "".join(lines) + 'a "b\n'
    results = {}
    for name in PLACES:
        stage_in(monkeypatch, name)
        results[name] = execute(tmp_path / name, content, columns=columns, rules=rules)
    for result in results.values():
        assert result == results["memory"]
    assert [row["_lume_row"] for row in results["file"].rejects] == [*(str(n + 1) for n in bad), ""]
    assert (tmp_path / "file/run/stage.parquet").exists() != is_written_once
