"""Data of a program as a local file: what is written, what is refused, and that nothing is left."""

import errno
import io
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from csv import DictReader
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from faults.support import run_script
from on_posix import posix_only

from lume_async import ApiError, Client, InvalidRequestError
from lume_async._run.row_files import RowFormat, csv_format, format_for, local_file
from lume_async._run.row_text import CsvDialect
from lume_async.testing import FakeAnswer, FakeRequest, fake_client

ROWS = [{"id": 1, "name": "Ann"}, {"id": 2, "name": None}]


async def csv() -> RowFormat:
    return csv_format(CsvDialect())


def of_format(format: str | None) -> Callable[[], Awaitable[RowFormat]]:
    async def known() -> RowFormat:
        return format_for(None if format is None else {"source": {"format": format}})

    return known


async def many(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Later:
    """A file of an asynchronous library."""

    def __init__(self, file: Any) -> None:
        self._file = file

    async def read(self, size: int) -> Any:
        return self._file.read(size)


class Pipe(io.BytesIO):
    """An empty one, which knows no position."""

    def tell(self) -> int:
        raise io.UnsupportedOperation("underlying stream is not seekable")


def read_before() -> io.BytesIO:
    file = io.BytesIO(b"id\n")
    file.read()
    return file


@pytest.mark.parametrize(
    ("data", "name", "content"),
    [
        (lambda: ROWS, "data.csv", b"id,name\n1,Ann\n2,\n"),
        (lambda: iter(ROWS), "data.csv", b"id,name\n1,Ann\n2,\n"),
        (lambda: many(*ROWS), "data.csv", b"id,name\n1,Ann\n2,\n"),
        (lambda: b"id\n", "data", b"id\n"),
        (lambda: bytearray(b"id\n"), "data", b"id\n"),
        (lambda: memoryview(b"id\n"), "data", b"id\n"),
        (lambda: io.BytesIO(b"id\n" * 1_000_000), "data", b"id\n" * 1_000_000),
        (lambda: Later(io.BytesIO(b"id\n" * 1_000_000)), "data", b"id\n" * 1_000_000),
        (lambda: [b"i", b"d\n"], "data", b"id\n"),
        (lambda: many(b"i", b"d\n"), "data", b"id\n"),
        (lambda: many(*[b"id\n" * 1000] * 1000), "data", b"id\n" * 1_000_000),
        (lambda: b"", "data", b""),
        (lambda: io.BytesIO(), "data", b""),
        (lambda: Pipe(), "data", b""),
    ],
)
async def test_each_kind_of_data(temporary: Path, data: Any, name: str, content: bytes) -> None:
    async with local_file(data(), csv) as file:
        assert (file.name, file.read_bytes()) == (name, content)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: [], "data is empty"),
        (lambda: many(), "data is empty"),
        (lambda: [None], "bytes or of rows, not NoneType"),
        (lambda: many(None), "bytes or of rows, not NoneType"),
        (lambda: read_before(), r"data is at its end: call seek\(0\)"),
        (lambda: [ROWS[0], b"id"], "row 2 must be a dict"),
        (lambda: many(ROWS[0], b"id"), "row 2 must be a dict"),
        (lambda: [b"id", ROWS[0]], "bytes or of rows, not dict"),
        (lambda: many(b"id", ROWS[0]), "bytes or of rows, not dict"),
        (lambda: io.StringIO("id"), "open the file in binary mode"),
        (lambda: Later(io.StringIO("id")), "open the file in binary mode"),
        (lambda: Later(read_before()), "data is empty"),
        (lambda: ["id"], "open the file in binary mode"),
        (lambda: 5, "not int"),
        (lambda: {"id": 1}, "not dict"),
    ],
)
async def test_what_is_refused_leaves_nothing(temporary: Path, data: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        async with local_file(data(), csv):
            pass
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
async def test_a_full_temporary_folder_is_named(temporary: Path, number: int) -> None:
    async def full() -> RowFormat:
        def write(rows: Any, file: Any) -> None:
            raise OSError(number, os.strerror(number))

        return RowFormat(".csv", write)

    reason = re.escape(os.strerror(number))
    message = (
        f"source can't be written .* in '{temporary}': {reason}; .* set TMPDIR to .*; no request was sent"
    )
    with pytest.raises(ApiError, match=message) as caught:
        async with local_file(ROWS, full, "source"):
            pass
    assert isinstance(caught.value.__cause__, OSError)
    assert not caught.value.retryable
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    "data", [lambda: b"id", lambda: many(b"id"), lambda: ROWS], ids=["bytes", "many", "rows"]
)
async def test_a_temporary_folder_that_is_gone_is_named(
    temporary: Path, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, transport = fake_client([])
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    with pytest.raises(
        ApiError, match=r"temporary file in '.*/gone': No such file or directory; .* set TMPDIR"
    ):
        await client.upload(data())
    assert transport.requests == []

    def removed(*arguments: Any, **named: Any) -> str:
        return str(temporary / "removed")

    monkeypatch.setattr(tempfile, "mkdtemp", removed)
    with pytest.raises(ApiError, match=f"in '{temporary}': No such file or directory; .* set TMPDIR"):
        async with local_file(data(), csv):
            pass


async def test_an_error_of_the_data_itself_is_none_of_the_temporary_folder() -> None:
    def broken() -> Iterator[bytes]:
        yield b"id"
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere")

    with pytest.raises(PermissionError, match="elsewhere"):
        async with local_file(broken(), csv):
            pass


@posix_only
async def test_a_file_that_the_system_does_not_let_grow(tmp_path: Path) -> None:
    done = await run_script(
        """
        import resource
        import lume_async, lume_sync

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            lume_sync.Client("key", base_url="http://lume.test", proxy=False).upload([b"x" * 50_000] * 3)
        except lume_async.ApiError as error:
            print(error)
        """,
        env={"TMPDIR": str(tmp_path)},
    )
    assert done.code == 0, done
    assert f"in '{tmp_path}': File too large" in done.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "content"),
    [
        ("csv", b"id,name\n1,Ann\n2,\n"),
        ("ndjson", b'{"id":1,"name":"Ann"}\n{"id":2,"name":null}\n'),
        ("json", b'[\n{"id":1,"name":"Ann"},\n{"id":2,"name":null}\n]\n'),
    ],
)
async def test_the_format_of_the_flow_version(format: str, content: bytes) -> None:
    async with local_file(ROWS, of_format(format)) as file:
        assert (file.suffix, file.read_bytes()) == (f".{format}", content)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"format": "excel"}, "written as excel"),
        ({"format": "xml", "xml": {"records": "a/b"}}, "written as xml"),
        ({"format": "json", "json": {"records": "data.items"}}, "written as json"),
        ({"format": "sql"}, "a query of a database"),
    ],
)
def test_formats_that_are_not_written(source: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        format_for({"source": source})


@pytest.mark.parametrize(
    ("layout", "suffix", "content"),
    [
        (None, ".csv", b"id,name\n1,Ann\n2,\n"),
        ("bank", ".csv", b"id;name\n1;Ann\n2;\n"),
        ("feed", ".ndjson", b'{"id":1,"name":"Ann"}\n{"id":2,"name":null}\n'),
        ("unknown", ".csv", b"id,name\n1,Ann\n2,\n"),
    ],
)
async def test_the_format_of_a_layout(layout: str | None, suffix: str, content: bytes) -> None:
    layouts = {"bank": {"source": {"csv": {"delim": ";"}}}, "feed": {"source": {"format": "ndjson"}}}

    async def rows_as() -> RowFormat:
        return format_for({"source": {"null": ["-"]}, "layouts": layouts}, layout)

    async with local_file(ROWS, rows_as) as file:
        assert (file.suffix, file.read_bytes()) == (suffix, content)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", None])
async def test_parquet(library: str | None) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table: Any = ROWS
    if library is not None:
        module = pytest.importorskip(library)
        table = module.Table.from_pylist(ROWS) if library == "pyarrow" else module.DataFrame(ROWS)
    async with local_file(table, of_format("parquet")) as file:
        assert parquet.read_table(file).to_pylist() == ROWS
    if library is not None:
        async with local_file(table, of_format(None)) as file:
            assert file.suffix == ".parquet"


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
async def test_a_table_without_rows_keeps_its_columns(library: str) -> None:
    pyarrow, module = pytest.importorskip("pyarrow"), pytest.importorskip(library)
    table = pyarrow.table({"id": pyarrow.array([], "int64"), "name": pyarrow.array([], "string")})
    if library != "pyarrow":
        table = table.to_pandas() if library == "pandas" else module.from_arrow(table)
    async with local_file(table, csv) as file:
        assert file.read_bytes() == b"id,name\n"


async def test_the_header_of_a_table_without_rows_is_checked_for_letters_that_the_encoding_lacks() -> None:
    pyarrow = pytest.importorskip("pyarrow")

    async def ascii_only() -> RowFormat:
        return csv_format(CsvDialect(encoding="ascii"))

    with pytest.raises(InvalidRequestError, match="row 0, column 'größe': 'ö' is not in ascii"):
        async with local_file(pyarrow.table({"größe": pyarrow.array([], "int64")}), ascii_only):
            pass


@pytest.mark.parametrize("library", ["pandas", "pyarrow"])
@pytest.mark.parametrize("format", ["csv", "ndjson", "json", "parquet", None])
async def test_a_column_that_is_there_twice_is_not_lost(
    temporary: Path, library: str, format: str | None
) -> None:
    module = pytest.importorskip(library)
    table = (
        module.DataFrame([[1, 2, 3]], columns=["id", "no", "id"])
        if library == "pandas"
        else module.table([[1], [2], [3]], names=["id", "no", "id"])
    )
    with pytest.raises(InvalidRequestError, match="several columns are named 'id'; no request was sent"):
        async with local_file(table, of_format(format)):
            pass
    assert list(temporary.iterdir()) == []


async def test_rows_that_parquet_can_not_hold(temporary: Path) -> None:
    table = pytest.importorskip("pandas").DataFrame({"id": [1, "a"]})
    with pytest.raises(InvalidRequestError, match=r"as Parquet: Could not convert 'a' .*column id"):
        async with local_file(table, of_format("parquet")):
            pass
    assert list(temporary.iterdir()) == []


async def test_without_a_flow_version_rows_are_ndjson() -> None:
    async with local_file(ROWS, of_format(None)) as file:
        assert file.name == "data.ndjson"


@pytest.mark.parametrize("error", [ValueError, OSError, RuntimeError])
async def test_what_the_progress_function_raises_is_raised(error: type[Exception]) -> None:
    def fails(done: int, total: int | None) -> None:
        raise error("no more")

    def answer(request: FakeRequest) -> FakeAnswer:
        raise AssertionError("the upload was not complete")

    client: Client
    client, _ = fake_client(answer)
    with pytest.raises(error, match="no more"):
        await client.upload(b"id", progress=fails)


@pytest.mark.parametrize(
    ("rows", "place"),
    [
        ([{"id": 1, "name": "Ann"}, {"id": 2, "name": "żółw"}], "row 2, column 'name': 'ż' is not in cp1252"),
        ([{"ż": 1}], "row 0, column 'ż': 'ż' is not in cp1252"),
    ],
)
async def test_a_letter_that_the_encoding_of_the_source_lacks_is_not_replaced(
    rows: list[dict[str, Any]], place: str
) -> None:
    async def western() -> RowFormat:
        return csv_format(CsvDialect(encoding="cp1252"))

    with pytest.raises(InvalidRequestError) as caught:
        async with local_file(rows, western):
            pass
    assert place in str(caught.value)


async def test_a_reason_is_written_as_the_server_does() -> None:
    async def western() -> RowFormat:
        return csv_format(CsvDialect(encoding="latin-1"))

    rows = [{"_lume_row": 1, "id": "é", "_lume_reasons": ["id: 'x … y'"]}]
    async with local_file(rows, western) as file:
        lines = file.read_bytes().splitlines()
    assert lines[1] == b"1,\xe9,id: 'x \\u2026 y',"


PANDAS_INDEXES = {
    "counted": (lambda pandas: pandas.DataFrame({"v": [1, 2]}), [{"v": 1}, {"v": 2}]),
    "filtered": (lambda pandas: pandas.DataFrame({"v": [1, 2]}).iloc[[1]], [{"v": 2}]),
    "named": (
        lambda pandas: pandas.DataFrame({"v": [1]}, pandas.Index(["a"], name="k")),
        [{"k": "a", "v": 1}],
    ),
    "counted, with a name": (
        lambda pandas: pandas.DataFrame({"v": [1]}, pandas.RangeIndex(1, name="k")),
        [{"k": 0, "v": 1}],
    ),
    "groups": (
        lambda pandas: pandas.DataFrame({"k": ["a"], "n": [2], "v": [3]}).groupby(["k", "n"]).sum(),
        [{"k": "a", "n": 2, "v": 3}],
    ),
    "empty": (lambda pandas: pandas.DataFrame({"v": [1]}, ["a"]).iloc[:0], []),
}


@pytest.mark.parametrize("format", ["csv", "ndjson", "json", "parquet", None])
@pytest.mark.parametrize("index", PANDAS_INDEXES)
async def test_a_named_index_of_pandas_becomes_columns(index: str, format: str | None) -> None:
    pandas, parquet = pytest.importorskip("pandas"), pytest.importorskip("pyarrow.parquet")
    make, rows = PANDAS_INDEXES[index]
    async with local_file(make(pandas), of_format(format)) as file:
        if file.suffix == ".parquet":
            found = parquet.read_table(file).to_pylist()
        elif file.suffix == ".csv":
            found = [dict(row) for row in DictReader(file.read_text().splitlines())]
            found = [
                {key: int(text) if text.isdigit() else text for key, text in row.items()} for row in found
            ]
        else:
            text = file.read_text()
            found = json.loads(text) if file.suffix == ".json" else [*map(json.loads, text.splitlines())]
    assert found == rows


@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize(
    "index",
    [["a", "b"], [0.5, 1.5], [("a", 1), ("b", 2)], [True, False]],
    ids=["text", "numbers", "two", "flags"],
)
async def test_an_index_with_values_and_no_name_is_refused(index: list[Any], format: str) -> None:
    pandas = pytest.importorskip("pandas")
    levels = pandas.MultiIndex.from_tuples(index) if isinstance(index[0], tuple) else index
    with pytest.raises(InvalidRequestError, match=r"no name: .*rename_axis\(\).*reset_index\(drop=True\)"):
        async with local_file(pandas.DataFrame({"v": [1, 2]}, levels), of_format(format)):
            pass


@pytest.mark.parametrize("format", ["csv", "ndjson", "json", "parquet", None])
@pytest.mark.parametrize("kind", ["columns", "index", "rows"])
async def test_names_with_the_same_text_are_refused(kind: str, format: str | None) -> None:
    pandas = pytest.importorskip("pandas")
    data = {
        "columns": pandas.DataFrame([[1, 2]], columns=[1, "1"]),
        "index": pandas.DataFrame({"1": [1, 2]}, pandas.Index(["a", "b"], name=1)),
        "rows": [{1: 1, "1": 2}],
    }[kind]
    refused = "column 1 has a name that is not a string: rename it|several columns are named '1'"
    with pytest.raises(InvalidRequestError, match=refused):
        async with local_file(data, of_format(format)):
            pass


async def test_a_name_that_is_no_string_is_its_text_where_the_format_has_types() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    async with local_file([{1: "a"}], of_format("ndjson")) as file:
        assert file.read_text() == '{"1":"a"}\n'
    async with local_file([{1: "a"}], of_format("parquet")) as file:
        assert parquet.read_table(file).to_pylist() == [{"1": "a"}]


def zeros(library: str) -> Any:
    """Rows with -0.0 among whole numbers, and beside a missing one."""
    rows = [
        {"a": 1.0, "b": 0.0, "c": 1.5},
        {"a": -0.0, "b": 1.0, "c": -0.0},
        {"a": None, "b": None, "c": None},
    ]
    if library == "rows":
        return rows
    module = pytest.importorskip(library.partition(" ")[0])
    if library == "pyarrow":
        return module.Table.from_pylist(rows)
    table = module.DataFrame(rows)
    return table.astype(library.partition(" ")[2]) if " " in library else table


@pytest.mark.parametrize(
    "library", ["rows", "polars", "pyarrow", "pandas", "pandas object", "pandas float32", "pandas Float64"]
)
@pytest.mark.parametrize("format", ["csv", "ndjson", "parquet"])
async def test_the_sign_of_zero_is_kept(library: str, format: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    async with local_file(zeros(library), of_format(format)) as file:
        if format == "parquet":
            columns = parquet.read_table(file).to_pydict()
        elif format == "csv":
            lines = list(DictReader(file.read_text().splitlines()))
            columns = {name: [line[name] for line in lines] for name in lines[0]}
        else:
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            columns = {name: [line[name] for line in lines] for name in lines[0]}
    assert [str(columns[name][1]) for name in "ac"] == ["-0.0", "-0.0"]
    assert float(columns["a"][0]) == 1
    assert str(columns["b"][0]) in ("0", "0.0")


async def test_whole_numbers_of_pandas_stay_whole_beside_a_negative_zero() -> None:
    pandas = pytest.importorskip("pandas")
    async with local_file(pandas.DataFrame({"n": [1.0, -0.0, 0.0, None]}), csv) as file:
        assert file.read_bytes() == b"n\n1\n-0.0\n0\n\n"


async def test_a_negative_zero_among_exact_numbers_is_text_in_parquet() -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"n": Decimal("1.50")}, {"n": Decimal("-0")}]
    async with local_file(rows, of_format("parquet")) as file:
        assert parquet.read_table(file).to_pylist() == [{"n": "1.50"}, {"n": "-0"}]
