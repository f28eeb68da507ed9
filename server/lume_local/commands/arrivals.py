"""`lume arrivals check`: check the file that defines the arrivals of a server."""

from pathlib import Path

import click

from lume_cli._options import GlobalOptions, output_options
from lume_cli._output import exit_codes
from lume_cli._session import CommandSession
from lume_local import FlowError, check_arrivals, check_messages
from lume_local.commands.account import report
from lume_local.commands.message import SETTINGS, warn_of_links


@click.command("check", short_help="Check a file of arrivals.")
@SETTINGS
@output_options
@click.pass_obj
def command(options: GlobalOptions, *, path: Path) -> None:
    """Check a FILE for `lume serve --arrivals`, and report every mistake with its line.

    FILE is arrivals.toml by default. `lume arrivals list` reports whether a server may read the places, and has the
    flows, once it watches them.

    \b
    lume arrivals check arrivals.toml
    """
    session = CommandSession(options)

    async def work() -> int:
        try:
            found = check_arrivals(path)
        except FlowError as error:
            report(session, path, error)
            return exit_codes.ERROR
        if not found:
            session.say.warn(f"{path} has no [[arrival]] table: nothing is watched")
        warn_of_links(session, check_messages(path))
        session.data.many(
            found,
            ("NAME", "FLOW", "FROM"),
            lambda all_: [(one.name, one.flow, one.uri) for one in all_],
            lambda one: {"name": one.name, "flow": one.flow, "from": one.uri},
        )
        return exit_codes.OK

    session.finish(work())
