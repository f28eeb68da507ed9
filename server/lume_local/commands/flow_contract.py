"""`lume flow contract`: the data contract of a flow."""

import click

from lume_cli._options import GlobalOptions, Utf8, file_options
from lume_cli._session import CommandSession
from lume_cli._streams import write_utf8
from lume_cli._work.flow_diff import definition_for
from lume_local import FlowError
from lume_local._mapping.contract import contract_of, contract_text
from lume_local._shared.failing import require


@click.command("contract", short_help="Write the data contract of a flow.")
@click.argument("flow", metavar="FLOW|FILE", type=Utf8())
@file_options
@click.pass_obj
def command(options: GlobalOptions, *, flow: str) -> None:
    """Write the data contract for the mapped rows of a flow version of the server, or of a FILE (*.toml).

    It is a document of the Open Data Contract Standard, version 3, as YAML. `lume flow map` reads it as a target.

    \b
    lume flow contract customers:v1 > customers.odcs.yaml
    lume flow contract flows/customers.v1.toml
    """
    try:
        require("yaml", "contracts", "a contract as YAML")
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from None
    session = CommandSession(options)

    async def work() -> None:
        definition = await definition_for(session, flow)
        try:
            text = contract_text(contract_of(definition))
        except FlowError as error:
            raise click.ClickException(f"{flow}: {error}") from None
        write_utf8()
        session.data.text(text.rstrip("\n"))

    session.finish(work())
