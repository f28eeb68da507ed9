"""Checks a flow file without a server: by the parser, then by DuckDB in a worker process.

Removing one mistake from a definition reveals the next one.
"""

import re
from copy import deepcopy
from os import PathLike
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_async.errors import ConfigurationError
from lume_local._arrivals.settings import Arrival, read_arrivals
from lume_local._flow.definition import Flow, read_definition
from lume_local._flow.fields import FlowError, toml_of
from lume_local._flow.mistakes import Mistakes, with_line
from lume_local._messages.rules import MessageRule, read_rules
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.protocol import Json

_MOST = 50
"""The maximum number of mistakes reported for one file."""


@frozen
class CheckedFlow:
    """A flow version without mistakes.

    Attributes:
        ref: `flow:version`, as requests name it.
        columns: the names of the target's columns, in order.
    """

    ref: str
    columns: tuple[str, ...]


@frozen
class CheckedArrival:
    """An arrival without mistakes.

    Attributes:
        flow: the name of a flow, for its newest version, or a flow version.
        uri: the value of `from`.
    """

    name: str
    flow: str
    uri: str


def check_arrivals(path: str | PathLike[str]) -> tuple[CheckedArrival, ...]:
    """Check an arrivals file, with its messages, as `serve` does. Whether its places exist is not checked.

    Raises:
        FlowError: the file has a mistake; says where and what to do. Its `others` are the further ones.
        OSError: the file can't be read.
    """
    text = text_of(Path(path))
    mistakes, none, silent = Mistakes(text), tuple[Arrival, ...](), tuple[MessageRule, ...]()
    found = mistakes.noting(lambda: read_arrivals(text), none)
    mistakes.noting(lambda: read_rules(text), silent)
    mistakes.check()
    return tuple(CheckedArrival(one.name, one.flow, one.uri) for one in found)


async def check_flow(path: str | PathLike[str]) -> CheckedFlow:
    """Check a flow file as `serve` does when it reads its flows folder; nothing is stored.

    Raises:
        FlowError: the flow has a mistake; says where and what to do. Its `others` are the further ones.
        OSError: the file can't be read.
        ConfigurationError: no worker process can be started to check its SQL.
    """
    text = text_of(Path(path))
    try:
        definition = toml_of(text)
        async with WorkerPool().running() as pool:
            flow, _ = await checked(pool, definition, text)
    except WorkerDied as error:
        raise ConfigurationError(f"no worker process can check {path}: {error}") from None
    except FlowError as error:
        raise with_line(error, text) from None
    return CheckedFlow(flow.ref, tuple(column.name for column in flow.columns))


async def checked(pool: WorkerPool, definition: Any, text: str) -> tuple[Flow, Json]:
    """Return the flow and its compiled form; or raise its mistakes, each found after removing the ones before."""
    mistakes: list[FlowError] = []
    while True:
        try:
            flow = read_definition(definition)
            compiled = await pool.check(flow.definition)
        except FlowError as error:
            if all(error.place != known.place for known in mistakes):  # else its removal caused the error
                mistakes.append(with_line(error, text))
            definition = without(definition, error)
            if definition is not None and len(mistakes) < _MOST:
                continue
        else:
            if not mistakes:
                return flow, compiled
        mistakes[0].others = tuple(sorted(mistakes[1:], key=lambda mistake: mistake.line or 0))
        raise mistakes[0]


def text_of(path: Path) -> str:
    """Return the text of a flow file. Raises OSError, `FlowError`."""
    try:
        return path.read_text(encoding="utf-8-sig")  # an editor may have added a byte order mark
    except UnicodeError as error:
        raise FlowError("", f"is not UTF-8: {error}") from None


_ENTRY = re.compile(r"(rules|expect)\[(\d+)\]")
_PLACEHOLDERS = {"flow": "flow", "version": "v1"}


def without(definition: Any, error: FlowError) -> Any | None:
    """Return the definition without the mistake at the error's place; None if it can't be removed.

    Parts that others may refer to stay: a column keeps its name and type, and gets NULL for its value.
    """
    repaired = deepcopy(definition)
    if not isinstance(repaired, dict):
        return None
    if (entry := _ENTRY.match(error.place)) and isinstance(repaired.get(entry[1]), list):
        return _without_entry(repaired, entry[1], int(entry[2]), error.place)
    if error.place in _PLACEHOLDERS:
        repaired[error.place] = _PLACEHOLDERS[error.place]
        return repaired if repaired != definition else None
    table, key = _found(repaired, error.place)
    if table is None:
        return None
    if key == "sql" and error.place.startswith("columns."):
        table[key] = "NULL"
    else:
        del table[key]
    return repaired if repaired != definition else None


def _without_entry(definition: dict[str, Any], key: str, number: int, place: str) -> dict[str, Any] | None:
    """Replace an entry by one without effect, so that the others keep their numbers. A bad name is replaced alone."""
    entries, harmless = definition[key], {"name": f"{key} {number}", "sql": "TRUE"}
    if number >= len(entries) or entries[number] == harmless:
        return None
    named = entries[number] | {"name": harmless["name"]} if isinstance(entries[number], dict) else harmless
    is_name = place.endswith("].name") and named != entries[number]
    entries[number] = named if is_name else harmless
    return definition


def _found(table: dict[str, Any], place: str) -> tuple[dict[str, Any] | None, str]:
    """Return the table that holds the last part of the place, and that part. Column names may contain dots."""
    while True:
        inner = [key for key in table if place == key or place.startswith(f"{key}.")]
        if not inner:
            return None, ""
        key = max(inner, key=len)
        if place == key:
            return table, key
        rest, place = table[key], place[len(key) + 1 :]
        if not isinstance(rest, dict) or not any(place == one or place.startswith(f"{one}.") for one in rest):
            return table, key  # a missing member can't be invented: remove the whole table
        table = rest
