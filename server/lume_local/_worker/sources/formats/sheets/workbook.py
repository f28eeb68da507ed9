"""Opens a workbook of any kind, recognized by its content. Every problem with it is a `SourceError`."""

import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from xml.parsers import expat

from attrs import frozen

from lume_async._base.words import listed
from lume_local._shared import magic
from lume_local._worker.sources.formats.sheets.book import Area, Book, Row, SheetName
from lume_local._worker.sources.formats.sheets.ods import OdsBook
from lume_local._worker.sources.formats.sheets.parts import PartTooLarge
from lume_local._worker.sources.formats.sheets.xls import XlsBook
from lume_local._worker.sources.formats.sheets.xlsb import XlsbBook
from lume_local._worker.sources.formats.sheets.xlsx import XlsxBook
from lume_local._worker.sources.places.unpack import DAMAGED, opened_zip
from lume_local._worker.sources.source import Pause, SourceError

_TROUBLE = (
    *DAMAGED,
    *(expat.ExpatError, TypeError, AttributeError, OverflowError, SyntaxError, RuntimeError),
)
"""Errors that readers raise for files that are damaged, or are not workbooks."""
_ODS = "application/vnd.oasis.opendocument.spreadsheet"
_MOST_TYPE = 200
_DOCUMENTS = {"word/document.xml": "a Word document", "ppt/presentation.xml": "a presentation"}
_NOT_ONE = "not a workbook (.xlsx, .xls, .xlsb, .ods)"
_TEXT = 'if it is CSV, use a flow version with format = "csv"'
_SAVE = "open it in a spreadsheet, and save it as .xlsx or CSV"
_LOCK = "EncryptedPackage".encode("utf-16-le")


@frozen
class Workbook:
    """A workbook; see `Book`. It raises only `SourceError`."""

    _book: Book
    _path: Path
    _shown: str

    @property
    def sheets(self) -> list[SheetName]:
        return self._book.sheets

    @property
    def charts(self) -> list[str]:
        return self._book.charts

    def rows(self, name: str) -> Generator[Row, None, None]:
        with _reported(self._path, self._shown), closing(self._book.rows(name)) as rows:
            yield from rows

    def merged(self, name: str) -> list[Area]:
        with _reported(self._path, self._shown):
            return self._book.merged(name)


@contextmanager
def opened_workbook(path: Path, shown: str, most: int, pause: Pause) -> Iterator[Workbook]:
    """Open a workbook that unpacks to at most `most` bytes."""
    with _reported(path, shown):
        with path.open("rb") as file:
            is_old = magic.kind_of(file.read(magic.LENGTH)) == magic.OLE
        kind: Callable[[Path, str, Pause, int], Book] = XlsBook
        if not is_old:
            with opened_zip(path) as archive:
                names, size = archive.namelist(), sum(part.file_size for part in archive.infolist())
                form = _form_of(archive)
            if size > most:
                raise SourceError(
                    f"{shown} unpacks to {size:,} bytes, more than source.max_unpacked_bytes allows"
                )
            kind = OdsBook if form == _ODS else XlsbBook if "xl/workbook.bin" in names else XlsxBook
        book = kind(path, shown, pause, most)
    with closing(book):
        yield Workbook(book, path, shown)


def container_of(path: Path) -> str:
    """Return whether a file is a `workbook`, or an `archive` of something else; empty for neither."""
    with path.open("rb") as file:
        kind = magic.kind_of(file.read(magic.LENGTH))
    if kind != magic.ZIP:
        return "workbook" if kind == magic.OLE else ""
    with suppress(*_TROUBLE), opened_zip(path) as archive:
        names = set(archive.namelist())
        if not names & {"mimetype", "[Content_Types].xml", "xl/workbook.xml"}:
            return "archive"
    return "workbook"


def _form_of(archive: zipfile.ZipFile) -> str:
    """Return the media type that an OpenDocument file states; empty for others."""
    if "mimetype" not in archive.namelist():
        return ""
    with archive.open("mimetype") as file:
        return file.read(_MOST_TYPE).strip().decode(errors="replace")


@contextmanager
def _reported(path: Path, shown: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise SourceError(str(error)) from None
    except MemoryError:
        raise SourceError(f"{shown} needs more memory than a run has: save it as CSV") from None
    except PartTooLarge as error:
        raise SourceError(
            f"{shown} is not read: {error}. Save it as CSV if it is meant to be so large"
        ) from None
    except (*_TROUBLE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        damaged = f"is a workbook that can't be read ({error}): open it in Excel, say, and save it again"
        raise SourceError(f"{shown} {what_else(path) or damaged}") from None


def what_else(path: Path) -> str:
    """Return the type of a file that is no workbook, and the advice; empty for a damaged workbook."""
    with path.open("rb") as file:
        kind = magic.kind_of(file.read(magic.LENGTH))
    if kind == magic.OLE:
        return "is encrypted: save it without a password" if _is_locked(path) else ""
    if kind != magic.ZIP:
        return f"is {kind or 'a text file'}, {_NOT_ONE}: {_SAVE if kind else _TEXT}"
    try:
        with opened_zip(path) as archive:
            names = archive.namelist()
            form = _form_of(archive)
    except (*DAMAGED, OSError, RuntimeError):
        return f"is a damaged ZIP archive, {_NOT_ONE}: copy it again"
    if form.startswith("application/vnd.oasis.opendocument") and form != _ODS:
        return f"is an OpenDocument file, {_NOT_ONE}: {_SAVE}"
    if found := next((what for name, what in _DOCUMENTS.items() if name in names), ""):
        return f"is {found}, {_NOT_ONE}: {_SAVE}"
    if form or {"xl/workbook.xml", "xl/workbook.bin"} & set(names):
        return ""
    inside = [name for name in names if not name.endswith("/")]
    if not inside:
        return "is a ZIP archive without files: pack it again"
    found = listed(inside, 3)
    return f"is a ZIP archive of {found}, {_NOT_ONE}: unpack it, or let its name end with .zip"


def _is_locked(path: Path) -> bool:
    """Return whether a workbook has a password, and so is a stream in an old Office document."""
    with path.open("rb") as file:
        before = b""
        while block := file.read(2**20):
            if _LOCK in before + block:
                return True
            before = block[-len(_LOCK) :]
    return False
