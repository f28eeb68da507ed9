"""All files of a source taken in by tasks: cut where that can be, and read as one shard where it turns out wrong."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from lume_local._shards.plan import Plan
from lume_local._shards.shards import Cut, Shard, Taken
from lume_local._shards.split import Look, look
from lume_local._shards.tasks import Tasks
from lume_local._worker.sources.source import SourceError

_OPEN = "from byte {start:,} on it is not cut for a while: a quote there is not closed where it should be"
_REFUSED = "a shard of it can't be read"


class TakingIn:
    """Takes the files in.

    Args:
        tasks: do the work.
        job: of the run, as JSON.
        flow: of the run.
        folder: of the run.
    """

    def __init__(self, tasks: Tasks, job: dict[str, Any], folder: Path) -> None:
        self._tasks, self._job, self._folder = tasks, job, folder
        self._flow: dict[str, Any] = job["flow"]
        self._csv = self._flow["csv"] if self._flow["format"] == "csv" else None

    def cut(self, plans: Sequence[Plan]) -> list[Cut]:
        """Look at all pieces of all files that are to be cut."""
        arguments = [
            {
                "single": asdict(plan.single),
                "start": start,
                "end": end,
                "csv": self._csv,
                "folder": str(self._folder),
            }
            for plan in plans
            for start, end in plan.pieces
        ]
        # Of a file that is here and has no quotes only a line of each piece is read.
        is_quick = self._csv is None or not self._csv["quote"]
        here = is_quick and all(plan.single.place["kind"] == "files" for plan in plans)
        results = map(look, arguments) if here else self._tasks.do("look", arguments)
        looks = map(Look.of, results)
        return [Cut(plan, tuple(next(looks) for _ in plan.pieces)) for plan in plans]

    def take_in(self, cuts: list[Cut]) -> tuple[list[Cut], list[Taken]]:
        """Every shard of every file, in their order, and the files as they were cut in the end."""
        shards = [shard for n, cut in enumerate(cuts) for shard in cut.shards(n)]
        done: dict[Shard, Taken] = {}
        moved = set[tuple[int, int]]()
        while len(done) < len(shards):
            todo = [shard for shard in shards if shard not in done]
            wrong, why = self._first_wrong(cuts, todo, done)
            if wrong is not None:
                cuts[wrong.file] = _noted(cuts[wrong.file], why)
                begin = wrong.file, wrong.span[0] if wrong.span else 0
                shards = _without_cuts(shards, wrong, begin in moved)
                moved.add(begin)
        return cuts, [done[shard] for shard in shards]

    def _first_wrong(
        self, cuts: list[Cut], todo: list[Shard], done: dict[Shard, Taken]
    ) -> tuple[Shard | None, str]:
        """Take shards in until one turns out not to be one, if any does, and why. Raises `SourceError`."""
        common = {"job": self._job, "folder": str(self._folder)}
        arguments = [cuts[one.file].argument(one) | common for one in todo]
        with closing(self._tasks.do("take_in", arguments)) as results:
            for shard in todo:
                try:
                    result = next(results)
                except SourceError:
                    if shard.span is None:
                        raise
                    # As a whole it is refused too, and the message has the right line.
                    return evolve(shard, span=None), _REFUSED
                if result["is_cut_wrong"] and not shard.last:
                    assert shard.span is not None
                    return shard, _OPEN.format(start=shard.span[0])
                done[shard] = Taken(shard, result)
        return None, ""


def _noted(cut: Cut, why: str) -> Cut:
    return evolve(cut, plan=evolve(cut.plan, why=why))


def _without_cuts(shards: list[Shard], wrong: Shard, is_again: bool) -> list[Shard]:
    """The shards with one for a wrong one and the next; for all that follows in its file if that was wrong before.

    A file that can't be read in shards is one.
    """
    own = [shard for shard in shards if shard.file == wrong.file]
    if wrong.span is None:
        joined, kept = Shard(wrong.file), []
        after = list[Shard]()
    else:
        at = own.index(wrong)
        last = len(own) - 1 if is_again else at + 1
        end = own[last].span
        assert end is not None
        joined = evolve(wrong, last=own[last].last, span=(wrong.span[0], end[1]))
        kept, after = own[:at], own[last + 1 :]
    before = [shard for shard in shards if shard.file < wrong.file]
    return [*before, *kept, joined, *after, *(shard for shard in shards if shard.file > wrong.file)]
