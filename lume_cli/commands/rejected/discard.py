"""`lume discard`: nothing is left to do about rejected rows."""

import click

from lume_cli._options import FlowName, GlobalOptions, Utf8, open_rows_options, server_options


@click.command("discard")
@click.argument("flow", type=FlowName(), required=False, metavar="[FLOW]")
@click.option("--run", metavar="RUN", help="Rows of this run, instead of those of a flow.")
@open_rows_options
@click.option(
    "--why", type=Utf8(), required=True, metavar="TEXT", help="Why nothing is left to do; recorded."
)
@server_options
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    flow: str | None,
    run: str | None,
    reason: str | None,
    since: float | None,
    why: str,
) -> None:
    """Discard the open rejected rows of FLOW, or of one run: they leave the inbox. Print how many they were.

    The rows stay in the rejects of their runs. Who discarded them, when and why is recorded. Rows in a replay that
    has not ended stay open.

    \b
    lume discard customers --reason "not an email address" --why "these accounts are closed"
    lume discard --run 2f91d0ab --why "sent by mistake"
    """
    from lume_async import Client
    from lume_async._base.words import counted
    from lume_cli._session import CommandSession
    from lume_cli._work.rejected_rows import matching_in_inbox
    from lume_cli._work.run_ids import whole_ids

    if (flow is None) == (run is None):
        raise click.UsageError("name either a FLOW, or a run with --run")
    session = CommandSession(options)

    async def work(client: Client) -> None:
        reasons = await matching_in_inbox(session, client, flow, reason)
        whole = None if run is None else (await whole_ids(client, [run]))[0]
        count = 0
        if reasons != []:  # else no reason contains the text
            count = await client.discard_rejects(why, flow=flow, run=whole, reason=reasons, since=since)
        session.data.one(f"discarded {counted(count, 'row')}", {"discarded": count})

    session.finish_with_client(work)
