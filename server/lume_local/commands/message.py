"""`lume message`: check and try the messages of a server."""

from collections.abc import Iterable
from pathlib import Path

import click

from lume_async import ConfigurationError
from lume_cli._options import GlobalOptions, output_options
from lume_cli._output import exit_codes
from lume_cli._session import CommandSession
from lume_cli.commands import FILE
from lume_local import CheckedMessage, FlowError, check_messages, try_messages
from lume_local.commands.account import report

SETTINGS = click.argument("path", type=FILE, default="arrivals.toml", metavar="[FILE]")
"""The file of arrivals and messages, which commands check."""
_LINKS = (
    "the server's own address, unless `lume serve --public-url URL` names the one by which people open it"
)


@click.group("message")
def command() -> None:
    """Check and try the messages that a server sends to people."""


@command.command("check", short_help="Check the [[message]] tables of a file.")
@SETTINGS
@output_options
@click.pass_obj
def check(options: GlobalOptions, *, path: Path) -> None:
    """Check the [[message]] tables of FILE as `lume serve --messages` does, and report each mistake with its line.

    FILE is arrivals.toml by default. Variables that are not set here are warnings: the server needs them.

    \b
    lume message check arrivals.toml
    """
    session = CommandSession(options)
    found = _checked(session, path)
    session.data.many(
        found,
        ("ON", "FLOWS", "TO"),
        lambda all_: [(", ".join(one.on), ", ".join(one.flows), ", ".join(one.to)) for one in all_],
        lambda one: {"on": one.on, "flows": one.flows, "to_env": one.to, "unset": one.unset},
    )


@command.command("test", short_help="Send a message to each address.")
@SETTINGS
@output_options
@click.pass_obj
def test(options: GlobalOptions, *, path: Path) -> None:
    """Send a message to each address that the [[message]] tables of FILE name, and print which accepted it.

    FILE is arrivals.toml by default. The addresses are URLs of apprise, from the environment of this command; no
    server is needed. Exits with 1 if one did not accept it.

    \b
    SLACK_URL=slack://… lume message test arrivals.toml
    """
    session = CommandSession(options)

    async def work() -> int:
        _checked(session, path)
        try:
            tried = await try_messages(path)
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from None
        session.data.many(
            tried,
            ("TO", "RESULT"),
            lambda all_: [(one.variable, one.problem or "accepted") for one in all_],
            lambda one: {"to_env": one.variable, "accepted": one.problem is None, "error": one.problem},
        )
        return exit_codes.ERROR if any(one.problem for one in tried) else 0

    session.finish(work())


def _checked(session: CommandSession, path: Path) -> list[CheckedMessage]:
    """Return the messages of a file. Reports mistakes, and exits; warns of variables that are not set."""
    try:
        found = check_messages(path)
    except FlowError as error:
        report(session, path, error)
        raise click.exceptions.Exit(exit_codes.ERROR) from None
    except ConfigurationError as error:
        raise click.ClickException(str(error).removeprefix("messages: ")) from None
    for name in dict.fromkeys(name for one in found for name in one.unset):
        session.say.warn(f"the variable {name} is not set here; the server does not start without it")
    if not found:
        session.say.warn(f"{path} has no [[message]] table: no message is sent")
    warn_of_links(session, found)
    return found


def warn_of_links(session: CommandSession, messages: Iterable[CheckedMessage], but: str = _LINKS) -> None:
    """Warn that readers elsewhere can't follow the links in these messages."""
    if names := ", ".join(dict.fromkeys(name for one in messages for name in one.remote)):
        session.say.warn(f"messages to {names} leave this machine, but their links lead to {but}")
