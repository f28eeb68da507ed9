"""Lists and unpacks the contents of archives and workbooks, for samples."""

from glob import escape
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory

from lume_async.errors import ConfigurationError
from lume_local._samples.opening import SampleParts
from lume_local._shared import magic
from lume_local._shared.extras import require
from lume_local._worker.sources.formats.sheets import workbook
from lume_local._worker.sources.places.unpack import Packed
from lume_local._worker.sources.places.zip_archive import members_of, reading_zip
from lume_local._worker.sources.source import SourceError, no_pause

_UNPACKED = 10 * 1024**3
"""Bytes; the default of `source.max_unpacked_bytes`."""


def sample_parts(path: str | PathLike[str], name: str | None = None) -> SampleParts:
    """Return the members of a ZIP archive or the sheets of a workbook; for any other file, neither.

    Args:
        path: the file, whose content shows its type.
        name: its name in messages; default: the file name.

    Raises:
        ConfigurationError: it is damaged or encrypted.
        OSError: the file can't be opened.
    """
    file = Path(path)
    shown = name or file.name
    with file.open("rb") as beginning:
        if magic.kind_of(beginning.read(magic.LENGTH)) not in (magic.ZIP, magic.OLE):
            return SampleParts()
    try:
        kind = workbook.container_of(file)
        if kind == "archive":
            with reading_zip(file, shown) as archive:
                return SampleParts(members=[member.name for member in members_of(archive)])
        if kind == "workbook":
            require("openpyxl", "excel", "reading an Excel workbook")
            with workbook.opened_workbook(file, shown, _UNPACKED, no_pause) as book:
                sheets = [sheet.name for sheet in book.sheets if not sheet.is_hidden]
                return SampleParts(sheets=sheets, hidden=[one.name for one in book.sheets if one.is_hidden])
    except (SourceError, ModuleNotFoundError) as error:
        raise ConfigurationError(str(error)) from None
    return SampleParts()  # it was replaced meanwhile


def unpack_member(
    path: str | PathLike[str], member: str, target: str | PathLike[str], name: str | None = None
) -> None:
    """Write one member of a ZIP archive to a file, also decompressed if it is a compressed file.

    Args:
        path: the archive.
        member: its name, as returned by `sample_parts`.
        target: the file to write.
        name: the archive's name in messages; default: its file name.

    Raises:
        ConfigurationError: it can't be read, or unpacks to more than 10 GiB.
    """
    packed = Packed(Path(path), name or Path(path).name, "zip", [escape(member)])
    try:
        with TemporaryDirectory(dir=Path(target).parent) as folder:
            (found,) = packed.unpack(Path(folder) / "member", _UNPACKED, no_pause)
            found.path.replace(target)
    except SourceError as error:
        raise ConfigurationError(str(error)) from None
