"""`lume arrivals`: the arrivals of a server, and the file that configures them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from lume_cli._options import GlobalOptions, Utf8, count_option, server_options
from lume_cli._table import CommandTable
from lume_cli.commands import with_client

if TYPE_CHECKING:
    from lume_async import ArrivalFile, Client
    from lume_cli._session import CommandSession

_HEADERS = ("ARRIVAL", "STATE", "SINCE", "PATH", "RUN", "STATUS", "WHY")

command = CommandTable(
    "arrivals",
    {
        "check": ("", "Check a file of arrivals."),
        "list": ("server.arrivals:list_", "List what arrives at a server."),
        "retry": ("server.arrivals:retry", "Take failed files again."),
    },
    help="Check a file of arrivals, list what arrives at a server, and take failed files again.",
)


def _rows(files: "Iterable[ArrivalFile]") -> Iterator[tuple[str, ...]]:
    from lume_cli._output.text import moment

    for one in files:
        run = one.run_id or "", one.status or ""
        lies = f"it lies at {one.lies_at}" if one.lies_at else ""
        yield one.arrival, one.state, moment(one.at), one.path, *run, ": ".join(filter(None, (lies, one.why)))


@click.command("list", short_help="List what arrives at a server.")
@click.argument("name", type=Utf8(), required=False, metavar="[NAME]")
@click.option(
    "--state", type=click.Choice(["waiting", "submitted", "refused"]), help="Only files in this state."
)
@count_option("--limit", 100, "Maximum number of files in each state.", most=1000)
@server_options
@with_client
async def list_(
    session: "CommandSession", client: "Client", *, name: str | None, state: str | None, limit: int
) -> None:
    """List the files of all arrivals, or of NAME: which wait, are refused, were submitted, and why.

    `lume list --by arrival:NAME` has all runs of an arrival.

    \b
    lume arrivals list
    lume arrivals list acme-orders --state refused
    """
    found = await client.arrivals(name=name, state=state, limit=limit)  # type: ignore[arg-type]  # one of them
    if found.problem is not None:
        session.say.warn(f"the current content of the arrivals file is not in effect: {found.problem}")
    if not found.arrivals:
        session.say.note("this server watches nothing: start it with --arrivals FILE")
    for one in found.arrivals:
        if name in (None, one.name):
            counts = f"{one.waiting:,} waiting, {one.submitted:,} submitted, {one.refused:,} refused"
            watched = f"watched by {one.watched}" if one.watched else "not watched"
            trouble = f"; {one.trouble}" if one.trouble else ""
            session.say.note(f"{one.name}: {one.uri} to {one.flow}, {watched}: {counts}{trouble}")
    session.data.many(found.files, _HEADERS, _rows)


@click.command("retry", short_help="Take failed files again.")
@click.argument("name", type=Utf8(), required=False, metavar="[NAME]")
@click.option(
    "--path", "paths", type=Utf8(), multiple=True, help="Only this file, as the list has it; repeatable."
)
@click.option("--all", "is_all", is_flag=True, help="The files of all arrivals.")
@server_options
@click.pass_obj
def retry(options: GlobalOptions, *, name: str | None, paths: tuple[str, ...], is_all: bool) -> None:
    """Take files again that have failed or were refused: those of the arrival NAME, of some paths, or --all.

    Files whose last run is of an earlier flow of the arrival are left out: `lume rerun` runs them.

    A file that was put aside comes back to its path first. The list has the new runs, or why a file has none yet.

    \b
    lume arrivals retry acme-orders
    lume arrivals retry --path incoming/acme/monday.csv
    """
    from lume_cli._session import CommandSession

    if not (name or paths or is_all):
        raise click.UsageError("name an arrival or a --path, or pass --all for the files of all arrivals")
    session = CommandSession(options)

    async def work(client: "Client") -> None:
        names = [name] if name else [one.name for one in (await client.arrivals(limit=1)).arrivals]
        taken = [file for one in names for file in await client.retry_arrivals(one, paths=paths)]
        session.data.many(taken, _HEADERS, _rows)
        if not taken:
            session.say.note("no such file has failed")

    session.finish_with_client(work)
