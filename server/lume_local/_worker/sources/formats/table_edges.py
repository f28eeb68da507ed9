"""Finds the header among the first lines of a table, and the footer among its last rows. Pure."""

import re
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from lume_local._flow.table_bounds import LOOKED_AT, folded
from lume_local._worker.sources.formats.names import NEW, said_of, spellings, version_for
from lume_local._worker.sources.formats.text.dialect import LINE_END, Dialect, FixedWidth
from lume_local._worker.statements import settings_of


def is_header(flow: dict[str, Any], cells: list[str]) -> bool:
    """Return whether a line contains everything that is looked for."""
    return not missing_in(flow, cells)


def missing_in(flow: dict[str, Any], cells: list[str]) -> list[str]:
    """Return the names that a line would need to be the header."""
    folds, lower = set(map(folded, cells)), {cell.lower() for cell in cells}
    if contains := flow["header"]["contains"]:
        return [name for name in contains if folded(name) not in folds]
    aliased = flow["aliases"]
    return [
        name
        for name in flow["sources"]
        if lower.isdisjoint(one.lower() for one in spellings(flow, name))
        and (name.lower() not in aliased or folds.isdisjoint(map(folded, spellings(flow, name))))
    ]


def header_not_found(flow: dict[str, Any], shown: str, lines: list[tuple[int, list[str]]]) -> str:
    """Return the message with the lines that come nearest, and the names they lack."""
    best = sorted(lines, key=lambda line: len(missing_in(flow, line[1])))[:3]
    near = "; ".join(
        f"line {number} ({', '.join(map(repr, cells[:5]))}) lacks {', '.join(map(repr, missing_in(flow, cells)[:5]))}"
        for number, cells in best
    )
    how = next(filter(None, (said_of(version_for(flow, cells)) for _, cells in lines)), "")
    return (
        f"no header in the first {LOOKED_AT} lines of {shown}: {near or 'none has cells to compare'}. "
        f"{how or f'Fix the file or header in {settings_of(flow)}{NEW}'}"
    )


TAIL = 1024 * 1024
"""Bytes at the end of a file that are searched for its footer."""
LINE = re.compile(rb"[^\r\n]*+(?:" + LINE_END + rb"|\Z)")
"""A physical line, with its end if it has one."""


@frozen
class Footer:
    """The end of a file of lines that holds no records.

    Attributes:
        begin: the byte where it begins.
        lines: physical lines from there on.
        skipped: the number of these lines by kind.
        rows: see `Account.footer`.
    """

    begin: int
    lines: int
    skipped: dict[str, int]
    rows: list[list[str]]


def footer_start(footer: dict[str, Any], rows: Sequence[str | None]) -> int:
    """Return where the footer begins in the last rows; their number if there is none.

    A row that is None (blank, or a comment) may be part of a footer or follow it.
    """
    first, starts_with = len(rows), tuple(footer["starts_with"])
    left = footer["rows"] or len(rows)
    for n in reversed(range(len(rows))):
        text = rows[n]
        if text is None:
            continue
        if not left or (starts_with and not text.startswith(starts_with)):
            break
        first, left = n, left - 1
    return first


def footer_in(tail: bytes, at: int, dialect: Dialect | FixedWidth, flow: dict[str, Any]) -> Footer | None:
    """Return the footer at the end of a file. `tail` is everything after byte `at`, where a line begins."""
    if flow["footer"] is None:
        return None
    comment = flow["comment"].encode()
    lines = [match[0] for match in LINE.finditer(tail) if match[0]][-LOOKED_AT:]
    kinds = [kind_of(line, comment) for line in lines]
    rows = [None if kind else _text(line, dialect) for line, kind in zip(lines, kinds, strict=True)]
    first = footer_start(flow["footer"], rows)
    if first == len(lines):
        return None
    size = sum(map(len, lines[first:]))
    skipped: dict[str, int] = {}
    for kind in kinds[first:]:
        skipped[kind or "footer"] = skipped.get(kind or "footer", 0) + 1
    ending = [line.rstrip(b"\r\n") for line in lines[first:] if not kind_of(line, comment)]
    fields = [map(dialect.value, dialect.split(line)) for line in ending]
    cells = [[one.decode(errors="replace").strip() for one in row] for row in fields]
    return Footer(at + len(tail) - size, len(lines) - first, skipped, cells)


def kind_of(line: bytes, comment: bytes) -> str:
    """Return the kind of a line that can't be a record; empty for all others."""
    if not line.strip(b"\r\n"):
        return "blank"
    return "comments" if comment and line.startswith(comment) else ""


def _text(line: bytes, dialect: Dialect | FixedWidth) -> str:
    """Return the line for comparison; empty if a record that began in an earlier line ends in it."""
    bare = line
    if dialect.escape != dialect.quote:
        bare = re.sub(re.escape(dialect.escape) + b".", b"", line)
    if dialect.quote and bare.count(dialect.quote) % 2:
        return ""
    return line.decode(errors="replace").lstrip().removeprefix(dialect.quote.decode()).lstrip()


def whole_lines(tail: bytes) -> bytes:
    """Return the rest after the first line end of a part of a file, which may begin within a line."""
    end = re.search(LINE_END, tail)
    return tail[end.end() :] if end else b""
