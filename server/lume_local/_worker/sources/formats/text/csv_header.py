"""Finds the header of a CSV file, and its names."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from lume_async._base.words import counted
from lume_local._flow.table_bounds import LOOKED_AT
from lume_local._worker.sources.files import BOM, count_lines
from lume_local._worker.sources.formats.header_search import header_not_found, is_header, joined
from lume_local._worker.sources.formats.names import column_trouble, other_delimiter, version_for
from lume_local._worker.sources.formats.records.fixed_width import FixedWidth
from lume_local._worker.sources.formats.table_end import kind_of
from lume_local._worker.sources.formats.text.dialect import LINE_END, Dialect
from lume_local._worker.sources.source import SourceError

_LONGEST = 1024 * 1024
_LINE = re.compile(rb"[^\r\n]*+(?:" + LINE_END + rb"|\Z)")


@frozen
class Header:
    """The part before the first record.

    Attributes:
        names: as they are written, without surrounding spaces.
        line_end: the header's; empty if the file ends with it.
        end: the byte where the first record begins.
        lines: physical lines before that.
        skipped: the number of these lines outside of the header, by kind.
        longest: bytes of its longest record.
    """

    names: list[str]
    line_end: bytes
    end: int
    lines: int
    skipped: dict[str, int]
    longest: int


def header_of(
    path: Path, dialect: Dialect | FixedWidth, flow: dict[str, Any], shown: str, *, is_beginning: bool = True
) -> Header:
    """Find the header. Raises `SourceError`."""
    with path.open("rb") as file:
        start = file.read(_LONGEST)
        start += file.read(1) if start.endswith(b"\r") else b""
    at, wanted = len(BOM) if is_beginning and start.startswith(BOM) else 0, flow["header"]
    if wanted["names"]:
        end = re.search(LINE_END, start)
        return Header(list(wanted["names"]), end[0] if end else b"", at, 0, {}, 0)
    found = _Search(start, dialect, flow, shown).header(at)
    fixed = flow["fixed"] if isinstance(dialect, FixedWidth) else None
    return evolve(found, names=list(fixed["names"])) if fixed and fixed["names"] else found


@frozen
class _Search:
    """Searches the beginning of a file for the header."""

    start: bytes
    dialect: Dialect | FixedWidth
    flow: dict[str, Any]
    shown: str

    def header(self, at: int) -> Header:
        wanted, above = self.flow["header"], list[tuple[int, str]]()
        if wanted["row"] == 1:
            while kind := self._kind_above(at):
                above.append((at, kind))
                at = self._next(at)
            return self._read(at, [kind for _, kind in above])
        kinds, found = list[str](), list[tuple[int, list[str]]]()
        while at < len(self.start) and len(kinds) < LOOKED_AT:
            kind = kind_of(self.start[at : self._next(at)], self.flow["comment"].encode())
            if wanted["row"] == len(kinds) + 1:
                return self._read(at, kinds)
            if not wanted["row"] and not kind and (header := self._candidate(at, kinds, found)):
                return header
            kinds.append("comments" if kind == "comments" else "preamble")
            at = self._next(at)
        if wanted["row"]:
            raise SourceError(
                f"{self.shown} has {counted(len(kinds), 'line')}: its header should be line {wanted['row']:,}"
            )
        raise SourceError(header_not_found(self.flow, self.shown, found))

    def _kind_above(self, at: int) -> str:
        """Return the kind of a line in the header's place if it may be skipped, as only comments are."""
        comment = self.flow["comment"].encode()
        return kind_of(self.start[at : self._next(at)], comment) if comment and at < len(self.start) else ""

    def _next(self, at: int) -> int:
        line = _LINE.match(self.start, at)
        assert line is not None
        return line.end()

    def _candidate(self, at: int, above: list[str], found: list[tuple[int, list[str]]]) -> Header | None:
        try:
            header = self._read(at, above)
        except SourceError:
            return None
        found.append((len(above) + 1, header.names))
        return header if is_header(self.flow, header.names) else None

    def _read(self, at: int, above: list[str]) -> Header:
        """Read the header whose first line is at byte `at`, below lines of these kinds."""
        each = re.compile(b"(%b)(%b|\\Z)" % (self.dialect.any_record, LINE_END))
        rows, lines, longest, line_end = [], len(above), 0, b""
        for _ in range(self.flow["header"]["lines"]):
            match = each.match(self.start, at)
            if match is None:
                raise SourceError(_unreadable(self.start[at:], self.flow, self.shown))
            if len(match[0]) >= _LONGEST - len(BOM) and not match[2]:
                raise SourceError(
                    f"the first line of {self.shown}, its header, is longer than {_LONGEST:,} bytes: check that it "
                    "is a text file with line ends"
                )
            fields = map(self.dialect.value, self.dialect.split(match[1]))
            rows.append([field.decode(errors="replace").strip() for field in fields])
            if match[0]:
                lines += count_lines(match[1]) + 1
            at, line_end, longest = match.end(), match[2] or line_end, max(longest, len(match[1]))
        names = joined(rows)
        if not any(rows[0]):
            row, advice = (
                (f"line {len(above) + 1}", "delete the lines above")
                if above
                else ("first line", "is it empty?")
            )
            raise SourceError(f"{self.shown} has no header: its {row} must name the columns: {advice}")
        return Header(names, line_end, at, lines, dict(Counter(above)), longest)


def _unreadable(start: bytes, flow: dict[str, Any], shown: str) -> str:
    first = re.split(rb"[\r\n]", start, maxsplit=1)[0].decode(errors="replace")
    if other_delimiter(flow, [first]) or version_for(flow, [first]):  # its quotes may well be valid
        name, place = next(iter(flow["sources"].items()))
        return column_trouble(flow, shown, name, place, [first], [])
    return (
        f"the header of {shown} can't be read: its quotes are broken, or the line never ends: correct it, or delete "
        "the lines above it"
    )
