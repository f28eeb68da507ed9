"""A run over shards: tasks replace the one process, and their combined results are judged and published here.

All files are cut where possible, and shards are joined where a cut was wrong (`TakingIn`).

The rows, their order, the rejects and the metrics are the same as from a single process, except for
`metrics.shards`, which describes how the work was split.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from lume_local._shared.commit import sync_folder
from lume_local._shared.folders import HELD
from lume_local._worker.connection import confine
from lume_local._worker.engine import Run, RunBroke, RunFailed, attempt, begin_source, check_targets, publish
from lume_local._worker.late import note_found, others
from lume_local._worker.one_process import OneProcess
from lume_local._worker.profile import COUNTS
from lume_local._worker.returned import find_returned
from lume_local._worker.shards.access import note_job, plain_job
from lume_local._worker.shards.shards import (
    Cut,
    Parts,
    PieceLook,
    Plan,
    Shard,
    Taken,
    account_of,
    look,
    planned,
    relation_of_file,
)
from lume_local._worker.shards.tasks import Made, Tasks, joined, later_rows, shared_rows
from lume_local._worker.sources.formats.names import check_columns
from lume_local._worker.sources.intake import Account, AllMalformed, Malformed, Together, columns_together
from lume_local._worker.sources.read import Intake
from lume_local._worker.sources.row_places import RowPlaces
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import copy_to
from lume_local._worker.statements import Relation, Statements, form_of
from lume_local._worker.steps import Context, Judged, Metrics, TakenIn, Unmet, check_written
from lume_local._worker.targets.file_targets import PartsTarget

_INSIDE = "one worker reads all, as an archive or workbook among them can hold several"
_MOST_NAMED = 20
"""How many uncut files are named in the metrics."""
_OPEN = "from byte {start:,} on it is not cut for a while: a quote there is not closed where it should be"
_REFUSED = "a shard of it can't be read"


def execute(context: Context, tasks: Callable[[], AbstractContextManager[Tasks]]) -> dict[str, Any]:
    """Carry out a run whose job has an engine; see `Run.execute`. `tasks` connects to the engine."""
    engine = context.job.engine
    assert engine is not None
    with attempt(context):
        read = begin_source(context)
        check_targets(context)
        plans = planned(context, engine)
        is_cut = any(plan.pieces for plan in plans)
        is_small = (
            bool(plans) and not is_cut and sum(one.single.bytes for one in plans) <= engine["shard_bytes"]
        )
        # Comparing keys needs the outputs of earlier runs, which only the server can surely access.
        is_whole = not context.job.dry_run and context.job.accepted is None
        if "kind" in engine and is_whole and is_small:
            with tasks() as of_cluster:
                context.enter("TRANSFORMING", None)
                # As one task, so that the cluster limits the number of concurrent runs.
                (done,) = of_cluster.do("whole", [{"job": plain_job(context.job)}])
                if "message" in done:
                    raise (RunBroke if done["broke"] else RunFailed)(done["message"], done["metrics"])
            metrics, built = done["metrics"], done["built"]
            metrics["shards"] = _described(context, 1, plans)
            context.enter("SYNCING_TARGET", metrics["rows_read"])
            return publish(context, read, metrics, lambda part: Path(built[part]), done["ledger"])
        if len(plans) < 2 and not is_cut:
            one = OneProcess(context, shards=_described(context, 1, plans))
            return Run(context, one).finish(read)
        with tasks() as of_all:
            return Run(context, Sharded(context, plans, of_all)).finish(read)


class Sharded:
    """See `RunSteps`.

    Args:
        plans: for the files of the source: several, or one that is cut.
    """

    def __init__(self, context: Context, plans: list[Plan], tasks: Tasks) -> None:
        self._context, self._plans, self._tasks = context, plans, tasks
        self._flow, self._folder = context.flow, context.folder
        self._one, self._duplicates = OneProcess(context), context.folder / "duplicates.parquet"
        self._common = {"job": note_job(context.job), "folder": str(context.folder)}
        """The part that all tasks' arguments share."""

    def take_in(self) -> TakenIn:
        taking_in = TakingIn(self._tasks, self._flow, self._common)
        cuts, taken = taking_in.take_in(taking_in.cut(self._plans))
        _check_unpacked(cuts, taken, self._flow["max_unpacked_bytes"])
        of_files: list[list[Taken]] = [[] for _ in cuts]
        for one in taken:
            of_files[one.shard.file].append(one)
        shown = [cut.plan.single.shown for cut in cuts]
        layouts = [parts[0].layout for parts in of_files]
        relations = [
            relation_of_file(form_of(self._flow, layout), name, parts)
            for layout, name, parts in zip(layouts, shown, of_files, strict=True)
        ]
        together = columns_together(relations, layouts)
        relation = together.relation
        check_columns(self._flow, relation)
        self._context.enter("TRANSFORMING", None)
        staged = self._stage(cuts, taken, together if len(cuts) > 1 or relation.branches else None)
        self._context.source.check_unchanged(self._context.pause)
        account, malformed = _accounts(cuts, of_files, self._folder)
        return TakenIn(
            Statements(self._flow, relation),
            Intake(relation, account, malformed, lines=[*malformed.forms(together.places)]),
            Parts(staged).all,
            _same_seeds([result["seeds"] for result in staged]),
            shards=_described(self._context, len(taken), [cut.plan for cut in cuts]),
            parts=staged,
        )

    def _stage(self, cuts: list[Cut], taken: list[Taken], together: Together | None) -> list[dict[str, Any]]:
        """Have all shards staged; then restrict the connection to the run's folder."""
        columns = {} if together is None else _columns_of_each(together.relation)
        arguments = [
            {
                "job": self._common["job"],
                "taken": one.result,
                "number": n,
                "shown": cuts[one.shard.file].plan.single.shown,
                "together": columns.get(one.layout),
                "places": together and together.own[one.shard.file],
            }
            for n, one in enumerate(taken)
        ]
        results = list(self._tasks.do("stage", arguments))
        # The inputs of the shards are as large as the source: only malformed lines stay, and what shows rows' places.
        copies = [Path(look.path) for cut in cuts for look in cut.looks]
        places = [RowPlaces(**one.result["malformed"]["places"]) for one in taken]
        kept = {name for one in places if not one.is_complete for name in (one.path, one.paths)}
        read = [path for one in taken for path in Path(one.result["folder"]).iterdir()]
        for path in [*copies, *read]:
            is_copy = path.is_relative_to(self._folder) and not path.is_relative_to(self._folder / HELD)
            is_kept = path.name.startswith("malformed") or str(path) in kept
            if is_copy and path.is_file() and not is_kept:
                path.unlink()
        confine(self._context.connection, self._folder, [], self._context.job)
        return results

    def late(self, taken: TakenIn, has_duplicates: bool) -> Counter[str]:
        return self._one.late(taken, has_duplicates)

    def counts(self, taken: TakenIn) -> list[int]:
        return Parts(taken.parts).counts()

    def twins(self, taken: TakenIn, unique: list[str]) -> list[int]:
        of, connection = self._tasks.slots, self._context.connection
        returned = None
        if self._context.job.accepted is not None:
            returned = find_returned(self._context, taken, self._folder)
        common = self._common | {
            "of": of,
            "staged": others(taken.staged, returned),
            "is_only": len(unique) == 1,
        }
        arguments = [
            common | {"column": name, "number": k, "part": part}
            for k, name in enumerate(unique)
            for part in range(of)
        ]
        results = list(self._tasks.do("find_twins", arguments))
        query = later_rows(results) if len(unique) == 1 else shared_rows(results, len(unique))
        found = note_found(connection, query, len(unique), self._folder, returned)
        if found[-1]:
            copy_to(connection, "SELECT * FROM _lume_duplicates ORDER BY n", self._duplicates)
        return found

    def profile(self, taken: TakenIn, duplicates: bool, metrics: Metrics) -> tuple[dict[str, Any], Unmet]:
        names = [column["name"] for column in self._flow["columns"]]
        groups = [names[n :: self._tasks.slots] for n in range(min(self._tasks.slots, len(names)))]
        mapped = taken.statements.mapped(taken.staged, duplicates)
        common = self._common | {
            "mapped": mapped,
            "duplicates": str(self._duplicates) if duplicates else None,
        }
        arguments: list[dict[str, Any]] = [common | {"columns": group} for group in groups]
        if self._flow["expect"]:
            arguments.insert(0, common | {"counts": {name: metrics[name] for name in COUNTS}})
        columns, broken = dict[str, Any](), Unmet()
        for result in self._tasks.do("measure", arguments):
            columns |= result.get("columns", {})
            broken += result.get("unmet", [])
        return {name: columns[name] for name in names}, broken

    def build(self, part: str, judged: Judged) -> Path:
        """Build by tasks if the target takes several files, or one file joined from several."""
        target = self._context.targets[part]
        is_parts = isinstance(target, PartsTarget)
        is_single = part == "rejects" or self._context.job.dry_run
        if is_single or not (is_parts or target.suffix in (".csv", ".ndjson")):
            return self._one.build(part, judged)
        folder = self._folder / "parts"
        folder.mkdir()
        parts = Parts(judged.taken.parts)
        common = self._common | {
            "relation": asdict(judged.taken.statements.relation),
            "suffix": target.suffix,
            "duplicates": str(self._duplicates) if judged.rejects.duplicates else None,
        }
        arguments = [
            common | {"number": n, "staged": parts.part(n), "rows": parts.span(n)}
            for n in range(len(parts.staged))
        ]
        written, files = 0, list[Path]()
        for n, result in enumerate(self._tasks.do("build", arguments)):
            files.append(folder / f"{n:06}{target.suffix}")
            os.replace(result["path"], files[-1])
            written += result["rows"]
        check_written(part, judged.metrics["rows_mapped"], written)
        if is_parts:
            sync_folder(folder)
            return folder
        return joined(files, self._folder / f"{part}{target.suffix}", self._context.pause)


def _columns_of_each(relation: Relation) -> dict[str, dict[str, Any]]:
    """Return the columns of all files for those of each layout, which need no other branch, as JSON."""
    each = {one.layout: evolve(relation, branches=(one,)) for one in relation.branches} or {"": relation}
    return {layout: asdict(one) for layout, one in each.items()}


def _check_unpacked(cuts: list[Cut], taken: list[Taken], left: int) -> None:
    """Check the total unpacked size, as each file alone is small enough. Raises `SourceError`."""
    for one in taken:
        if one.result["is_unpacked"]:
            if one.result["unpacked"] > left:
                raise SourceError(
                    f"{cuts[one.shard.file].plan.single.shown} unpacks to more than source.max_unpacked_bytes "
                    f"allows: {left:,} bytes are left for it. If it is no mistake, raise that in a new flow version"
                )
            left -= one.result["unpacked"]


def _accounts(cuts: list[Cut], of_files: list[list[Taken]], folder: Path) -> tuple[Account, AllMalformed]:
    accounts, malformed = list[tuple[str, Account]](), list[tuple[str, Malformed]]()
    for cut, parts in zip(cuts, of_files, strict=True):
        single = cut.plan.single
        account, lines = account_of(cut.plan, parts)
        accounts.append((single.shown, account))
        malformed.append((single.shown, lines))
    account = Account.of(accounts) if len(accounts) > 1 else accounts[0][1]
    return account, AllMalformed(malformed, folder / "malformed.csv")


def _described(context: Context, count: int, plans: list[Plan]) -> dict[str, Any]:
    """Describe how the work was split, and why some files were not."""
    engine = context.job.engine or {}
    whole = {plan.single.shown: plan.why for plan in plans if plan.why}
    if not plans:
        inside = {one.shown: _INSIDE for one in context.source.each()}
        whole = inside or {"the query": "one worker reads it"}
    kind = engine.get("kind") or engine["url"].partition("://")[0]  # the rest may contain a secret
    return {"engine": kind, "count": count, "whole": dict(list(whole.items())[:_MOST_NAMED])}


def _same_seeds(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the description of the seeds, equal for all shards. Raises `SourceError` if one was changed."""
    for seeds in each[1:]:
        for name, seed in seeds.items():
            if seed != each[0][name]:
                raise SourceError(
                    f"the seed {seed['file']} was changed while it was read: submit the run again"
                )
    return each[0]


class TakingIn:
    """Takes in the shards of all files by tasks; a failed one tells where a file was cut wrongly."""

    def __init__(self, tasks: Tasks, flow: dict[str, Any], common: dict[str, Any]) -> None:
        self._tasks, self._flow, self._common = tasks, flow, common

    def cut(self, plans: Sequence[Plan]) -> list[Cut]:
        """Look at all pieces of all files to be cut."""
        arguments = [
            {"single": single, "start": start, "end": end, "csv": csv, "folder": self._common["folder"]}
            for plan in plans
            for single, csv in [(asdict(plan.single), self._csv_of(plan))]
            for start, end in plan.pieces
        ]
        # In a local file without quotes, only a line of each piece is read.
        is_quick = not any(argument["csv"] and argument["csv"]["quote"] for argument in arguments)
        here = is_quick and all(plan.single.place["kind"] == "files" for plan in plans)

        def look_here() -> Iterator[dict[str, Any]]:
            for argument in arguments:
                self._tasks.pause()
                yield look(argument)

        looks = map(PieceLook.of, look_here() if here else self._tasks.do("look", arguments))
        return [Cut(plan, tuple(next(looks) for _ in plan.pieces)) for plan in plans]

    def _csv_of(self, plan: Plan) -> dict[str, str] | None:
        """Return the dialect of a file; None for lines without quotes."""
        form = form_of(self._flow, plan.layout)
        csv: dict[str, str] = form["csv"]
        return csv if form["format"] == "csv" else None

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
