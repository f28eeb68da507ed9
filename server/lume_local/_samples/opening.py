"""A file whose rows can be read and judged, in a separate process or in the one that has opened it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from os import PathLike
from typing import Any, Protocol

from attrs import field, frozen


@frozen
class SampleRows:
    """Rows of a source, spread over its first rows.

    Attributes:
        names: the columns' names in expressions.
        header: the columns' names in the file, which may be empty or repeated.
        rows: their values, as strings or None.
        count: the number of first rows, on all of which columns are tried.
        malformed: the number of lines that can't be rows, by reason.
        malformed_lines: the numbers of the first such lines.
        unread: for JSON, NDJSON and XML, a problem for each member with a value but without a column.
    """

    names: list[str]
    header: list[str]
    rows: list[list[str | None]]
    count: int
    malformed: dict[str, int]
    malformed_lines: list[int]
    unread: list[str] = field(factory=list)


@frozen
class JudgedColumn:
    """The result of a flow's column on a sample.

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
    """The contents of an archive or a workbook.

    Attributes:
        members: the names of the files in a ZIP archive, without those that operating systems add.
        sheets: the names of a workbook's sheets, without hidden ones.
        hidden: the names of its hidden sheets.
    """

    members: list[str] = field(factory=list)
    sheets: list[str] = field(factory=list)
    hidden: list[str] = field(factory=list)


class ReadSample(Protocol):
    """Rows of a file, on which columns are tried. Raises `ConfigurationError` if the flow can't be run."""

    def judge(
        self, source: Mapping[str, Any], columns: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> dict[str, JudgedColumn]: ...


class OpenSample(ReadSample, Protocol):
    """An open file. Its methods raise `ConfigurationError` if it can't be read, or the flow can't be run."""

    def rows(
        self, source: Mapping[str, Any], *, most: int = 10_000, members: Sequence[str] = ()
    ) -> SampleRows: ...

    def members(self, source: Mapping[str, Any], *, most: int = 10_000) -> list[str]: ...


class Opening(Protocol):
    """Opens a file; `name` is its name in messages."""

    def __call__(
        self, path: str | PathLike[str], *, name: str | None = None
    ) -> AbstractContextManager[OpenSample]: ...


Path = str | PathLike[str]


@frozen
class Access:
    """How the reader of a file opens it.

    Attributes:
        parts: returns the contents of an archive or a workbook, by its path and its name in messages.
        unpack: writes one member of an archive to a file; the member's name in messages comes last.
    """

    open: Opening
    parts: Callable[[Path, str], SampleParts]
    unpack: Callable[[Path, str, Path, str], None]

    def __call__(self, path: Path, *, name: str | None = None) -> AbstractContextManager[OpenSample]:
        """Open a file."""
        return self.open(path, name=name)
