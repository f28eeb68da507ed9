"""`lume flow try`: run a flow on a sample. Nothing is published or kept, and the version can still be changed."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import anyio
import click

import lume_local
from lume_cli._options import GlobalOptions, count_option, output_options
from lume_cli._output import exit_codes
from lume_cli._output.row_table import reject_table, row_table
from lume_cli._session import CommandSession
from lume_cli.commands import FILE
from lume_local import FlowError, TriedFlow
from lume_local._shared.saved import stamp
from lume_local.commands.account import lines_of, report

_EVERY = 0.3
"""Seconds between two checks for a change."""
_GAP = "  |  "
_PAGE = 80
"""The width if there is no terminal, in characters."""


@click.command("try", short_help="Try a flow file on a sample.")
@click.argument("file", type=FILE)
@click.argument("sample", type=FILE)
@count_option("--limit", 20, "Maximum number of clean and of rejected rows to print.", least=0)
@click.option("--layout", metavar="NAME", help="Layout of SAMPLE; default: recognised.")
@click.option("--watch", is_flag=True, help="Try again whenever FILE or SAMPLE is saved, until Ctrl-C.")
@output_options
@click.pass_obj
def command(
    options: GlobalOptions, *, file: Path, sample: Path, limit: int, layout: str | None, watch: bool
) -> None:
    """Run the flow of FILE on SAMPLE, and print clean and rejected rows, and why they were rejected.

    Needs no running server. Nothing is published: the version can still be changed. SAMPLE is the whole source,
    whatever `uri` says; relative seeds are looked up in the current folder, as by `lume serve`. Exits
    with 5 if rows were rejected; reports all mistakes of FILE and exits with 1 if it has any.

    \b
    lume flow try flows/customer_cleaner.v1.toml customers.csv --watch
    """
    session = CommandSession(options)
    trial = _TrialRuns(session, file, sample, limit, layout)
    session.finish(
        trial.at_each_change() if watch else trial.once(),
        lambda: ("lume: stopped" if watch else "interrupted", None),
    )


class _TrialRuns:
    """Tries a flow file, once or at each change, and prints the result."""

    def __init__(
        self, session: CommandSession, file: Path, sample: Path, limit: int, layout: str | None
    ) -> None:
        self._session = session
        self._file = file
        self._shown, self._sample = str(sample), sample.absolute()
        self._limit, self._layout = limit, layout

    async def once(self) -> int:
        """Try once; return the exit code."""
        async with lume_local.open_trial(self._sample) as trial:
            return await self._try(trial)

    async def at_each_change(self) -> int:
        """Try now and whenever the flow file or the sample has changed, until cancelled."""
        async with lume_local.open_trial(self._sample) as trial:
            while True:
                seen = self._state()
                if self._session.data.format == "table":
                    click.clear()  # does nothing if stdout is not a terminal
                await self._try(trial)
                self._session.say.note("lume: waiting for changes; Ctrl-C to stop")
                while (now := self._state()) == seen or None in now:  # noqa: ASYNC110 - no event for a saved file
                    await anyio.sleep(_EVERY)

    async def _try(self, trial: lume_local.Trial) -> int:
        try:
            tried = await trial.try_flow(self._file, limit=self._limit, layout=self._layout)
        except FlowError as error:
            report(self._session, self._file, error)
            return exit_codes.ERROR
        except OSError as error:
            raise click.ClickException(f"{self._file} can't be read: {error.strerror or error}") from None
        self._print(tried)
        return exit_codes.of_status(tried.status)

    def _print(self, tried: TriedFlow) -> None:
        data, failure, metrics = self._session.data, tried.message, tried.metrics
        read, ratio = tried.metrics.get("rows_read", 0), tried.max_ratio
        share = tried.metrics["rows_rejected"] / read if read else 0.0
        over = ratio if ratio is not None and share > ratio else None
        if data.format != "table":
            data.document(
                {
                    "flow_version": tried.ref,
                    "sample": self._shown,
                    "status": str(tried.status),
                    "error_message": failure,
                    "rows_read": metrics.get("rows_read", 0),
                    "rows_clean": metrics.get("rows_mapped", 0),
                    "rows_rejected": metrics.get("rows_rejected", 0),
                    "rows_filtered": metrics.get("rows_filtered", 0),
                    "reject_reasons": metrics.get("reject_reasons", {}),
                    "warnings": metrics.get("warnings", {}),
                    "max_ratio_exceeded": over is not None,
                    "clean": tried.mapped,
                    "rejected": tried.rejects,
                }
            )
            return
        more = (
            [f"  with max_ratio = {over:g} this run would be FAILED and write nothing"]
            if over is not None
            else []
        )
        lines = lines_of(tried.ref, self._shown, tried.status, failure, metrics, *more)
        shown = side_by_side(tried.mapped, tried.rejects, data.width)
        data.prose("\n".join(lines))
        data.text("\n".join([*([""] if shown else []), *shown]))

    def _state(self) -> list[tuple[int, ...] | None]:
        return [stamp(path) for path in (self._file, self._sample)]


def side_by_side(
    clean: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]], width: int | None
) -> list[str]:
    """Return both tables; `width` is the terminal's, None if there is none."""
    left = ["CLEAN", *row_table(clean, 0, width)] if clean else []
    right = ["REJECTED", *reject_table(rejected, width)] if rejected else []
    room = max(map(len, left), default=0)
    if left and right and room + len(_GAP) + max(map(len, right)) <= (width or _PAGE):
        return [
            f"{one.ljust(room)}{_GAP}{other}".rstrip()
            for one, other in zip_longest(left, right, fillvalue="")
        ]
    return [*left, *([""] if left and right else []), *right]
