"""Checking and trying the messages of a server. The work of `message`."""

from pathlib import Path

import click

from lume_async import ConfigurationError
from lume_cli._output import exit_codes
from lume_cli._session import CommandSession
from lume_cli._work.flow import flow_check
from lume_local import CheckedMessage, FlowError, TriedAddress, check_messages, try_messages


def check(session: CommandSession, path: Path) -> list[CheckedMessage]:
    """The messages of a file. Reports mistakes, and exits; warns of variables that are not set."""
    try:
        found = check_messages(path)
    except FlowError as error:
        flow_check.report(session, path, error)
        raise click.exceptions.Exit(exit_codes.ERROR) from None
    except ConfigurationError as error:
        raise click.ClickException(str(error).removeprefix("messages: ")) from None
    for name in dict.fromkeys(name for one in found for name in one.unset):
        session.say.warn(f"the variable {name} is not set here; the server does not start without it")
    if not found:
        session.say.warn(f"{path} has no [[message]] table: nobody is told anything")
    return found


async def attempt(session: CommandSession, path: Path) -> list[TriedAddress]:
    """Send a message to each address. Reports mistakes of the file, and exits."""
    check(session, path)
    try:
        return await try_messages(path)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
