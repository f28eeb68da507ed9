"""`lume inbox`: the open rejected rows of all runs."""

from typing import TYPE_CHECKING

import click

from lume_cli._options import FlowName, server_options, since_option
from lume_cli.commands import with_client

if TYPE_CHECKING:
    from lume_async import Client
    from lume_cli._session import CommandSession


@click.command("inbox")
@click.argument("flow", type=FlowName(), required=False, metavar="[FLOW]")
@since_option("Count new and closed rows from the day of this time on: 7d, 30d … By default yesterday.")
@server_options
@with_client
async def command(
    session: "CommandSession", client: "Client", *, flow: str | None, since: float | None
) -> None:
    """Print the open rejected rows of all runs, or of the runs of FLOW, by flow and reason.

    A rejected row is open until it is mended (`lume resubmit`), replayed (`lume replay`) or discarded (`lume
    discard`), or until its whole source is read again. A row may have several reasons. NEW rows were rejected since
    yesterday (--since), and CLOSED ones were closed since then, which may include new ones. Rows whose rejects file
    is gone are lost: a warning gives their number for each flow.

    \b
    lume inbox
    lume inbox customers --since 30d
    """
    from lume_async._base.words import counted
    from lume_cli._output import inbox_view

    found = await client.inbox(flow=flow, since=since)
    for broken in (one for one in found.flows if not one.account.closes):
        session.say.warn(f"the row counts of {broken.flow} do not match (a bug in lume): please report it")
    for one in (one for one in found.flows if one.account.lost):
        lost, gone = one.account.lost, "the rejects file is gone (removed by --keep-output, or by hand)"
        session.say.warn(f"{counted(lost, 'row')} of {one.flow} {inbox_view.are_lost(lost, one.flow, gone)}")
    if session.data.format == "table":
        for waiting in (waiting for one in found.flows for waiting in one.submissions):
            of = f"{counted(waiting.rows, 'row')} of {waiting.owner} for {waiting.to}"
            session.say.note(f"waiting for another person's approval: {of} (`lume console`)")
        session.data.table(inbox_view.HEADERS, inbox_view.rows(found))
        if not found.items:
            session.say.note("no rejected row is open")
    else:
        session.data.values([inbox_view.to_dict(one, found) for one in found.flows])
