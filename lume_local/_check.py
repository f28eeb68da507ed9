"""Checking a flow file without a server: its parser, then DuckDB in a worker process."""

from os import PathLike
from pathlib import Path

from attrs import frozen

from lume_async.errors import ConfigurationError
from lume_local._flow.definition import read_toml
from lume_local._flow.fields import FlowError
from lume_local._flow.lines import with_line
from lume_local._runs.worker import WorkerDied
from lume_local._runs.worker_pool import Pool


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
    """Judge a flow file just as `serve` does when it reads its flows folder; nothing is kept.

    Raises:
        FlowError: the flow has a mistake; says where and what to do.
        OSError: the file can't be read.
        ConfigurationError: no worker process can be started to check its SQL.
    """
    text = _text(Path(path))
    try:
        flow = read_toml(text)
        async with Pool().running() as pool:
            await pool.check(flow.definition)
    except FlowError as error:
        raise with_line(error, text) from None
    except WorkerDied as error:
        raise ConfigurationError(f"no worker process can check {path}: {error}") from None
    return CheckedFlow(flow.ref, tuple(column.name for column in flow.columns))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeError as error:
        raise FlowError("", f"is not UTF-8: {error}") from None
