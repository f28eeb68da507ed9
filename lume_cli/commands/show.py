"""`lume show`: everything about one run."""

import click

from lume_cli._options import Options, server_options


@click.command("show")
@click.argument("run")
@server_options
@click.pass_obj
def command(options: Options, *, run: str) -> None:
    """Show RUN: times, stages, rows, why rows were rejected, where the output lies.

    \b
    lume show run_01HY
    lume show run_01HY -o json | jq .metadata.metrics.reject_reasons
    """
    from lume_cli import _exits, _runs
    from lume_cli._session import Session

    session = Session(options)

    async def work() -> int:
        async with session.client() as client:
            found = await client.run_status(run)
        if session.data.format == "table":
            session.data.page(_runs.page(found))
        else:
            session.data.document(_runs.to_dict(found))
        return _exits.OK

    session.finish(work(), lambda: ("interrupted", None))
