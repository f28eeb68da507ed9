"""Submits one run and, with --wait, follows it. Used by `run`, `rerun` and `resubmit`."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import click

from lume_async import ApiConnectionError, Client, InvalidRequestError, LumeRun, RunStatus
from lume_cli._options import Waiting
from lume_cli._output import exit_codes, run_view
from lume_cli._output.errors import NotSubmittedError, OutputError, submission_note
from lume_cli._output.live import sending
from lume_cli._output.text import short
from lume_cli._session import CommandSession
from lume_cli._work.run_ids import whole_ids
from lume_cli._work.wait import follow

_AGAIN = 1.0
"""Seconds before a submission without a connection is tried again."""


class RunSubmission:
    """One run: submitted and, if `waiting` says how, followed to its end."""

    def __init__(self, session: CommandSession, waiting: Waiting | None) -> None:
        self._session = session
        self._waiting = waiting
        self._asked: dict[str, object] | None = None
        self._began = 0.0
        self._run: LumeRun | None = None
        self._shown: RunStatus | None = None

    async def to_end(
        self, client: Client, flow: str, source: str, *, is_uploaded: bool = False, **how: Any
    ) -> int:
        """Submit the run, print its ID, and with --wait follow it; return the exit code.

        With --wait, the run is submitted as soon as there is a connection, within the timeout. `how` has the
        other arguments of `Client.run`.
        """
        upload = source if is_uploaded else None

        async def start() -> LumeRun:
            nonlocal source, upload
            if upload is not None:
                with sending(self._session.say, Path(upload).name) as report:
                    source = await client.upload(upload, flow_version=flow, progress=report)
                self._asked = {"--flow": flow, "--source": source}
                upload = None
                self._session.say.note(f"uploaded as {source}")
            return await client.run(flow, source, **how)

        return await self.begin(flow, source, start, "already holds this source; following it")

    async def begin(
        self, flow: str, source: str, start: Callable[[], Awaitable[LumeRun]], reused: str
    ) -> int:
        """Do as `to_end`, with a run that `start` submits; `reused` describes a run that existed before."""
        self._began = anyio.current_time()
        self._asked = {"--flow": flow, "--source": source}
        while True:
            try:
                run = await start()
                break
            except ApiConnectionError as error:
                if error.reached or self._waiting is None or self._waiting.timeout == 0.0:
                    raise
                # Nothing was sent, so that sending again is safe.
                left = self._left(self._waiting)
                if left is not None and left <= 0:
                    raise NotSubmittedError(self._session.away or str(error)) from None
                await anyio.sleep(_AGAIN if left is None else min(_AGAIN, left))
        if run.reused:
            self._session.say.note(f"run {short(run.id)} {reused}")
        return await self.follow(run)

    async def follow(self, run: LumeRun) -> int:
        """Print the submitted run, new or found, and with --wait follow it to its end; return the exit code."""
        self._run, self._shown = run, run.status
        for note in run.metadata.notes:
            self._session.say.warn(note)
        data, waiting = self._session.data, self._waiting

        def on_change(snapshot: LumeRun) -> None:
            if self._session.data.format == "ndjson" and snapshot.status != self._shown:
                self._shown = snapshot.status
                self._session.data.document(run_view.to_dict(snapshot))

        with self._naming(run):
            if data.format in ("table", "ids"):
                data.line(run.id)
            elif data.format == "ndjson" or waiting is None:
                data.document(run_view.to_dict(run))
            if waiting is None:
                return exit_codes.OK
            try:
                await follow(self._session, run, self._left(waiting), waiting.poll_interval, on_change)
            finally:
                if data.format == "json":
                    data.document(run_view.to_dict(run))
        return exit_codes.of_status(run.status, allow_partial=waiting.allow_partial)

    def _left(self, waiting: Waiting) -> float | None:
        """Return the seconds that are left of the timeout."""
        limit = waiting.timeout
        return None if limit is None else max(0.0, self._began + limit - anyio.current_time())

    @contextmanager
    def _naming(self, run: LumeRun) -> Iterator[None]:
        """Name the run on stderr if stdout can't be written or has lost its reader."""
        try:
            yield
        except OutputError as error:
            error.run = run
            raise
        except BrokenPipeError:
            self._session.say.warn(f"the reader of stdout has ended; {submission_note(run)}")
            raise

    def interruption(self) -> tuple[str, str | None]:
        """Return the message for Ctrl-C, and the command to resume."""
        if self._run is not None:
            return self._session.resume_wait([self._run.id])
        if self._asked is None:
            return "interrupted", None
        check = self._session.command("list", **self._asked)
        return f"interrupted while submitting; a run may exist: check with `{check}`", None


async def fetch_finished(client: Client, run_id: str) -> LumeRun:
    """Return the run to repeat, by its id or a prefix of it. Raises `click.UsageError` if it can't be repeated."""
    (whole,) = await whole_ids(client, [run_id])
    old = await client.run_status(whole)
    if not old.is_terminal:
        raise click.UsageError(
            f"run {short(old.id)} is {old.status}: wait for it with `lume wait {short(old.id)}`"
        )
    if old.flow_version is None or old.source_path is None:
        raise click.UsageError(
            f"the server does not report the flow version and source of run {short(old.id)}"
        )
    return old


async def resubmit(
    session: CommandSession,
    submission: RunSubmission,
    client: Client,
    run_id: str,
    file: Path,
    *,
    force: bool,
) -> int:
    """Follow the new or earlier run on these rejects; return the exit code. Raises `click.ClickException`."""
    old = await fetch_finished(client, run_id)
    reused = (
        f"already has this content for run {short(old.id)}: nothing is submitted; --force processes it again"
    )

    async def start() -> LumeRun:
        with sending(session.say, file.name) as report:
            return await old.resubmit(file, force=force, progress=report)

    try:
        return await submission.begin(str(old.flow_version), str(file), start, reused)
    except InvalidRequestError as error:
        if error.status_code is not None and "force=True" not in str(error):
            raise
        refused = str(error.args[0]).removeprefix("corrected: ").replace(old.id, short(old.id))
        refused = refused.replace("pass force=True", "add --force")
        kind = click.UsageError if error.status_code is None else click.ClickException
    raise kind(refused)
