"""Watching many runs with one `Monitor`: a live table, or a line per change. The work of `watch`."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from lume_async import Client, LumeRun, RunTimeoutError
from lume_cli._output import exit_codes, run_view
from lume_cli._output.live import live
from lume_cli._output.text import clock, moment
from lume_cli._session import Session
from lume_cli._work.wait import counts

if TYPE_CHECKING:
    from rich.console import RenderableType

_AROUND = 4
"""Terminal lines that are not table rows."""


class Watch:
    """Watches several runs."""

    def __init__(self, session: Session, ids: Sequence[str], *, allow_partial: bool) -> None:
        self._session = session
        self._allow_partial = allow_partial
        self._began = time.monotonic()
        self._codes: dict[str, int] = {}
        self._seen: dict[str, LumeRun | None] = dict.fromkeys(ids)

    @property
    def unfinished(self) -> list[str]:
        """The runs that have not been seen to finish."""
        return [run for run in self._seen if run not in self._codes]

    async def until_ended(self, client: Client, timeout: float | None, poll_interval: float | None) -> int:
        """Watch until all runs have finished, or poll once if the timeout is 0; return the exit code."""
        data = self._session.data
        with live(self._session.say, self._table):
            if timeout == 0:
                await self._poll_once(client)
            else:
                await self._follow(client, timeout, poll_interval)
            if late := self.unfinished:
                self._report_timeout(late, timeout or 0)
        if data.format != "ndjson":
            runs = [run for run in self._seen.values() if run is not None]
            data.many(runs, run_view.END_HEADERS, run_view.end_row, run_view.to_dict)
        return exit_codes.worst(self._codes.values())

    async def _follow(self, client: Client, timeout: float | None, poll_interval: float | None) -> None:
        async with client.monitor(poll_interval=poll_interval) as monitor:
            for run in self._seen:
                monitor.add(run)
            with anyio.move_on_after(timeout):
                while len(self._codes) < len(self._seen):
                    event = await anext(monitor)
                    if event.error is not None:
                        self._failed(event.run.id, event.error)
                    else:
                        self._changed(event.run)

    async def _poll_once(self, client: Client) -> None:
        async for outcome in client.as_completed(self.unfinished, timeout=0):
            error = outcome.error
            run = error.run if isinstance(error, RunTimeoutError) else outcome.run
            if run is not None and run.status is not None:
                self._changed(run)
            elif error is not None and not isinstance(error, RunTimeoutError):
                self._failed(outcome.run_id or "", error)

    def _failed(self, run_id: str, error: Exception) -> None:
        self._codes[run_id] = exit_codes.of_error(error)
        self._session.say.error(error, subject=run_id)

    def _changed(self, run: LumeRun) -> None:
        session = self._session
        self._seen[run.id] = run
        if run.is_terminal:
            self._codes[run.id] = exit_codes.of_status(run.status, allow_partial=self._allow_partial)
        if session.data.format == "ndjson":
            session.data.document(run_view.to_dict(run))
        elif session.data.format == "table" and not session.say.is_lively:
            session.data.line(f"{moment(datetime.now(UTC))}  {run.id}  {run.status}")

    def _report_timeout(self, late: list[str], timeout: float) -> None:
        what, resume = self._session.resume_wait(late)
        text = f"not all runs finished within {timeout:g} s: {what}" + (
            f"; resume with `{resume}`" if resume else ""
        )
        if (away := self._session.away) is not None:
            text += f"; {away}"
        self._session.say.problem("run_timeout", text, retryable=True)
        self._codes.update(dict.fromkeys(late, exit_codes.TIMED_OUT))

    def _table(self) -> "RenderableType":
        """As many runs as fit on the terminal, active ones first."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        from lume_cli._output.console import cell

        table = Table(box=None, pad_edge=False, header_style="bold")
        for header in ("RUN", "STATUS", "FLOW", "SOURCE"):
            table.add_column(header, overflow="ellipsis", no_wrap=True, min_width=6)
        runs = sorted(self._seen.items(), key=lambda item: item[0] in self._codes)
        for run_id, run in runs[: max(self._session.say.console.height - _AROUND, 1)]:
            word = "…" if run is None else run_view.status_word(run)
            flow, source = (run.flow_version or "", run.source_path or "") if run else ("", "")
            table.add_row(*map(cell, (run_id, word, flow, source)))
        statuses = Counter("…" if run is None else str(run.status) for run in self._seen.values())
        done = f"{len(self._codes):,} of {len(self._seen):,} runs finished{counts(statuses)}"
        passed = clock(time.monotonic() - self._began)
        return Group(table, Text(f"{done}  {passed}", no_wrap=True, overflow="ellipsis"))
