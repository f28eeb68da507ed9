"""`lume rejects`: the rejected rows of a run."""

import click

from lume_cli._options import GlobalOptions, reason_option, rows_options


@click.command("rejects")
@click.argument("run", metavar="RUN")
@reason_option
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Maximum number of rows.")
@click.option(
    "--no-formulas",
    is_flag=True,
    help="Put ' before values that a spreadsheet would take for formulas; with -o csv, for reading only.",
)
@rows_options
@click.pass_obj
def command(
    options: GlobalOptions, *, run: str, reason: str | None, limit: int | None, no_formulas: bool
) -> None:
    """Print the rejected rows of RUN: the columns of the source, and why each row was rejected.

    With -o csv they can be corrected and passed to `lume resubmit`, whatever the format of the source. The rows of
    a CSV source keep its dialect and encoding. Values that begin with = + - or @ are formulas for a spreadsheet: use
    --no-formulas before you open the rejects of a source that you don't trust in one.

    \b
    lume rejects 2f91d0ab --reason "not an email address" --limit 20
    lume rejects 2f91d0ab -o csv > mended.csv
    """
    from lume_async import Client
    from lume_cli._output.row_table import reject_table
    from lume_cli._output.text import short
    from lume_cli._session import CommandSession
    from lume_cli._work.rejected_rows import containing, dialect_of, rejected_rows, why_no_rows, write_csv
    from lume_cli._work.run_ids import whole_ids

    session = CommandSession(options, "csv")
    data = session.data
    if no_formulas and data.format != "csv":
        raise click.UsageError("--no-formulas needs -o csv")

    async def work(client: Client) -> None:
        (whole,) = await whole_ids(client, [run])
        found = await client.run_status(whole)
        rejected, reasons = found.metadata.metrics, None
        is_counted = bool(found.metadata.get("metrics"))  # else only its rejects show what was rejected
        if found.is_terminal and is_counted and not rejected.rows_rejected:
            session.say.note(f"run {short(found.id)} ({found.status}) has no rejected rows")
        elif found.is_terminal and is_counted and not found.has_output:
            raise click.ClickException(why_no_rows(found))
        elif reason is not None and not (
            reasons := containing(rejected.reject_reasons, reason) if is_counted else [reason]
        ):
            known = "; ".join(rejected.reject_reasons)
            session.say.warn(f"no row was rejected for a reason that contains {reason!r}: {known}")
        else:
            dialect = await dialect_of(client, found) if data.format == "csv" else None
            rows = rejected_rows(found, reasons, limit)
            if data.format == "ndjson":
                async for row in rows:
                    data.document(row)
                return
            kept = [row async for row in rows]
            if dialect is not None:
                write_csv(kept, dialect, formulas=not no_formulas)
            elif data.format == "json":
                data.document(kept)
            else:
                data.text("\n".join(reject_table(kept, data.width)))
            return
        if data.format == "json":
            data.document([])

    session.finish_with_client(work)
