"""Checks files of flows, arrivals and messages; tries flows on a sample, and addresses. Needs no server.

A flow is checked by the parser, then by DuckDB in a worker process, which also runs it. Removing one mistake from a
definition reveals the next one.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from copy import deepcopy
from decimal import Decimal
from itertools import islice
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from attrs import asdict, evolve, field, frozen

from lume_async._base.tasks import task_group
from lume_async.errors import ConfigurationError
from lume_async.models import RunStatus
from lume_local._arrivals.settings import Arrival, read_arrivals
from lume_local._flow.definition import Flow, read_definition
from lume_local._flow.fields import FlowError, toml_of
from lume_local._flow.mistakes import Mistakes, with_line
from lume_local._messages.rules import MessageRule, read_rules
from lume_local._messages.rules import checked as checked_messages
from lume_local._messages.text import body_of_trial
from lume_local._runs.deliveries.message_carrier import MessageCarrier
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.sources.resolver import LayoutRefused, check_layout
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.failing import require
from lume_local._shared.protocol import MEMORY_LIMIT, THREADS, Done, Execute, Failed, Json

_MOST = 50
"""The maximum number of mistakes reported for one file."""
_ENTRY = re.compile(r"(rules|expect)\[(\d+)\]")
_PLACEHOLDERS = {"flow": "flow", "version": "v1"}
_DECIMAL = re.compile(r"DECIMAL\(\d+,(\d+)\)")


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
            # An error there, or of the whole that it is a part of, was caused by its removal.
            if not any(f"{known.place}.".startswith(f"{error.place}.") for known in mistakes):
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


def without(definition: Any, error: FlowError) -> Any | None:
    """Return the definition without the mistake at the error's place; None if it can't be removed.

    Parts that others may refer to stay: a column keeps its name and type, and gets NULL for its value.
    """
    repaired = deepcopy(definition)
    if not isinstance(repaired, dict):
        return None
    if (entry := _ENTRY.match(error.place)) and isinstance(repaired.get(entry[1]), list):
        # One without effect in its place, so that the others keep their numbers. A bad name is replaced alone.
        key, number = entry[1], int(entry[2])
        entries, harmless = repaired[key], {"name": f"{key} {number}", "sql": "TRUE"}
        if number >= len(entries) or entries[number] == harmless:
            return None
        named = (
            entries[number] | {"name": harmless["name"]} if isinstance(entries[number], dict) else harmless
        )
        is_name = error.place.endswith("].name") and named != entries[number]
        entries[number] = named if is_name else harmless
        return repaired
    if error.place in _PLACEHOLDERS:
        repaired[error.place] = _PLACEHOLDERS[error.place]
        return repaired if repaired != definition else None
    table, key = _found(repaired, error.place)
    if table is None:
        return None
    if key == "sql" and "columns." in error.place and "from" not in table:
        table[key] = "NULL"
    else:
        del table[key]
    return repaired if repaired != definition else None


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


@frozen
class TriedFlow:
    """The result of a flow on a sample.

    Attributes:
        ref: `flow:version`.
        status: how a run would end without `max_ratio`.
        message: why it would fail; None if it would not.
        metrics: the run's metrics, as `metadata.metrics` in the JSON form of a run; empty if it has none.
        mapped: the first clean rows; a number with a fraction is a decimal, with all its digits for a DECIMAL.
        rejects: the first rejected rows, with `_lume_row` and `_lume_reasons`.
        max_ratio: the flow's.
    """

    ref: str
    status: RunStatus
    message: str | None
    metrics: dict[str, Any] = field(factory=dict, repr=False)
    mapped: list[dict[str, Any]] = field(factory=list, repr=False)
    rejects: list[dict[str, Any]] = field(factory=list, repr=False)
    max_ratio: float | None = None


class Trial:
    """A sample on which flows are tried. Create it with `open_trial`."""

    def __init__(self, pool: WorkerPool, sample: Path, roots: Roots) -> None:
        self._pool, self._sample, self._roots = pool, sample, roots
        self._tries = 0

    async def try_flow(
        self, path: str | PathLike[str], *, limit: int = 20, layout: str | None = None
    ) -> TriedFlow:
        """Run the flow of a file on the sample, which is the whole source.

        Args:
            path: the flow file.
            limit: the maximum number of rows of each kind to return.
            layout: the layout of the sample, one of the flow's; default: recognised.

        Raises:
            FlowError: the flow has a mistake; says where and what to do. Its `others` are the further ones.
            OSError: the flow file can't be read.
            ConfigurationError: no worker process can be started.
        """
        text = text_of(Path(path))
        try:
            flow, compiled = await checked(self._pool, toml_of(text), text)
            tried = TriedFlow(flow.ref, RunStatus.CREATED, None, max_ratio=flow.max_ratio)
            try:
                job = self._job(flow, compiled, layout)
            except (PathRefused, LayoutRefused) as error:
                return evolve(tried, status=RunStatus.FAILED, message=str(error))
            tried = await self._tried(job, tried, limit)
            return evolve(tried, mapped=[_to_scale(row, flow) for row in tried.mapped])
        except WorkerDied as error:
            raise ConfigurationError(f"no worker process can try {path}: {error}") from None
        except FlowError as error:
            raise with_line(error, text) from None

    def _job(self, flow: Flow, compiled: Json, layout: str | None) -> Execute:
        """Return the job. Its rows go to files, not to the flow's targets. Raises `PathRefused`, `LayoutRefused`."""
        if layout:
            check_layout(flow, layout)
        self._tries += 1
        folder, source_path = self._roots.data / f"try-{self._tries}", str(self._sample)
        if query := flow.source.query:
            source: Json = {"kind": "query", **asdict(query), "source_path": source_path}
        else:
            file = {"path": str(self._roots.source(source_path)), "shown": source_path}
            source = {"kind": "files", "files": [file], "looked_up": ""}
        seeds = {
            seed.name: {
                "path": str(self._roots.source(seed.path)),
                "looked_up": self._roots.looked_up(seed.path),
            }
            for seed in flow.seeds
        }
        # A try shows rejected rows, however many there are, and asks no table about the others.
        free = compiled | {"max_ratio": None, "judged_by_table": False}
        folder.mkdir()
        return Execute(
            run_id=folder.name,
            flow=free,
            source=source,
            folder=str(folder),
            mapped={"kind": "file", "path": str(folder / "mapped.ndjson")},
            rejects={"kind": "file", "path": str(folder / "rejects.ndjson")},
            memory_limit=MEMORY_LIMIT,
            threads=THREADS,
            seeds=seeds,
            dry_run=True,
            layout=layout or "",
        )

    async def _tried(self, job: Execute, tried: TriedFlow, limit: int) -> TriedFlow:
        async with self._pool.worker() as worker, aclosing(worker.run(job)) as events:
            async for event in events:
                match event:
                    case Done(record):
                        built = record["built"]
                        return evolve(
                            tried,
                            status=RunStatus(record["status"]),
                            message=record["message"],
                            metrics=record["metrics"],
                            mapped=_rows(built.get("mapped"), limit),
                            rejects=_rows(built.get("rejects"), limit),
                        )
                    case Failed(message, metrics):
                        return evolve(tried, status=RunStatus.FAILED, message=message, metrics=metrics or {})
            return evolve(tried, status=RunStatus.CRASHED, message=await worker.death())


def _rows(path: str | None, limit: int) -> list[dict[str, Any]]:
    if path is None:
        return []
    with Path(path).open(encoding="utf-8") as file:
        return list(islice((json.loads(line, parse_float=Decimal) for line in file), limit))


def _to_scale(row: dict[str, Any], flow: Flow) -> dict[str, Any]:
    """Add the zeros that DuckDB drops: it writes 2944.90 of a DECIMAL(12,2) as 2944.9, and 2500.00 as 2500."""
    scales = {one.name: int(found[1]) for one in flow.columns if (found := _DECIMAL.fullmatch(one.sql_type))}
    return {
        name: round(Decimal(value), scales[name]) if name in scales and value is not None else value
        for name, value in row.items()
    }


@asynccontextmanager
async def open_trial(sample: str | PathLike[str]) -> AsyncIterator[Trial]:
    """Prepare to try flows on a sample, in a process of its own.

    Relative seeds are looked up in the current folder. A try reads files only there and beside the sample.

    Args:
        sample: the file that is the source.
    """
    path = Path(sample).absolute()  # noqa: ASYNC240 - no file is read
    if ".." in path.parts:  # the roots of a server take no such path
        path = path.parent.resolve() / path.name
    with TemporaryDirectory(prefix="lume-try-") as data:
        async with WorkerPool().running() as pool:
            pool.warm()
            yield Trial(pool, path, Roots.of((Path.cwd(), path.parent), Path(data)))


@frozen
class CheckedMessage:
    """A `[[message]]` table without mistakes.

    Attributes:
        on: its events.
        flows: patterns of its flows.
        to: the environment variables with its addresses.
        unset: the variables that are not set here.
        remote: the variables whose addresses are not on this machine.
    """

    on: tuple[str, ...]
    flows: tuple[str, ...]
    to: tuple[str, ...]
    unset: tuple[str, ...]
    remote: tuple[str, ...] = ()


@frozen
class TriedAddress:
    """An address that a message was sent to.

    Attributes:
        variable: the environment variable that holds it.
        problem: why it was not accepted, without parts of the address; None if it was.
    """

    variable: str
    problem: str | None


def check_messages(path: str | PathLike[str]) -> list[CheckedMessage]:
    """Check the `[[message]]` tables of a file as `serve` does. A variable that is not set here is no mistake.

    Raises:
        FlowError: the file has a mistake; says where and what to do. Its `others` are the further ones.
        ConfigurationError: the file can't be read.
    """
    try:
        rules = checked_messages(Path(path))
    except ConfigurationError as error:
        if isinstance(error.__cause__, FlowError):
            raise error.__cause__ from None
        raise
    return [
        CheckedMessage(
            *(rule.on, rule.flows, rule.to),
            unset=tuple(name for name in rule.to if not os.environ.get(name, "").strip()),
            remote=tuple(name for name in rule.to if not _is_here(os.environ.get(name, "").strip())),
        )
        for rule in rules
    ]


def _is_here(address: str) -> bool:
    """Return whether messages to an address of apprise, which may be unknown, stay on this machine."""
    from lume_local._runs.deliveries.webhooks import is_this_machine  # slow to import

    with suppress(ValueError):
        return not address or is_this_machine(urlsplit(address).hostname or "")
    return False


async def try_messages(path: str | PathLike[str]) -> list[TriedAddress]:
    """Send a message to each address that the `[[message]]` tables of a file name; each once, in order.

    Raises:
        FlowError: a table has a mistake.
        ConfigurationError: the file can't be read, or the extra `messages` is not installed.
    """
    names = list(dict.fromkeys(name for message in check_messages(path) for name in message.to))
    try:
        require("apprise", "messages", "lume message test")
    except ModuleNotFoundError as error:
        raise ConfigurationError(str(error)) from None
    carrier = MessageCarrier(secrets=[os.environ.get(name, "") for name in names])
    problems = dict[str, str | None]()

    async def attempt(name: str) -> None:
        problems[name] = await carrier.send(name, body_of_trial(name, os.path.basename(path)))

    async with carrier.running(), task_group() as tasks:
        for name in names:
            tasks.start_soon(attempt, name)
    return [TriedAddress(name, problems[name]) for name in names]
