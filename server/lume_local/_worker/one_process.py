"""The steps of a run in this process, with one connection."""

from collections import Counter
from pathlib import Path
from typing import Any

from lume_local._shared.commit import sync_file
from lume_local._shared.protocol import read_job
from lume_local._worker.connection import confine
from lume_local._worker.duplicates import find_duplicates
from lume_local._worker.engine import Run
from lume_local._worker.late import refuse_late
from lume_local._worker.profile import profile, unmet
from lume_local._worker.returned import find_returned
from lume_local._worker.seeds import load_seeds
from lume_local._worker.sources.formats.names import check_columns
from lume_local._worker.sources.formats.parquet import report_damage
from lume_local._worker.sources.intake import ReturnOrigin
from lume_local._worker.sources.mending.lost_letters import LostLetters
from lume_local._worker.sources.mending.mended_rows import lost_letters
from lume_local._worker.sources.read import read_source
from lume_local._worker.sources.source import File
from lume_local._worker.sql import copy_to, row_of
from lume_local._worker.stage import scan_of, stage
from lume_local._worker.statements import Statements
from lume_local._worker.steps import Context, Judged, Metrics, TakenIn, Unmet, check_written


def execute(context: Context) -> dict[str, Any]:
    """Carry out a run in this process; see `Run.execute`."""
    return Run(context, OneProcess(context)).execute()


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
        return self.take_in_files(files, seeds)

    def take_in_files(self, files: list[File], seeds: dict[str, Any]) -> TakenIn:
        """Do the same with files that the connection can read, and seeds that are loaded already."""
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
            origin=ReturnOrigin(context.job.lines, lost),
        )
        check_columns(self._flow, intake.layout)
        statements = Statements(self._flow, intake.layout)
        context.enter("TRANSFORMING", None)
        parquet = {one.shown: one.path for one in files if one.format == "parquet"}
        records, target = intake.account.records - intake.malformed.total, self._path("mapped")
        with report_damage(self._connection, parquet):
            staged = stage(self._connection, statements, files, self._folder, target, records)
        context.source.check_unchanged(context.pause)
        return TakenIn(statements, intake, staged.rows, seeds, staged.mapped, self._shards)

    def counts(self, taken: TakenIn) -> list[int]:
        return list(row_of(self._connection, taken.statements.counts(taken.staged)))

    def twins(self, taken: TakenIn, unique: list[str]) -> list[int]:
        returned = find_returned(self._context, taken, self._folder)
        return find_duplicates(self._connection, taken.staged, unique, self._folder, returned)

    def late(self, taken: TakenIn, has_duplicates: bool) -> Counter[str]:
        """See `RunSteps`."""
        return refuse_late(self._context, taken, has_duplicates, self._folder)

    def profile(self, taken: TakenIn, duplicates: bool, metrics: Metrics) -> tuple[dict[str, Any], Unmet]:
        mapped = taken.statements.mapped(taken.staged, duplicates)
        if taken.written is not None:
            mapped = f"FROM {scan_of(self._path('mapped'))}"
        columns = profile(self._connection, self._flow, mapped)
        return columns, unmet(self._connection, self._flow["expect"], mapped, metrics)

    def build(self, part: str, judged: Judged) -> Path:
        path, taken, metrics = self._path(part), judged.taken, judged.metrics
        if part == "rejects":
            rows, written = metrics["rows_rejected"], judged.rejects.write(path)
        else:
            query, rows = (
                taken.statements.mapped(taken.staged, judged.rejects.duplicates),
                metrics["rows_mapped"],
            )
            written = copy_to(self._connection, query, path) if taken.written is None else taken.written
        check_written(part, rows, written)
        sync_file(path)
        return path

    def _path(self, part: str) -> Path:
        return self._folder / f"{part}{self._context.targets[part].suffix}"
