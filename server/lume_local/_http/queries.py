"""Validates the values of query parameters: malformed ones are refused by name. Pure."""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import orjson

from lume_local._http.exchange import Problem
from lume_local._runs.store.records import DIMENSIONS, Cursor, RunFilter
from lume_local._runs.times import as_text

Pairs = Sequence[tuple[str, str]]

_STATUS = re.compile(r"[A-Z][A-Z_]{0,31}")


def parameter_problem(name: str, problem: str) -> Problem:
    return Problem("invalid-query", f"{name} {problem}", field=name)


def limit_of(query: dict[str, str], default: int, most: int) -> int:
    """Return how many items a page may have. Raises `Problem`."""
    text = query.get("limit")
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= most:
        raise parameter_problem("limit", f"must be a whole number from 1 to {most:,}")
    return int(text)


def number_cursor(text: str | None, store_id: str) -> int | None:
    """Return the sequence number in the cursor of a list. Raises `Problem`."""
    if text is None:
        return None
    head, _, number = unquote(text).partition("-")
    if head != store_id or not re.fullmatch(r"[0-9]{1,18}", number):
        raise invalid_cursor("cursor")
    return int(number)


def own_cursor(text: str, form: re.Pattern[str], owner: str) -> re.Match[str]:
    """Return the parts of a cursor; the first is its owner (see `owner_of`). Raises `Problem`."""
    match = form.fullmatch(unquote(text))
    if match is None or match[1] != owner:
        raise invalid_cursor("cursor", "one of this request")
    return match


def feed_cursor(text: str | None, store_id: str) -> Cursor | None:
    """Return the cursor of the change feed that a client sent. Raises `Problem`."""
    if text is None:
        return None
    cursor = Cursor.of(unquote(text), store_id)
    if cursor is None:
        raise invalid_cursor("after")
    return cursor


def includes_run(query: dict[str, str]) -> bool:
    """Return whether changes include the runs that have ended. Raises `Problem`."""
    if query.get("include", "run") != "run":
        raise parameter_problem("include", "must be run")
    return "include" in query


def invalid_cursor(name: str, of: str = "a valid cursor for this server's present data") -> Problem:
    """Return the problem that a cursor is invalid or belongs to another server or another request."""
    return Problem("invalid-cursor", f"{name} is not {of}: start again without it", field=name)


def owner_of(*request: Any) -> str:
    """Return the owner of a cursor: requests for something else, or with other filters, can't use it."""
    return hashlib.sha256(orjson.dumps(request)).hexdigest()[:16]


def run_filter(pairs: Pairs) -> RunFilter:
    """Return the filter of `GET /v1/runs`. Raises `Problem`."""
    query = dict(pairs)
    statuses = several(pairs, "status")
    for status in statuses:
        if not _STATUS.fullmatch(status):
            raise Problem("invalid-query", f"status {status!r} is not a status such as SUCCEEDED")
    since, attention = since_of(query), query.get("attention")
    if attention is not None and not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?", attention):
        raise parameter_problem("attention", "must be a number from 0 to 1")
    return RunFilter(
        flow_version=query.get("flow_version"),
        flow=query.get("flow"),
        source_path=query.get("source_path"),
        source=query.get("source"),
        statuses=statuses,
        since=since,
        attention=None if attention is None else float(attention),
        submitted_by=query.get("submitted_by"),
    )


def dimensions(pairs: Pairs) -> tuple[list[str], bool]:
    """Return the dimensions of `GET /v1/statistics`, and whether the worst come first. Raises `Problem`."""
    by = several(pairs, "by") or ["status"]
    for name in by:
        if name not in DIMENSIONS or by.count(name) > 1:
            words = f"by: name each of {', '.join(DIMENSIONS)} once at most"
            raise Problem("invalid-query", words, field="by")
    order = dict(pairs).get("order", "dimensions")
    if order not in ("dimensions", "rejected"):
        raise parameter_problem("order", "must be dimensions or rejected")
    return by, order == "rejected"


def since_of(query: dict[str, str], name: str = "since") -> str | None:
    """Return a time in the format of the store. Raises `Problem`."""
    if name not in query:
        return None
    try:
        moment = datetime.fromisoformat(query[name])
        if moment.tzinfo is None:
            raise ValueError
        return as_text(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        raise parameter_problem(name, "must be a time such as 2026-01-02T03:04:05Z") from None


def several(pairs: Pairs, of: str) -> list[str]:
    """Return the values of a parameter that is repeated, or that has several separated by commas."""
    return [one for name, value in pairs if name == of for one in value.split(",")]
