"""The rejected rows of a run, from its server, and as CSV to be corrected; reasons by a part of their text."""

import re
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import click

from lume_async import Client, InvalidRequestError, LumeRun
from lume_async._base.words import counted
from lume_async._run import row_text
from lume_async._run.row_text import CsvDialect
from lume_cli._output import run_view
from lume_cli._output.stdout import writing
from lume_cli._output.text import short, visible_lines
from lume_cli._session import CommandSession

_BEFORE_FORMULAS = "=+-@\t\r\n\0"
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")


def containing(reasons: Iterable[str], text: str) -> list[str]:
    """Return the reasons that contain the text, ignoring case."""
    return [reason for reason in reasons if text.lower() in reason.lower()]


async def matching_in_inbox(
    session: CommandSession, client: Client, flow: str | None, text: str | None
) -> list[str] | None:
    """Return the reasons of open rows that contain the text, with a warning if none does; None without a text."""
    if text is None:
        return None
    known = {item.reason for item in (await client.inbox(flow=flow)).items}
    found = containing(sorted(known), text)
    if not found:
        shown = "; ".join(sorted(known)) if known else "no row is open"
        session.say.warn(f"no open row has a reason that contains {text!r}: {shown}")
    return found


def why_no_rows(run: LumeRun) -> str:
    """Explain why a run that wrote nothing has no rows to show, and how to see them."""
    rejected = run.metadata.metrics.rows_rejected
    return (
        f"run {short(run.id)} is {run.status} and wrote nothing, so its {counted(rejected, 'rejected row')} "
        f"can't be shown: {run_view.failure(run)}. "
        "`lume flow try FLOW.toml SOURCE` shows such rows, except those that repeat a value of an earlier run; "
        "correct the source or the flow, then submit it again"
    )


async def rejected_rows(
    run: LumeRun, reasons: Sequence[str] | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Yield the rows with one of the reasons, or all rows; at most `limit`."""
    if reasons is None or len(reasons) == 1:  # the server selects them
        async for row in run.rejects(None if reasons is None else reasons[0], limit):
            yield row
        return
    found = 0
    async for row in run.rejects():
        if any(reason in reasons for reason in row["_lume_reasons"]):
            yield row
            found += 1
        if found == limit:
            return


def write_csv(rows: Sequence[Mapping[str, Any]], dialect: CsvDialect, *, formulas: bool = True) -> None:
    """Write rows to stdout as the server writes its rejects file, so that they can be corrected and submitted.

    If not `formulas`, a spreadsheet calculates none of the values, but they are no longer as they were rejected.
    """
    with (
        writing(),
        open(
            sys.stdout.fileno(),
            "w",
            encoding=dialect.encoding,
            errors="backslashreplace",
            newline="",
            closefd=False,
        ) as out,
    ):
        lines = dialect.lines(rows) if formulas else dialect.lines(rows, defused)
        out.writelines(map(visible_lines, lines) if sys.stdout.isatty() else lines)


def defused(text: str | None) -> str | None:
    """Put an apostrophe before text that a spreadsheet would take for a formula; numbers stay as they are."""
    if not text or text[0] not in _BEFORE_FORMULAS or _NUMBER.fullmatch(text):
        return text
    return f"'{text}"


async def dialect_of(client: Client, run: LumeRun) -> CsvDialect:
    """Return the dialect for the rejects of a run. Raises `click.UsageError` if its source is a query."""
    definition = (await client.flow_version(str(run.flow_version))).definition
    try:
        return row_text.dialect_of(definition)
    except InvalidRequestError as error:
        raise click.UsageError(f"{error}; -o ndjson prints them") from None
