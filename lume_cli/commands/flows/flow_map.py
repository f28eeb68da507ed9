"""`lume flow map`: propose a flow version that reads samples and fills a target."""

from pathlib import Path
from typing import Any

import click

from lume_cli._options import GlobalOptions, Utf8, file_options, sample_options
from lume_cli.commands import FILE


@click.command("map", short_help="Propose how samples become a target.")
@click.argument("target", metavar="TARGET", type=Utf8())
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLE...", type=FILE)
@click.option("--name", "flow", metavar="NAME", help="Name of the flow; default: that of the target.")
@click.option(
    "--references",
    metavar="VARIABLE",
    help="Environment variable with the database that `relationships` of a dbt model refer to.",
)
@click.option(
    "--suggest",
    metavar="PROGRAM",
    type=FILE,
    help="A program that suggests source columns, too: JSON in, JSON out.",
)
@sample_options
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR/",
    help="The *.toml file to write, or a folder (created if missing); default: stdout.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the whole proposal as JSON, with all candidates."
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@file_options
@click.pass_obj
def command(
    options: GlobalOptions,
    /,
    *,
    target: str,
    samples: tuple[Path, ...],
    output: str | None,
    as_json: bool,
    force: bool,
    **how: Any,
) -> None:
    """Propose a flow version that reads every SAMPLE and fills TARGET; the evidence is in its comments.

    TARGET is a JSON Schema (*.json), a flow version of the server (customers:v3) or its file (*.toml), of which the
    next version is proposed, a model of a dbt file (schema.yml:customers), or a table of the database whose URL is in
    an environment variable (env:WAREHOUSE_URL:public.customers). A column for which no source column is likely
    enough stays unmapped. Nothing is registered.

    \b
    lume flow map customers.schema.json kunden.csv -o flows/
    lume flow map customers:v3 kunden.xlsx -o flows/
    """
    from lume_cli._output.map_view import summary
    from lume_cli._output.text import as_json as json_text
    from lume_cli._session import CommandSession
    from lume_cli._streams import write_utf8
    from lume_cli._work.flow import flow_map, flow_write

    session = CommandSession(options)
    into = None if output is None else flow_write.target_of(output)

    async def work() -> None:
        found = await flow_map.proposal(session, target, samples, **how)
        session.say.text("\n".join(summary(found)))
        if into is not None:
            flow_map.write(session, found, into, samples, force=force)
        elif found.seeds and not as_json:
            session.say.warn(f"seed files are written with -o only: {', '.join(found.seeds)}")
        if as_json or into is None:
            write_utf8()
            session.data.text(json_text(found.to_json(), indent=2) if as_json else found.toml.rstrip("\n"))

    session.finish(work())
