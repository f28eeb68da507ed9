"""Checks files of flows, arrivals and messages, and tries addresses. Needs no server.

A flow is checked by the parser, then by DuckDB in a worker process.
"""

import os
from contextlib import suppress
from os import PathLike
from pathlib import Path
from urllib.parse import urlsplit

from anyio import from_thread
from anyio.to_thread import run_sync
from attrs import frozen

from lume_async._base.tasks import task_group
from lume_async.errors import ConfigurationError
from lume_local._arrivals.settings import Arrival, read_arrivals
from lume_local._flow.fields import FlowError, toml_of
from lume_local._flow.mistakes import Mistakes, with_line
from lume_local._messages.rules import MessageRule, read_rules
from lume_local._messages.rules import checked as checked_messages
from lume_local._messages.text import body_of_trial
from lume_local._runs.deliveries.message_carrier import MessageCarrier
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.failing import require
from lume_local._trials.mistaken import checked, text_of


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
            flow, _ = await run_sync(checked, lambda one: from_thread.run(pool.check, one), definition, text)
    except WorkerDied as error:
        raise ConfigurationError(f"no worker process can check {path}: {error}") from None
    except FlowError as error:
        raise with_line(error, text) from None
    return CheckedFlow(flow.ref, tuple(column.name for column in flow.columns))


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
    carrier = MessageCarrier(secrets=lambda: [os.environ.get(name, "") for name in names])
    problems = dict[str, str | None]()

    async def attempt(name: str) -> None:
        problems[name] = await carrier.send(name, body_of_trial(name, os.path.basename(path)))

    async with carrier.running(), task_group() as tasks:
        for name in names:
            tasks.start_soon(attempt, name)
    return [TriedAddress(name, problems[name]) for name in names]
