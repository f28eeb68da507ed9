"""`lume arrivals`: what arrives at a server, and the file that says so."""

from pathlib import Path

import click

from lume_cli._options import GlobalOptions, Utf8, count_option, output_options, server_options
from lume_cli.commands import FILE


@click.group("arrivals")
def command() -> None:
    """Check a file of arrivals, and list what arrives at a server."""


@command.command("check", short_help="Check a file of arrivals.")
@click.argument("file", metavar="FILE", type=FILE)
@output_options
@click.pass_obj
def check(options: GlobalOptions, *, file: Path) -> None:
    """Check a FILE for `lume serve --arrivals`, and report every mistake with its line.

    Whether a server may read the places, and has the flows, is told by `lume arrivals list` once it watches them.

    \b
    lume arrivals check arrivals.toml
    """
    from lume_cli._output import arrivals_view, exit_codes
    from lume_cli._session import CommandSession
    from lume_cli._work.flow import flow_check

    session = CommandSession(options)

    async def work() -> int:
        from lume_local import FlowError, check_arrivals

        try:
            found = check_arrivals(file)
        except FlowError as error:
            flow_check.report(session, file, error)
            return exit_codes.ERROR
        if not found:
            session.say.warn(f"{file} has no [[arrival]] table: nothing is watched")
        session.data.many(
            found, arrivals_view.CHECKED_HEADERS, arrivals_view.checked_rows, arrivals_view.checked_to_dict
        )
        return exit_codes.OK

    session.finish(work())


@command.command("list", short_help="List what arrives at a server.")
@click.argument("name", type=Utf8(), required=False, metavar="[NAME]")
@click.option(
    "--state", type=click.Choice(["waiting", "submitted", "refused"]), help="Only files in this state."
)
@count_option("--limit", 100, "Maximum number of files in each state.", most=1000)
@server_options
@click.pass_obj
def list_(options: GlobalOptions, *, name: str | None, state: str | None, limit: int) -> None:
    """List the files of all arrivals, or of NAME: which wait, are refused, were submitted, and why.

    `lume list --by arrival:NAME` has all runs of an arrival.

    \b
    lume arrivals list
    lume arrivals list acme-orders --state refused
    """
    from lume_async import Client
    from lume_cli._output import arrivals_view
    from lume_cli._session import CommandSession

    session = CommandSession(options)

    async def work(client: Client) -> None:
        found = await client.arrivals(name=name, state=state, limit=limit)  # type: ignore[arg-type]  # one of them
        if found.problem is not None:
            session.say.warn(f"the present content of the arrivals file is not in effect: {found.problem}")
        if not found.arrivals:
            session.say.note("this server watches nothing: start it with --arrivals FILE")
        for one in found.arrivals:
            if name in (None, one.name):
                session.say.note(arrivals_view.summary(one))
        session.data.many(found.files, arrivals_view.HEADERS, arrivals_view.rows)

    session.finish_with_client(work)
