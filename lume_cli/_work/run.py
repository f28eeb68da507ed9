"""Submitting one run and, with --wait, following it. The work of `run`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import click

from lume_async import ApiConnectionError, Client, LumeRun, RunStatus
from lume_cli._output import exit_codes, run_view
from lume_cli._output.errors import NotSubmittedError, OutputError, submission_note
from lume_cli._output.short_ids import short
from lume_cli._session import CommandSession
from lume_cli._work.run_ids import whole_ids
from lume_cli._work.wait import follow

_AGAIN = 1.0
"""Seconds before a submission without a connection is tried again."""


class RunSubmission:
    """One run of a flow on a source.

    Args:
        session: the command.
        flow: the flow version.
        source: the source to process.
    """

    def __init__(self, session: CommandSession, flow: str, source: str) -> None:
        self._session = session
        self._flow = flow
        self._source = source
        self._upload: str | None = None
        self._began = 0.0
        self._run: LumeRun | None = None
        self._shown: RunStatus | None = None

    async def begin(
        self,
        client: Client,
        *,
        is_waited_for: bool,
        timeout: float | None = None,
        is_uploaded: bool = False,
        **how: Any,
    ) -> LumeRun:
        """Submit the run and print its id; `how` are further arguments of `Client.run`.

        A run that is waited for is submitted as soon as there is a connection, within `timeout` seconds.
        """
        self._began = anyio.current_time()
        if is_uploaded:
            self._upload = self._source
        run = await self._submit(client, timeout if is_waited_for else 0.0, how)
        if run.reused:
            self._session.say.note(f"run {short(run.id)} already holds this source; following it")
        return self.show(run, is_waited_for=is_waited_for)

    def show(self, run: LumeRun, *, is_waited_for: bool) -> LumeRun:
        """Print the submitted run, new or found."""
        self._began = self._began or anyio.current_time()
        self._run, self._shown = run, run.status
        for note in run.metadata.notes:
            self._session.say.warn(note)
        data = self._session.data
        with self._naming(run):
            if data.format in ("table", "ids"):
                data.line(run.id)
            elif data.format == "ndjson" or not is_waited_for:
                data.document(run_view.to_dict(run))
        return run

    async def _submit(self, client: Client, timeout: float | None, how: dict[str, Any]) -> LumeRun:
        """The run; without a connection nothing was sent, so that sending again is safe."""
        while True:
            try:
                if self._upload is not None:
                    self._source = await client.upload_file(self._upload, flow_version=self._flow)
                    self._upload = None
                    self._session.say.note(f"uploaded as {self._source}")
                return await client.run(self._flow, self._source, **how)
            except ApiConnectionError as error:
                if error.reached or timeout == 0.0:
                    raise
                left = self._left(timeout)
                if left is not None and left <= 0:
                    raise NotSubmittedError(self._session.away or str(error)) from None
                await anyio.sleep(_AGAIN if left is None else min(_AGAIN, left))

    def _left(self, timeout: float | None) -> float | None:
        """The seconds that are left of a timeout."""
        return None if timeout is None else max(0.0, self._began + timeout - anyio.current_time())

    async def until_ended(
        self, run: LumeRun, timeout: float | None, poll_interval: float | None, *, allow_partial: bool
    ) -> int:
        """Follow the run to its end; return the exit code."""
        with self._naming(run):
            try:
                await follow(self._session, run, self._left(timeout), poll_interval, self._on_change)
            finally:
                if self._session.data.format == "json":
                    self._session.data.document(run_view.to_dict(run))
        return exit_codes.of_status(run.status, allow_partial=allow_partial)

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
        """The message for Ctrl-C, and the command to resume."""
        if self._run is not None:
            return self._session.resume_wait([self._run.id])
        check = self._session.command("list", **{"--flow": self._flow, "--source": self._source})
        return f"interrupted while submitting; a run may exist: check with `{check}`", None

    def _on_change(self, snapshot: LumeRun) -> None:
        if self._session.data.format == "ndjson" and snapshot.status != self._shown:
            self._shown = snapshot.status
            self._session.data.document(run_view.to_dict(snapshot))


async def fetch_finished(client: Client, run_id: str) -> LumeRun:
    """The run to repeat, by its id or the beginning of it.

    Raises:
        click.UsageError: it has not finished, or the server does not report what it ran.
    """
    (whole,) = await whole_ids(client, [run_id])
    old = await client.run_status(whole)
    if not old.is_terminal:
        raise click.UsageError(
            f"run {short(old.id)} is {old.status}: wait for it, or cancel it with `lume cancel {short(old.id)}`"
        )
    if old.flow_version is None or old.source_path is None:
        raise click.UsageError(
            f"the server does not report the flow version and source of run {short(old.id)}"
        )
    return old


async def repeat(session: CommandSession, client: Client, run: str) -> tuple[RunSubmission, dict[str, Any]]:
    """The submission that repeats a run on its own source; and how to begin it.

    Raises:
        click.UsageError: the run has not finished, or the server does not report what it ran.
    """
    old = await fetch_finished(client, run)
    how = {"run_metadata": old.run_metadata, "force_rerun": old.has_output}
    return RunSubmission(session, str(old.flow_version), str(old.source_path)), how
