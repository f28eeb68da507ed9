"""Reads resubmitted rejects in a CSV file. Pure."""

import re
from collections.abc import Sequence
from typing import Any, Protocol

from attrs import asdict

from lume_local._flow.definition import RESERVED
from lume_local._flow.table_bounds import HeaderSettings
from lume_local._worker.sources.formats.records.fixed_width import FixedWidth
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.intake import RefusedLine
from lume_local._worker.sources.mending.line_forms import LineForm, entry_of, form_in_cell, form_of

FILE = f"{RESERVED}file"
RAW = f"{RESERVED}raw"
"""The column of a rejects file that holds the text of a malformed line."""
OBJECT = f"{RESERVED}object"
"""The column of a CSV rejects file that shows people the text of an object."""
TABLE = f"{RESERVED}table"
"""A column that only files of replays have: their rows, to become objects, came from a table."""
FORM = f"{RESERVED}form"
"""A column that only files of replays have: the form of a malformed line, as in the record of its run."""

OF_REJECTS: dict[str, Any] = {"header": asdict(HeaderSettings()), "comment": "", "footer": None}
"""The place of the table in a file of rejects, in terms of a compiled flow; the source's may differ."""

_BY_COLUMNS = "fill in its columns and clear _lume_raw"
_OF_A_SHEET = f"is a row of a sheet as text: {_BY_COLUMNS}"
_UNKNOWN = f"the header of its file is not known: submit it for its run, or {_BY_COLUMNS}"
_LACKS = f"its file has a column that these rejects lack: put that back, or {_BY_COLUMNS}"
FILLED_IN = " (clear _lume_raw to use the columns that are filled in)"
_MOST_KEPT = 10_000
_OURS = re.compile(rb'(?:\xef\xbb\xbf)?"?_lume_row"?([,;\t|])')
"""The beginning of rejects in CSV, as written by Lume or by a spreadsheet."""
BEGINNING = 20
"""The number of bytes needed to recognize them."""


def delim_of_rejects(start: bytes) -> str:
    """Return the delimiter of a file that begins as rejects in CSV do; empty for others."""
    match = _OURS.match(start)
    return match[1].decode() if match else ""


class Rewriter(Protocol):
    """Converts each record of a file for reading.

    Attributes:
        record: the pattern of a record, without its line end.
    """

    @property
    def record(self) -> bytes: ...

    def rewrite(self, record: bytes) -> bytes | RefusedLine:
        """Return the data to read instead of the record, which is valid UTF-8."""
        ...

    def refused(self, record: bytes, why: str) -> RefusedLine:
        """Return the record as it is kept if it is refused."""
        ...


_Grammar = Dialect | FixedWidth


class Resent:
    """See `Rewriter`: a record that holds the text of a malformed line is that line, read once more.

    Args:
        names: the names of the columns.
        dialect: the dialect of the file.
        flow: the compiled flow; its `lines` is the dialect of malformed lines, if it differs.
        lines: how lines are read, from the record of their run; None if there is none.
    """

    def __init__(
        self, names: list[str], dialect: Dialect, flow: dict[str, Any], lines: list[dict[str, Any]] | None
    ) -> None:
        self._names, self._dialect, self._flow, self._lines = names, dialect, flow, lines
        lower = [name.lower() for name in names]
        self._width = len(names)
        self._raw_at, self._file_at, self._form_at = (
            lower.index(name) if name in lower else None for name in (RAW, FILE, FORM)
        )
        self._others = [n for n, name in enumerate(lower) if not name.startswith(RESERVED)]
        self._own = LineForm.of(self._others, flow)
        # Several files may have several headers, unless the flow names their columns.
        is_of_flow = flow.get("is_named") or (flow["fixed"] or {}).get("names")
        self._is_known = lines is None and bool(self._file_at is None or is_of_flow)
        self._forms: dict[bytes, LineForm | str] = {}
        self._read: dict[LineForm, list[tuple[re.Pattern[bytes], _Grammar]]] = {}
        # Without quotes such a text must come last, and extends to the end of the line.
        self._open_end = not dialect.quote and self._raw_at == self._width - 1 > 0

    @property
    def record(self) -> bytes:
        if self._open_end:
            return self._dialect.record(self._width - 1) + re.escape(self._dialect.delim) + rb"[^\r\n]*+"
        return self._dialect.record(self._width)

    def rewrite(self, record: bytes) -> bytes | RefusedLine:
        fields = self._fields(record)
        raw = self._value(fields, self._raw_at)
        if not raw:
            return record
        file, form = self._value(fields, self._file_at).decode(), self._form(fields)
        if "of_a_sheet" in self._flow:
            return RefusedLine(_OF_A_SHEET, raw, file)
        if isinstance(form, str):
            return RefusedLine(form, raw, file)
        grammars = self._grammars(form)
        lines = next((one for pattern, one in grammars if pattern.match(raw)), None)
        if lines is None:
            why = grammars[0][1].why_malformed(raw, len(form.at))
            filled_in = any(self._value(fields, n) for n in self._others)
            return RefusedLine(why + (FILLED_IN if filled_in else ""), raw, file, form)
        row = [field if n == self._file_at else b"" for n, field in enumerate(fields)]
        for n, field in zip(form.at, lines.split(raw), strict=True):
            if n is not None:
                row[n] = field if lines == self._dialect else self._as_saved(lines.value(field))
        return self._dialect.delim.join(row)

    def refused(self, record: bytes, why: str) -> RefusedLine:
        fields = self._fields(record)
        file = self._value(fields, self._file_at).decode("utf-8", "replace")
        form = found if isinstance(found := self._form(fields), LineForm) else None
        if raw := self._value(fields, self._raw_at):
            return RefusedLine(why, raw, file, form)
        filled_in = {n for n in self._others if self._value(fields, n)}
        if form is None or not filled_in.issubset(form.at):
            form = self._own
        (_, lines), *_ = self._grammars(form)
        values = [self._value(fields, n) for n in form.at]
        if isinstance(lines, Dialect):
            return RefusedLine(why, lines.delim.join(map(lines.as_field, values)), file, form)
        return RefusedLine(why, b" ".join(values), file, form)

    def _form(self, fields: Sequence[bytes]) -> LineForm | str:
        """Return how the malformed line of a record is read, or why that is unknown."""
        if self._is_known and not self._value(fields, self._form_at):
            return self._own
        key = self._value(fields, self._form_at) or self._value(fields, self._file_at)
        if key not in self._forms:
            if len(self._forms) == _MOST_KEPT:
                self._forms.clear()
            self._forms[key] = self._found(fields)
        return self._forms[key]

    def _found(self, fields: Sequence[bytes]) -> LineForm | str:
        if cell := self._value(fields, self._form_at):
            form = form_in_cell(cell.decode("utf-8", "replace"), self._names)
        else:
            entry = entry_of(self._lines or [], self._value(fields, self._file_at).decode("utf-8", "replace"))
            form = None if entry is None else form_of(entry, self._names)
            if entry is not None and form is None:
                return _LACKS
        return _UNKNOWN if form is None or (form.csv is None and not self._flow["fixed"]) else form

    def _grammars(self, form: LineForm) -> list[tuple[re.Pattern[bytes], _Grammar]]:
        """Return how a line may be written: like its file, or with the flow's quotes, which may be more accurate."""
        if form not in self._read:
            found: list[_Grammar]
            if form.csv is None:
                found = [FixedWidth.of(self._flow["fixed"])]
            else:
                own: dict[str, str] = dict(zip(("delim", "quote", "escape"), form.csv, strict=True))
                csv = self._flow.get("lines", own) | {"delim": own["delim"]}
                found = [*dict.fromkeys(map(Dialect.of, (own, csv)))]
            self._read[form] = [(re.compile(one.record(len(form.at)) + rb"\Z"), one) for one in found]
        return self._read[form]

    def _as_saved(self, value: bytes) -> bytes:
        return self._dialect.as_field(value) if value else b""

    def _value(self, fields: Sequence[bytes], at: int | None) -> bytes:
        return b"" if at is None else self._dialect.value(fields[at])

    def _fields(self, record: bytes) -> list[bytes]:
        if self._open_end:
            return record.split(self._dialect.delim, self._width - 1)
        return self._dialect.split(record)
