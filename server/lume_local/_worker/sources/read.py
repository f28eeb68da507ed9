"""Converts source files to what DuckDB reads, and accounts for them."""

from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from duckdb import DuckDBPyConnection

from lume_async._base.elided import elided
from lume_local._flow.definition import REJECTED_ROWS
from lume_local._shared import magic
from lume_local._worker.sources.formats.json import read_json
from lume_local._worker.sources.formats.ndjson import read_ndjson
from lume_local._worker.sources.formats.parquet import read_parquet
from lume_local._worker.sources.formats.text.csv import read_csv, read_fixed
from lume_local._worker.sources.formats.text.encoding import in_utf8
from lume_local._worker.sources.intake import (
    Account,
    AllMalformed,
    CorrectedRows,
    Malformed,
    ReadFile,
    Reading,
    ReturnOrigin,
    one_after_the_other,
)
from lume_local._worker.sources.mending.by_layout import rows_by_layout
from lume_local._worker.sources.mending.door import in_book_of_rejects, reader_of_rejects
from lume_local._worker.sources.mending.line_forms import LineForm
from lume_local._worker.sources.mending.mended_rows import note_others, refuse_as_source
from lume_local._worker.sources.places.unpack import compression_of
from lume_local._worker.sources.source import File, Pause, SourceError, check_number
from lume_local._worker.statements import Relation, form_of

_KINDS = {
    "csv": "CSV files",
    "fixed": "files of columns with fixed widths",
    "ndjson": "NDJSON files",
    "json": "JSON files",
    "xml": "XML files",
    "parquet": "Parquet files",
    "excel": "workbooks (.xlsx, .xls, .xlsb, .ods)",
}


@frozen
class Intake:
    """A source that was split.

    Attributes:
        corrected: the identities of corrected rejects; empty unless requested.
        lines: how the lines of each file with malformed lines are read.
    """

    relation: Relation
    account: Account
    malformed: AllMalformed
    corrected: CorrectedRows = field(factory=CorrectedRows)
    lines: list[tuple[str, LineForm | None]] = field(factory=list)


def read_source(
    connection: DuckDBPyConnection,
    files: list[File],
    flow: dict[str, Any],
    folder: Path,
    pause: Pause,
    *,
    is_mended: bool = False,
    origin: ReturnOrigin | None = None,
) -> Intake:
    """Split the files. Raises `SourceError`, and whatever `pause` raises, which is called every few megabytes.

    Args:
        is_mended: whether these are corrected rejects that have to be identified.
        origin: the run of corrected rejects.
    """
    readings, read = list[Reading](), list[ReadFile]()
    corrected = CorrectedRows()
    for n, file in enumerate(files):
        own = folder
        if len(files) > 1:
            own = folder / f"file{n}"
            own.mkdir()
        form, malformed = form_of(flow, file.layout), Malformed(own / "malformed", file.layout)
        account = Account(file.bytes, layout=file.layout)
        about = (file.path, file.shown, form, own, account, malformed, pause)
        noting = corrected if is_mended else None
        whole = Reading(connection, *about, file.is_beginning, file.is_end, noting, origin or ReturnOrigin())
        with closing(_parts(whole, file.format)) as parts:
            for reading, read_part in parts:
                readings.append(reading)
                check_number(len(readings))
                noted = len(corrected.rows)
                with closing(reading.malformed):
                    relation = read_part()
                reading.account.visible = relation.visible
                if flow["layouts"] and not file.layout:
                    relation = rows_by_layout(reading, relation)
                rows = reading.account.records - reading.malformed.total
                places = reading.malformed.places
                places.rows, places.is_hidden = rows, reading.shown == REJECTED_ROWS
                read.append(ReadFile(relation, reading.shown, rows, file.layout))
                if not is_mended:
                    refuse_as_source(relation.raw)
                elif len(corrected.rows) == noted:
                    note_others(reading, relation)
    all_malformed = AllMalformed([(one.shown, one.malformed) for one in readings], folder / "malformed.csv")
    account = readings[0].account
    if len(readings) > 1:
        account = Account.of([(one.shown, one.account) for one in readings])
    together = one_after_the_other(read, is_joined=bool(flow["lookups"]))
    return Intake(
        together.relation, account, all_malformed, corrected, [*all_malformed.forms(together.places)]
    )


_Part = tuple[Reading, Callable[[], Relation]]


def _parts(reading: Reading, format: str) -> Generator[_Part, None, None]:
    """Yield the file, or each sheet to read while the workbook is open, with a function that reads it."""
    if reading.is_beginning and format in _KINDS:
        if read_rejects := reader_of_rejects(reading, format):
            yield reading, read_rejects
            return
        _refuse_binary(reading, format)
    if format != "excel":
        yield reading, lambda: read_as(format, in_utf8(reading))
        return
    from lume_local._worker.sources.formats.sheets.excel import opened, read_sheet, sheets_of

    with opened(reading) as book:
        reading = evolve(reading, flow=in_book_of_rejects(reading.flow, book))
        for n, sheet in enumerate(sheets_of(reading, book)):
            part = reading
            if reading.flow["excel"]["of_all"]:
                own = reading.folder / f"sheet{n}"
                own.mkdir()
                part = evolve(
                    reading,
                    shown=f"{reading.shown}/{elided(sheet.name, 200)}",
                    folder=own,
                    # The first sheet counts the bytes of the workbook.
                    account=Account(0, layout=reading.account.layout) if n else reading.account,
                    malformed=Malformed(own / "malformed", reading.malformed.layout),
                )
            yield part, partial(read_sheet, part, sheet)


def read_as(format: str, reading: Reading) -> Relation:
    """Read a file, and count its contents in the account; most are CSV. Raises `SourceError`."""
    match format:
        case "csv":
            return read_csv(reading)
        case "fixed":
            return read_fixed(reading)
        case "ndjson":
            return read_ndjson(reading)
        case "json":
            return read_json(reading)
        case "xml":
            from lume_local._worker.sources.formats.xml import read_xml

            return read_xml(reading)
        case "parquet":
            return read_parquet(reading)
        case _:
            from lume_local._worker.sources.places.query_source import read_rows

            return read_rows(reading)


_ITS_OWN = {
    "parquet": ("a Parquet file",),
    "excel": ("a ZIP archive", "an old Office document"),
    "xml": ("an XML document",),
}
_HOW = {
    "a Parquet file": 'register a flow version with format = "parquet"',
    "an XML document": 'register a flow version with format = "xml"',
    "a ZIP archive": 'if it is a workbook (.xlsx), register a flow version with format = "excel"; else let its name '
    'end with .zip, or register one with compression = "zip"',
    "a gzip file": 'let its name end with .gz, or register a flow version with compression = "gzip"',
    "a zstd file": 'let its name end with .zst, or register a flow version with compression = "zstd"',
}


def _refuse_binary(reading: Reading, format: str) -> None:
    """Refuse a file whose first bytes show another format. Raises `SourceError`."""
    with reading.path.open("rb") as file:
        found = magic.kind_of(file.read(magic.LENGTH))
    if found is None or found.startswith(_ITS_OWN.get(format, ("-",))):
        return
    how = next((how for kind, how in _HOW.items() if found.startswith(kind)), "convert it first")
    if found.startswith(("a gzip file", "a zstd file")) and compression_of(
        Path(reading.shown), reading.flow["compression"], reading.path
    ):
        how = "it is compressed twice, so decompress it once"
    raise SourceError(
        f"{reading.shown} is {found}, but {reading.flow['ref']} reads {_KINDS[format]}: {how}, then submit that"
    )
