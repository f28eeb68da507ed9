"""Finds the lines on which rejected rows begin, from marks that are made while a source is read.

Marks cost next to nothing, as most rows are never looked for. Where as many lines as rows are between two of them,
each row is a line; elsewhere, for example in quotes with line ends, the bytes between them are read once more.
"""

import json
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, chain, groupby, repeat
from pathlib import Path

from attrs import define, field

from lume_local._worker.sources.files import BOM, blocks_of_lines
from lume_local._worker.sources.formats.text.dialect import Quotes

Place = tuple[int | None, str]
"""The line of a row, and its path in a file of objects; None and empty where there is none."""
Others = Iterator[tuple[int, int]]
"""The first line of each malformed record, in order, and the number of its lines."""
_APART = 1024 * 1024
"""Bytes between two marks, at least."""
_EXACT = -1
_NONE = sys.maxsize, 0


@define
class RowPlaces:
    """The places of the rows of one file.

    Attributes:
        rows: their number.
        path: the file to read once more.
        csv: its dialect; None for lines without quotes.
        comment: the beginning of lines that are no rows.
        blank: the characters of a blank line; None if such a line is a row.
        marks: three numbers each: a row, from 0, the line on which it begins, and its byte, or `_EXACT` if it and
            those up to the next mark are on consecutive lines.
        paths: for objects, a file with a line for each list of them: the first one's number, from 1, the path of the
            list, and the number of its first element; None if the object is in no list.
        is_hidden: whether nobody sees the file.
    """

    rows: int = 0
    path: str = ""
    csv: dict[str, str] | None = None
    comment: str = ""
    blank: str | None = ""
    marks: list[int] = field(factory=list, repr=False)
    paths: str = ""
    is_hidden: bool = False

    def mark(self, row: int, line: int, at: int, *, is_last: bool = False) -> None:
        """Note where a row begins, or where the rows end."""
        if is_last or not self.marks or at - self.marks[-1] >= _APART:
            self.marks.extend((row, line, at))

    def add(self, line: int) -> None:
        """Note the line of the next row, whatever is between it and the one before."""
        if not self.marks or line - self.rows != self.marks[-2] - self.marks[-3]:
            self.marks.extend((self.rows, line, _EXACT))
        self.rows += 1

    @property
    def is_complete(self) -> bool:
        """Whether nothing has to be read once more."""
        return not self.paths and all(map(self._is_even, range(0, len(self.marks) - 3, 3)))

    def _is_even(self, n: int) -> bool:
        marks = self.marks
        return marks[n + 2] == _EXACT or marks[n + 3] - marks[n] == marks[n + 4] - marks[n + 1]

    def located(self, lines: Iterable[int | None]) -> Iterator[Place]:
        """Yield each of these lines, which are in order, with its path."""
        if self.is_hidden or not self.paths:
            yield from ((None if self.is_hidden else line, "") for line in lines)
            return
        with Path(self.paths).open(encoding="utf-8") as file:
            lists = chain(map(json.loads, file), repeat((sys.maxsize, "", None)))
            now, following = next(lists), next(lists)
            for line in lines:
                while line and line >= following[0]:
                    now, following = following, next(lists)
                first, path, element = now
                yield line, path if element is None or not line else f"{path}[{element + line - first}]"

    def find(self, wanted: Iterable[int], others: Others) -> Iterator[int | None]:
        """Yield the line of each of these rows, which are in order."""
        rows, now, at, some = self.marks[::3], -1, 0, list[int]()
        again: Iterator[list[int]] = iter(())
        held = list[tuple[int, int]]()
        for row in wanted:
            n = bisect_right(rows, row) - 1
            if n < 0:
                yield None
            elif self._is_even(3 * n):
                yield self.marks[3 * n + 1] + row - rows[n]
            else:
                if n != now:
                    held = held or [next(others, _NONE)]
                    now, at, some, again = n, rows[n], [], self._read_again(3 * n, held, others)
                while row >= at + len(some) and (following := next(again, None)) is not None:
                    at, some = at + len(some), following
                yield some[row - at] if row < at + len(some) else None

    def _read_again(self, n: int, held: list[tuple[int, int]], others: Others) -> Iterator[list[int]]:
        """Yield the lines of the rows from a mark to the next, some at a time; nothing if the file is gone.

        `held` has the next one of the others.
        """
        _, line, start, _, _, end = self.marks[n : n + 6]
        quotes, comment, is_open, until = Quotes(self.csv), self.comment.encode(), 0, line
        quote, is_row = quotes.quote, self.blank is None
        while held[0][0] < line:
            held[0] = next(others, _NONE)
        with suppress(OSError):
            for block in blocks_of_lines(Path(self.path), lambda: None, start, end):
                if b"\r" in block:
                    block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
                if start == 0 and line == 1:
                    block = block.removeprefix(BOM)
                texts, found = quotes.bare(block).removesuffix(b"\n").split(b"\n"), list[int]()
                if self.blank:
                    texts = [text.strip(self.blank.encode()) for text in texts]
                for now, text in enumerate(texts, line):
                    if is_open:
                        is_open ^= text.count(quote) & 1
                    elif now == held[0][0]:
                        until, held[0] = sum(held[0]), next(others, _NONE)
                    elif now >= until and (text or is_row) and not (comment and text.startswith(comment)):
                        found.append(now)
                        is_open = text.count(quote) & 1 if quote else 0
                yield found
                line += len(texts)


Part = tuple[int, RowPlaces, Callable[[], Others]]
"""A part of a file: the number of lines before it, the places of its rows, and a function for its malformed lines."""


def places_of(wanted: Iterable[int], parts: Sequence[Part]) -> Iterator[Place]:
    """Yield the place of each of these rows of all parts, which are in order."""
    ends = list(accumulate(places.rows for _, places, _ in parts))
    for n, rows in groupby(wanted, lambda row: bisect_right(ends, row)):
        before, places, others = parts[n]
        lines = places.find((row + places.rows - ends[n] for row in rows), others())
        yield from places.located(line and before + line for line in lines)
