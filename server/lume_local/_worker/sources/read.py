"""Converts source files to what DuckDB reads, and accounts for them."""

from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen
from duckdb import DuckDBPyConnection

from lume_async._base.elided import elided
from lume_local._shared import magic
from lume_local._worker.sources.files import is_utf8_beyond_ascii, is_utf8_name, recode
from lume_local._worker.sources.formats.json import read_json
from lume_local._worker.sources.formats.ndjson import read_ndjson
from lume_local._worker.sources.formats.parquet import read_parquet
from lume_local._worker.sources.formats.records.fixed import read_fixed
from lume_local._worker.sources.formats.records.xml import read_xml
from lume_local._worker.sources.formats.sheets.excel import OpenSheet, opened_sheets, read_excel
from lume_local._worker.sources.formats.text.csv import read_csv
from lume_local._worker.sources.formats.text.encoding import refuse_other_encoding, warning_of_utf8
from lume_local._worker.sources.intake import Account, CorrectedRows, Malformed, Reading, ReturnOrigin
from lume_local._worker.sources.mending.line_forms import LineForm
from lume_local._worker.sources.mending.mended import as_saved
from lume_local._worker.sources.mending.mended_book import DELIM, as_csv
from lume_local._worker.sources.mending.mended_rows import note_others
from lume_local._worker.sources.mending.resent import BEGINNING, OF_REJECTS, delim_of_rejects
from lume_local._worker.sources.mending.resent_objects import read_resent_objects
from lume_local._worker.sources.places.query_source import read_rows
from lume_local._worker.sources.places.unpack import compression_of
from lume_local._worker.sources.several_files import AllMalformed, one_after_the_other
from lume_local._worker.sources.source import File, Pause, SourceError, check_number
from lume_local._worker.statements import Layout

FORMATS: dict[str, Callable[[Reading], Layout]] = {
    "csv": read_csv,
    "fixed": read_fixed,
    "ndjson": read_ndjson,
    "json": read_json,
    "xml": read_xml,
    "parquet": read_parquet,
    "excel": read_excel,
    "rows": read_rows,
}
"""Readers by format: each counts what it reads in the reading's account and raises `SourceError`."""

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

    layout: Layout
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
    readings, layouts = list[Reading](), list[Layout]()
    corrected = CorrectedRows()
    for n, file in enumerate(files):
        own = folder
        if len(files) > 1:
            own = folder / f"file{n}"
            own.mkdir()
        about = (file.path, file.shown, flow, own, Account(file.bytes), Malformed(own / "malformed"), pause)
        noting = corrected if is_mended else None
        whole = Reading(connection, *about, file.is_beginning, file.is_end, noting, origin or ReturnOrigin())
        with closing(_parts(whole, file.format)) as parts:
            for reading, sheet in parts:
                readings.append(reading)
                check_number(len(readings))
                noted = len(corrected.rows)
                with closing(reading.malformed):
                    layouts.append(
                        _layout(reading, file.format) if sheet is None else read_excel(reading, sheet)
                    )
                if is_mended and len(corrected.rows) == noted:
                    note_others(reading, layouts[-1])
    all_malformed = AllMalformed([(one.shown, one.malformed) for one in readings], folder / "malformed.csv")
    account, together = readings[0].account, layouts[0]
    if len(readings) > 1:
        account = Account.of([(one.shown, one.account) for one in readings])
        together = one_after_the_other(layouts, [one.shown for one in readings])
    return Intake(together, account, all_malformed, corrected, [*all_malformed.forms(together, layouts)])


def _parts(reading: Reading, format: str) -> Generator[tuple[Reading, OpenSheet | None], None, None]:
    """Yield the file, or each of its sheets that are read, while the workbook is open."""
    if format != "excel" or delim_of_rejects(_start(reading)):
        yield reading, None
        return
    with opened_sheets(reading) as sheets:
        if not sheets:
            yield reading, None
        for n, sheet in enumerate(sheets):
            own = reading.folder / f"sheet{n}"
            own.mkdir()
            yield (
                evolve(
                    reading,
                    shown=f"{reading.shown}/{elided(sheet.name, 200)}",
                    folder=own,
                    account=Account(0)
                    if n
                    else reading.account,  # the first sheet counts the bytes of the workbook
                    malformed=Malformed(own / "malformed"),
                ),
                sheet,
            )


def _start(reading: Reading) -> bytes:
    with reading.path.open("rb") as file:
        return file.read(max(BEGINNING, magic.LENGTH))


def _layout(reading: Reading, format: str) -> Layout:
    if reading.is_beginning:
        start = _start(reading)
        if format != "excel" and format in _KINDS and (book := as_csv(reading)):
            return _read_rejects(book, format, DELIM)
        if format != "csv" and format in _KINDS and (delim := delim_of_rejects(start[:BEGINNING])):
            return _read_rejects(reading, format, delim)
        _refuse_binary(reading, format, start[: magic.LENGTH])
        if format == "csv":
            reading = as_saved(reading)
    return FORMATS[format](_in_utf8(reading))


def _read_rejects(reading: Reading, format: str, delim: str) -> Layout:
    """Read rejects in CSV whose source had another format: the flow sees text values, as from all formats."""
    form = OF_REJECTS | {
        "format": "csv",
        "encoding": "utf-8",
        "csv": {"delim": delim, "quote": '"', "escape": ""},
    }
    more = {"of_a_sheet": True} if format == "excel" else {}
    # A quoted empty field is an empty string and an unquoted one NULL, unless the source knows only one of them.
    more |= {"lines": reading.flow["csv"]} if format == "csv" else {"of_values": True}
    resent = evolve(reading, flow=reading.flow | form | more)
    return read_resent_objects(resent) if format in ("json", "ndjson", "xml") else read_csv(resent)


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

_PACKED = ("a gzip file", "a zstd file")


def _refuse_binary(reading: Reading, format: str, start: bytes) -> None:
    """Refuse a file whose first bytes show another format. Raises `SourceError`."""
    if format not in _KINDS:
        return
    found = magic.kind_of(start)
    if found is None or found.startswith(_ITS_OWN.get(format, ("-",))):
        return
    how = next((how for kind, how in _HOW.items() if found.startswith(kind)), "convert it first")
    if found.startswith(_PACKED) and compression_of(
        Path(reading.shown), reading.flow["compression"], reading.path
    ):
        how = "it is compressed twice, so decompress it once"
    raise SourceError(
        f"{reading.shown} is {found}, but {reading.flow['ref']} reads {_KINDS[format]}: {how}, then submit that"
    )


def _in_utf8(reading: Reading) -> Reading:
    encoding = reading.flow["encoding"]
    if reading.flow["format"] in ("csv", "fixed"):
        refuse_other_encoding(reading)
    if is_utf8_name(encoding):
        return reading
    if is_utf8_beyond_ascii(reading.path, reading.pause):
        reading.account.warn(warning_of_utf8(reading.flow))
    copy = recode(reading.path, reading.shown, encoding, reading.folder / "recoded", reading.pause)
    return evolve(reading, path=copy)
