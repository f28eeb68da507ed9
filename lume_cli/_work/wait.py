"""Waits for runs by ID: a progress line, a line per finished run, one exit code. Used by `wait`."""

from collections import Counter
from collections.abc import Callable, Sequence

from lume_async import Client, LumeRun, Outcome, RunTimeoutError
from lume_async._base.words import counted
from lume_cli._options import Waiting
from lume_cli._output import exit_codes, run_view
from lume_cli._output.live import Standing, progress
from lume_cli._output.text import short
from lume_cli._session import CommandSession
from lume_cli._work.run_ids import whole_ids


class Wait:
    def __init__(self, session: CommandSession, ids: Sequence[str], waiting: Waiting) -> None:
        self._session = session
        self._waiting = waiting
        self._ids = list(ids)
        self._counts: Counter[str] = Counter()
        self._codes: list[int] = []
        self._seen: dict[str, LumeRun] = {}

    @property
    def unfinished(self) -> list[str]:
        """The runs that are not known to have finished."""
        return [run for run in self._ids if run not in self._seen or not self._seen[run].is_terminal]

    async def until_ended(self, client: Client) -> int:
        """Wait for all runs; return the exit code."""
        self._ids = await whole_ids(client, self._ids)
        timeout, poll_interval, _ = self._waiting

        def standing() -> Standing:
            done, total = self._counts.total(), len(self._ids)
            text = f"{done:,} of {counted(total, 'run')} finished{run_view.status_counts(self._counts)}"
            return Standing("  ".join(filter(None, (text, self._session.away))), done, total)

        with progress(self._session.say, standing):
            outcomes = client.as_completed(self._ids, timeout=timeout, poll_interval=poll_interval)
            async for outcome in outcomes:
                self._take(outcome)
        runs = [self._seen[run] for run in self._ids if run in self._seen]
        if self._session.data.format != "ndjson":
            self._session.data.many(runs, run_view.HEADERS, run_view.rows, run_view.to_dict)
        return exit_codes.worst(self._codes)

    def _take(self, outcome: Outcome[LumeRun]) -> None:
        say, run = self._session.say, outcome.run
        if isinstance(outcome.error, RunTimeoutError):
            run = outcome.error.run
        if outcome.error is not None:
            self._codes.append(exit_codes.of_error(outcome.error))
            self._counts["not finished"] += 1
            late = isinstance(outcome.error, RunTimeoutError)
            say.error(outcome.error, subject=outcome.run_id, because=self._session.away if late else None)
        if run is None or run.status is None:
            return
        self._seen[run.id] = run
        if outcome.error is None:
            allow_partial = self._waiting.allow_partial
            self._codes.append(exit_codes.of_status(run.status, allow_partial=allow_partial))
            self._counts[str(run.status)] += 1
            say.note(run_view.ending(run))
            for step in run_view.next_steps(run) if len(self._ids) == 1 else ():
                say.note(step)
        if self._session.data.format == "ndjson":
            self._session.data.document(run_view.to_dict(run))


async def follow(
    session: CommandSession,
    run: LumeRun,
    timeout: float | None,
    poll_interval: float | None,
    shown: Callable[[LumeRun], None],
) -> None:
    """Follow one run to its end: status changes on stderr, each snapshot to `shown`."""

    def standing() -> Standing:
        text = "  ".join(filter(None, (f"{run_view.status_word(run)}  run {short(run.id)}", session.away)))
        return Standing(text, run.progress or 0.0, None if run.progress is None else 1.0)

    with progress(session.say, standing):
        async for snapshot in run.watch(timeout=timeout, poll_interval=poll_interval):
            shown(snapshot)
            if not snapshot.is_terminal and not session.say.is_lively:
                session.say.note(f"run {short(snapshot.id)} {snapshot.status}")
    session.say.note(run_view.ending(run))
    for name, place in run_view.locations(run):
        session.say.note(f"  {name}: {place}")
    for step in run_view.next_steps(run):
        session.say.note(step)
