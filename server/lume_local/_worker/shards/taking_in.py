"""Takes in all files of a source by tasks: cut where possible, and joined to one shard where a cut was wrong."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from attrs import asdict, evolve

from lume_local._worker.shards.shards import Cut, Shard, Taken
from lume_local._worker.shards.split import PieceLook, Plan, look
from lume_local._worker.shards.tasks import Made, Tasks
from lume_local._worker.sources.source import SourceError

_OPEN = "from byte {start:,} on it is not cut for a while: a quote there is not closed where it should be"
_REFUSED = "a shard of it can't be read"


class TakingIn:
    def __init__(self, tasks: Tasks, flow: dict[str, Any], common: dict[str, Any]) -> None:
        self._tasks, self._common = tasks, common
        self._csv = flow["csv"] if flow["format"] == "csv" else None

    def cut(self, plans: Sequence[Plan]) -> list[Cut]:
        """Look at all pieces of all files to be cut."""
        of_all = {"csv": self._csv, "folder": self._common["folder"]}
        arguments = [
            {"single": single, "start": start, "end": end, **of_all}
            for plan in plans
            for single in [asdict(plan.single)]
            for start, end in plan.pieces
        ]
        # In a local file without quotes, only a line of each piece is read.
        is_quick = self._csv is None or not self._csv["quote"]
        here = is_quick and all(plan.single.place["kind"] == "files" for plan in plans)
        results = self._look_here(arguments) if here else self._tasks.do("look", arguments)
        looks = map(PieceLook.of, results)
        return [Cut(plan, tuple(next(looks) for _ in plan.pieces)) for plan in plans]

    def _look_here(self, arguments: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for argument in arguments:
            self._tasks.pause()
            yield look(argument)

    def take_in(self, cuts: list[Cut]) -> tuple[list[Cut], list[Taken]]:
        """Return every shard of every file, in order, and the final cuts of the files."""
        shards = [shard for n, cut in enumerate(cuts) for shard in cut.shards(n)]
        taken = list[Taken]()
        moved = set[tuple[int, int]]()
        while len(taken) < len(shards):
            wrong, why = self._first_wrong(cuts, shards, taken)
            if wrong is not None:
                cut = cuts[wrong.file]
                cuts[wrong.file] = evolve(cut, plan=evolve(cut.plan, why=why))
                begin = wrong.file, wrong.span[0] if wrong.span else 0
                first, end, joined = _joined(shards, len(taken), wrong, begin in moved)
                del taken[first:]
                shards[first:end] = [joined]
                moved.add(begin)
        return cuts, taken

    def _first_wrong(
        self, cuts: list[Cut], shards: list[Shard], taken: list[Taken]
    ) -> tuple[Shard | None, str]:
        """Take shards in until one turns out wrong; return it with the reason, if any. Raises `SourceError`."""
        todo = shards[len(taken) :]
        arguments = Made(len(todo), lambda n: cuts[todo[n].file].argument(todo[n]) | self._common)
        with closing(self._tasks.do("take_in", arguments)) as results:
            for shard in todo:
                try:
                    result = next(results)
                except SourceError:
                    if shard.span is None:
                        raise
                    # The whole file is refused, too, and then the message has the right line.
                    return evolve(shard, span=None), _REFUSED
                if result["is_cut_wrong"] and not shard.last:
                    assert shard.span is not None
                    return shard, _OPEN.format(start=shard.span[0])
                taken.append(Taken(shard, result))
        return None, ""


def _joined(shards: list[Shard], at: int, wrong: Shard, is_again: bool) -> tuple[int, int, Shard]:
    """Join a wrong shard, number `at`, with the next; return the range to replace, and the joined shard.

    If it was wrong before, join all following shards of its file; a file that can't be read in shards is one.
    """
    first, end = at, at + 1
    if wrong.span is not None and not is_again:
        end += 1
    else:
        while end < len(shards) and shards[end].file == wrong.file:
            end += 1
    if wrong.span is None:
        while first and shards[first - 1].file == wrong.file:
            first -= 1
        return first, end, Shard(wrong.file)
    last = shards[end - 1]
    assert last.span is not None
    return first, end, evolve(wrong, last=last.last, span=(wrong.span[0], last.span[1]))
