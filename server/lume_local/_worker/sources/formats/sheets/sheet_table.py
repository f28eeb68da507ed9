"""Finds where the table of a sheet begins and ends."""

from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from lume_async._base.words import counted
from lume_local._flow.table_bounds import LOOKED_AT
from lume_local._worker.sources.formats.header_search import header_not_found, is_header, joined
from lume_local._worker.sources.formats.sheets.area import Row
from lume_local._worker.sources.formats.table_end import footer_start
from lume_local._worker.sources.intake import Account
from lume_local._worker.sources.source import SourceError


def table_of_sheet(
    rows: Iterator[Row], flow: dict[str, Any], shown: str, account: Account
) -> tuple[list[str], Iterator[Row]]:
    """Return the names in the header, and the rows of the records; count all others as skipped. Raises `SourceError`.

    The header's row is counted from the first of `rows`, which have no gaps.
    """
    names = list(flow["header"]["names"]) or _header(rows, flow, shown, account)
    return names, _records(rows, flow, account)


def _header(rows: Iterator[Row], flow: dict[str, Any], shown: str, account: Account) -> list[str]:
    wanted, above, found = flow["header"], list[str](), list[tuple[int, list[str]]]()
    window = deque(islice(rows, wanted["lines"]))
    while window and (wanted["row"] == 1 or len(above) < LOOKED_AT):
        kind, names = _kind(window[0][1], flow), _names(window)
        if wanted["row"] == 1:
            is_found = not (kind and flow["comment"])
        elif wanted["row"]:
            is_found = len(above) + 1 == wanted["row"]
        else:
            found.append((len(above) + 1, names))
            is_found = not kind and is_header(flow, names)
        if is_found:
            account.skip(Counter(above))
            if not names:
                raise SourceError(_no_header(shown, window[0][0]))
            return names
        above.append("comments" if kind == "comments" else "preamble" if wanted["row"] != 1 else "blank")
        window.popleft()
        window.extend(islice(rows, 1))
    if wanted["row"] > 1:
        raise SourceError(
            f"the sheet of {shown} has {counted(len(above), 'row')}: its header should be row {wanted['row']:,}"
        )
    raise SourceError(_no_header(shown, 1) if wanted["row"] else header_not_found(flow, shown, found))


def _names(window: deque[Row]) -> list[str]:
    """Return the names in these header rows; nothing if the first row is blank."""
    rows = [[_text(value) for value in values] for _, values in window]
    names = joined(rows) if any(rows[0]) else []
    while names and not names[-1]:
        names.pop()
    return names


def _no_header(shown: str, row: int) -> str:
    which = "the first row" if row == 1 else f"row {row}"
    return f"{shown} has no header: {which} of its sheet must name the columns: delete what is above them"


def _records(rows: Iterator[Row], flow: dict[str, Any], account: Account) -> Iterator[Row]:
    footer: dict[str, Any] | None = flow["footer"]
    held = deque[Row]()
    """The last rows, if some of them may be a footer."""
    for row in rows:
        held.append(row)
        if footer is None or len(held) > LOOKED_AT:
            yield from _record(held.popleft(), flow, account)
    if not held or footer is None:
        return
    kinds = [_kind(values, flow) for _, values in held]
    texts = [None if kind else _text(values[0]) for kind, (_, values) in zip(kinds, held, strict=True)]
    first = footer_start(footer, texts)
    for row in islice(held, first):
        yield from _record(row, flow, account)
    account.skip(Counter(kind or "footer" for kind in kinds[first:]))


def _record(row: Row, flow: dict[str, Any], account: Account) -> Iterator[Row]:
    if kind := _kind(row[1], flow):
        account.skip({kind: 1})
    else:
        yield row


def _kind(values: list[str | None], flow: dict[str, Any]) -> str:
    """Return the kind of a row that is no record; empty for all others."""
    if all(value is None for value in values):
        return "blank"
    return "comments" if flow["comment"] and _text(values[0]).startswith(flow["comment"]) else ""


def _text(value: str | None) -> str:
    return (value or "").strip()
