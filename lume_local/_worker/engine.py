"""One run, from the source file to the published targets, in DuckDB. Runs in a worker process.

Settings that this relies on, each for a reason found the hard way:
- `disabled_optimizers='in_clause'`: `x IN (...)` is planned as a join, which loses the order of the rows;
- `enable_external_access=false` and the allowed paths: an expression reaches this run's files, nothing else;
- the progress bar is on (else DuckDB counts no progress) but never printed: stdout speaks the protocol.
"""

# ruff: noqa: S608 - the parts of its SQL are constants, compiled or quoted.
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from lume_local._shared import commit as _publish
from lume_local._shared.protocol import Execute
from lume_local._worker.checks import text
from lume_local._worker.source import SourceError, layout, prepare, snapshot
from lume_local._worker.statements import NOT_JSON, Statements, twin_reason

_FORMATS = {
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
    ".csv": "FORMAT csv, HEADER true",
    ".ndjson": "FORMAT json",
}
_MALFORMED = {
    "TOO MANY COLUMNS": "too many columns",
    "MISSING COLUMNS": "too few columns",
    "UNQUOTED VALUE": "broken quotes",
    "INVALID ENCODING": "not valid UTF-8",
    "LINE SIZE OVER MAXIMUM": "longer than 2,000,000 bytes",
}


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


class Run:
    """One run's job.

    Args:
        connection: from `connect()`.
        job: what the server asks for.
        enter: called with the name of each stage that begins, and the rows of the one before.
    """

    def __init__(
        self, connection: DuckDBPyConnection, job: Execute, enter: Callable[[str, int | None], None]
    ) -> None:
        self._connection = connection
        self._job = job
        self._enter = enter
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
        except duckdb.Error as error:
            raise RunBroke(_words(error, self._job)) from error
        except OSError as error:
            raise RunBroke(f"a file can't be used: {_publish.explain(error)}") from error

    def _execute(self) -> dict[str, Any]:
        self._enter("SYNCING_SOURCE", None)
        before = snapshot(self._source, self._job.looked_up)
        path = prepare(self._source, self._flow, self._folder)
        statements = Statements(self._flow, layout(path, self._flow, self._source))
        confine(self._connection, self._folder, path, self._job)
        self._enter("TRANSFORMING", None)
        self._copy(statements.stage(), self._folder / "stage.parquet")
        if snapshot(self._source) != before:
            raise SourceError(f"{self._source} was changed while it was read: submit the run again")
        metrics, duplicates, malformed = self._measure(statements)
        self._judge(metrics)
        self._enter("SYNCING_TARGET", metrics["rows_read"])
        return self._commit(statements, metrics, duplicates, malformed)

    def _copy(self, query: str, target: Path) -> None:
        options = _FORMATS[target.suffix]
        self._connection.execute(f"COPY ({query}) TO {text(str(target))} ({options})")

    def _value(self, query: str) -> tuple[Any, ...]:
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return row

    def _measure(self, statements: Statements) -> tuple[dict[str, Any], bool, bool]:
        """The metrics, and whether there are duplicates and lines that could not be read."""
        staged_rows, rejected, not_json, *broken = self._value(statements.counts(self._staged))
        reasons: dict[str, int] = {}
        warnings: dict[str, int] = {}
        if not_json:
            reasons[NOT_JSON] = not_json
        for check, count in zip(self._flow["checks"], broken, strict=True):
            into = reasons if check["on_fail"] == "reject" else warnings
            if count:
                into[check["reason"]] = into.get(check["reason"], 0) + count
        duplicates = self._find_duplicates(statements, reasons) if self._flow["unique"] else 0
        unread = self._find_unread(reasons)
        rejected += duplicates + unread
        metrics = {
            "rows_read": staged_rows + unread,
            "rows_mapped": staged_rows + unread - rejected,
            "rows_rejected": rejected,
            "reject_reasons": reasons,
            "warnings": warnings,
        }
        return metrics, duplicates > 0, unread > 0

    def _find_duplicates(self, statements: Statements, reasons: dict[str, int]) -> int:
        self._connection.execute(
            f"CREATE TEMP TABLE _lume_duplicates AS {statements.duplicates(self._staged)}"
        )
        for n, name in enumerate(self._flow["unique"]):
            (count,) = self._value(f"SELECT count(*) FILTER ((bits & {1 << n}) <> 0) FROM _lume_duplicates")
            if count:
                reasons[twin_reason(name)] = count
        return int(self._value("SELECT count(*) FROM _lume_duplicates")[0])

    def _find_unread(self, reasons: dict[str, int]) -> int:
        """Lines that the reader refused; it notes one entry per missing column, so they are counted by line."""
        cases = " ".join(f"WHEN {text(kind)} THEN {text(words)}" for kind, words in _MALFORMED.items())
        self._connection.execute(
            "CREATE TEMP TABLE _lume_unread AS SELECT line, "
            f"'malformed line: ' || min(CASE error_type::VARCHAR {cases} ELSE lower(error_type::VARCHAR) END) "
            "AS reasons, trim(any_value(csv_line), e'\\r\\n') AS line_text FROM _lume_errors GROUP BY line"
        )
        query = "SELECT reasons, count(*) FROM _lume_unread GROUP BY reasons ORDER BY reasons"
        for reason, count in self._connection.execute(query).fetchall():
            reasons[reason] = count
        return int(self._value("SELECT count(*) FROM _lume_unread")[0])

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

    def _commit(
        self, statements: Statements, metrics: dict[str, Any], duplicates: bool, malformed: bool
    ) -> dict[str, Any]:
        """Build the targets here, commit, then move them into place: the rejects first, the mapped rows last."""
        parts = {"mapped": statements.mapped(self._staged, duplicates)}
        if metrics["rows_rejected"]:
            parts["rejects"] = statements.rejects(self._staged, duplicates, malformed)
        places = {"mapped": self._job.mapped, "rejects": self._job.rejects}
        moves, locations = [], dict[str, str | None](mapped=None, rejects=None)
        for part, query in reversed(parts.items()):
            final = Path(places[part])
            built = self._folder / f"{part}{final.suffix.lower()}"
            self._copy(query, built)
            _publish.sync_file(built)
            if final.is_dir():
                raise RunFailed(f"target.{part} is a folder: {final}; name a file")
            moves.append([str(_publish.bring_near(built, final, self._job.run_id)), str(final)])
            locations[part] = places[part]
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
    if isinstance(error, duckdb.OutOfMemoryException):
        return f"the run needs more than its memory limit of {job.memory_limit}: {words}"
    return f"DuckDB could not read or write the data: {words}"
