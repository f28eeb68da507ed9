"""Validates the requests about drafts. Pure."""

import re
from typing import Any

from attrs import frozen

from lume_local._flow.definition import RESERVED
from lume_local._http import queries, requests
from lume_local._runs.rejected.suggestions import Example
from lume_local._runs.store.drafts import Cells, Reject, RowChange

MOST_ROWS = 2000
_MOST_COLUMNS, _LONGEST_NAME, _LONGEST_CELL = 1000, 500, 64 * 1024
_MOST_VALUES, _LONGEST_VALUE, _LONGEST_REASON = 200, 1000, 600
_RAW = f"{RESERVED}raw"
_CURSOR = re.compile(r"([0-9]{1,12})-([A-Za-z0-9_-]{1,128})")


def changes(body: bytes, content_type: str | None) -> list[RowChange]:
    """Return the rows of `PATCH /v1/drafts/{flow}`. Raises `Problem`."""
    fields = requests.known_fields(body, content_type, ("rows",))
    rows = fields.get("rows")
    if not isinstance(rows, list) or not 0 < len(rows) <= MOST_ROWS:
        raise requests.field_problem("rows", f"must be an array of 1 to {MOST_ROWS:,} rows")
    found = [_change(row, f"rows[{n}]") for n, row in enumerate(rows)]
    if len({one.reject for one in found}) < len(found):
        raise requests.field_problem("rows", "has a row more than once")
    return found


def _change(row: Any, place: str) -> RowChange:
    needed = {"run", "row", "cells"}
    if not isinstance(row, dict) or not needed <= row.keys() <= needed | {"rev"}:
        raise requests.field_problem(
            place, "must be an object with run, row, cells and, unless it is new, rev"
        )
    reject, seen = _reject(row, place), row.get("rev", 0)
    if type(seen) is not int or not 0 <= seen < 2**53:
        raise requests.field_problem(f"{place}.rev", "must be the revision that you have of the row, or 0")
    return RowChange(reject, _cells(row["cells"], f"{place}.cells"), seen)


def _cells(given: Any, place: str) -> Cells | None:
    if given is None:
        return None
    if not isinstance(given, dict) or not 0 < len(given) <= _MOST_COLUMNS:
        raise requests.field_problem(
            place, f"must be an object with 1 to {_MOST_COLUMNS:,} columns, or null to take the row out"
        )
    for name, value in given.items():
        if not 0 < len(name) <= _LONGEST_NAME or (name.lower().startswith(RESERVED) and name != _RAW):
            raise requests.field_problem(place, f"{name[:100]!r} is not a column that can be edited")
        if value is not None and not (isinstance(value, str) and len(value) <= _LONGEST_CELL):
            raise requests.field_problem(
                place, f"{name[:100]!r} must be a string of at most {_LONGEST_CELL:,} characters, or null"
            )
    return given


def judgement(body: bytes, content_type: str | None, most: int) -> tuple[str | None, int]:
    """Return the version that is to judge, and the maximum of rows. Raises `Problem`."""
    fields = requests.known_fields(body, content_type, ("to", "limit"))
    limit = fields.get("limit", most)
    if type(limit) is not int or not 1 <= limit <= most:
        raise requests.field_problem("limit", f"must be a whole number from 1 to {most:,}")
    return requests.optional_line(fields, "to"), limit


@frozen
class SuggestionBody:
    """The body of `POST /v1/drafts/{flow}/suggest`."""

    column: str
    reason: str | None
    examples: list[Example]
    to: str | None


def wish(body: bytes, content_type: str | None) -> SuggestionBody:
    """Return the body of a request for suggestions. Raises `Problem`."""
    fields = requests.known_fields(body, content_type, ("column", "reason", "values", "to"))
    column, reason, values = fields.get("column"), _reason(fields), fields.get("values")
    if (
        not isinstance(column, str)
        or not 0 < len(column) <= _LONGEST_NAME
        or column.lower().startswith(RESERVED)
    ):
        raise requests.field_problem("column", "must be the name of a column of the rejected rows")
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_VALUES:
        raise requests.field_problem("values", f"must be an array of 1 to {_MOST_VALUES} values")
    examples = [_example(one, f"values[{n}]") for n, one in enumerate(values)]
    if len({one.reject for one in examples}) < len(examples):
        raise requests.field_problem("values", "has a row more than once")
    return SuggestionBody(column, reason, examples, requests.optional_line(fields, "to"))


def _reason(fields: dict[str, Any]) -> str | None:
    reason = fields.get("reason")
    if reason is not None and not (isinstance(reason, str) and 0 < len(reason) <= _LONGEST_REASON):
        raise requests.field_problem(
            "reason", f"must be a string of 1 to {_LONGEST_REASON} characters, or null"
        )
    return reason


def _example(given: Any, place: str) -> Example:
    if not isinstance(given, dict) or given.keys() != {"run", "row", "value"}:
        raise requests.field_problem(place, "must be an object with run, row and value")
    if not isinstance(given["value"], str) or len(given["value"]) > _LONGEST_VALUE:
        raise requests.field_problem(
            f"{place}.value", f"must be a string of at most {_LONGEST_VALUE:,} characters"
        )
    return Example(_reject(given, place), given["value"])


def _reject(given: dict[str, Any], place: str) -> Reject:
    run_id, number = given.get("run"), given.get("row")
    if not (isinstance(run_id, str) and requests.is_run_id(run_id)):
        raise requests.field_problem(f"{place}.run", "is not a run ID")
    if type(number) is not int or not 0 < number < 2**40:
        raise requests.field_problem(f"{place}.row", "must be the number of a reject, from 1 on")
    return Reject(run_id, number - 1)


def submission(body: bytes, content_type: str | None) -> tuple[int, str | None, str | None]:
    """Return the submitted revision, the version, and the reason of the rows. Raises `Problem`."""
    fields = requests.known_fields(body, content_type, ("rev", "to", "reason"))
    rev = fields.get("rev")
    if type(rev) is not int or not 0 < rev < 2**53:
        raise requests.field_problem("rev", "must be the revision of the draft, as GET and PATCH give it")
    return rev, requests.optional_line(fields, "to"), _reason(fields)


def cursor(after: Reject) -> str:
    return f"{after.row}-{after.run_id}"


def place(text: str | None) -> Reject | None:
    """Return the row after which the page begins. Raises `Problem`."""
    if text is None:
        return None
    match = _CURSOR.fullmatch(text)
    if match is None:
        raise queries.invalid_cursor("cursor", "one of this draft")
    return Reject(match[2], int(match[1]))
