"""What is a row of a CSV file, and what is not: every record is mapped or rejected, whatever the file looks like."""

from pathlib import Path
from typing import Any

import pytest
from local.one_run import execute, fetch

from lume_local._worker.engine import RunFailed

TWO: dict[str, Any] = {"id": {"type": "integer"}, "t": {}}


def source(**csv: str) -> dict[str, Any]:
    return {"csv": csv}


def test_stray_quotes_count_for_max_ratio(tmp_path: Path) -> None:
    rows = "".join(f'{n},"open\n' if n % 2 else f"{n},fine\n" for n in range(100))
    with pytest.raises(RunFailed, match="50 of 100 rows were rejected"):
        execute(tmp_path, "id,t\n" + rows, columns=TWO, rejects={"max_ratio": 0.4})


def test_a_stray_quote_that_another_one_closes(tmp_path: Path) -> None:
    """The range is a field by the grammar, but not in a record of two columns: its lines are read on their own."""
    result = execute(tmp_path, 'id,t\n1,"a\n2,b\n3,c\n4,d","\n5,e\n', columns=TWO)
    assert result.mapped == [(2, "b"), (3, "c"), (5, "e")]
    assert result.raws == ['1,"a', '4,d","']


@pytest.mark.parametrize(("line_end", "inside"), [("\n", "\r\n"), ("\r\n", "\r"), ("\r", "\n")])
def test_line_ends_within_quotes_of_the_header(tmp_path: Path, line_end: str, inside: str) -> None:
    content = line_end.join([f'id,"t{inside}2"', "1,a", f'2,"b{inside}c"', "3,d", ""])
    result = execute(tmp_path, content, columns={"id": {"type": "integer"}, "t": {"sql": f'"t{inside}2"'}})
    assert result.mapped == [(1, "a"), (2, f"b{inside}c"), (3, "d")]
    assert result.metrics["source"]["lines"] == 6


SEPARATORS = ["2,b,", "2,,", ",2,b", "2,b,,", '2,"b",', "2", '"2"']
QUOTES = [
    '2,5" pipe',
    '2,a"',
    '2,a""b',
    '2,"a"b',
    '2,"a" ',
    '2, "a"',
    '2,"a',
    '2,"a""',
    '"2",a"b"',
    '2,"a"b"',
]


def test_separators_and_quotes_where_none_may_be(tmp_path: Path) -> None:
    """Each costs its own line."""
    lines = [*SEPARATORS, *QUOTES]
    result = execute(tmp_path, "id,t\n" + "".join(f"{line}\n1,a\n" for line in lines), columns=TWO)
    assert result.mapped == [(1, "a")] * len(lines)
    assert result.raws == lines
    many, few = ["malformed line: too many columns"] * 5, ["malformed line: too few columns"] * 2
    assert result.reasons == [*many, *few, *["malformed line: broken quotes"] * len(QUOTES)]


def test_blank_lines(tmp_path: Path) -> None:
    result = execute(tmp_path, "id,t\n\n1,a\n\n\n2,b\n  \n\n", columns=TWO)
    assert result.mapped == [(1, "a"), (2, "b")]
    assert result.raws == ["  "]
    assert result.metrics["source"] == {"bytes": 20, "lines": 8, "records": 3, "skipped": {"blank": 4}}


@pytest.mark.parametrize(
    ("end", "quote"),
    [(b"\n\r", '"'), (b"\n\n\r", ""), (b"\r\n\n", ""), (b"\r\n\r", '"'), (b"\r\r\n", '"'), (b"\n\r\n", "")],
)
def test_a_last_blank_line_with_another_line_end(tmp_path: Path, end: bytes, quote: str) -> None:
    line_end = b"\r\n" if end.startswith(b"\r\n") else end[:1]
    content = b"id,t" + line_end + b"1,a" + end
    assert execute(tmp_path, content, columns=TWO, source=source(quote=quote)).mapped == [(1, "a")]


def test_a_blank_line_of_a_file_with_one_column_is_a_row(tmp_path: Path) -> None:
    result = execute(tmp_path, "t\na\n\nb\n\n", columns={"t": {}})
    assert result.mapped == [("a",), (None,), ("b",), (None,)]


def test_a_file_that_is_only_a_header(tmp_path: Path) -> None:
    for n, content in enumerate([b"id,t", b"id,t\n", b"\xef\xbb\xbfid,t\r\n\r\n"]):
        result = execute(tmp_path / str(n), content, columns=TWO)
        assert (result.mapped, result.metrics["rows_read"]) == ([], 0)
        skipped = {"skipped": {"blank": 1}} if n == 2 else {}
        counts = {"bytes": len(content), "lines": 1 + (n == 2), "records": 0}
        assert result.metrics["source"] == counts | skipped


@pytest.mark.parametrize("content", [b"", b"\n", b"  \n1,a\n", b'"id"x,t\n1,a\n', b'id,"t\n1,a\n'])
def test_a_header_that_is_none(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(RunFailed, match="header"):
        execute(tmp_path, content, columns=TWO)


def test_more_columns_than_a_pattern_is_unrolled_for(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(300)]
    rows = [",".join(f'"{n},"' for n in range(300)), ",".join(["x"] * 299), ",".join(["x"] * 301), "," * 299]
    columns = {"first": {"sql": "c0"}, "last": {"sql": "c299"}}
    result = execute(tmp_path, "\n".join([",".join(names), *rows]), columns=columns)
    assert result.mapped == [("0,", "299,"), (None, None)]


@pytest.mark.parametrize(("delim", "quote"), [(";", "|"), ("|", "]"), ("^", "\\"), ("-", "#"), (" ", '"')])
def test_any_dialect(tmp_path: Path, delim: str, quote: str) -> None:
    content = f"x{delim}t\n{quote}1{delim}{quote}{quote}\n{quote}{delim}c\n{delim}{quote}{quote}\nz{delim}y\n"
    columns = {"x": {"sql": "replace(x, chr(13), '')"}, "t": {}}
    result = execute(tmp_path, content, columns=columns, source=source(delim=delim, quote=quote))
    assert result.mapped == [(f"1{delim}{quote}\n", "c"), (None, None), ("z", "y")]


def test_bytes_that_the_encoding_does_not_know(tmp_path: Path) -> None:
    content = b'id,t\n1,\xe9\n2,\x81\x8d\n3,"\x80"\n'
    result = execute(tmp_path, content, columns=TWO, source=source(encoding="cp1252"))
    assert result.mapped == [(1, "é"), (3, "€")]
    assert b'"2,\x81\x8d"' in result.rejects_file


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp1250", "utf-8"])
def test_utf_8_that_is_read_as_another_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    """Each of its bytes is a letter there, so no row is rejected."""
    changes: dict[str, Any] = {"columns": {"id": {}, "t": {}}, "source": {"csv": {"encoding": encoding}}}
    told = execute(tmp_path / "a", "id,t\n1,Jörg\n".encode(), **changes)
    warned = [one for one in told.metrics["warnings"] if "is valid UTF-8, but was read as " + encoding in one]
    assert bool(warned) == (encoding != "utf-8")
    assert warned == list(told.metrics["warnings"])
    for n, text in enumerate(("id,t\n1,Jorg\n", "id,t\n1,Jörg\n2,é\n")):
        fine = execute(tmp_path / f"b{n}", text.encode(encoding), **changes)
        assert fine.metrics["warnings"] == {}


@pytest.mark.parametrize(
    ("saved", "encoding", "told"),
    [
        ("utf-8", "cp1252", 'It looks like utf-8: set csv.encoding = "utf-8" in [source]'),
        ("utf-8", "latin-1", 'It looks like utf-8: set csv.encoding = "utf-8" in [source]'),
        ("cp1252", "latin-1", 'It looks like cp1252: set csv.encoding = "cp1252" in [source]'),
        ("cp1252", "cp850", 'It looks like cp1252: set csv.encoding = "cp1252" in [source]'),
    ],
)
def test_of_a_header_that_is_spoilt_by_the_encoding_it_is_said(
    tmp_path: Path, saved: str, encoding: str, told: str
) -> None:
    changes: dict[str, Any] = {"columns": {"id": {}, "umsatz": {"sql": '"Umsatz in €"'}}}
    with pytest.raises(RunFailed, match="has no column 'Umsatz in €'") as caught:
        execute(tmp_path, "id,Umsatz in €\n1,2\n".encode(saved), **changes, source=source(encoding=encoding))
    assert told in str(caught.value)
    assert "Did you mean" not in str(caught.value)


def test_a_name_that_is_not_there_is_no_matter_of_the_encoding(tmp_path: Path) -> None:
    with pytest.raises(
        RunFailed, match=r"has no column 'Umsatz in €'.* Did you mean 'Umsatz in \$'"
    ) as caught:
        content = "id,Umsatz in $\n1,2\n".encode("cp1252")
        columns = {"id": {}, "umsatz": {"sql": '"Umsatz in €"'}}
        execute(tmp_path, content, columns=columns, source=source(encoding="cp1252"))
    assert "It looks like" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".parquet", ".ndjson"])
def test_rejects_in_another_format_than_the_source(tmp_path: Path, suffix: str) -> None:
    content = b"id,t\n1,a\nx,b\n2,\xff\n3\n"
    result = execute(tmp_path, content, rejects_suffix=suffix, columns=TWO)
    assert result.metrics["rows_rejected"] == 3
    rejects = fetch(f"{tmp_path}/rejects{suffix}")
    assert [row[-1] for row in rejects] == [None, "2,\\xff", "3"]


def test_the_delimiter_that_a_flow_has_is_not_said_to_be_another(tmp_path: Path) -> None:
    """A space after a quoted name makes the header one column."""
    with pytest.raises(RunFailed, match="the header of ") as failed:
        execute(tmp_path, '"id" , "name"\n1,a\n', columns={"id": {}, "name": {}})
    assert "the delimiter is" not in str(failed.value)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("Nr,Betrag", r"separated by ',', and the flow reads ';'"),
        ("id,name", r"separated by ',', and the flow reads ';'"),
        ("Nr\tBetrag", r"separated by '\\t', and the flow reads ';'"),
        ("Orders, all of May", r"If the first line is a title, delete the lines above"),
        ("Orders", r"If the first line is a title, delete the lines above"),
    ],
)
def test_a_file_with_another_delimiter(tmp_path: Path, header: str, words: str) -> None:
    """Even if the flow reads none of its names."""
    with pytest.raises(RunFailed, match=words) as failed:
        execute(tmp_path, f"{header}\n1,2\n", columns={"id": {}, "name": {}}, source={"csv": {"delim": ";"}})
    is_told = "set csv.delim = " in str(failed.value) and "add a layout: lume flow map people:v1 " in str(
        failed.value
    )
    assert is_told == ("separated" in words)
