"""One run, from the source file to the published targets, in DuckDB. Runs in a worker process.

Settings that this relies on, each for a reason found the hard way:
- `disabled_optimizers='in_clause'`: `x IN (...)` is planned as a join, which loses the order of the rows;
- `enable_external_access=false` and the allowed paths: an expression reaches this run's files, nothing else;
- the progress bar is on (else DuckDB counts no progress) but never printed: stdout speaks the protocol.
"""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
from duckdb import DuckDBPyConnection

from lume_async._base.elided import elided
from lume_local._shared.commit import begin, commit, explain, sync_file
from lume_local._shared.no_links import Relinked
from lume_local._shared.protocol import Execute
from lume_local._worker.account import AccountOpen, check_written, close_account, status_of, top_reasons
from lume_local._worker.compiler.checks import text
from lume_local._worker.duplicates import find_duplicates
from lume_local._worker.file_names import allowed
from lume_local._worker.profile import profile, unmet
from lume_local._worker.rejects import Rejects
from lume_local._worker.seeds import check_seeds, load_seeds
from lume_local._worker.sources.formats.encoding import hint_of_encoding
from lume_local._worker.sources.formats.header import changes, check_columns, noted
from lume_local._worker.sources.formats.parquet import report_damage
from lume_local._worker.sources.places.held import changed, moved, named
from lume_local._worker.sources.places.source_kinds import check_source, source_of
from lume_local._worker.sources.read import Intake, read_source
from lume_local._worker.sources.source import File, SourceError
from lume_local._worker.stage import scan_of, stage
from lume_local._worker.statements import Statements, twin_reason
from lume_local._worker.targets import target_kinds as targets
from lume_local._worker.targets.copy_to import copy_to
from lume_local._worker.targets.target import Target, TargetError
from lume_local._worker.words import words_of


class RunFailed(Exception):
    """The flow or the data is at fault: nothing is published."""

    def __init__(self, message: str, metrics: dict[str, Any] | None = None) -> None:
        super().__init__(elided(message))
        self.metrics = metrics


class RunBroke(RunFailed):
    """DuckDB or the system gave up: the process that has seen this should do no other run."""


def connect() -> DuckDBPyConnection:
    """A database of its own that has read nothing yet; it may check flows and then do one run. Close it."""
    connection = duckdb.connect(":memory:")
    _set(
        connection,
        "disabled_optimizers='in_clause'",
        "enable_progress_bar=true",
        "enable_progress_bar_print=false",
        "autoinstall_known_extensions=false",
        "autoload_known_extensions=false",
        "TimeZone='UTC'",
        # A division by zero is an error and not infinity or NaN, which is greater than every limit of a condition.
        "ieee_floating_point_ops=false",
    )
    return connection


def _set(connection: DuckDBPyConnection, *settings: str) -> None:
    connection.execute(";".join(f"SET {setting}" for setting in settings))


def confine(connection: DuckDBPyConnection, folder: Path, files: list[File], job: Execute) -> None:
    """From here on the connection reads `files`, reads and writes below `folder`, and reaches nothing else."""
    _set(
        connection,
        f"memory_limit={text(job.memory_limit)}",
        f"threads={int(job.threads)}",
        f"temp_directory={text(str(folder / 'spill'))}",
        f"allowed_paths=[{allowed(file.path for file in files)}]",
        f"allowed_directories=[{allowed([folder])}]",
        "enable_external_access=false",
        "lock_configuration=true",
    )


def confine_place(connection: DuckDBPyConnection, place: Path, job: Execute) -> None:
    """From here on the connection, and all others of its instance, reach what is below `place` and nothing else."""
    _set(
        connection,
        f"memory_limit={text(job.memory_limit)}",
        "threads=1",  # what is so small has no work for two, and to wake the other one costs more
        f"temp_directory={text(str(place / 'spill'))}",
        f"allowed_directories=[{allowed([place])}]",
        "enable_external_file_cache=false",
        "enable_external_access=false",
        "lock_configuration=true",
    )


def confine_check(connection: DuckDBPyConnection) -> None:
    """From here on the connection reaches no file at all: for trying the expressions of a flow."""
    _set(
        connection,
        "memory_limit='1GB'",
        "threads=1",
        "temp_directory=''",
        "enable_external_access=false",
        "lock_configuration=true",
    )


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
        self._folder = self._work = Path(job.folder)
        """The run's own, with its lock and its commit; and where it reads and builds."""
        self._seeds: dict[str, Any] = {}
        self._source = source_of(job.source, job.flow)
        self._targets: dict[str, Target] = {
            "rejects": targets.target_of("rejects", job.rejects, job.run_id),
            "mapped": targets.target_of("mapped", job.mapped, job.run_id),
        }
        """In the order in which they are published."""
        self._staged = ""
        self._written: int | None = None

    def execute(self) -> dict[str, Any]:
        """Do it all. The result is what `commit.json` records. Raises `RunFailed`, `duckdb.InterruptException`."""
        with closing(self._source):
            return self._carried_out()

    def _carried_out(self) -> dict[str, Any]:
        try:
            return self._execute()
        except (SourceError, TargetError) as error:
            raise RunFailed(str(error)) from None
        except duckdb.InterruptException:
            raise
        except AccountOpen as error:
            raise RunBroke(str(error)) from error
        except duckdb.Error as error:
            if path := moved(error):
                raise RunFailed(str(changed(path))) from None
            raise RunBroke(words_of(error, self._job.memory_limit)) from error
        except OSError as error:
            kind = RunFailed if isinstance(error, Relinked) else RunBroke
            raise kind(f"a file can't be used: {named(explain(error))}") from error

    def _execute(self) -> dict[str, Any]:
        self._begin()
        return self._conclude(*self._take_in())

    def _begin(self) -> None:
        """See what is wrong before anything is read."""
        self._enter("SYNCING_SOURCE", None)
        check_seeds(self._flow, self._job.seeds)
        self._read = check_source(self._source, self._job, self._pause)
        self._check_targets()

    def _take_in(self) -> tuple[Statements, Intake]:
        """Read the source and stage its rows."""
        files = self._within_reach(self._source.fetch(self._work, self._pause))
        for statement in self._flow["cleaners"]:
            self._connection.execute(statement)
        intake = read_source(self._connection, files, self._flow, self._work, self._pause)
        check_columns(self._flow, intake.layout)
        statements = Statements(self._flow, intake.layout)
        self._enter("TRANSFORMING", None)
        with report_damage(
            self._connection, {one.shown: one.path for one in files if one.format == "parquet"}
        ):
            staged = stage(
                self._connection,
                statements,
                files,
                self._work,
                self._built("mapped"),
                intake.account.records - intake.malformed.total,
            )
        self._staged, self._written = staged.rows, staged.mapped
        self._source.check_unchanged(self._pause)
        return statements, intake

    def _within_reach(self, files: list[File]) -> list[File]:
        """Load the seeds; then let the connection reach these files and no others."""
        self._seeds = load_seeds(self._connection, self._flow, self._job.seeds, self._folder)
        confine(self._connection, self._folder, files, self._job)
        return files

    def _conclude(self, statements: Statements, intake: Intake) -> dict[str, Any]:
        """Judge what was staged, and publish it."""
        metrics, duplicates = self._measure(statements, intake)
        mapped = statements.mapped(self._staged, duplicates)
        if self._written is not None:
            mapped = f"FROM {scan_of(self._built('mapped'))}"
        metrics["columns"], broken = self._look_at(mapped, metrics)
        hint = hint_of_encoding(self._flow, intake.malformed, intake.layout.raw)
        message = self._judged(statements, metrics, broken, hint)
        self._enter("SYNCING_TARGET", metrics["rows_read"])
        rejects = Rejects(
            self._connection, self._flow, statements, intake.malformed, self._staged, duplicates
        )
        if self._job.dry_run:
            return self._tried(statements, metrics, rejects, message)
        return self._commit(statements, metrics, rejects)

    def _judged(
        self, statements: Statements, metrics: dict[str, Any], broken: list[dict[str, str]], hint: str
    ) -> str | None:
        """Raises `RunFailed` where this data must not be published; a dry run only says why."""
        try:
            self._judge(statements, metrics, broken, hint)
        except RunFailed as error:
            if not self._job.dry_run:
                raise
            return str(error)
        return None

    def _check_targets(self) -> None:
        """No target may take the place of another one, or of the source."""
        seen = dict.fromkeys(self._source.places, "the source")
        for part in ("mapped", "rejects"):
            target, name = self._targets[part], f"target.{part}"
            other = seen.setdefault(target.place, name)
            if other != name:
                raise RunFailed(f"{name} is the same file as {other}: {target.location}; name another one")
        for part in ("mapped", "rejects"):
            self._targets[part].check()

    def _measure(self, statements: Statements, intake: Intake) -> tuple[dict[str, Any], bool]:
        """The metrics, of an account that closes, and whether there are duplicates."""
        staged, rejected, *broken = self._counts(statements)
        reasons: dict[str, int] = dict(intake.malformed.counts)
        warnings = changes(self._flow, intake.layout, self._job.header)
        for check, count in zip(self._flow["checks"], broken, strict=True):
            into = reasons if check["on_fail"] == "reject" else warnings
            if count:
                into[check["reason"]] = into.get(check["reason"], 0) + count
        duplicates, malformed = self._find_duplicates(reasons), intake.malformed.total
        metrics = {
            "rows_read": intake.account.records,
            "rows_mapped": staged - rejected - duplicates,
            "rows_rejected": rejected + duplicates + malformed,
            "reject_reasons": reasons,
            "warnings": warnings,
            "source": intake.account.plain() | noted(self._flow, intake.layout),
        }
        if self._seeds:
            metrics["seeds"] = self._seeds
        close_account(intake.account, staged, malformed, metrics)
        return metrics, duplicates > 0

    def _counts(self, statements: Statements) -> list[int]:
        """Rows, rejects, then how many rows break each check."""
        return list(self._connection.execute(statements.counts(self._staged)).fetchall()[0])

    def _find_duplicates(self, reasons: dict[str, int]) -> int:
        unique: list[str] = self._flow["unique"]
        if not unique:
            return 0
        *counts, total = self._twins(unique)
        for name, count in zip(unique, counts, strict=True):
            if count:
                reasons[twin_reason(name)] = count
        return total

    def _twins(self, unique: list[str]) -> list[int]:
        """Make the table `_lume_duplicates`; how many rows repeat each column, and how many there are at all."""
        return find_duplicates(self._connection, self._staged, unique, self._work)

    def _look_at(self, mapped: str, metrics: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """What is in the columns of the mapped rows, and the expectations that they don't meet."""
        columns = profile(self._connection, self._flow, mapped)
        return columns, unmet(self._connection, self._flow["expect"], mapped, metrics)

    def _judge(
        self, statements: Statements, metrics: dict[str, Any], broken: list[dict[str, str]], hint: str
    ) -> None:
        """Whether this data may be published at all; `broken` are the expectations that it doesn't meet."""
        for n, check in enumerate(self._flow["checks"]):
            count = metrics["warnings"].get(check["reason"], 0)
            if check["on_fail"] == "fail" and count:
                rows = "1 row breaks" if count == 1 else f"{count:,} rows break"
                ((first,),) = self._connection.execute(statements.first_broken(self._staged, n)).fetchall()
                raise RunFailed(
                    f"{rows} the rule {check['reason']!r}, which must never be broken: "
                    f"row {first:,}{'' if count == 1 else ' is the first'}. Nothing was written",
                    metrics,
                )
        read, rejected, limit = metrics["rows_read"], metrics["rows_rejected"], self._flow["max_ratio"]
        if rejected and limit is not None and rejected > limit * read:
            raise RunFailed(
                f"{rejected:,} of {read:,} rows were rejected, more than rejects.max_ratio = {limit:g} allows: "
                f"{top_reasons(metrics)}. Nothing was written{hint}",
                metrics,
            )
        if rejected and rejected == read:
            all_rows = "the only row was" if read == 1 else f"all {read:,} rows were"
            raise RunFailed(
                f"{all_rows} rejected: {top_reasons(metrics)}. Nothing was written{hint}", metrics
            )
        for one in broken:
            if one["on_fail"] == "fail":
                raise RunFailed(f"not what the flow expects: {one['reason']}. Nothing was written", metrics)
            metrics["warnings"][one["reason"]] = 1

    def _commit(self, statements: Statements, metrics: dict[str, Any], rejects: Rejects) -> dict[str, Any]:
        """Build the targets here, and publish them."""

        def build(part: str, target: Target) -> Path:
            return self._build(part, target, statements, metrics, rejects)

        return self._publish(metrics, build)

    def _publish(self, metrics: dict[str, Any], build: Callable[[str, Target], Path]) -> dict[str, Any]:
        """Commit what `build` gives, then carry that out: the rejects first, the mapped rows last."""
        record: dict[str, Any] = {
            "status": status_of(metrics),
            "metrics": metrics,
            "target_locations": {"mapped": None, "rejects": None},
            "read": self._read,
            "steps": [],
        }
        try:
            for part, target in self._targets.items():
                if part == "mapped" or metrics["rows_rejected"]:
                    built = build(part, target)
                    record["steps"].append(target.prepare(built, partial(begin, self._folder)))
                    record["target_locations"][part] = target.location
                else:
                    record["steps"] += targets.vacate(part, self._job.rejects, self._job.run_id)
            commit(self._folder, record)
        except BaseException as error:
            targets.abandon(self._folder)
            if isinstance(error, TargetError):
                raise RunFailed(str(error), metrics) from None
            raise
        targets.publish(record, self._folder)
        return record

    def _tried(
        self, statements: Statements, metrics: dict[str, Any], rejects: Rejects, message: str | None
    ) -> dict[str, Any]:
        """Build the targets here, and no more."""
        built = {
            part: str(self._build(part, target, statements, metrics, rejects))
            for part, target in self._targets.items()
            if metrics["rows_mapped" if part == "mapped" else "rows_rejected"]
        }
        status = "FAILED" if message else status_of(metrics)
        return {"status": status, "message": message, "metrics": metrics, "built": built}

    def _built(self, part: str) -> Path:
        return self._work / f"{part}{self._targets[part].suffix}"

    def _build(
        self,
        part: str,
        target: Target,
        statements: Statements,
        metrics: dict[str, Any],
        rejects: Rejects,
    ) -> Path:
        """The file of one target, durable, with all its rows."""
        built = self._built(part)
        if part == "rejects":
            rows, written = metrics["rows_rejected"], rejects.write(built)
        else:
            query, rows = statements.mapped(self._staged, rejects.duplicates), metrics["rows_mapped"]
            written = copy_to(self._connection, query, built) if self._written is None else self._written
        check_written(part, rows, written)
        sync_file(built)
        return built
