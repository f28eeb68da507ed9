"""Rows as the text of a source, as tables; what is written is read back by other libraries."""

import csv
import functools
import io
import json
import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st

from lume_async import InvalidRequestError
from lume_async._run.row_text import CsvDialect, dialect_of, json_array, json_lines, json_text

ID = uuid.UUID(int=7)
VALUES: list[tuple[Any, str | None, str]] = [
    (None, "", "null"),
    ("", '""', '""'),
    ("Jörg", "Jörg", '"Jörg"'),
    ('a "b", c', '"a ""b"", c"', '"a \\"b\\", c"'),
    ("two\nlines", '"two\nlines"', '"two\\nlines"'),
    (True, "true", "true"),
    (7, "7", "7"),
    (10**30, "1" + "0" * 30, "1" + "0" * 30),
    (1.5, "1.5", "1.5"),
    (1e-7, "0.0000001", "0.0000001"),
    (math.nan, "", "null"),
    (Decimal("12345678901234567.890"), "12345678901234567.890", "12345678901234567.890"),
    (Decimal("NaN"), "", "null"),
    (Decimal("1E+500"), "1E+500", "1E+500"),
    (date(2026, 1, 2), "2026-01-02", '"2026-01-02"'),
    (time(3, 4), "03:04:00", '"03:04:00"'),
    (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00", '"2026-01-02T03:00:00+00:00"'),
    (ID, str(ID), f'"{ID}"'),
    ([1, "a"], '"[1,""a""]"', '[1,"a"]'),
    ({"k": [0.1, None]}, '"{""k"":[0.1,null]}"', '{"k":[0.1,null]}'),
]


@pytest.mark.parametrize(
    ("value", "text", "document"), VALUES, ids=[repr(value)[:30] for value, *_ in VALUES]
)
def test_each_kind_of_value(value: Any, text: str, document: str) -> None:
    assert list(CsvDialect().lines([{"a": 1, "b": value}])) == ["a,b\n", f"1,{text}\n"]
    assert json_text(value, "row 1") == document


@pytest.mark.parametrize("name", ["NaT", "NA"])
def test_what_pandas_has_in_place_of_a_missing_value(name: str) -> None:
    test_each_kind_of_value(getattr(pytest.importorskip("pandas"), name), "", "null")


@pytest.mark.parametrize("quote", ['"', ""])
def test_rows_without_a_column(quote: str) -> None:
    with pytest.raises(InvalidRequestError, match="the rows have no columns; no request was sent"):
        list(CsvDialect(quote=quote).lines([{}, {}]))


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", 1j])
def test_a_value_without_a_text(value: Any) -> None:
    rows = [{"a": 1}, {"a": value}]
    writers: list[Callable[..., Any]] = [CsvDialect().lines, json_lines, json_array]
    for write in writers:
        with pytest.raises(InvalidRequestError, match=r"row 2.*has no text in a source; no request was sent"):
            list(write(rows))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (math.inf, "JSON has no infinite numbers"),
        ([Decimal("-Infinity")], "JSON has no infinite numbers"),
        ({"b": "\ud800"}, "contains a lone surrogate"),
        (functools.reduce(lambda inner, _: [inner], range(10_000), 1), "is nested too deeply"),
    ],
    ids=["float", "decimal", "surrogate", "nested"],
)
def test_a_value_without_a_form_in_json(value: Any, reason: str) -> None:
    for write in (json_lines, json_array):
        with pytest.raises(InvalidRequestError, match=rf"row 2.*{reason}"):
            list(write([{"a": 1}, {"a": value}]))


@pytest.mark.parametrize("column", ["a", "_lume_reasons"])
@pytest.mark.parametrize("kind", [list, dict])
def test_a_value_without_end_in_a_table(column: str, kind: type[Any]) -> None:
    value = functools.reduce(lambda inner, _: kind(a=inner) if kind is dict else [inner], range(5_000), 1)
    with pytest.raises(InvalidRequestError, match=rf"^row 2, column {column} is nested too deeply; no req"):
        list(CsvDialect().lines([{column: "b"}, {column: value}]))


def test_the_columns_of_all_rows_and_those_of_rejects_at_their_places() -> None:
    rows = [{"_lume_line": 2, "_lume_raw": "x;y"}, {"id": 1, "_lume_row": 3, "_lume_reasons": ["a", "b"]}]
    header, *lines = CsvDialect().lines(rows)
    assert header == "_lume_row,_lume_line,id,_lume_reasons,_lume_raw\n"
    assert lines == [",2,,,x;y\n", "3,,1,a; b,\n"]


def test_without_a_quote_a_value_loses_what_would_break_its_line() -> None:
    dialect = CsvDialect(";", "", "")
    assert list(dialect.lines([{"a": "x;y\nz", "b": "p"}])) == ["a;b\n", "x y z;p\n"]


@pytest.mark.parametrize(
    ("source", "dialect"),
    [
        ({}, CsvDialect()),
        ({"format": "json"}, CsvDialect()),
        ({"csv": {"delim": ";", "encoding": "latin-1"}}, CsvDialect(";", '"', "", "latin-1")),
        ({"csv": {"quote": "'", "escape": "'"}}, CsvDialect(",", "'", "")),
        ({"csv": {"escape": "\\"}}, CsvDialect(",", '"', "\\")),
    ],
)
def test_the_dialect_of_a_flow_version(source: dict[str, Any], dialect: CsvDialect) -> None:
    assert dialect_of({"source": source}) == dialect


def test_a_query_takes_no_file() -> None:
    with pytest.raises(InvalidRequestError, match="is a query of a database"):
        dialect_of({"source": {"format": "sql"}})


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@given(st.lists(st.fixed_dictionaries({"a": TEXTS, "b": TEXTS}), min_size=1), st.sampled_from(",;\t|"))
def test_csv_is_read_back(rows: list[dict[str, str]], delim: str) -> None:
    text = "".join(CsvDialect(delim).lines(rows))
    read = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delim))
    assert read == rows


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@pytest.mark.thorough
@examples(25)
@given(st.lists(st.dictionaries(TEXTS, VALUE), max_size=5))
def test_json_is_read_back_with_all_digits(rows: list[dict[str, Any]]) -> None:
    def exact(text: str) -> Any:
        return json.loads(text, parse_float=Decimal)

    assert [exact(line) for line in json_lines(rows)] == rows
    assert exact("".join(json_array(rows))) == rows
