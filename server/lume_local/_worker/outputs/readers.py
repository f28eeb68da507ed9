"""Reads the rows of an output: CSV in any dialect and encoding, NDJSON, Parquet."""

# ruff: noqa: S608 - the parts of its SQL are constants or quoted.
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import orjson
from duckdb import DuckDBPyConnection, OutOfMemoryException

from lume_async._base.words import counted
from lume_local._flow.definition import quoted
from lume_local._worker.outputs.row_json import (
    BOOLEAN,
    LINE,
    NUMBER,
    REASONS,
    ROW,
    Broken,
    OutputRow,
    output_row,
    shown,
)
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.mending.lost_letters import KEPT
from lume_local._worker.sql import literal, row_of


class CsvRows:
    """Reads from `position`, a number returned by this class; 0 is the beginning.

    Args:
        file: as text; its lines end with `\\n`, and it has a position.
        kinds: the JSON type of each column that isn't text.
    """

    def __init__(self, file: TextIO, dialect: Dialect, kinds: dict[str, str], position: int) -> None:
        self._file, self._dialect = file, dialect
        self._quote = dialect.quote.decode()
        escape = dialect.escape.decode()
        both = re.escape(escape) + "[" + re.escape(self._quote + escape) + "]"
        self._escaped = None if escape == self._quote else re.compile(both)
        header = self.record()
        if header is None:
            raise Broken("it has no header")
        self.header = header
        self.names = [shown(value or "") for value in map(self.value, dialect.split(header))]
        self._kinds = [kinds.get(name) for name in self.names]
        if position:
            file.seek(position)

    def position(self) -> int:
        return self._file.tell()

    def __iter__(self) -> Iterator[OutputRow]:
        if self.names[:1] == [ROW] and self.names[1:3] != [LINE, REASONS]:
            raise Broken(f"its header does not continue with {LINE} and {REASONS}")
        while (record := self.record()) is not None:
            yield output_row(self.names, [self.value(field) for field in self.fields(record)], self._kinds)

    def fields(self, record: bytes) -> list[bytes]:
        """Return the fields of a record as they are written. Raises `Broken`."""
        # Without quotes, the last column may hold a malformed line, including delimiters.
        dialect, last = self._dialect, len(self.names) - 1
        fields = dialect.split(record) if self._quote else record.split(dialect.delim, last)
        if len(fields) != len(self.names):
            raise Broken(f"a row has {counted(len(fields), 'column')}, but the header has {len(self.names)}")
        return fields

    def value(self, field: bytes) -> str | None:
        """Return the value of a field: NULL if it is empty; an empty string is quoted."""
        return self._dialect.value(field).decode("utf-8", KEPT) if field else None

    def record(self) -> bytes | None:
        """Return the next record without its line end; None at the end of the file."""
        lines: list[str] = []
        quotes = 0
        while not lines or quotes % 2:
            line = self._file.readline()
            if not line:
                if lines:
                    raise Broken("it ends within quotes")
                return None
            lines.append(line)
            if self._quote:
                bare = line if self._escaped is None else self._escaped.sub("", line)
                quotes += bare.count(self._quote)
        return "".join(lines).removesuffix("\n").encode("utf-8", KEPT)


_REJECT = re.compile(
    r'\{(?:"_lume_row":(?P<row>\d+|null),)?(?:"_lume_line":(?P<line>\d+|null),)?'
    r'"_lume_reasons":(?P<reasons>"(?:[^"\\]|\\.)*+")(?:,(?P<rest>.*))?\}',
    re.DOTALL,
)
_NO_RAW = re.compile(r',?"_lume_raw":null\Z')
_NOT_FINITE = {"Infinity": '"inf"', "-Infinity": '"-inf"', "NaN": '"nan"'}
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*+"|-?Infinity|NaN')
"""These constants; and strings, in which they have no meaning."""


class NdjsonRows:
    """Reads from `position`, a number returned by this class; 0 is the beginning."""

    def __init__(self, file: TextIO, position: int) -> None:
        self._file = file
        file.seek(position)

    def position(self) -> int:
        return self._file.tell()

    def __iter__(self) -> Iterator[OutputRow]:
        while line := self._file.readline():
            text = line.removesuffix("\n")
            match = _REJECT.fullmatch(text)
            if match is None:
                yield OutputRow(*_bodies(text))
            else:
                rest = _NO_RAW.sub("", match["rest"] or "")
                row, number = _number(match["row"]), _number(match["line"])
                yield OutputRow(*_bodies("{" + rest + "}"), row, number, json.loads(shown(match["reasons"])))


def _bodies(text: str) -> tuple[bytes, bytes]:
    """Return the object, and its original form if it has bytes that are not valid UTF-8."""
    seen = shown(text)
    return _object(seen), b"" if seen == text else text.encode("utf-8", KEPT)


def _number(text: str | None) -> int | None:
    return None if text in (None, "null") else int(text)


def _object(text: str) -> bytes:
    """Return the text itself if it is a JSON object."""
    data = text.encode()
    try:
        value: Any = orjson.loads(data)
    except ValueError:
        # DuckDB writes NaN and Infinity, which are not JSON; 1e400 is JSON, but orjson can't represent it.
        text = _CONSTANT.sub(lambda found: _NOT_FINITE.get(found[0], found[0]), text)
        data = text.encode()
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Broken(f"a line is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Broken("a line is not a JSON object")
    return data


_NUMERIC = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL.*")
_MOST = 5000
_AT_ONCE = 4 * 1024 * 1024
"""Characters to aim at per query: rows may be short or very long."""


class ParquetRows:
    """Reads from the row `position`, at first `size` rows at a time: each query reads a whole row group."""

    def __init__(self, connection: DuckDBPyConnection, path: Path, position: int, size: int) -> None:
        self.connection, self._next, self._size = connection, position, size
        described = connection.sql(f"SELECT * FROM read_parquet({literal(path)})")
        self.names, self.types = described.columns, described.types
        self._kinds = [_kind(str(one)) for one in self.types]
        # If a source, and so its rejects, has a column of that name, rows are counted instead.
        self._is_hidden = "file_row_number" in map(str.lower, self.names)
        self._table = f"read_parquet({literal(path)}, file_row_number={not self._is_hidden})"

    def count(self) -> int:
        return int(row_of(self.connection, f"SELECT count(*) FROM {self._table}")[0])

    def between(self, start: int, end: int) -> str:
        """Return SQL for these rows, each with its number in the file as `_lume_n`."""
        if self._is_hidden:
            rows = f"SELECT * FROM {self._table} LIMIT {end - start} OFFSET {start}"
            return f"SELECT *, {start} + row_number() OVER () - 1 AS _lume_n FROM ({rows})"
        which = f"file_row_number >= {start} AND file_row_number < {end}"
        return f"SELECT *, file_row_number AS _lume_n FROM {self._table} WHERE {which}"

    def position(self) -> int:
        return self._next

    def __iter__(self) -> Iterator[OutputRow]:
        columns = ", ".join(f"CAST({quoted(name)} AS VARCHAR)" for name in self.names)
        size = self._size
        while True:
            table = self.between(self._next, self._next + size)
            try:
                rows = self.connection.execute(f"SELECT {columns} FROM ({table}) ORDER BY _lume_n").fetchall()
            except OutOfMemoryException:
                if size == 1:
                    raise
                size //= 2  # these rows are longer than most
                continue
            if not rows:
                return
            for values in rows:
                self._next += 1
                yield output_row(self.names, values, self._kinds)
            length = sum(len(value) for row in rows for value in row if value is not None)
            size = max(1, min(_MOST, 2 * size, _AT_ONCE * len(rows) // max(1, length)))


def _kind(sql_type: str) -> str | None:
    if sql_type == "BOOLEAN":
        return BOOLEAN
    return NUMBER if _NUMERIC.fullmatch(sql_type) else None
