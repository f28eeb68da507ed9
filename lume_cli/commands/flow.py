"""`lume flow`: write and check flow files; list, register and compare the flow versions of a server."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from lume_cli._options import FlowName, Utf8, server_options
from lume_cli._table import CommandTable
from lume_cli.commands import FILE, with_client

if TYPE_CHECKING:
    from lume_async import Client, FlowSummary
    from lume_cli._session import CommandSession

command = CommandTable(
    "flow",
    {
        "init": ("", "Write a flow file from a sample."),
        "map": ("", "Propose how samples become a target."),
        "check": ("", "Check flow files."),
        "try": ("", "Try a flow file on a sample."),
        "register": ("flow:register", "Register flow files with a server."),
        "list": ("flow:list_", "List the flow versions of a server."),
        "show": ("flow:show", "Print a flow version of a server as a flow file."),
        "diff": ("flow:diff", "Compare two flow versions or files."),
        "model": ("flow:model", "Write a Python class for the rows of a flow version."),
        "contract": ("", "Write the data contract of a flow."),
        "ddl": ("", "Print the table of a flow."),
    },
    help="Write, check and register flow files, and list and compare what a server has.",
)


@click.command("list", short_help="List the flow versions of a server.")
@click.argument("flow", required=False, metavar="[FLOW]", type=FlowName())
@server_options
@with_client
async def list_(session: "CommandSession", client: "Client", *, flow: str | None) -> None:
    """List the server's flow versions, or only the versions of FLOW, with the number of their runs.

    \b
    lume flow list
    lume flow list customer_cleaner -o json
    """
    found = [one async for one in client.list_flows(flow)]
    session.data.many(found, ("FLOW", "RUNS", "COLUMNS", "AGE", "CONTENT"), _rows)
    if not found and session.data.format == "table":
        session.say.note("no flow versions" if flow is None else await _no_flow(client, flow))


async def _no_flow(client: "Client", flow: str) -> str:
    from difflib import get_close_matches

    names = list(dict.fromkeys([one.flow_version.partition(":")[0] async for one in client.list_flows()]))
    near = get_close_matches(flow, names, 1)
    known = f"known are {', '.join(names[:10])}" if names else "none is registered"
    return f"there is no flow {flow!r}: " + (f"did you mean {near[0]!r}?" if near else known)


def _rows(flows: "Sequence[FlowSummary]") -> list[tuple[str, ...]]:
    from lume_cli._output.text import age

    now = datetime.now(UTC)
    return [
        (
            flow.flow_version,
            f"{flow.runs:,}",
            str(len(flow.columns)),
            age((now - flow.created_at).total_seconds()),
            flow.content_hash[:12],
        )
        for flow in flows
    ]


@click.command("register", short_help="Register flow files with a server.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=FILE)
@server_options
@with_client
async def register(session: "CommandSession", client: "Client", *, files: tuple[Path, ...]) -> int:
    """Register the flow version in each FILE; print the names to submit runs with.

    A version never changes: a FILE with other content than the registered one of the same version is refused.

    \b
    lume flow register flows/customer_cleaner.v2.toml
    """
    from lume_async import LumeError
    from lume_cli._output import exit_codes

    codes, found = list[int](), []
    for file in files:
        try:
            registered = await client.register_flow(file)
        except LumeError as error:
            session.say.error(error, subject=str(file))
            codes.append(exit_codes.of_error(error))
            continue
        found.append(registered)
        state = "registered" if registered.is_new else "is already registered with the same content"
        session.say.note(f"{file}: {registered.flow_version} {state}")
    session.data.many(
        found,
        ("FLOW", "CONTENT"),
        lambda rows: [(one.flow_version, one.content_hash[:12]) for one in rows],
        lambda one: {
            "flow_version": one.flow_version,
            "content_hash": one.content_hash,
            "created_at": one.created_at,
            "is_new": one.is_new,
        },
    )
    return exit_codes.worst(codes)


@click.command("show", short_help="Print a flow version of a server as a flow file.")
@click.argument("ref", metavar="FLOW:VERSION", type=Utf8())
@click.option("--to", metavar="FILE", type=click.File("xb", lazy=True), help="Write a new file.")
@server_options
@with_client
async def show(session: "CommandSession", client: "Client", *, ref: str, to: BinaryIO | None) -> None:
    """Print a flow version as a flow file (TOML), such as one that was saved in the console.

    It has the same content as the registered version, without the comments. Seed files are not part of it.

    \b
    lume flow show customers:v2 --to flows/customers.v2.toml
    """
    from urllib.parse import quote

    from lume_cli._streams import write_utf8

    found = await client.flow_version(ref)
    if session.data.format != "table" and to is None:
        session.data.document(found.definition)
        return
    flow, _, version = found.flow_version.partition(":")
    place = f"/v1/flows/{quote(flow, safe='')}/versions/{quote(version, safe='')}"
    answer = await client.request("GET", place, headers={"Accept": "application/toml"})
    if not answer.headers.get("Content-Type", "").startswith("application/toml"):
        raise click.ClickException("the server does not offer flow files: -o json prints the definition")
    if to is None:
        write_utf8()
        session.data.text(answer.body.decode().rstrip("\n"))
    else:
        to.write(answer.body)
        session.say.note(f"wrote {to.name}")


@click.command("diff", short_help="Compare two flow versions or files.")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B", required=False)
@server_options
@with_client
async def diff(session: "CommandSession", client: "Client", *, before: str, after: str | None) -> None:
    """Show what differs between A and B: flow versions of the server, or files (*.toml).

    With a file alone, it is compared with the registered version of the same name.

    \b
    lume flow diff customer_cleaner:v1 customer_cleaner:v2
    lume flow diff flows/customer_cleaner.v2.toml
    """
    from lume_cli._work.flow_diff import differences, pair, report

    both = await pair(client, before, after)
    found = differences(*both)
    if session.data.format == "table":
        session.data.text("\n".join(report(found, *both)))
    else:
        session.data.values(found)
    if not found:
        session.say.note("no differences")


@click.command("model", short_help="Write a Python class for the rows of a flow version.")
@click.argument("ref", metavar="FLOW:VERSION", type=Utf8())
@click.option(
    "--as",
    "kind",
    type=click.Choice(["attrs", "dataclass", "typed-dict"]),
    default="dataclass",
    show_default=True,
    help="What the class is.",
)
@click.option("--name", help="The name of the class; default: that of the flow.")
@server_options
@with_client
async def model(
    session: "CommandSession", client: "Client", *, ref: str, kind: str, name: str | None
) -> None:
    """Print a Python class for the mapped rows of a flow version, as `run.mapped(as_=...)` takes it.

    \b
    lume flow model customer_cleaner:v1 > customers.py
    lume flow model customer_cleaner:v1 --as attrs --name Customer
    """
    from lume_cli._work import flow_model

    found = await client.flow_version(ref)
    if found.target_schema is None:
        raise click.ClickException("the server does not offer the schema of mapped rows")
    text = flow_model.model(found.target_schema, kind, name)
    if session.data.format == "table":
        session.data.text(text.rstrip("\n"))
    else:
        session.data.document({"flow_version": found.flow_version, "model": text})
