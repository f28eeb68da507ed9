"""`lume table`: the current clean rows of a flow, printed or as a file."""

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from lume_cli._options import GlobalOptions, Utf8, file_name, rows_options

_SHOWN = 100
"""The most rows of a table for people."""
FILES = (".parquet", ".arrow", ".csv", ".ndjson")


def _moment(_context: click.Context, _option: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else datetime.fromisoformat(value).astimezone()  # local without a zone
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{value!r} is not a time: write 2026-01-31T08:00Z") from None


@click.command("table")
@click.argument("flow", type=Utf8(), metavar="FLOW")
@click.option("--to", metavar="FILE", callback=file_name, help=f"Write a file: {', '.join(FILES)}.")
@click.option("--as-of", metavar="TIME", callback=_moment, help="The rows then: 2026-01-31T08:00Z, or local.")
@click.option("--source", type=Utf8(), metavar="PATH", help="Only rows of this source path.")
@rows_options
@click.pass_obj
def command(
    options: GlobalOptions, *, flow: str, to: str | None, as_of: datetime | None, source: str | None
) -> None:
    """Print the current clean rows of FLOW: of all its runs and mends, each row once, in its newest version.

    FLOW is a name, for the rows of all versions, or one version. The last run on a source replaces the rows of
    earlier ones. With --to, the file is complete or stays as it was; a .parquet or .arrow file that has these rows
    already is not written again. A table for people ends after 100 rows.

    \b
    lume table orders --to orders.parquet
    lume table orders:v3 --as-of 2026-01-31T08:00:00Z -o csv > orders.csv
    """
    from lume_async import Client, LumeError
    from lume_cli._output.row_table import row_table
    from lume_cli._output.stdout import writing
    from lume_cli._output.text import visible_lines
    from lume_cli._session import CommandSession
    from lume_cli._work.table_file import as_lines, written

    session = CommandSession(options, "csv")
    data, place = session.data, None if to is None else Path(to)
    if place is not None and place.suffix.lower() not in FILES:
        raise click.UsageError(f"--to {to}: name a file that ends with {', '.join(FILES)}")

    async def work(client: Client) -> None:
        rows = client.table(flow, as_of=as_of, source=source)
        if place is not None:
            try:
                is_new = await written(rows, place)
            except OSError as error:
                if isinstance(error, LumeError):  # a timeout is both
                    raise
                raise click.ClickException(f"{place} can't be written: {error.strerror or error}") from None
            data.one(
                f"{place}: {'written' if is_new else 'unchanged'}", {"file": str(place), "written": is_new}
            )
        elif data.format in ("ndjson", "csv"):
            with writing():
                async for text in as_lines(rows, data.format):
                    click.echo(visible_lines(text) if sys.stdout.isatty() else text, nl=False)
        elif data.format == "json":
            data.document([row async for row in rows])
        else:
            shown = list[dict[str, Any]]()
            async with rows:
                async for row in rows:
                    shown.append(row)
                    if len(shown) > _SHOWN:
                        session.say.note(f"the first {_SHOWN} rows: --to FILE or -o csv gives all of them")
                        break
            data.text("\n".join(row_table(shown[:_SHOWN], 0, data.width)))

    session.finish_with_client(work)
