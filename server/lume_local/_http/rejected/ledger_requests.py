"""Validates the requests about rejected rows. Pure."""

import re
from typing import Any
from urllib.parse import unquote

from attrs import frozen

from lume_local._http import queries, requests
from lume_local._runs.store.ledger import OPEN, STATES, RowFilter

_MOST_REASONS, _LONGEST_REASON, _MOST_ROWS = 100, 600, 10_000
_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})-([0-9]{1,18})-([0-9]{1,90})-([0-9]{1,20}-[0-9]{1,20})?")


@frozen
class ReplayBody:
    """The body of `POST /v1/replays`."""

    wanted: RowFilter
    to: str | None
    dry_run: bool


@frozen
class DiscardBody:
    """The body of `POST /v1/rejects/discard`; `rows` are numbers of rejects of a run, from 1, or None for all."""

    wanted: RowFilter
    rows: list[int] | None
    why: str


@frozen
class Place:
    """The beginning of a page of rows: a row of a run, and its position in the run's rejects."""

    seq: int = 0
    row: int = 0
    position: str = "0"
    identity: str = ""


def row_filter(pairs: queries.Pairs) -> RowFilter:
    """Return the filter of `GET /v1/rejects`. Raises `Problem`."""
    query = dict(pairs)
    state, run_id = query.get("state", OPEN), query.get("run")
    if state not in STATES:
        raise queries.parameter_problem("state", f"must be one of {', '.join(STATES)}")
    if run_id is not None and not requests.is_run_id(run_id):
        raise queries.parameter_problem("run", "is not a run ID")
    reasons = tuple(value for name, value in pairs if name == "reason")
    return RowFilter(query.get("flow"), reasons or None, queries.since_of(query), run_id, state)


def replay(body: bytes, content_type: str | None) -> ReplayBody:
    """Return the body of a replay. Raises `Problem`."""
    fields = requests.known_fields(body, content_type, ("flow", "to", "reason", "since", "dry_run"))
    wanted = RowFilter(requests.line(fields, "flow"), _reasons(fields), _since(fields))
    return ReplayBody(wanted, requests.optional_line(fields, "to"), requests.flag(fields, "dry_run"))


def discard(body: bytes, content_type: str | None) -> DiscardBody:
    """Return the body of a discard. Raises `Problem`."""
    fields = requests.known_fields(body, content_type, ("flow", "reason", "since", "run", "rows", "why"))
    run_id, rows = fields.get("run"), fields.get("rows")
    if run_id is not None and not (isinstance(run_id, str) and requests.is_run_id(run_id)):
        raise requests.field_problem("run", "is not a run ID")
    if rows is not None and run_id is None:
        raise requests.field_problem("rows", "are numbers of rejects of one run: name it in run")
    flow = requests.line(fields, "flow") if run_id is None else None
    wanted = RowFilter(flow, _reasons(fields), _since(fields), run_id)
    return DiscardBody(wanted, None if rows is None else _rows(rows), requests.line(fields, "why"))


def _reasons(fields: dict[str, Any]) -> tuple[str, ...] | None:
    found = fields.get("reason")
    if found is None:
        return None
    reasons = [found] if isinstance(found, str) else found
    if not isinstance(reasons, list) or not 0 < len(reasons) <= _MOST_REASONS:
        raise requests.field_problem(
            "reason", f"must be a string or an array of 1 to {_MOST_REASONS} strings"
        )
    for one in reasons:
        if not isinstance(one, str) or not 0 < len(one) <= _LONGEST_REASON:
            raise requests.field_problem("reason", f"must have 1 to {_LONGEST_REASON} characters")
    return tuple(reasons)


def _since(fields: dict[str, Any]) -> str | None:
    since = fields.get("since")
    if since is None:
        return None
    if not isinstance(since, str):
        raise requests.field_problem("since", "must be a time such as 2026-01-02T03:04:05Z")
    return queries.since_of({"since": since})


def _rows(rows: Any) -> list[int]:
    is_list = isinstance(rows, list) and 0 < len(rows) <= _MOST_ROWS
    if not is_list or not all(type(row) is int and 0 < row < 2**40 for row in rows):
        raise requests.field_problem("rows", f"must be 1 to {_MOST_ROWS:,} numbers of rejects, from 1 on")
    return [int(row) for row in rows]


def cursor(owner: str, place: Place) -> str:
    return f"{owner}-{place.seq}-{place.row}-{place.position}-{place.identity}"


def place(text: str | None, owner: str) -> Place:
    """Return the place at which the requested page begins. Raises `Problem`."""
    if text is None:
        return Place()
    match = _CURSOR.fullmatch(unquote(text))
    if match is None or match[1] != owner:
        raise queries.invalid_cursor("cursor", "one of this request")
    return Place(int(match[2]), int(match[3]), match[4], match[5] or "")
