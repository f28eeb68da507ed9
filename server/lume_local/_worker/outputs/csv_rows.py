"""Reads the rows of a CSV output in any dialect and encoding: the target's own, or for rejects the source's."""

import re
from collections.abc import Iterator
from typing import TextIO

from lume_async._base.words import counted
from lume_local._worker.outputs.row_json import LINE, REASONS, ROW, Broken, OutputRow, output_row, shown
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.mending.lost_letters import KEPT


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
        header = self._record()
        if header is None:
            raise Broken("it has no header")
        self.names = [shown(value or "") for value in map(self._value, dialect.split(header))]
        self._kinds = [kinds.get(name) for name in self.names]
        if position:
            file.seek(position)

    def position(self) -> int:
        return self._file.tell()

    def __iter__(self) -> Iterator[OutputRow]:
        if self.names[:1] == [ROW] and self.names[1:3] != [LINE, REASONS]:
            raise Broken(f"its header does not continue with {LINE} and {REASONS}")
        while (record := self._record()) is not None:
            fields = self._fields(record)
            if len(fields) != len(self.names):
                raise Broken(
                    f"a row has {counted(len(fields), 'column')}, but the header has {len(self.names)}"
                )
            yield output_row(self.names, [self._value(field) for field in fields], self._kinds)

    def _fields(self, record: bytes) -> list[bytes]:
        if not self._quote:
            # The last column may hold a malformed line, including delimiters.
            return record.split(self._dialect.delim, len(self.names) - 1)
        return self._dialect.split(record)

    def _value(self, field: bytes) -> str | None:
        """Return the value of a field: NULL if it is empty; an empty string is quoted."""
        return self._dialect.value(field).decode("utf-8", KEPT) if field else None

    def _record(self) -> bytes | None:
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
            quotes += self._quotes(line)
        return "".join(lines).removesuffix("\n").encode("utf-8", KEPT)

    def _quotes(self, line: str) -> int:
        if not self._quote:
            return 0
        bare = line if self._escaped is None else self._escaped.sub("", line)
        return bare.count(self._quote)
