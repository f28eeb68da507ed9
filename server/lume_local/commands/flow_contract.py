"""`lume flow contract`: the data contract of a flow."""

from pathlib import Path

import click

from lume_cli._options import GlobalOptions, Utf8, file_name, file_options
from lume_cli._session import CommandSession
from lume_cli._streams import write_utf8
from lume_cli._work.flow_diff import definition_of, is_file, read_flow
from lume_local import FlowError
from lume_local._mapping.contract import contract_of, contract_text
from lume_local._shared.failing import require
from lume_local.commands import flow_write


@click.command("contract", short_help="Write the data contract of a flow.")
@click.argument("flow", metavar="FLOW|FILE", type=Utf8())
@click.option("--form", type=click.Choice(["odcs"]), default="odcs", help="Its form; default: odcs.")
@click.option(
    "-o", "--output", metavar="FILE", callback=file_name, help="The file to write; default: stdout."
)
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@file_options
@click.pass_obj
def command(options: GlobalOptions, *, flow: str, form: str, output: str | None, force: bool) -> None:
    """Write the data contract for the mapped rows of a flow version of the server, or of a FILE (*.toml).

    It is a document of the Open Data Contract Standard, version 3, as YAML. `lume flow map` reads it as a target.

    \b
    lume flow contract customers:v1 -o customers.odcs.yaml
    lume flow contract flows/customers.v1.toml
    """
    try:
        require("yaml", "contracts", "a contract as YAML")
    except ModuleNotFoundError as error:
        raise click.ClickException(str(error)) from None
    session = CommandSession(options)

    async def work() -> None:
        if is_file(flow):
            definition = read_flow(Path(flow))
        else:
            async with session.client() as client:
                definition = await definition_of(client, flow)
        try:
            text = contract_text(contract_of(definition))
        except FlowError as error:
            raise click.ClickException(f"{flow}: {error}") from None
        if output is None:
            write_utf8()
            session.data.text(text.rstrip("\n"))
        else:
            flow_write.write(Path(output), text, force=force)
            session.say.note(f"wrote {output}")

    session.finish(work())
