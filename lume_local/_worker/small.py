"""A run of small files, in an instance of DuckDB that other runs have had before it (see `instances`)."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from duckdb import DuckDBPyConnection

from lume_local._shared.protocol import Execute
from lume_local._worker.engine import Run
from lume_local._worker.rejects import Rejects
from lume_local._worker.sources.source import File
from lume_local._worker.statements import BITS, Statements
from lume_local._worker.targets.target import Target


class SmallRun(Run):
    """See `Run`.

    Args:
        connection: reaches `place`, and is confined already.
        place: a folder with nothing in it.
    """

    def __init__(
        self,
        connection: DuckDBPyConnection,
        job: Execute,
        enter: Callable[[str, int | None], None],
        pause: Callable[[], None],
        place: Path,
    ) -> None:
        super().__init__(connection, job, enter, pause)
        # Under a name that no other run has: whatever DuckDB still knew of a file there would be of another one.
        self._work = place / job.run_id

    def _begin(self) -> None:
        super()._begin()
        self._work.mkdir()

    def _within_reach(self, files: list[File]) -> list[File]:
        return [evolve(file, path=self._copied(n, file.path)) for n, file in enumerate(files)]

    def _copied(self, number: int, path: Path) -> Path:
        if path.is_relative_to(self._work):
            return path
        copy = self._work / f"copy{number}"
        shutil.copyfile(path, copy)
        return copy

    def _counts(self, statements: Statements) -> list[int]:
        """Of each kind of row: to plan an aggregate for each check takes longer than all else of the statement."""
        kinds = self._connection.execute(statements.kinds(self._staged)).fetchall()
        rows = sum(count for *_, count in kinds)
        rejects = sum(count for *_, is_reject, count in kinds if is_reject)
        broken = (
            sum(kind[-1] for kind in kinds if kind[n // BITS] & (1 << (n % BITS)))
            for n in range(len(self._flow["checks"]))
        )
        return [rows, rejects, *broken]

    def _build(
        self, part: str, target: Target, statements: Statements, metrics: dict[str, Any], rejects: Rejects
    ) -> Path:
        """In the run's folder, which outlives this process. The reasons that there are make the shorter statement."""
        found = evolve(statements, found=frozenset(metrics["reject_reasons"]))
        rejects = evolve(rejects, statements=found)
        built = super()._build(part, target, statements, metrics, rejects)
        kept = self._folder / built.name
        os.replace(built, kept)
        return kept
