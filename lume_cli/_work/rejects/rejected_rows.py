"""The rejected rows of a run, from its server, and as CSV to be corrected. The work of `rejects`."""

import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import click
import simplejson
from attrs import frozen

from lume_async import Client, LumeRun
from lume_cli._output import run_view
from lume_cli._output.short_ids import short
from lume_cli._output.stdout import writing
from lume_cli._output.text import counted

_RAW = "_lume_raw"
_BEFORE_FORMULAS = "=+-@\t\r\n\0"
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
_PLAIN = 400
"""The largest exponent of a number that is written without one, as the server does."""


def matching_reasons(run: LumeRun, text: str) -> list[str]:
    """The reasons of a run that contain the text, ignoring case."""
    return [reason for reason in run.metadata.metrics.reject_reasons if text.lower() in reason.lower()]


def why_no_rows(run: LumeRun) -> str:
    """Why a run that wrote nothing has no rows to show, and how to see them."""
    rejected = run.metadata.metrics.rows_rejected
    return (
        f"run {short(run.id)} is {run.status} and wrote nothing, so its {counted(rejected, 'rejected row')} "
        f"can't be shown: {run_view.failure(run)}. "
        f"`lume flow try FLOW.toml SOURCE` shows such rows; correct the source or the flow, then submit it again"
    )


async def rejected_rows(
    run: LumeRun, reasons: Sequence[str] | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """The rows with one of the reasons, or all rows; at most `limit`."""
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


@frozen
class SourceDialect:
    """How the source of a flow version writes CSV."""

    delim: str
    quote: str
    escape: str
    encoding: str

    def write(self, rows: Sequence[Mapping[str, Any]], *, formulas: bool = True) -> None:
        """Write rows to stdout as the server writes its rejects file, so that they can be corrected and submitted.

        Without `formulas` a spreadsheet calculates none of the values, and they are no longer what was rejected.
        """
        safe = (lambda text: text) if formulas else defused
        columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name != _RAW]
        names = [*columns, _RAW]
        with (
            writing(),
            open(
                sys.stdout.fileno(),
                "w",
                encoding=self.encoding,
                errors="backslashreplace",
                newline="",
                closefd=False,
            ) as out,
        ):
            out.write(self._line([safe(name) for name in names]))
            for row in rows:
                reasons = "; ".join(row["_lume_reasons"])
                values = ({**row, "_lume_reasons": reasons}.get(name) for name in names)
                out.write(self._line([safe(_text(value)) for value in values]))

    def _line(self, values: Sequence[str | None]) -> str:
        if self.quote:
            return self.delim.join(map(self._field, values)) + "\n"
        apart = str.maketrans(dict.fromkeys(self.delim + "\r\n", " "))
        *first, last = ("" if value is None else value for value in values)
        # The last one may hold a malformed line with its delimiters.
        return self.delim.join([*(value.translate(apart) for value in first), last]) + "\n"

    def _field(self, value: str | None) -> str:
        """Empty for a missing value; an empty string is quoted."""
        if value is None:
            return ""
        if (
            value
            and not self.escape
            and not any(one in value for one in (self.delim, self.quote, "\r", "\n"))
        ):
            return value
        escape = self.escape or self.quote
        body = value.replace(escape, escape * 2) if self.escape else value
        return self.quote + body.replace(self.quote, escape + self.quote) + self.quote


def defused(text: str | None) -> str | None:
    """The text, with an apostrophe before what a spreadsheet would take for a formula; numbers are none."""
    if not text or text[0] not in _BEFORE_FORMULAS or _NUMBER.fullmatch(text):
        return text
    return f"'{text}"


def _text(value: Any) -> str | None:
    """The value as a flow's expressions see it; JSON for objects and lists."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float | Decimal):
        number = Decimal(str(value))
        return str(number) if abs(number.adjusted()) > _PLAIN else format(number, "f")
    return simplejson.dumps(value, ensure_ascii=False, separators=(",", ":"))


async def dialect_of(client: Client, run: LumeRun) -> SourceDialect:
    """The dialect in which the rejects of a run can be submitted: plain CSV if its source is not CSV.

    Raises:
        click.UsageError: its source is a query, which a file can't replace.
    """
    source = (await client.flow_version(str(run.flow_version))).definition.get("source") or {}
    kind = source.get("format", "csv")
    if kind == "sql":
        raise click.UsageError(
            "the source of this run is a query of a database: correct the rows there; -o ndjson prints them"
        )
    if kind != "csv":
        return SourceDialect(",", '"', "", "utf-8")
    options = source.get("csv") or {}
    quote = options.get("quote", '"')
    escape = options.get("escape", "")
    return SourceDialect(
        options.get("delim", ","), quote, "" if escape == quote else escape, options.get("encoding", "utf-8")
    )
