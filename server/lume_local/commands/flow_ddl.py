"""`lume flow ddl`: the table for the mapped rows of a flow."""

from typing import Literal

import click

from lume_cli._options import GlobalOptions, Utf8, server_options
from lume_cli._session import CommandSession
from lume_cli._work.flow_diff import definition_for
from lume_local import FlowError, table_ddl


@click.command("ddl", short_help="Print the table of a flow.")
@click.argument("flow", metavar="FLOW|FILE", type=Utf8())
@click.option(
    "--for",
    "database",
    type=click.Choice(["postgresql", "sqlite", "duckdb"]),
    required=True,
    help="The kind of database.",
)
@server_options
@click.pass_obj
def command(
    options: GlobalOptions, *, flow: str, database: Literal["postgresql", "sqlite", "duckdb"]
) -> None:
    """Print the CREATE TABLE statement for the mapped rows of a flow version of the server, or of a FILE (*.toml).

    With `create = true` in the target, a run creates the table itself.

    \b
    lume flow ddl customers:v1 --for postgresql | psql "$WAREHOUSE_URL"
    lume flow ddl flows/customers.v1.toml --for sqlite
    """
    session = CommandSession(options)

    async def work() -> None:
        definition = await definition_for(session, flow)
        try:
            statement = table_ddl(definition, database)
        except FlowError as error:
            raise click.ClickException(f"{flow}: {error}") from None
        if session.data.format == "table":
            session.data.text(statement)
        else:
            session.data.document({"database": database, "ddl": statement})

    session.finish(work())
