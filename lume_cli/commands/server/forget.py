"""`lume forget`: a person asks to be deleted."""

from datetime import UTC, datetime

import click

from lume_cli._options import GlobalOptions, Utf8, server_options


@click.command("forget")
@click.option(
    *("--match", "matches"),
    type=Utf8(),
    metavar="COLUMN=VALUE",
    multiple=True,
    required=True,
    help="The value that a row has in this column. Repeatable: a row has all of them.",
)
@click.option("--ignore-case", is_flag=True, help="Case and spaces around a value don't matter.")
@click.option("--tables", is_flag=True, help="Also delete rows that runs have loaded into tables.")
@click.option(
    "--yes", is_flag=True, help="Remove the rows; this can't be undone. Otherwise they are counted."
)
@server_options
@click.pass_obj
def command(
    options: GlobalOptions, *, matches: tuple[str, ...], ignore_case: bool, tables: bool, yes: bool
) -> None:
    """Remove the rows of a person from everything that a server keeps; needs a key with the role admin.

    Without --yes they are only counted. Sources, backups and, without --tables, database tables stay as they are; the
    command lists the ones that the server knows, and exits with 5.

    \b
    lume forget --match email=ada@example.com
    lume forget --match email=ada@example.com --yes
    """
    from lume_async import Client, ForgetReport
    from lume_async._base.words import counted
    from lume_cli._output import exit_codes
    from lume_cli._session import CommandSession

    match = {name: value for name, _, value in (one.partition("=") for one in matches) if name and value}
    if len(match) < len(matches):
        raise click.UsageError("--match is a column and its value, each column once: email=ada@example.com")
    session = CommandSession(options)

    def rows(report: ForgetReport) -> list[tuple[str, str]]:
        counts = report.outputs, report.rejects, len(report.uploads), report.texts
        places = "output rows", "rejected rows", "uploads", "texts"
        # With --yes, tables that stay are only named.
        named = [*zip(places, counts, strict=True), *(report.tables.items() if tables or not yes else ())]
        return [(place, f"{count:,}") for place, count in named]

    async def work(client: Client) -> int:
        report = await client.forget(match, ignore_case=ignore_case, tables=tables)
        if yes:
            before = report
            report = await client.forget(match, dry_run=False, ignore_case=ignore_case, tables=tables)
            # A text may have gone with its row, such as the comment of a rejected one.
            if others := [row for row in rows(before) if row not in rows(report) and row[0] != "texts"]:
                were = ", ".join(f"{place}: {count}" for place, count in others)
                session.say.note(f"other rows were found when they were counted: {were}")
        if session.data.format == "table":
            session.data.table(("PLACE", "REMOVED" if yes else "FOUND"), rows(report))
            ages = ((path, made_at, datetime.now(UTC) - made_at) for path, made_at in report.backups.items())
            old = [
                f"backup {path}: {made_at:%Y-%m-%d}, {counted(age.days, 'day')} old"
                for path, made_at, age in ages
            ]
            session.data.text("\n".join([*(f"{place}: {why}" for place, why in report.left.items()), *old]))
        else:
            session.data.document(report)
        session.say.note(
            "backups still have the rows" if yes else "nothing was changed: pass --yes to remove the rows"
        )
        return exit_codes.PARTIAL_FAILED if report.left else exit_codes.OK

    session.finish_with_client(work)
