"""A run of small files, in an instance of DuckDB that other runs have had before it (see `instances`)."""

# ruff: noqa: S608 - the parts of its SQL are compiled or quoted.
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve
from duckdb import DuckDBPyConnection

from lume_local._shared.protocol import Execute
from lume_local._worker.engine import Run
from lume_local._worker.profile import profile_items, profiled, unmet
from lume_local._worker.rejects import Rejects
from lume_local._worker.sources.source import File
from lume_local._worker.statements import Statements
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
        self._profile: dict[str, Any] | None = None

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
        """With the profile, in one statement: to plan each takes longer than to do it."""
        if self._flow["unique"]:  # by which rows are rejected later
            return super()._counts(statements)
        items = statements.count_items()
        asked = [*items, *profile_items(self._flow, "NOT _lume_reject")]
        row = self._connection.execute(f"SELECT {', '.join(asked)} FROM {self._staged}").fetchall()[0]
        self._profile = profiled(self._flow, row[len(items) :])
        return list(row[: len(items)])

    def _look_at(self, mapped: str, metrics: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
        if self._profile is None:
            return super()._look_at(mapped, metrics)
        return self._profile, unmet(self._connection, self._flow["expect"], mapped, metrics)

    def _build(
        self, part: str, target: Target, statements: Statements, metrics: dict[str, Any], rejects: Rejects
    ) -> Path:
        """In the run's folder, which outlives this process."""
        built = super()._build(part, target, statements, metrics, rejects)
        kept = self._folder / built.name
        os.replace(built, kept)
        return kept
