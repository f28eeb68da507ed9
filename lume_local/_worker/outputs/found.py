"""What every format of output gives: rows, one after the other, and where the next one begins."""

from collections.abc import Iterator
from typing import Protocol

from attrs import frozen

LINE, REASONS, RAW, ROW = "_lume_line", "_lume_reasons", "_lume_raw", "_lume_row"


class Broken(Exception):
    """The file is not what a run has written. The message says what is wrong with it."""


@frozen
class Found:
    """A row: the JSON object of its own columns, and for a reject where it was and why it is there."""

    body: bytes
    row: int | None = None
    line: int | None = None
    reasons: str | None = None


class Rows(Protocol):
    """The rows of an open output from some position on."""

    def __iter__(self) -> Iterator[Found]:
        """Each row. Raises `Broken`."""
        ...

    def position(self) -> int:
        """Where the row after the last one begins: what a later reader is given to go on."""
        ...
