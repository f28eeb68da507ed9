"""`lume list`: the runs of the service."""

import click

from lume_cli._options import Options, server_or_ids_options


@click.command("list")
@click.option("--flow", metavar="FLOW", help="Only runs of this flow version, such as customer_cleaner:v1.")
@click.option("--source", metavar="SOURCE", help="Only runs on this source.")
@click.option("--status", metavar="STATUS", help="Only runs that have this status now, such as FAILED.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many runs."
)
@server_or_ids_options
@click.pass_obj
def command(
    options: Options, *, flow: str | None, source: str | None, status: str | None, limit: int
) -> None:
    """List runs, newest first.

    \b
    lume list --status FAILED --limit 10
    lume list --status FAILED -o ids | lume show -
    lume list --flow invoices:v3 -o ndjson | jq -r .run_metadata.ticket
    """
    from lume_async import LumeRun
    from lume_cli import _exits, _runs
    from lume_cli._session import Session

    session = Session(options, ids=True)
    data = session.data

    async def work() -> int:
        async with session.client() as client:
            found, kept = 0, list[LumeRun]()
            pages = client.list_runs(
                flow_version=flow, source_path=source, status=status.upper() if status else None, limit=limit
            )
            async for run in pages:
                found += 1
                if data.format == "ndjson":
                    data.document(_runs.to_dict(run))
                elif data.format == "ids":
                    data.line(run.id)
                else:
                    kept.append(run)
        if data.format in ("table", "json"):
            data.many(kept, _runs.HEADERS, _runs.row, _runs.to_dict)
        if data.format in ("table", "ids") and not found:
            session.say.note("no runs match")
        return _exits.OK

    session.finish(work(), lambda: ("interrupted", None))
