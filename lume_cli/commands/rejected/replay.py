"""`lume replay`: send open rejected rows through a newer version of their flow."""

import click

from lume_cli._options import (
    GlobalOptions,
    Utf8,
    Waiting,
    open_rows_options,
    server_or_ids_options,
    submit_and_wait_options,
)


@click.command("replay")
@click.argument("flow", type=Utf8(), metavar="FLOW")
@click.option("--to", type=Utf8(), metavar="VERSION", help="The flow version to use, by default the newest.")
@open_rows_options
@click.option("--dry-run", is_flag=True, help="Only show how many rows would be accepted, by reason.")
@submit_and_wait_options
@server_or_ids_options
@click.pass_obj
def command(
    options: GlobalOptions,
    *,
    flow: str,
    to: str | None,
    reason: str | None,
    since: float | None,
    dry_run: bool,
    waiting: Waiting | None,
) -> None:
    """Send the open rejected rows of FLOW through one of its versions, as they were, and print the runs.

    FLOW is a name without a version; rows of all its versions are replayed, those with the same columns by one run.
    Each row is accepted once, even if this command or the server is killed: repeat it for the rows that are still
    open. Rows that are rejected again stay open.

    \b
    lume replay customers --reason "not an email address" --since 90d --dry-run
    lume replay customers --reason "not an email address" --since 90d --to customers:v4 --wait
    """
    from lume_cli._session import CommandSession
    from lume_cli._work.replay import Replaying

    if flow.count(":"):
        raise click.UsageError(
            f"FLOW is a name without a version: lume replay {flow.partition(':')[0]} --to {flow}"
        )
    if to is not None and to.endswith(".toml"):
        raise click.UsageError(
            f"--to is a version, not a file: `lume flow register {to}`, or put the file into the server's folder of "
            f"flows; then name its version, such as --to {flow}:v2"
        )
    session = CommandSession(options, "ids")
    replaying = Replaying(session, waiting)
    session.finish_with_client(
        lambda client: replaying.of(client, flow, to=to, reason=reason, since=since, dry_run=dry_run),
        replaying.interruption,
    )
