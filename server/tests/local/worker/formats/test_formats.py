"""Parquet, JSON and Excel as sources: exact values, an account that closes, and columns that nobody reads."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest
from components import package
from local.flows import people
from local.one_run import Result
from local.one_run import execute_files as execute

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.compiler import compile as compiling
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats import json as json_source

TYPES: dict[str, dict[str, Any]] = {
    "id": {"type": "integer", "sql_type": "HUGEINT"},
    "d": {"type": "number", "sql_type": "DECIMAL(38,10)"},
    "f": {"type": "number"},
    "b": {"type": "boolean"},
    "day": {"format": "date"},
    "at": {"format": "date-time"},
    "t": {"format": "time"},
    "s": {},
    "inner": {"sql": "json_extract_string(o, '$.a[1]')"},
}


def parquet(folder: Path, query: str) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "made.parquet"
    duckdb.sql(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def test_parquet(tmp_path: Path) -> None:
    content = parquet(
        tmp_path,
        "SELECT 12345678901234567890123456789012345678::DECIMAL(38,0) AS id, "
        "1234567890123456789012345678.0123456789::DECIMAL(38,10) AS d, 0.1::DOUBLE AS f, true AS b, "
        "DATE '2024-02-29' AS day, TIMESTAMPTZ '2024-01-01 12:00:00.123456+02' AS at, TIME '23:59:59.999999' AS t, "
        "'' AS s, {'a': [1, 2]} AS o, 1 AS \"More\" "
        "UNION ALL SELECT 2, NULL, 'nan'::DOUBLE, NULL, NULL, NULL, NULL, NULL, NULL, NULL "
        "UNION ALL SELECT 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    )
    flow = {"columns": TYPES, "source": {"format": "parquet"}}
    result = execute(tmp_path / "run", ("in.parquet", content), **flow)
    assert result.metrics["source"] == {"bytes": len(content), "lines": 0, "records": 3}
    assert result.reasons == ["f: is not a valid number"]
    assert result.rejects[0]["id"] == "2"
    written = (tmp_path / "run/mapped.csv").read_text().splitlines()
    assert written[1:] == [
        "12345678901234567890123456789012345678,1234567890123456789012345678.0123456789,0.1,true,"
        '2024-02-29,2024-01-01 10:00:00.123456+00,23:59:59.999999,"",2',
        "3,,,,,,,,",
    ]


NESTED: dict[str, Any] = {
    "[0.1::FLOAT, 'nan'::FLOAT, '-inf'::FLOAT, NULL]": [0.1, "nan", "-inf", None],
    "[['inf'::DOUBLE], NULL, [1e300]]": [["inf"], None, [1e300]],
    "[0.1, 2.5]::FLOAT[2]": [0.1, 2.5],
    "{'a\"''b': 'nan'::FLOAT, 'c': 'NaN', 'd': NULL::DOUBLE}": {"a\"'b": "nan", "c": "NaN", "d": None},
    "[{'a': [0.1::FLOAT]}, NULL]": [{"a": [0.1]}, None],
    "MAP {'x': 'inf'::DOUBLE, 'y': 1.5}": {"x": "inf", "y": 1.5},
    "MAP {0.1::FLOAT: MAP {'k': [0.1::FLOAT]}}": {"0.1": {"k": [0.1]}},
    "{'n': 12345678901234567890.10::DECIMAL(38,2)}": {"n": 12345678901234567890.1},
    "NULL::FLOAT[]": None,
    "NULL::STRUCT(a FLOAT)": None,
    "NULL::MAP(VARCHAR, DOUBLE)": None,
}


def test_nested_values_of_parquet_are_json(tmp_path: Path) -> None:
    content = parquet(tmp_path, "SELECT " + ", ".join(f"{value} AS v{n}" for n, value in enumerate(NESTED)))
    columns: dict[str, Any] = {f"v{n}": {} for n in range(len(NESTED))}
    source = {"format": "parquet"}
    run = execute(
        tmp_path / "run", ("in.parquet", content), mapped=".parquet", columns=columns, source=source
    )
    made = [
        None if value is None else json.loads(value, parse_constant=pytest.fail) for value in run.mapped[0]
    ]
    assert made == list(NESTED.values())


def test_nanoseconds_of_parquet_are_not_cut(tmp_path: Path) -> None:
    content = parquet(
        tmp_path,
        "SELECT unnest([TIMESTAMP_NS '2024-01-01 00:00:00.000000001', TIMESTAMP_NS '2024-01-01']) AS at",
    )
    columns = {"at": {"format": "date-time"}}
    result = execute(tmp_path / "run", ("in", content), columns=columns, source={"format": "parquet"})
    assert result.reasons == ["at: is not a valid date-time"]


def test_rejects_of_parquet_go_back_in(tmp_path: Path) -> None:
    content = parquet(tmp_path, "SELECT unnest(['1', 'x', '3']) AS id, 'n' AS name")
    source = {"format": "parquet"}
    execute(tmp_path / "run", ("in.parquet", content), rejects=".parquet", source=source)
    mended = parquet(tmp_path, f"SELECT * REPLACE ('2' AS id) FROM '{tmp_path}/run/rejects.parquet'")
    again = execute(
        tmp_path / "again", ("in.parquet", mended), source={**source, "on_unknown_columns": "fail"}
    )
    assert again.mapped == [(2, "n")]


def test_many_parquet_files(tmp_path: Path) -> None:
    parts = [
        (f"{n}.parquet", parquet(tmp_path, f"SELECT range + {n * 5000} AS id, 'x' AS name FROM range(5000)"))
        for n in range(3)
    ]
    result = execute(tmp_path / "run", *parts, source={"format": "parquet"})
    assert [row[0] for row in result.mapped] == list(range(15_000))
    assert [file["records"] for file in result.metrics["source"]["files"]] == [5000, 5000, 5000]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"id\n1\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_not_parquet(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RunFailed, match=r"in\.parquet is not a Parquet file that can be read"):
        execute(tmp_path, ("in.parquet", content), source={"format": "parquet"})


def test_which_of_many_parquet_files_is_damaged(tmp_path: Path) -> None:
    query = "SELECT range AS id, hash(range)::VARCHAR AS name FROM range({}00)"
    parts = [(f"{n}.parquet", parquet(tmp_path, query.format(n))) for n in (1, 2, 3)]
    name, content = parts[1]
    parts[1] = (name, content[:60] + bytes(200) + content[260:])
    with pytest.raises(RunFailed, match=r"2\.parquet is damaged \(.*: copy it again"):
        execute(tmp_path / "run", *parts, source={"format": "parquet"})


def test_a_parquet_file_that_duckdb_lacks_something_for_is_not_called_damaged(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": ["1"], "name": pa.array([b"abc"], pa.binary(3))})
    pq.write_table(
        table,
        tmp_path / "a",
        use_dictionary=False,
        column_encoding={"name": "BYTE_STREAM_SPLIT", "id": "PLAIN"},
    )
    with pytest.raises(RunFailed) as caught:
        execute(tmp_path / "run", ("in.parquet", (tmp_path / "a").read_bytes()), source={"format": "parquet"})
    assert str(caught.value) == (
        f"DuckDB {duckdb.__version__} can't read in.parquet (BYTE_STREAM_SPLIT encoding is only supported for FLOAT, "
        "DOUBLE, INT32 or INT64 data), which may be valid Parquet: write it anew with another program, such as "
        "pyarrow, and its default settings, then submit that"
    )


def test_a_parquet_file_whose_footer_counts_no_rows(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"id": ["1", "2"], "name": ["A", "B"]}), tmp_path / "a", row_group_size=1)
    content = (tmp_path / "a").read_bytes()
    count, groups = b"\x16\x04", b"\x19\x2c"  # 2 rows, then a list of 2 row groups, in Thrift's compact form
    assert content.count(count + groups) == 1
    wrong = content.replace(count + groups, b"\x16\x00" + groups)
    result = execute(tmp_path / "run", ("in.parquet", wrong), source={"format": "parquet"})
    assert result.mapped == [(1, "A"), (2, "B")]


def test_not_a_number_has_no_sign(tmp_path: Path) -> None:
    negative = "concat('-', 'nan')::{}"
    columns = ", ".join(
        [
            "range::VARCHAR AS id",
            f"if(range = 0, {negative.format('DOUBLE')}, 'nan'::DOUBLE) AS d",
            f"if(range = 0, {negative.format('FLOAT')}, 'nan'::FLOAT) AS f",
            f"[{negative.format('DOUBLE')}] AS l",
        ]
    )
    content = parquet(tmp_path, f"SELECT {columns} FROM range(2)")
    assert duckdb.sql(f"SELECT {negative.format('DOUBLE')}::VARCHAR").fetchall() == [("-nan",)]
    source = {"format": "parquet"}
    execute(tmp_path / "run", ("in.parquet", content), source=source, columns={name: {} for name in "dfl"})
    assert (tmp_path / "run/mapped.csv").read_text().splitlines()[1:] == ['nan,nan,"[""nan""]"'] * 2


def read_json(folder: Path, content: str | bytes, **source: Any) -> Result:
    data = content.encode() if isinstance(content, str) else content
    return execute(folder, ("in.json", data), rejects=".ndjson", source={"format": "json", **source})


@pytest.mark.parametrize("block", [1, 7])
@pytest.mark.parametrize("form", ["array", "pretty", "lines", "bom"])
def test_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, form: str) -> None:
    monkeypatch.setattr(json_source, "BLOCK", block)
    objects = [{"id": n, "name": f"é\n{n}", "o": {"deep": [n]}} for n in range(5)]
    text = {
        "array": json.dumps(objects),
        "pretty": json.dumps(objects, indent=2).replace("\n", "\r\n") + "\n\n",
        "lines": "\n".join(map(json.dumps, objects)),
        "bom": "\ufeff" + json.dumps(objects, ensure_ascii=False),
    }[form]
    result = read_json(tmp_path, text)
    assert result.mapped == [(n, f"é\n{n}") for n in range(5)]
    lines = text.count("\n") + (not text.endswith("\n"))
    assert result.metrics["source"] == {"bytes": len(text.encode()), "lines": lines, "records": 5}


def test_numbers_of_json_keep_their_digits_and_bad_objects_cost_themselves(tmp_path: Path) -> None:
    huge = "9" * 5000
    bad = f'5, {{"id": NaN}}, {{"id": {huge}}}, {{"id": 2, "id": 3}}'
    text = f'[{{"id": 1, "name": 12345678901234567.89}}, {bad}, {{"id":4}}]'
    result = read_json(tmp_path, text)
    assert (tmp_path / "mapped.csv").read_text() == "id,name\n1,12345678901234567.89\n4,\n"
    rejects = [
        json.loads(line, parse_int=lambda digits: int(digits[:9]))
        for line in result.rejects_file.splitlines()
    ]
    assert [row.get("_lume_line") for row in rejects] == [4, 2, 3, 5]
    assert [row["_lume_reasons"].partition(": ")[2] for row in rejects] == [
        *("is not a valid integer", "not a JSON object", "not a JSON object", "repeats a key")
    ]


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ('[{"id": 1}\n{"id": 2}]', 2, "a comma or the end of the array is missing"),
        ('[{"id": 1},\n]', 2, "a comma before the end"),
        ('[{"id": 1}]\n\n[]', 3, "something follows the array"),
        ('[{"id": 1},', 1, "Expecting value"),
        ('[{"id": 1}, {"id": "a', 1, "Unterminated string"),
        ('[{"id": 1},\n{id: 2}]', 2, "Expecting property name"),
        ("[" * 100_000, 1, "too deeply"),
        (b'[{"id": "\xff"}]', 0, "is not UTF-8"),
        (b'{"id": 1} \x00', 1, "Expecting value"),
    ],
)
def test_what_is_not_json(tmp_path: Path, content: str | bytes, line: int, words: str) -> None:
    where = f"is not JSON at line {line}: .*" if line else ""
    with pytest.raises(RunFailed, match=f"in.json {where}{words}"):
        read_json(tmp_path, content)


@pytest.mark.parametrize("content", ["[]", "", " \n", "[ ]\n"])
def test_no_objects(tmp_path: Path, content: str) -> None:
    assert read_json(tmp_path, content).metrics["rows_read"] == 0


def workbook(rows: list[list[Any]]) -> bytes:
    book, out = package("openpyxl").Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(out)
    return out.getvalue()


def test_excel(tmp_path: Path) -> None:
    rows = [["ID", " s ", None], [1, 'say "hi"'], [5, None, None, "beyond"], [7, "=1+1"]]
    result = execute(
        tmp_path, ("in.xlsx", workbook(rows)), columns={"id": {}, "s": {}}, source={"format": "excel"}
    )
    assert result.mapped == [(1, 'say "hi"')]
    saved = "a formula without a saved value: open and save the file in Excel"
    assert [(row["_lume_line"], row["_lume_reasons"]) for row in result.rejects] == [
        ("3", "malformed line: too many columns"),
        ("4", f"malformed line: B4 contains {saved}"),
    ]


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


ODT = b"application/vnd.oasis.opendocument.text"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", 'is a text file, .*: if it is CSV, use a flow version with format = "csv"'),
        (b"id\n1\n", 'is a text file, .*: if it is CSV, use a flow version with format = "csv"'),
        (workbook([["id"]])[:-30], "is a damaged ZIP archive, .*: copy it again"),
        (
            zipped(mimetype=ODT),
            r"is an OpenDocument file, .*: open it .* save it as \.xlsx or CSV",
        ),
        (zipped(**{"word/document.xml": b""}), r"is a Word document, .*: open it"),
        (zipped(**{"a.csv": b"", "b.csv": b""}), r"is a ZIP archive of 'a\.csv', 'b\.csv', .*: unpack it"),
    ],
    ids=["empty", "CSV", "cut", "odt", "docx", "zip"],
)
def test_what_is_not_excel(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(RunFailed, match=r"in\.xlsx " + words) as failed:
        execute(tmp_path, ("in.xlsx", content), source={"format": "excel"})
    assert "not a workbook (.xlsx, .xls, .xlsb, .ods)" in str(failed.value)


def test_chart_sheets_have_no_cells(tmp_path: Path) -> None:
    openpyxl = package("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id"], [1], [2]):
        book.active.append(row)
    chart = book.create_chartsheet("Chart", 0)
    bars = package("openpyxl.chart").BarChart()
    bars.add_data(package("openpyxl.chart").Reference(book["Sheet"], min_col=1, min_row=1, max_row=3))
    chart.add_chart(bars)
    out = io.BytesIO()
    book.save(out)
    source: dict[str, Any] = {"format": "excel"}
    columns = {"id": {"type": "integer"}}
    result = execute(tmp_path / "a", ("in.xlsx", out.getvalue()), columns=columns, source=source)
    assert result.mapped == [(1,), (2,)]
    source["excel"] = {"sheet": "Chart"}
    with pytest.raises(RunFailed, match=r"no sheet 'Chart' with cells \(is a chart\), but 'Sheet'"):
        execute(tmp_path / "b", ("in.xlsx", out.getvalue()), columns=columns, source=source)


def test_excel_without_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str, extra: str, what: str) -> None:
        raise ModuleNotFoundError(f"{what} needs {module}: pip install 'lume-local[{extra}]'")

    monkeypatch.setattr(compiling, "require", missing)
    with (
        connect() as connection,
        pytest.raises(FlowError, match=r"source\.format: .* needs openpyxl: .*\[excel\]"),
    ):
        compiling.compile_flow(connection, read_definition(people(source={"format": "excel"})))


MORE = {
    "csv": b"id,name,Extra,_lume_row\n1,A,x,1\n",
    "ndjson": b'{"id":1,"name":"A"}\n{"id":2,"Extra":null,"_lume_row":1}\n{',
    "json": b'[{"id":1,"Extra":2},{"name":"A"}]',
}


@pytest.mark.parametrize("format", MORE)
def test_columns_that_the_flow_does_not_read(tmp_path: Path, format: str) -> None:
    def run(said: str) -> Result:
        source = {"format": format, "on_unknown_columns": said}
        return execute(tmp_path / said, ("in", MORE[format]), source=source)

    assert run("ignore").metrics["warnings"] == {}
    warned = run("warn").metrics
    assert warned["warnings"] == {"column 'Extra' is not read": 1}
    assert sorted(warned["source"]["header"]) == ["Extra", "id", "name"]
    with pytest.raises(RunFailed, match=r"has columns that people:v1 does not read: 'Extra'\. Register"):
        run("fail")
