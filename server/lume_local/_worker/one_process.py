"""The steps of a run in this process, with one connection, and the DuckDB instances that runs take turns to use.

Runs of small local files share an instance, as opening and closing one costs as much as such a run. It can access one
folder, `place`, which holds only the files of the current run: copies of its sources, and the files it builds. Its
settings, except for the optimizers, are locked before the first run; everything else that a run creates ends with it,
in a connection of its own (temporary tables) or an in-memory database of its own (the macros of cleaners).

Any other run has its own instance, which reads the sources in place: large files, files that aren't here yet, and
runs with seeds, whose lookups need other settings.
"""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import evolve, field, mutable
from duckdb import DuckDBPyConnection

from lume_local._shared.commit import sync_file
from lume_local._shared.folders import scratch_of
from lume_local._shared.protocol import Execute, read_job
from lume_local._worker.connection import confine, confine_place, connect, plan
from lume_local._worker.engine import Run
from lume_local._worker.late import find_duplicates, refuse_late
from lume_local._worker.profile import profile, unmet
from lume_local._worker.seeds import load_seeds
from lume_local._worker.sources.formats.names import check_columns
from lume_local._worker.sources.formats.parquet import report_damage
from lume_local._worker.sources.intake import ReturnOrigin
from lume_local._worker.sources.mending.lost_letters import LostLetters
from lume_local._worker.sources.mending.mended_rows import lost_letters
from lume_local._worker.sources.read import read_source
from lume_local._worker.sources.source import File, place_to_read
from lume_local._worker.sql import copy_to, row_of
from lume_local._worker.stage import PACKED, scan_of, stage
from lume_local._worker.statements import BITS, Statements
from lume_local._worker.steps import Context, Judged, Metrics, TakenIn, Unmet, check_written

MOST_COPIED = 1024 * 1024
"""Bytes of source files up to which a run is small."""
MOST_PLANNED_SIMPLY = 64 * 1024
"""Bytes of them up to which it costs more to optimize a statement than that saves."""
FEW = 1000
"""Rows up to which one statement returns the broken checks of each, in place of several that count them."""
_OWN = "_lume_run"
"""The in-memory database of one run."""


def execute(context: Context, place: Path | None = None) -> dict[str, Any]:
    """Carry out a run in this process, with `place_of` its job; see `Run.execute`."""
    return Run(context, OneProcess(context) if place is None else SmallFiles(context, place)).execute()


class OneProcess:
    """See `RunSteps`.

    Args:
        folder: where it reads and builds; by default the run's own.
        shards: how the work was split (see `TakenIn`).
    """

    def __init__(
        self, context: Context, folder: Path | None = None, shards: dict[str, Any] | None = None
    ) -> None:
        self._context, self._connection, self._flow = context, context.connection, context.flow
        self._folder, self._shards = folder or context.folder, shards

    def take_in(self) -> TakenIn:
        context = self._context
        files = context.source.fetch(self._folder, context.pause)
        seeds = load_seeds(self._connection, self._flow, context.job.seeds, context.folder)
        confine(self._connection, context.folder, files, context.job)
        return self.take_in_files(self.recognised(files), seeds)

    def recognised(self, files: list[File]) -> list[File]:
        """Return the files, which the connection can open, with their layouts. Raises `SourceError`."""
        context = self._context
        if not context.flow["layouts"]:
            return files
        from lume_local._worker.sources.layouts import recognised  # here: few flows have any

        forced = context.job.layout
        return recognised(self._connection, files, self._flow, self._folder, context.pause, forced=forced)

    def take_in_files(self, files: list[File], seeds: dict[str, Any]) -> TakenIn:
        """Read the files, which the connection can open; the seeds are loaded already."""
        context = self._context
        mended = context.job.mended
        lost = LostLetters() if mended is None else lost_letters(read_job(mended))
        accepted = context.job.accepted or {"rejects": None}
        is_mended = mended is not None or accepted["rejects"] is not None
        intake = read_source(
            self._connection,
            files,
            self._flow,
            self._folder,
            context.pause,
            is_mended=is_mended,
            origin=ReturnOrigin(context.job.lines, lost, context.job.layouts),
        )
        check_columns(self._flow, intake.relation)
        statements = Statements(self._flow, intake.relation)
        context.enter("TRANSFORMING", None)
        parquet = {one.shown: one.path for one in files if one.format == "parquet"}
        records, target = intake.account.records - intake.malformed.total, self._path("mapped")
        with report_damage(self._connection, parquet):
            limit = context.job.memory_limit
            staged = stage(self._connection, statements, files, self._folder, target, records, limit)
        context.source.check_unchanged(context.pause)
        return TakenIn(statements, intake, staged.rows, seeds, staged.mapped, self._shards)

    def counts(self, taken: TakenIn) -> list[int]:
        return list(row_of(self._connection, taken.statements.counts(taken.staged)))

    def twins(self, taken: TakenIn, unique: list[str]) -> list[int]:
        returned = None
        if self._context.job.accepted is not None:  # few runs read rejects of earlier ones
            from lume_local._worker.returned import find_returned

            returned = find_returned(self._context, taken, self._folder)
        return find_duplicates(self._connection, taken.staged, unique, self._folder, returned)

    def late(self, taken: TakenIn, has_duplicates: bool) -> Counter[str]:
        return refuse_late(self._context, taken, has_duplicates, self._folder)

    def profile(self, taken: TakenIn, duplicates: bool, metrics: Metrics) -> tuple[dict[str, Any], Unmet]:
        statements = taken.statements
        mapped = rows = statements.mapped(taken.staged, duplicates)
        if taken.written is not None:
            mapped = rows = f"FROM {scan_of(self._path('mapped'))}"
        elif duplicates:
            rows = statements.unordered(taken.staged, statements.targets)
        columns, _ = profile(self._connection, self._flow, rows)
        return columns, unmet(self._connection, self._flow["expect"], mapped, metrics)

    def build(self, part: str, judged: Judged) -> Path:
        path, taken, metrics = self._path(part), judged.taken, judged.metrics
        if part == "rejects":
            rows, written = metrics["rows_rejected"], judged.rejects.write(path)
        else:
            rows, written = metrics["rows_mapped"], taken.written or 0
            if taken.written is None:
                query = taken.statements.mapped(taken.staged, judged.rejects.duplicates)
                written = copy_to(self._connection, query, path, columns=len(self._flow["columns"]))
        check_written(part, rows, written)
        sync_file(path)
        return path

    def _path(self, part: str) -> Path:
        return self._folder / f"{part}{self._context.targets[part].suffix}"


class SmallFiles:
    """See `RunSteps`: a run of small files.

    Args:
        context: its connection may access `place`, and is restricted already.
        place: an empty folder.
    """

    def __init__(self, context: Context, place: Path) -> None:
        self._context = context
        # A unique name for each run: otherwise DuckDB could mistake a file there for a cached one.
        self._folder = place / context.job.run_id
        self._one = OneProcess(context, self._folder)
        self.late = self._one.late
        self._columns: dict[str, Any] | None = None
        self._size = 0

    def take_in(self) -> TakenIn:
        self._folder.mkdir()
        for statement in self._context.flow["cleaners"]:
            self._context.connection.execute(statement)
        files = self._context.source.fetch(self._folder, self._context.pause)
        copies = []
        for n, file in enumerate(files):
            if not file.path.is_relative_to(self._folder):
                file = evolve(file, path=shutil.copyfile(file.path, self._folder / f"copy{n}"))
            copies.append(file)
        copies = self._one.recognised(copies)
        # What was unpacked may be large, and so may the rows of a binary file: a text stands in it once for all.
        is_text = not any(copy.format in PACKED for copy in copies)
        self._size = sum(os.stat(copy.path).st_size for copy in copies) if is_text else sys.maxsize
        plan(self._context.connection, simply=self._size <= MOST_PLANNED_SIMPLY)
        taken = self._one.take_in_files(copies, seeds={})
        rows = taken.intake.account.records - taken.intake.malformed.total
        if rows > FEW or self._size > MOST_COPIED:
            return taken
        query = taken.statements.each(taken.staged)
        return evolve(taken, few=self._context.connection.execute(query).fetchall())

    def counts(self, taken: TakenIn) -> list[int]:
        """Count by kind of row: planning one aggregate per check takes longer than the rest of the statement."""
        if taken.few is None:
            kinds = self._context.connection.execute(taken.statements.kinds(taken.staged)).fetchall()
        else:
            counts = Counter(row[:-2] for row in taken.few)
            kinds = [(*kind, count) for kind, count in counts.items()]
        rows = sum(count for *_, count in kinds)
        rejects = sum(count for *_, is_reject, count in kinds if is_reject)
        broken = (
            sum(kind[-1] for kind in kinds if kind[n // BITS] & (1 << (n % BITS)))
            for n in range(len(self._context.flow["checks"]))
        )
        return [rows, rejects, *broken]

    def twins(self, taken: TakenIn, unique: list[str]) -> list[int]:
        """Profile the columns first: if each unique value is there once, no table of the others has to be made.

        For more rows, counting them in one pass with the rest would need much more memory.
        """
        flow, job = self._context.flow, self._context.job
        is_late = job.accepted is not None or flow["references"] or flow["judged_by_table"]
        if self._size <= MOST_COPIED and not is_late:
            mapped = taken.statements.mapped(taken.staged, duplicates=False)
            columns, is_unique = profile(self._context.connection, flow, mapped, unique)
            if is_unique:
                self._columns = columns
                return [0] * (len(unique) + 1)
        return self._one.twins(taken, unique)

    def profile(self, taken: TakenIn, duplicates: bool, metrics: Metrics) -> tuple[dict[str, Any], Unmet]:
        if self._columns is None:
            return self._one.profile(taken, duplicates, metrics)
        mapped = taken.statements.mapped(taken.staged, duplicates)
        return self._columns, unmet(self._context.connection, self._context.flow["expect"], mapped, metrics)

    def build(self, part: str, judged: Judged) -> Path:
        """Build in the run's folder, which outlives this process. The statement names only the reasons that occur."""
        found = evolve(judged.taken.statements, found=frozenset(judged.metrics["reject_reasons"]))
        built = self._one.build(part, evolve(judged, rejects=evolve(judged.rejects, statements=found)))
        kept = self._context.folder / built.name
        os.replace(built, kept)
        return kept


def place_of(job: Execute) -> Path | None:
    """Return the folder that a small run's instance may access; None for any other run."""
    if job.dry_run or job.engine is not None or job.flow["seeds"] or job.source["kind"] != "files":
        return None
    return scratch_of(Path(job.folder), os.getpid()) if _size(job) <= MOST_COPIED else None


def _size(job: Execute) -> int:
    """Return the bytes of a run's files; too many if one is missing, which the run reports."""
    try:
        return sum(os.stat(place_to_read(file)).st_size for file in job.source["files"])
    except OSError:
        return sys.maxsize


@mutable
class Instances:
    """The connections for the runs of this process."""

    _next: DuckDBPyConnection | None = field(factory=connect)
    """A connection that has read nothing yet."""
    _shared: DuckDBPyConnection | None = None
    _reach: tuple[Path, int] | None = None
    """The place and limits of the shared instance."""

    def prepare(self) -> None:
        """Open the connection that the next job probably needs."""
        if self._next is None and self._shared is None:
            self._next = connect()

    @contextmanager
    def connection(self, job: Execute, place: Path | None) -> Iterator[DuckDBPyConnection]:
        """Lend a connection to one run; everything the run has created ends with the block."""
        if place is None:
            with self._taken() as own:
                yield own
            return
        place.mkdir(parents=True, exist_ok=True)
        try:
            with self._shared_by_small_runs(place, job) as shared, _cursor(shared, job) as cursor:
                yield cursor
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _taken(self) -> DuckDBPyConnection:
        taken, self._next = self._next, None
        return taken if taken is not None else connect()

    @contextmanager
    def _shared_by_small_runs(self, place: Path, job: Execute) -> Iterator[DuckDBPyConnection]:
        reach = place, job.memory_limit
        if self._shared is None or self._reach != reach:
            self._close_shared()
            self._shared = self._taken()
            confine_place(self._shared, place, job)
            self._reach = reach
        yield self._shared
        if (place / "spill").exists():  # its files are removed now, and the instance still refers to them
            self._close_shared()

    def _close_shared(self) -> None:
        shared, self._shared = self._shared, None
        if shared is not None:
            shared.close()


@contextmanager
def _cursor(shared: DuckDBPyConnection, job: Execute) -> Iterator[DuckDBPyConnection]:
    """Open a connection whose temporary tables end with it; the only other things that a run creates are macros."""
    if not job.flow["cleaners"]:
        with shared.cursor() as cursor:
            yield cursor
        return
    shared.execute(f"ATTACH ':memory:' AS {_OWN}")
    with shared.cursor() as cursor:
        cursor.execute(f"USE {_OWN}")
        yield cursor
    shared.execute(f"DETACH {_OWN}")
