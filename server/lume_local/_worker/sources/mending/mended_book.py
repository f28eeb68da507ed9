"""Corrected rejects in an Excel workbook, although their source had another format: the first sheet as CSV."""

from contextlib import closing
from pathlib import Path

from attrs import evolve

from lume_local._flow.definition import RESERVED
from lume_local._shared import magic
from lume_local._worker.sources.formats.sheets.excel import first_sheet, opened
from lume_local._worker.sources.formats.text.dialect import Dialect
from lume_local._worker.sources.intake import Reading
from lume_local._worker.sources.source import SourceError

DELIM = ","
_DIALECT = Dialect.of({"delim": DELIM, "quote": '"', "escape": ""})


def as_csv(reading: Reading) -> Reading | None:
    """Return the reading of a copy of such a workbook; None if the file is none. Raises `SourceError`."""
    with reading.path.open("rb") as file:
        if magic.kind_of(file.read(magic.LENGTH)) != magic.ZIP:
            return None
    copy = reading.folder / "mended.csv"
    try:
        is_one = _written(reading, copy)
    except (ModuleNotFoundError, SourceError):  # it is then refused as any ZIP archive is
        return None
    return evolve(reading, path=copy) if is_one else None


def _written(reading: Reading, copy: Path) -> bool:
    """Write the rows, if the header has one of Lume's columns; return whether it has. An empty field is NULL."""
    width = 0
    with opened(reading) as book, copy.open("wb") as out, closing(first_sheet(book)) as rows:
        for _, values in rows:
            if not width and not any(value and value.startswith(RESERVED) for value in values):
                return False
            width = width or len(values)
            if any(value is not None for value in values):
                values += [None] * (width - len(values))
                fields = (b"" if value is None else _DIALECT.as_field(value.encode()) for value in values)
                out.write(_DIALECT.delim.join(fields) + b"\n")
    return width > 0
