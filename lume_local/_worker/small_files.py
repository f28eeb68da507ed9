"""The steps of a run of small files, in an instance of DuckDB that other runs used before (see `instances`)."""

import os
import shutil
from pathlib import Path

from attrs import evolve

from lume_local._worker.one_process import OneProcess
from lume_local._worker.statements import BITS
from lume_local._worker.steps import Context, Judged, TakenIn


class SmallFiles:
    """See `RunSteps`.

    Args:
        context: its connection reaches `place`, and is confined already.
        place: an empty folder.
    """

    def __init__(self, context: Context, place: Path) -> None:
        self._context = context
        # Under a name that no other run has: otherwise DuckDB could mistake a file there for one that it has cached.
        self._folder = place / context.job.run_id
        self._one = one = OneProcess(context, self._folder)
        self.twins, self.profile = one.twins, one.profile

    def take_in(self) -> TakenIn:
        """See `RunSteps`."""
        self._folder.mkdir()
        files = self._context.source.fetch(self._folder, self._context.pause)
        copies = [evolve(file, path=self._copy(n, file.path)) for n, file in enumerate(files)]
        return self._one.take_in_files(copies, seeds={})

    def _copy(self, number: int, path: Path) -> Path:
        if path.is_relative_to(self._folder):
            return path
        copy = self._folder / f"copy{number}"
        shutil.copyfile(path, copy)
        return copy

    def counts(self, taken: TakenIn) -> list[int]:
        """Of each kind of row: to plan an aggregate for each check takes longer than all else of the statement."""
        kinds = self._context.connection.execute(taken.statements.kinds(taken.staged)).fetchall()
        rows = sum(count for *_, count in kinds)
        rejects = sum(count for *_, is_reject, count in kinds if is_reject)
        broken = (
            sum(kind[-1] for kind in kinds if kind[n // BITS] & (1 << (n % BITS)))
            for n in range(len(self._context.flow["checks"]))
        )
        return [rows, rejects, *broken]

    def build(self, part: str, judged: Judged) -> Path:
        """In the run's folder, which outlives this process. The statement names only the reasons that occur."""
        found = evolve(judged.taken.statements, found=frozenset(judged.metrics["reject_reasons"]))
        built = self._one.build(part, evolve(judged, rejects=evolve(judged.rejects, statements=found)))
        kept = self._context.folder / built.name
        os.replace(built, kept)
        return kept
