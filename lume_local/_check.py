"""Checks a flow file without a server: by the parser, then by DuckDB in a worker process."""

from os import PathLike
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_async.errors import ConfigurationError
from lume_local._flow.definition import Flow, read_definition, read_definition_of
from lume_local._flow.fields import FlowError
from lume_local._flow.lines import with_line
from lume_local._flow.repair import without
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool

_MOST = 50
"""The maximum number of mistakes that are reported for one file."""


@frozen
class CheckedFlow:
    """A flow version without mistakes.

    Attributes:
        ref: `flow:version`, as requests name it.
        columns: the names of the target's columns, in order.
    """

    ref: str
    columns: tuple[str, ...]


async def check_flow(path: str | PathLike[str]) -> CheckedFlow:
    """Check a flow file as `serve` does when it reads its flows folder; nothing is stored.

    Raises:
        FlowError: the flow has a mistake; says where and what to do. Its `others` are the further ones.
        OSError: the file can't be read.
        ConfigurationError: no worker process can be started to check its SQL.
    """
    text = _text(Path(path))
    try:
        definition = read_definition_of(text)
        async with WorkerPool().running() as pool:
            flow = await _checked(pool, definition, text)
    except WorkerDied as error:
        raise ConfigurationError(f"no worker process can check {path}: {error}") from None
    except FlowError as error:
        raise with_line(error, text) from None
    return CheckedFlow(flow.ref, tuple(column.name for column in flow.columns))


async def _checked(pool: WorkerPool, definition: Any, text: str) -> Flow:
    """The flow; or its mistakes, each found after removing the ones before."""
    mistakes: list[FlowError] = []
    while True:
        try:
            flow = read_definition(definition)
            await pool.check(flow.definition)
        except FlowError as error:
            if all((error.place, error.problem) != (known.place, known.problem) for known in mistakes):
                mistakes.append(with_line(error, text))
            definition = without(definition, error)
            if definition is not None and len(mistakes) < _MOST:
                continue
        else:
            if not mistakes:
                return flow
        mistakes[0].others = tuple(sorted(mistakes[1:], key=lambda mistake: mistake.line or 0))
        raise mistakes[0]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # an editor may have added a byte order mark
    except UnicodeError as error:
        raise FlowError("", f"is not UTF-8: {error}") from None
