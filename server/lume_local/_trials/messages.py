"""Checks the rules of messages without a server, and tries the addresses that they name."""

import os
from os import PathLike
from pathlib import Path

from attrs import frozen

from lume_async._base.tasks import task_group
from lume_async.errors import ConfigurationError
from lume_local._flow.fields import FlowError
from lume_local._messages.rules import checked
from lume_local._messages.text import body_of_trial
from lume_local._runs.deliveries.message_carrier import MessageCarrier
from lume_local._shared.failing import require


@frozen
class CheckedMessage:
    """A `[[message]]` table without mistakes.

    Attributes:
        on: its events.
        flows: patterns of its flows.
        to: the environment variables with its addresses.
        unset: the variables that are not set here.
    """

    on: tuple[str, ...]
    flows: tuple[str, ...]
    to: tuple[str, ...]
    unset: tuple[str, ...]


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
        rules = checked(Path(path))
    except ConfigurationError as error:
        if isinstance(error.__cause__, FlowError):
            raise error.__cause__ from None
        raise
    return [
        CheckedMessage(
            *(rule.on, rule.flows, rule.to),
            unset=tuple(name for name in rule.to if not os.environ.get(name, "").strip()),
        )
        for rule in rules
    ]


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
