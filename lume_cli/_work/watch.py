"""Watches many runs with one `Monitor`: a live table, or a line per change. Used by `watch`."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from lume_async import Client, LumeError, LumeRun, RunTimeoutError
from lume_async._base.tasks import background
from lume_cli._options import Waiting
from lume_cli._output import exit_codes, run_view
from lume_cli._output.live import live
from lume_cli._output.text import moment, short
from lume_cli._session import CommandSession
from lume_cli._work.run_ids import whole_ids

if TYPE_CHECKING:
    from rich.console import RenderableType

_REFRESH = 1.0
"""Seconds between two polls for the progress of the visible runs."""


class RunWatcher:
    def __init__(self, session: CommandSession, ids: Sequence[str], waiting: Waiting) -> None:
        self._session = session
        self._waiting = waiting
        self._began = time.monotonic()
        self._codes: dict[str, int] = {}
        self._seen: dict[str, LumeRun | None] = dict.fromkeys(ids)

    @property
    def unfinished(self) -> list[str]:
        """The runs that are not known to have finished."""
        return [run for run in self._seen if run not in self._codes]

    async def until_ended(self, client: Client) -> int:
        """Watch until all runs have finished, or poll once if the timeout is 0; return the exit code."""
        data, say = self._session.data, self._session.say
        self._seen = dict.fromkeys(await whole_ids(client, list(self._seen)))

        def table() -> "RenderableType":
            from lume_cli._output.watch_table import table

            width, height = self._session.say.console.size
            return table(self._seen, (width, height), datetime.now(UTC), time.monotonic() - self._began)

        with live(say, table):
            if self._waiting.timeout == 0:
                async for outcome in client.as_completed(self.unfinished, timeout=0):
                    error = outcome.error
                    run = error.run if isinstance(error, RunTimeoutError) else outcome.run
                    if run is not None and run.status is not None:
                        self._on_change(run)
                    elif error is not None and not isinstance(error, RunTimeoutError):
                        self._on_error(outcome.run_id or "", error)
            else:
                async with background() as group:
                    if say.is_lively:
                        group.start_soon(self._refresh, client)
                    await self._follow(client)
            if late := self.unfinished:
                what, resume = self._session.resume_wait(late)
                text = f"not all runs finished within {self._waiting.timeout or 0:g} s: {what}"
                text += f"; resume with `{resume}`" if resume else ""
                if (away := self._session.away) is not None:
                    text += f"; {away}"
                self._session.say.problem("run_timeout", text, retryable=True)
                self._codes.update(dict.fromkeys(late, exit_codes.TIMED_OUT))
        if data.format != "ndjson":
            runs = [run for run in self._seen.values() if run is not None]
            data.many(runs, run_view.END_HEADERS, run_view.end_rows, run_view.to_dict)
        return exit_codes.worst(self._codes.values())

    async def _follow(self, client: Client) -> None:
        async with client.monitor(poll_interval=self._waiting.poll_interval) as monitor:
            for run in self._seen:
                monitor.add(run)
            with anyio.move_on_after(self._waiting.timeout):
                while len(self._codes) < len(self._seen):
                    event = await anext(monitor)
                    if event.error is not None:
                        self._on_error(event.run.id, event.error)
                    else:
                        self._on_change(event.run)

    async def _refresh(self, client: Client) -> None:
        """Fetch the progress of the runs on the screen: the monitor reports changes of the status only."""
        from lume_cli._output.watch_table import visible_runs

        while True:
            await anyio.sleep(_REFRESH)
            for run_id in visible_runs(self._seen, self._session.say.console.height):
                if run_id not in self._codes and self._seen[run_id] is not None:
                    try:
                        run = await client.run_status(run_id)
                    except LumeError:
                        break  # the monitor gets the same error, and reports it if it persists
                    if not run.is_terminal and run_id not in self._codes:
                        self._seen[run_id] = run

    def _on_error(self, run_id: str, error: Exception) -> None:
        self._codes[run_id] = exit_codes.of_error(error)
        self._session.say.error(error, subject=run_id)

    def _on_change(self, run: LumeRun) -> None:
        session = self._session
        self._seen[run.id] = run
        if run.is_terminal:
            allow_partial = self._waiting.allow_partial
            self._codes[run.id] = exit_codes.of_status(run.status, allow_partial=allow_partial)
        why = run_view.failure(run)
        if session.data.format == "ndjson":
            session.data.document(run_view.to_dict(run))
        elif session.data.format == "table" and not session.say.is_lively:
            texts = (moment(datetime.now(UTC)), short(run.id), str(run.status), why)
            session.data.text("  ".join(filter(None, texts)))
        elif why is not None:
            session.say.note(run_view.ending(run))
