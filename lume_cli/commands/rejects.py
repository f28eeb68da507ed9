"""`lume rejects`: the rejected rows of a run."""

import click

from lume_cli._options import Options, rows_options


@click.command("rejects")
@click.argument("run", metavar="RUN")
@click.option("--reason", metavar="TEXT", help="Only rows with a reason that contains TEXT.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Maximum number of rows.")
@rows_options
@click.pass_obj
def command(options: Options, *, run: str, reason: str | None, limit: int | None) -> None:
    """Print the rejected rows of RUN: the columns of the source, and why each row was rejected.

    With -o csv they keep the dialect and encoding of the source, ready to be mended and passed to
    `lume resubmit`. The server must be on this machine.

    \b
    lume rejects 2f91d0ab --reason "not an email address" --limit 20
    lume rejects 2f91d0ab -o csv > mended.csv
    """
    from lume_cli._output import exit_codes
    from lume_cli._output.short_ids import short
    from lume_cli._output.try_view import rejected_table
    from lume_cli._session import Session
    from lume_cli._work.rejects import rejects_file
    from lume_cli._work.run_ids import whole_ids

    session = Session(options, csv=True)
    data = session.data

    async def work() -> int:
        async with session.client() as client:
            (whole,) = await whole_ids(client, [run])
            found = await client.run_status(whole)
        file = rejects_file(found)
        if file is None:
            session.say.note(f"run {short(found.id)} ({found.status}) has no rejected rows")
            if data.format == "json":
                data.document([])
            return exit_codes.OK
        rows = file.rows(reason, limit)
        if data.format == "csv":
            if not file.delim:
                raise click.UsageError("the rejects of this run are NDJSON: use -o ndjson")
            file.write_csv(rows)
        elif data.format == "json":
            data.document(list(rows))
        elif data.format == "ndjson":
            for row in rows:
                data.document(row)
        else:
            data.text("\n".join(rejected_table(list(rows))))
        return exit_codes.OK

    session.finish(work(), lambda: ("interrupted", None))
