"""Data of a program as a local file: what is written, what is refused, and that nothing is left."""

import io
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from lume_async import Client, InvalidRequestError
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
