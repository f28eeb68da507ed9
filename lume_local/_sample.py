"""A sample of a source: its first rows as a flow's expressions see them, and what a flow makes of these."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from glob import escape
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

from attrs import field, frozen

from lume_async._base.extras import require
from lume_async.errors import ConfigurationError
from lume_local._shared import magic

_SECONDS = 120.0
_UNPACKED = 10 * 1024**3
"""Bytes, as `source.max_unpacked_bytes` is by default."""


@frozen
class SampleRows:
    """Rows of a source, from all over the first ones.

    Attributes:
        names: of the columns, as expressions name them.
        header: how the file names them, which may be empty or repeated.
        rows: their values, as strings or None.
        count: how many first rows there are, on all of which columns are tried.
        malformed: how many lines can't be rows, by reason.
        malformed_lines: the numbers of the first of them.
    """

    names: list[str]
    header: list[str]
    rows: list[list[str | None]]
    count: int
    malformed: dict[str, int]
    malformed_lines: list[int]


@frozen
class JudgedColumn:
    """What a column of a flow makes of a sample.

    Attributes:
        misfits: the number of rows that would be rejected for their value.
        missing: the number of rows without a value, if the column is required.
        example: one of the misfits.
    """

    misfits: int
    missing: int
    example: str | None


@frozen
class SampleParts:
    """What a file holds that holds several.

    Attributes:
        members: of a ZIP archive, the names of the files in it, without those that systems add.
        sheets: of a workbook, the names of its sheets, without hidden ones.
        hidden: the names of its hidden sheets.
    """

    members: list[str] = field(factory=list)
    sheets: list[str] = field(factory=list)
    hidden: list[str] = field(factory=list)


def sample_parts(path: str | PathLike[str]) -> SampleParts:
    """The members of a ZIP archive, or the sheets of a workbook; neither for any other file.

    Args:
        path: the file. Its content shows what it is.

    Raises:
        ConfigurationError: it is damaged, or encrypted.
        OSError: the file can't be opened.
    """
    file = Path(path)
    with file.open("rb") as beginning:
        if magic.kind_of(beginning.read(magic.LENGTH)) not in (magic.ZIP, magic.OLE):
            return SampleParts()

    from lume_local._worker.sources.formats.sheets import workbook
    from lume_local._worker.sources.places.zip_archive import members_of, reading_zip
    from lume_local._worker.sources.source import SourceError, no_pause

    try:
        kind = workbook.container_of(file)
        if kind == "archive":
            with reading_zip(file, file.name) as archive:
                return SampleParts(members=[member.name for member in members_of(archive)])
        if kind == "workbook":
            require("openpyxl", "excel", "reading an Excel workbook")
            with workbook.opened_workbook(file, file.name, _UNPACKED, no_pause) as book:
                sheets = [sheet.name for sheet in book.sheets if not sheet.is_hidden]
                return SampleParts(sheets=sheets, hidden=[one.name for one in book.sheets if one.is_hidden])
    except (SourceError, ModuleNotFoundError) as error:
        raise ConfigurationError(str(error)) from None
    return SampleParts()  # it was replaced meanwhile


def unpack_member(path: str | PathLike[str], member: str, target: str | PathLike[str]) -> None:
    """Write one member of a ZIP archive to a file, decompressed if it is compressed in itself.

    Args:
        path: the archive.
        member: its name, as `sample_parts` gives it.
        target: the file to write.

    Raises:
        ConfigurationError: it can't be read, or unpacks to more than 10 GiB.
    """
    from lume_local._worker.sources.places.unpack import Packed
    from lume_local._worker.sources.source import SourceError, no_pause

    packed = Packed(Path(path), Path(path).name, "zip", [escape(member)])
    try:
        with TemporaryDirectory(dir=Path(target).parent) as folder:
            (found,) = packed.unpack(Path(folder) / "member", _UNPACKED, no_pause)
            found.path.replace(target)
    except SourceError as error:
        raise ConfigurationError(str(error)) from None


class SampleFile:
    """A file whose first rows can be read and judged. Open it with `open_sample`."""

    def __init__(self, process: "subprocess.Popen[str]", path: str) -> None:
        self._process, self._path = process, path

    def rows(
        self, source: Mapping[str, Any], *, most: int = 10_000, members: Sequence[str] = ()
    ) -> SampleRows:
        """Rows from all over the first 100,000.

        Args:
            source: how to read the file, as `[source]` of a flow.
            most: the maximum number of rows.
            members: of a JSON source, the members of its objects to read.

        Raises:
            ConfigurationError: the file can't be read.
        """
        if source.get("format") == "excel":
            require("openpyxl", "excel", "reading an Excel workbook")
        return SampleRows(**self._ask(do="rows", source=source, most=most, members=list(members)))

    def members(self, source: Mapping[str, Any], *, most: int = 10_000) -> list[str]:
        """The fields that the first records have, in their order; of a source of the format `xml`.

        Raises:
            ConfigurationError: the file can't be read.
        """
        names: list[str] = self._ask(do="members", source=source, most=most)["names"]
        return names

    def judge(
        self, source: Mapping[str, Any], columns: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> dict[str, JudgedColumn]:
        """Try columns of a flow on all of the rows that `rows` has read last.

        Args:
            source: as `[source]` of a flow.
            columns: by name, the source column and the definition, as `[columns.<name>]` of a flow.

        Raises:
            ConfigurationError: the flow can't be run.
        """
        found = self._ask(do="judge", source=source, columns=columns)
        return {name: JudgedColumn(**one) for name, one in found.items()}

    def _ask(self, **request: Any) -> dict[str, Any]:
        if self._process.poll() is not None:  # it has said why
            raise ConfigurationError(f"{self._path} can't be read: its process has ended")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watch = Timer(_SECONDS, self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            raise ConfigurationError(f"{self._path} can't be read: {self._words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ConfigurationError(str(answer["error"]))
        return answer

    def _words(self) -> str:
        _, said = self._process.communicate()
        if self._process.returncode < 0:
            return f"this takes longer than {_SECONDS:g} s"
        return (said.strip().splitlines() or ["no reason was given"])[-1]


@contextmanager
def open_sample(path: str | PathLike[str], *, name: str | None = None) -> Iterator[SampleFile]:
    """Read and judge the first rows of a file, in a process of its own, as a run would.

    Args:
        path: the file.
        name: what messages call it; default: its name.
    """
    shown = name or Path(path).name
    command = [sys.executable, "-m", "lume_local._worker.sample", fspath(path), shown]
    with (
        TemporaryDirectory(prefix="lume-sample-") as folder,
        subprocess.Popen(  # noqa: S603
            [*command, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        try:
            yield SampleFile(process, shown)
        finally:
            process.kill()
