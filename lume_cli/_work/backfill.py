"""A running batch: counts outcomes, stops early, shows progress, prints the summary. Used by `backfill`.

Source paths come from the command line, or from a file or stdin, one per line, skipping blank lines and # comments.
"""

import glob
import io
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import anyio
import click

from lume_async import (
    ApiConnectionError,
    AuthenticationError,
    Client,
    DuplicateRunError,
    InvalidRequestError,
    LumeError,
    LumeRun,
    Outcome,
    RunNotFoundError,
    RunRequest,
    RunTimeoutError,
    Summary,
)
from lume_async._base.tasks import background
from lume_async._base.threads import run_in_thread
from lume_async._base.words import counted
from lume_cli._output import errors, exit_codes, run_view
from lume_cli._output.errors import StoppedError
from lume_cli._output.live import Standing, progress
from lume_cli._output.text import clock
from lume_cli._session import CommandSession

_CHUNK = 65536
_AGAIN = 0.05
"""Seconds between two reads of a stdin that does not block."""


class Named:
    """The run requests for source paths and patterns of the command line; see `Paths`."""

    def __init__(self, given: Sequence[str], request: Callable[[str], RunRequest]) -> None:
        self._requests: list[RunRequest] = []
        for path in dict.fromkeys(path for one in given for path in _matching(one)):
            try:
                self._requests.append(request(path))
            except InvalidRequestError as error:
                raise click.UsageError(f"{path}: {error}") from None

    def count(self) -> int:
        return len(self._requests)

    async def requests(self) -> AsyncIterator[RunRequest]:
        """Yield one request per path."""
        for request in self._requests:
            yield request


def _matching(given: str) -> list[str]:
    """Return the files that match a pattern, sorted; a path or a URL stands for itself. Raises `click.UsageError`."""
    if not glob.has_magic(given) or "://" in given or os.path.exists(given):
        return [given]
    found = sorted(path for path in glob.glob(given, recursive=True) if os.path.isfile(path))
    if not found:
        raise click.UsageError(f"no file matches {given!r}, seen from {os.getcwd()}: check the pattern")
    return [as_written(given, path) for path in found]


def as_written(pattern: str, path: str, separator: str = os.sep) -> str:
    r"""Return a path with the separators of its pattern: on Windows a glob writes `data\*.csv` for `data/*.csv`."""
    return path if separator in pattern else path.replace(separator, "/")


class Paths:
    """The run requests for a list of source paths."""

    def __init__(self, name: str, request: Callable[[str], RunRequest]) -> None:
        self._name = name
        self._request = request

    def count(self) -> int | None:
        """Check and count the paths of a file; None for stdin, read as it arrives. Raises `click.UsageError`."""
        return None if self._name == "-" else sum(1 for _request in self._from_file())

    async def requests(self) -> AsyncIterator[RunRequest]:
        """Yield one request per line."""
        if self._name != "-":
            for request in self._from_file():
                yield request
            return
        number = 0
        async for line in _lines():
            number += 1
            for request in self._of_line(number, line):
                yield request

    def _from_file(self) -> Iterator[RunRequest]:
        try:
            with open(self._name, "rb") as file:
                for number, line in enumerate(file, 1):
                    yield from self._of_line(number, line)
        except OSError as error:
            raise click.UsageError(f"{self._name} can't be read: {error.strerror or error}") from None

    def _of_line(self, number: int, line: bytes) -> Iterator[RunRequest]:
        place = f"{'stdin' if self._name == '-' else self._name}:{number}"
        try:
            path = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if path and not path.startswith("#"):
                yield self._request(path)
        except UnicodeDecodeError:
            raise click.UsageError(f"{place} is not UTF-8") from None
        except InvalidRequestError as error:
            raise click.UsageError(f"{place}: {error}") from None


async def _lines() -> AsyncIterator[bytes]:
    """Yield the lines of stdin, read in a thread, so that Ctrl-C interrupts the wait."""
    try:
        number = sys.stdin.fileno()
    except OSError:  # not a real file
        for text in sys.stdin:
            yield text.encode()
        return
    rest = b""
    raw = _raw(number)
    while True:
        chunk = await run_in_thread(raw.read, _CHUNK)
        if chunk is None:  # another program has made it non-blocking, and it has no data yet
            await anyio.sleep(_AGAIN)
            continue
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if not chunk:
            if rest:
                yield rest
            return


def _raw(number: int) -> io.RawIOBase:
    """Return the stream without a buffer. Unlike `os.read`, it is UTF-8 at a terminal of Windows."""
    return open(number, "rb", buffering=0, closefd=False)


_EVERY = 10.0
"""Seconds between two progress lines if there is no terminal."""
_ENOUGH = 5
"""If this many outcomes at the start fail for the same permanent reason, the others would, too."""


class _EarlyStop:
    """Stops a batch whose first outcomes show that no source can succeed."""

    def __init__(self, *, has_journal: bool) -> None:
        self._has_journal = has_journal
        self._seen = 0
        self._alike: set[str] = set()

    def stop(self, outcome: Outcome[LumeRun]) -> LumeError | None:
        """Take the next outcome; return the error to stop with, if the batch can no longer succeed."""
        error = outcome.error
        if isinstance(error, AuthenticationError) and error.status_code == 401:
            return error
        self._seen += 1
        self._alike.add(_kind(error))
        if error is None or self._seen != _ENOUGH or len(self._alike) != 1 or "" in self._alike:
            return None
        return StoppedError(
            f"stopped: the first {_ENOUGH} sources all failed with: {error}",
            self._remedy(error),
            retryable=isinstance(error, ApiConnectionError),
        )

    def _remedy(self, error: Exception) -> str:
        if isinstance(error, ApiConnectionError):
            how = "`lume doctor` finds the cause; then repeat the command"
            return f"{how}: with the journal nothing is lost" if self._has_journal else how
        if not self._has_journal:
            return "correct FLOW, or register that flow version; then repeat the command"
        # A journal would keep a permanent rejection as an outcome.
        return (
            "register that flow version and repeat the command with --retry-failed; another FLOW needs its own "
            "--journal"
        )


def _kind(error: Exception | None) -> str:
    """Return the permanent reason of a failure; empty for any other outcome."""
    match error:
        case ApiConnectionError(reached=False):
            return "no connection"
        case RunNotFoundError():
            return ""
        case InvalidRequestError(status_code=404):
            return f"no such flow version: {error.args[0]}"
        case _:
            return ""


class Backfill:
    def __init__(
        self, session: CommandSession, paths: Named | Paths, total: int | None, *, allow_partial: bool
    ) -> None:
        self.summary = Summary()
        self._session = session
        self._paths = paths
        self._total = total
        self._allow_partial = allow_partial
        self._taken = 0
        self._codes: set[int] = set()
        self._changed = 0
        self._stop: LumeError | None = None
        self._began = time.monotonic()

    @property
    def unfinished(self) -> int:
        """The number of submitted runs that are not known to have finished."""
        return self._taken - self.summary.outcomes

    async def until_ended(
        self, client: Client, *, journal: str | None, retry_failed: bool, **how: Any
    ) -> int:
        """Run all requests; return the exit code. `how` are further arguments of `Client.run_many`."""
        outcomes = client.run_many(self._requests(), journal=journal, retry_failed=retry_failed, **how)
        say = self._session.say

        async def report_progress() -> None:
            """Write a progress line at intervals, even while no run finishes, if there is no display."""
            while True:
                await anyio.sleep(_EVERY)
                self._session.say.note(self._line())

        async with background() as group:
            if not say.is_lively:
                group.start_soon(report_progress)
            try:
                with progress(say, self._standing, eta=True):
                    await self._take_all(outcomes, _EarlyStop(has_journal=journal is not None))
            except Exception:
                # The input or the journal failed, or the batch was stopped: report the new outcomes, if any.
                if self.summary.outcomes > self.summary.remembered and not (
                    self._stop and len(self.summary.statuses) == 1
                ):
                    self._report_summary(journal, retry_failed)
                raise
        if not self._taken:
            say.note("no source paths in the list; nothing to do")
        elif not say.is_lively:
            say.note(self._line())
        self._report_summary(journal, retry_failed)
        return exit_codes.worst(self._codes)

    async def _take_all(self, outcomes: AsyncIterator[Outcome[LumeRun]], early_stop: _EarlyStop) -> None:
        try:
            async for outcome in outcomes:
                self.summary.add(outcome)
                if isinstance(outcome.error, DuplicateRunError):
                    self._changed += bool(outcome.error.source_changed)
                if outcome.error is not None:
                    self._codes.add(exit_codes.of_error(outcome.error))
                elif outcome.run is not None:
                    self._codes.add(
                        exit_codes.of_status(outcome.run.status, allow_partial=self._allow_partial)
                    )
                if self._session.data.format == "ndjson":
                    self._session.data.document(to_dict(outcome))
                self._stop = self._stop or early_stop.stop(outcome)
                if self._stop is not None and not self.unfinished:
                    break
        except RunTimeoutError as late:  # raised after the outcomes, which are also reported
            self._session.say.error(late)
            self._codes.add(exit_codes.of_error(late))
        if self._stop is not None:
            raise self._stop

    async def _requests(self) -> AsyncIterator[RunRequest]:
        async for request in self._paths.requests():
            if self._stop is not None:  # submissions in flight finish first, for the journal's sake
                raise self._stop
            self._taken += 1
            yield request
        self._total = self._taken

    def _report_summary(self, journal: str | None, retry_failed: bool) -> None:
        say, data, text = self._session.say, self._session.data, errors.in_options(str(self.summary))
        described = self.summary.to_dict()
        for failure in described["failures"]:
            failure["message"] = errors.in_options(failure["message"])
        if data.format == "json":
            data.document(described)
        elif data.format == "ndjson":  # the failures are already on stdout
            say.record("summary", text, **{name: it for name, it in described.items() if name != "failures"})
        elif self._taken:
            data.prose(text)
        new = "" if journal is None else " (that one with a new --journal)"
        if self._changed:
            one, several = "source has changed since its run", "sources have changed since their runs"
            say.note(
                f"  hint: {counted(self._changed, f'{one} read it', f'{several} read them')}: "
                f'--force-rerun processes the new content{new}; with [source] identity = "content" in the flow '
                "it is a new source"
            )
        if self.summary.statuses[DuplicateRunError.__name__] > self._changed:
            say.note(
                "  hint: --on-duplicate attach follows the runs that hold these sources; --force-rerun processes "
                f"again what was processed, not what is being processed{new}"
            )
        if journal is not None and not retry_failed and self._codes & {exit_codes.FAILED, exit_codes.CRASHED}:
            say.note("  hint: repeat the command with --retry-failed to run the failed sources again")

    def _standing(self) -> Standing:
        """Return the progress for the bar, without outcomes replayed from the journal, so that the ETA is right."""
        known = self.summary.remembered
        total = None if self._total is None else self._total - known
        return Standing("  ".join(self._parts()), self.summary.outcomes - known, total)

    def _line(self) -> str:
        """Return a plain progress line, with an ETA (the display computes its own)."""
        parts, left = self._parts(), 0 if self._total is None else self._total - self.summary.outcomes
        if left > 0 and (rate := self._rate()):
            parts.append(f"ETA {clock(left / rate)}")
        return "  ".join(parts)

    def _parts(self) -> list[str]:
        done = f"{self.summary.outcomes:,}" + ("" if self._total is None else f" of {self._total:,}")
        parts = [f"{done} finished{run_view.status_counts(self.summary.statuses)}"]
        if self.unfinished > 0:
            parts.append(f"{self.unfinished:,} active")
        if (away := self._session.away) is not None:
            parts.append(f"{away}, retrying")
        elif rate := self._rate():
            parts.append(f"{rate:.1f}/s")
        return parts

    def _rate(self) -> float:
        passed = time.monotonic() - self._began
        return (self.summary.outcomes - self.summary.remembered) / passed if passed > 0 else 0.0


def to_dict(outcome: Outcome[LumeRun]) -> dict[str, Any]:
    """Return an outcome as JSON: the source, and either the run or the error."""
    request = outcome.request
    described: dict[str, Any] = {
        "source_path": request.source_path if request else None,
        "run_id": outcome.run_id,
        "run": None if outcome.run is None else run_view.to_dict(outcome.run),
    }
    error = None if outcome.error is None else errors.to_dict(outcome.error)["error"]
    return {**described, "error": error}
