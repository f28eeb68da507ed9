"""A flow version as a target: its columns, and the names that sources have used for them. Pure."""

import re
from typing import Any

from lume_local._flow.definition import Flow
from lume_local._mapping.target import CHECKS, MappingTarget, TargetColumn, require_columns
from lume_local._mapping.text.rewrite import is_null, names_in

_NUMBERED = re.compile(r"(.*?)(\d+)")
_LONGEST = 64
"""Maximum characters of a version, as in `definition.NAME`."""
_WORDS = ("title", "description")


def of_flow(flow: Flow, version: str | None = None) -> MappingTarget:
    """Return the target for the version after this one."""
    columns = []
    for column in flow.columns:
        written: dict[str, Any] = flow.definition["columns"][column.name]
        names = list(column.aliases.names) if column.aliases else names_in(column.sql)
        columns.append(
            TargetColumn(
                column.name,
                {key: written[key] for key in (*_WORDS, *CHECKS) if key in written} | {"type": column.type},
                about=" ".join(str(written[key]) for key in _WORDS if key in written),
                aliases=list(dict.fromkeys(names)) if len(names) < 2 or column.aliases else [],
                sql=None if is_null(column.sql) else written.get("sql"),
            )
        )
    following = version or next_version(flow.version)
    return require_columns(
        MappingTarget(flow.name, following, flow.ref, flow.name, columns, base=flow.definition)
    )


def next_version(version: str) -> str:
    """Return `v4` after `v3`; `2024-2` after `2024`, whose number does not count versions.

    If the name would be too long, the part before the number is shortened.
    """
    found = _NUMBERED.fullmatch(version)
    counts = found is not None and len(found[2]) < 4
    stem, number = (found[1], str(int(found[2]) + 1)) if found and counts else (f"{version}-", "2")
    return stem[: _LONGEST - len(number)] + number
