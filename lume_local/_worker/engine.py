"""One run, from the source file to the published targets, in DuckDB. Runs in a worker process.

Settings that this relies on, each for a reason found the hard way:
- `disabled_optimizers='in_clause'`: `x IN (...)` is planned as a join, which loses the order of the rows;
- `enable_external_access=false` and the allowed paths: an expression reaches this run's files, nothing else;
- the progress bar is on (else DuckDB counts no progress) but never printed: stdout speaks the protocol.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from lume_local._shared import commit as _publish
from lume_local._shared.protocol import Execute
from lume_local._worker.account import AccountOpen, check_written, close_account
from lume_local._worker.checks import text
from lume_local._worker.duplicates import find_duplicates
from lume_local._worker.rejects import Rejects
from lume_local._worker.sources.files import SourceError, snapshot
from lume_local._worker.sources.source import Source, read_source
from lume_local._worker.statements import Statements, twin_reason
from lume_local._worker.targets import copy_to


class RunFailed(Exception):
    """The flow or the data is at fault: nothing is published."""

    def __init__(self, message: str, metrics: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.metrics = metrics


class RunBroke(RunFailed):
    """DuckDB or the system gave up: the process that has seen this should do no other run."""


def connect() -> DuckDBPyConnection:
    """A database of its own that has read nothing yet; it may check flows and then do one run. Close it."""
    connection = duckdb.connect(":memory:")
    for setting in (
        "disabled_optimizers='in_clause'",
        "enable_progress_bar=true",
        "enable_progress_bar_print=false",
        "autoinstall_known_extensions=false",
        "autoload_known_extensions=false",
        "TimeZone='UTC'",
    ):
        connection.execute(f"SET {setting}")
    return connection


def confine(connection: DuckDBPyConnection, folder: Path, source: Path, job: Execute) -> None:
    """From here on the connection reads `source`, reads and writes below `folder`, and reaches nothing else."""
    for setting in (
        f"memory_limit={text(job.memory_limit)}",
        f"threads={int(job.threads)}",
        f"temp_directory={text(str(folder / 'spill'))}",
        f"allowed_paths=[{text(str(source))}]",
        f"allowed_directories=[{text(str(folder))}]",
        "enable_external_access=false",
        "lock_configuration=true",
    ):
        connection.execute(f"SET {setting}")


def confine_check(connection: DuckDBPyConnection) -> None:
    """From here on the connection reaches no file at all: for trying the expressions of a flow."""
    for setting in (
        "memory_limit='1GB'",
        "threads=1",
        "temp_directory=''",
        "enable_external_access=false",
        "lock_configuration=true",
    ):
        connection.execute(f"SET {setting}")


class Run:
    """One run's job.

    Args:
        connection: from `connect()`.
        job: what the server asks for.
        enter: called with the name of each stage that begins, and the rows of the one before.
        pause: called often while Python reads the source; raises where the run is to stop.
    """

    def __init__(
        self,
        connection: DuckDBPyConnection,
        job: Execute,
        enter: Callable[[str, int | None], None],
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._job = job
        self._enter = enter
        self._pause = pause
        self._flow = job.flow
        self._folder = Path(job.folder)
        self._source = Path(job.source)
        self._staged = f"read_parquet({text(str(self._folder / 'stage.parquet'))}, file_row_number=true)"

    def execute(self) -> dict[str, Any]:
        """Do it all. The result is what `commit.json` records. Raises `RunFailed`, `duckdb.InterruptException`."""
        try:
            return self._execute()
        except SourceError as error:
            raise RunFailed(str(error)) from None
        except duckdb.InterruptException:
            raise
        except AccountOpen as error:
            raise RunBroke(str(error)) from error
        except duckdb.Error as error:
            raise RunBroke(_words(error, self._job)) from error
        except OSError as error:
            raise RunBroke(f"a file can't be used: {_publish.explain(error)}") from error

    def _execute(self) -> dict[str, Any]:
        self._enter("SYNCING_SOURCE", None)
        before = snapshot(self._source, self._job.looked_up)
        self._check_targets()
        confine(self._connection, self._folder, self._source, self._job)
        source = read_source(self._connection, self._source, self._flow, self._folder, self._pause)
        statements = Statements(self._flow, source.layout)
        self._enter("TRANSFORMING", None)
        copy_to(self._connection, statements.stage(), self._folder / "stage.parquet")
        if snapshot(self._source) != before:
            raise SourceError(f"{self._source} was changed while it was read: submit the run again")
        metrics, duplicates = self._measure(statements, source)
        self._judge(metrics)
        self._enter("SYNCING_TARGET", metrics["rows_read"])
        rejects = Rejects(
            self._connection, self._flow, statements, source.malformed, self._staged, duplicates
        )
        return self._commit(statements, metrics, rejects)

    def _check_targets(self) -> None:
        """No file of a run may take the place of another one."""
        places = {"target.mapped": self._job.mapped, "target.rejects": self._job.rejects}
        seen = {os.path.realpath(self._source): "the source"}
        for part, place in places.items():
            other = seen.setdefault(os.path.realpath(place), part)
            if other != part:
                raise RunFailed(f"{part} is the same file as {other}: {place}; name another one")

    def _measure(self, statements: Statements, source: Source) -> tuple[dict[str, Any], bool]:
        """The metrics, of an account that closes, and whether there are duplicates."""
        query = statements.counts(self._staged)
        staged, rejected, *broken = self._connection.execute(query).fetchall()[0]
        reasons: dict[str, int] = dict(source.malformed.counts)
        warnings: dict[str, int] = {}
        for check, count in zip(self._flow["checks"], broken, strict=True):
            into = reasons if check["on_fail"] == "reject" else warnings
            if count:
                into[check["reason"]] = into.get(check["reason"], 0) + count
        duplicates, malformed = self._find_duplicates(reasons), source.malformed.total
        metrics = {
            "rows_read": source.account.records,
            "rows_mapped": staged - rejected - duplicates,
            "rows_rejected": rejected + duplicates + malformed,
            "reject_reasons": reasons,
            "warnings": warnings,
            "source": source.account.plain(),
        }
        close_account(source.account, staged, malformed, metrics)
        return metrics, duplicates > 0

    def _find_duplicates(self, reasons: dict[str, int]) -> int:
        unique: list[str] = self._flow["unique"]
        if not unique:
            return 0
        *counts, total = find_duplicates(self._connection, self._staged, unique, self._folder)
        for name, count in zip(unique, counts, strict=True):
            if count:
                reasons[twin_reason(name)] = count
        return total

    def _judge(self, metrics: dict[str, Any]) -> None:
        """Whether this data may be published at all."""
        for check in self._flow["checks"]:
            count = metrics["warnings"].get(check["reason"], 0)
            if check["on_fail"] == "fail" and count:
                rows = "1 row breaks" if count == 1 else f"{count:,} rows break"
                raise RunFailed(f"{rows} the rule {check['reason']!r}, which must never be broken", metrics)
        read, rejected, limit = metrics["rows_read"], metrics["rows_rejected"], self._flow["max_ratio"]
        if rejected and limit is not None and rejected > limit * read:
            raise RunFailed(
                f"{rejected:,} of {read:,} rows were rejected, more than rejects.max_ratio = {limit:g} allows: "
                f"{_top(metrics)}. Nothing was written",
                metrics,
            )
        if rejected and rejected == read:
            raise RunFailed(f"all {read:,} rows were rejected: {_top(metrics)}. Nothing was written", metrics)

    def _commit(self, statements: Statements, metrics: dict[str, Any], rejects: Rejects) -> dict[str, Any]:
        """Build the targets here, commit, then move them into place: the rejects first, the mapped rows last."""
        moves, locations = [], dict[str, str | None](mapped=None, rejects=None)
        for part, place in (("rejects", self._job.rejects), ("mapped", self._job.mapped)):
            rows = metrics[f"rows_{'rejected' if part == 'rejects' else part}"]
            if part == "rejects" and not rows:
                continue
            final = Path(place)
            built = self._folder / f"{part}{final.suffix.lower()}"
            if part == "rejects":
                written = rejects.write(built)
            else:
                written = copy_to(
                    self._connection, statements.mapped(self._staged, rejects.duplicates), built
                )
            check_written(part, rows, written)
            _publish.sync_file(built)
            if final.is_dir():
                raise RunFailed(f"target.{part} is a folder: {final}; name a file")
            moves.append([str(_publish.bring_near(built, final, self._job.run_id)), str(final)])
            locations[part] = place
        record = {
            "status": "PARTIAL_FAILED" if metrics["rows_rejected"] else "SUCCEEDED",
            "metrics": metrics,
            "target_locations": locations,
            "moves": moves,
        }
        _publish.commit(self._folder, record)
        _publish.publish(record)
        return record


def _top(metrics: dict[str, Any]) -> str:
    reasons = sorted(metrics["reject_reasons"].items(), key=lambda item: -item[1])
    listed = "; ".join(f"{reason} ({count:,})" for reason, count in reasons[:5])
    return listed + ("; …" if len(reasons) > 5 else "")


def _words(error: duckdb.Error, job: Execute) -> str:
    words = str(error).split("\n\n", 1)[0].replace("\n", " ").strip()
    if os.strerror(errno.ENOSPC) in words or "max_temp_directory_size" in str(error):
        return "the disk is full: make room, then submit the run again"
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"the run needs more than its memory limit of {job.memory_limit}: {words}"
    return f"DuckDB could not read or write the data: {words}"
