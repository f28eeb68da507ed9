"""The checks of a version with layouts. Pure."""

from typing import Any

from lume_local._worker.sql import text

Checks = list[dict[str, Any]]


def checks_of_all(of_layouts: dict[str, Checks]) -> Checks:
    """Return the checks for the rows of all layouts, in order; one that only some layouts have asks for their rows.

    The reason of a value that a cleaner can't read differs between layouts, and so does whether rows are filtered.
    """
    lists: dict[tuple[tuple[tuple[str, Any], ...], ...], list[str]] = {}
    for name, checks in of_layouts.items():
        lists.setdefault(tuple(tuple(check.items()) for check in checks), []).append(name)
    merged = list[tuple[tuple[str, Any], ...]]()
    having: dict[tuple[tuple[str, Any], ...], list[str]] = {}
    for each, names in lists.items():
        at = 0
        for check in each:
            if check in having:
                at = merged.index(check) + 1
            else:
                merged.insert(at, check)
                at += 1
            having.setdefault(check, []).extend(names)
    return [_of_some(dict(check), having[check], len(of_layouts)) for check in merged]


def _of_some(check: dict[str, Any], names: list[str], layouts: int) -> dict[str, Any]:
    if len(names) == layouts:
        return check
    # No IN: see `columns`.
    is_theirs = f"list_contains([{', '.join(map(text, names))}], _lume_layout)"
    return check | {"sql": f"({is_theirs} AND ({check['sql']}))"}
