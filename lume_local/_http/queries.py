"""The query parameters of lists and statistics. Pure."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from lume_local._http.problems import Problem
from lume_local._http.requests import only_known
from lume_local._runs.records import DIMENSIONS, RunFilter
from lume_local._runs.times import as_text

Pairs = Sequence[tuple[str, str]]
_STATUS = re.compile(r"[A-Z][A-Z_]{0,31}")
_LIST = ("flow_version", "flow", "source_path", "source", "status", "since", "attention", "limit", "cursor")


def wanted(pairs: Pairs) -> RunFilter:
    """Which runs `GET /v1/runs` lists. Raises `Problem`."""
    only_known(list(pairs), _LIST, repeatable=("status",))
    query = dict(pairs)
    statuses = _several(pairs, "status")
    for status in statuses:
        if not _STATUS.fullmatch(status):
            raise Problem("invalid-query", f"status {status[:40]!r} is not a status such as SUCCEEDED")
    return RunFilter(
        flow_version=query.get("flow_version"),
        flow=query.get("flow"),
        source_path=query.get("source_path"),
        source=query.get("source"),
        statuses=statuses,
        since=time(query, "since"),
        attention=_share(query, "attention"),
    )


def dimensions(pairs: Pairs) -> tuple[list[str], bool]:
    """The dimensions of `GET /v1/statistics`, and whether the worst come first. Raises `Problem`."""
    only_known(list(pairs), ("by", "since", "flow", "order", "limit"), repeatable=("by",))
    by = _several(pairs, "by") or ["status"]
    for name in by:
        if name not in DIMENSIONS or by.count(name) > 1:
            raise Problem(
                "invalid-query", f"by: name each of {', '.join(DIMENSIONS)} once at most", field="by"
            )
    order = dict(pairs).get("order", "dimensions")
    if order not in ("dimensions", "rejected"):
        raise Problem("invalid-query", "order must be dimensions or rejected", field="order")
    return by, order == "rejected"


def time(query: dict[str, str], name: str) -> str | None:
    """A time in the format of the store. Raises `Problem`."""
    if name not in query:
        return None
    try:
        moment = datetime.fromisoformat(query[name])
        if moment.tzinfo is None:
            raise ValueError
        return as_text(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        detail = f"{name} must be a time such as 2026-01-02T03:04:05Z"
        raise Problem("invalid-query", detail, field=name) from None


def _several(pairs: Pairs, of: str) -> list[str]:
    """The values of a parameter that is repeated, or that has several separated by commas."""
    return [one for name, value in pairs if name == of for one in value.split(",")]


def _share(query: dict[str, str], name: str) -> float | None:
    if name not in query:
        return None
    if not re.fullmatch(r"0(\.[0-9]{1,9})?|1(\.0{1,9})?", query[name]):
        raise Problem("invalid-query", f"{name} must be a number from 0 to 1", field=name)
    return float(query[name])
