"""A CSV rejects file that is submitted again. Pure."""

import re
from typing import Any, Protocol

from attrs import asdict

from lume_local._flow.definition import RESERVED
from lume_local._flow.table_bounds import HeaderSettings
from lume_local._worker.sources.formats.records.fixed_width import FixedWidth
from lume_local._worker.sources.formats.text.dialect import Dialect

RAW = f"{RESERVED}raw"
"""The column of a rejects file that holds the text of a malformed line."""
OBJECT = f"{RESERVED}object"
"""The column of a rejects file in CSV that holds the text of an object, for people."""
TABLE = f"{RESERVED}table"
"""A column that only files of replays have: their rows, which are to become objects, were those of a table."""

OF_REJECTS: dict[str, Any] = {"header": asdict(HeaderSettings()), "comment": "", "footer": None}
"""Where the table of rejects is, wherever that of their source was: in a compiled flow's terms."""

_OF_A_SHEET = "is a row of a sheet as text: fill in its columns and clear _lume_raw"
FILLED_IN = " (clear _lume_raw to use the columns that are filled in)"
_OURS = re.compile(rb'(?:\xef\xbb\xbf)?"?_lume_row"?([,;\t|])')
"""The beginning of rejects in CSV, as we or as a spreadsheet has written them."""
BEGINNING = 20
"""The number of bytes needed to recognize them."""


def delim_of_rejects(start: bytes) -> str:
    """The delimiter of a file that begins as rejects in CSV do; empty for others."""
    match = _OURS.match(start)
    return match[1].decode() if match else ""


class Rewriter(Protocol):
    """Makes of each record of a file what is read instead of it.

    Attributes:
        record: the pattern of a record, without its line end.
    """

    @property
    def record(self) -> bytes: ...

    def rewrite(self, record: bytes) -> tuple[str, bytes]:
        """Nothing and what to read, or why the record is malformed, and its text."""
        ...


class Resent:
    """See `Rewriter`: a record that holds the text of a malformed line is that line, read once more.

    Args:
        names: of the columns; `RAW` is among them.
        dialect: of the file.
        lines: the dialect of malformed lines in it.
        of_a_sheet: whether the text is a row of a sheet, which can't be read as a line.
    """

    def __init__(
        self, names: list[str], dialect: Dialect, lines: Dialect | FixedWidth, *, of_a_sheet: bool = False
    ) -> None:
        self._of_a_sheet, self._lines = of_a_sheet, lines
        lower = [name.lower() for name in names]
        self._dialect, self._width, self._raw_at = dialect, len(names), lower.index(RAW)
        self._others = [n for n, name in enumerate(lower) if not name.startswith(RESERVED)]
        self._row = re.compile(lines.record(len(self._others)) + rb"\Z")
        # Without quotes such a text can only stand at the end, and goes as far as the line does.
        self._open_end = not dialect.quote and self._raw_at == self._width - 1 > 0

    @property
    def record(self) -> bytes:
        if self._open_end:
            return self._dialect.record(self._width - 1) + re.escape(self._dialect.delim) + rb"[^\r\n]*+"
        return self._dialect.record(self._width)

    def rewrite(self, record: bytes) -> tuple[str, bytes]:
        fields = self._fields(record)
        raw = self._dialect.value(fields[self._raw_at])
        if not raw:
            return "", record
        if self._of_a_sheet:
            return _OF_A_SHEET, raw
        if self._row.match(raw) is None:
            why = self._lines.why_malformed(raw, len(self._others))
            filled_in = any(self._dialect.value(fields[n]) for n in self._others)
            return why + (FILLED_IN if filled_in else ""), raw
        row = [b""] * self._width
        for n, field in zip(self._others, self._lines.split(raw), strict=True):
            row[n] = field if self._lines == self._dialect else self._as_saved(self._lines.value(field))
        return "", self._dialect.delim.join(row)

    def _as_saved(self, value: bytes) -> bytes:
        return self._dialect.as_field(value) if value else b""

    def _fields(self, record: bytes) -> list[bytes]:
        if self._open_end:
            return record.split(self._dialect.delim, self._width - 1)
        return self._dialect.split(record)
