"""`lume forget`: a person asks to be deleted."""

from typing import TYPE_CHECKING

import click

from lume_cli._options import GlobalOptions, Utf8, server_options

if TYPE_CHECKING:
    from lume_async import ForgetReport


@click.command("forget")
@click.option(
    "--match",
    "matches",
    type=Utf8(),
    metavar="COLUMN=VALUE",
    multiple=True,
    required=True,
    help="A row with this value in this column. Repeatable: a row must have all.",
)
@click.option("--ignore-case", is_flag=True, help="Case and spaces around a value don't matter.")
@click.option(
    "--yes", is_flag=True, help="Remove the rows; this can't be undone. Otherwise they are counted."
)
@server_options
@click.pass_obj
def command(options: GlobalOptions, *, matches: tuple[str, ...], ignore_case: bool, yes: bool) -> None:
    """Remove the rows of a person from everything that a server keeps; needs a key with the role admin.

    Without --yes they are only counted. Sources, tables and your backups stay as they are; the command names those
    that it knows of, and then exits with 5.

    \b
    lume forget --match email=ada@example.com
    lume forget --match email=ada@example.com --yes
    """
    from lume_async import Client
    from lume_cli._output import exit_codes
    from lume_cli._session import CommandSession

    match = dict[str, str]()
    for one in matches:
        name, equals, value = one.partition("=")
        if not (name and equals and value) or name in match:
            raise click.UsageError(
                "--match is a column and its value, each column once: email=ada@example.com"
            )
        match[name] = value
    session = CommandSession(options)

    async def work(client: Client) -> int:
        report = await client.forget(match, ignore_case=ignore_case)
        if yes:
            counted, report = report, await client.forget(match, dry_run=False, ignore_case=ignore_case)
            if _found(counted) != _found(report):
                session.say.note("something was added or removed since the rows were counted")
        if session.data.format == "table":
            session.data.table(("PLACE", "REMOVED" if yes else "FOUND"), _found(report))
            for place, why in report.left.items():
                session.data.text(f"{place}: {why}")
        else:
            session.data.document(report)
        session.say.note(
            "backups still have the rows" if yes else "nothing was changed: pass --yes to remove the rows"
        )
        return exit_codes.PARTIAL_FAILED if report.left else exit_codes.OK

    session.finish_with_client(work)


def _found(report: "ForgetReport") -> list[tuple[str, str]]:
    counts = {"output rows": report.outputs, "rejected rows": report.rejects, "uploads": len(report.uploads)}
    return [(place, f"{count:,}") for place, count in (counts | {"texts": report.texts}).items()]
