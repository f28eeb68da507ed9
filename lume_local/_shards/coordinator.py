"""A run over shards: what one worker does in one go, as tasks; what they give together is judged and published here.

The rows, their order, the rejects and the metrics are those of one worker, but for `metrics.shards`, which says how
the work was split.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import asdict

from lume_local._shards.build import can_be_joined, joined
from lume_local._shards.database import note_job, plain_job
from lume_local._shards.engines.executors import executor_of
from lume_local._shards.executor import ExecutorLost
from lume_local._shards.parts import Parts
from lume_local._shards.plan import Plan, planned
from lume_local._shards.shards import Cut, Taken, account_of, layout_of_all, layout_of_file
from lume_local._shards.taking_in import TakingIn
from lume_local._shards.tasks import Tasks
from lume_local._shards.twins import later_rows, shared_rows
from lume_local._shards.whole import built_by
from lume_local._shared.commit import sync_folder
from lume_local._worker.account import check_written
from lume_local._worker.duplicates import note_duplicates, note_repeating
from lume_local._worker.engine import Run, RunBroke, confine
from lume_local._worker.profile import COUNTS
from lume_local._worker.rejects import Rejects
from lume_local._worker.sources.files import count_lines
from lume_local._worker.sources.formats.header import check_columns
from lume_local._worker.sources.intake import Account, Malformed
from lume_local._worker.sources.read import Intake
from lume_local._worker.sources.several_files import AllMalformed
from lume_local._worker.sources.source import SourceError
from lume_local._worker.statements import Statements
from lume_local._worker.targets.copy_to import copy_to
from lume_local._worker.targets.parts_target import PartsTarget
from lume_local._worker.targets.target import Target

_MOST_NAMED = 20
"""Files that are not cut are named in the metrics, up to so many."""


class Sharded(Run):
    """See `Run`."""

    _tasks: Tasks | None = None
    _told: str
    """The file with what all tasks are told."""
    _parts: Parts
    _plans: list[Plan]
    _shards: dict[str, Any]
    _duplicates: str | None = None
    """The file with the duplicates, if there are any."""

    def execute(self) -> dict[str, Any]:
        """See `Run`."""
        try:
            with ExitStack() as self._opened:
                return super().execute()
        except ExecutorLost as error:
            raise RunBroke(f"{error}. Nothing was written: submit the run again") from None

    def _execute(self) -> dict[str, Any]:
        self._begin()
        engine = self._job.engine
        assert engine is not None
        self._plans = planned(self._source.each(), self._flow, engine, self._folder)
        if "kind" in engine and self._is_small(engine) and not self._job.dry_run:
            return self._as_task(engine)
        return self._conclude(*self._take_in())

    def _is_small(self, engine: dict[str, Any]) -> bool:
        """Whether all files together are one shard; a query is no file."""
        size = sum(plan.single.bytes for plan in self._plans)
        return (
            bool(self._plans)
            and not any(plan.pieces for plan in self._plans)
            and size <= engine["shard_bytes"]
        )

    def _as_task(self, engine: dict[str, Any]) -> dict[str, Any]:
        """On a cluster such a run is one task, so that the cluster is what bounds how many there are at a time."""
        self._enter("TRANSFORMING", None)
        with executor_of(engine["url"]) as executor:
            (result,) = Tasks(executor, self._pause).do("whole", [{"job": plain_job(self._job)}])
        metrics, built = built_by(result)
        self._enter("SYNCING_TARGET", metrics["rows_read"])
        metrics["shards"] = _described(engine, 1, self._plans)
        return self._publish(metrics, lambda part, _: Path(built[part]))

    def _take_in(self) -> tuple[Statements, Intake]:
        engine, plans = self._job.engine, self._plans
        assert engine is not None
        if len(plans) < 2 and not any(plan.pieces for plan in plans):
            self._shards = _described(engine, 1, plans)
            return super()._take_in()
        self._tasks = Tasks(self._opened.enter_context(executor_of(engine["url"])), self._pause)
        self._told = note_job(self._job)
        taking_in = TakingIn(self._tasks, self._flow, self._argument())
        cuts, taken = taking_in.take_in(taking_in.cut(plans))
        self._shards = _described(engine, len(taken), [cut.plan for cut in cuts])
        self._check_unpacked(cuts, taken)
        of_files: list[list[Taken]] = [[] for _ in cuts]
        for one in taken:
            of_files[one.shard.file].append(one)
        layout = layout_of_all([layout_of_file(parts) for parts in of_files])
        check_columns(self._flow, layout)
        self._enter("TRANSFORMING", None)
        self._stage(cuts, taken, asdict(layout) if len(cuts) > 1 else None)
        self._source.check_unchanged(self._pause)
        return Statements(self._flow, layout), Intake(layout, *self._accounts(cuts, of_files))

    def _check_unpacked(self, cuts: list[Cut], taken: list[Taken]) -> None:
        """Each file alone is small enough: see that they are together."""
        left: int = self._flow["max_unpacked_bytes"]
        for one in taken:
            single = cuts[one.shard.file].plan.single
            if one.result["is_unpacked"]:
                if one.result["unpacked"] > left:
                    raise SourceError(
                        f"{single.shown} unpacks to more than source.max_unpacked_bytes allows: {left:,} bytes "
                        "are left for it. If it is no mistake, raise that in a new flow version"
                    )
                left -= one.result["unpacked"]

    def _stage(self, cuts: list[Cut], taken: list[Taken], together: dict[str, Any] | None) -> None:
        assert self._tasks is not None
        arguments = [
            {
                "job": self._told,
                "taken": one.result,
                "number": n,
                "shown": cuts[one.shard.file].plan.single.shown,
                "together": together,
            }
            for n, one in enumerate(taken)
        ]
        results = list(self._tasks.do("stage", arguments))
        _remove_read(cuts, taken, self._folder)
        self._seeds = _same_seeds([result["seeds"] for result in results])
        self._parts = Parts(results)
        self._staged = self._parts.all
        confine(self._connection, self._folder, [], self._job)
        for statement in self._flow["cleaners"]:
            self._connection.execute(statement)

    def _accounts(self, cuts: list[Cut], of_files: list[list[Taken]]) -> tuple[Account, AllMalformed]:
        accounts, malformed = list[tuple[str, Account]](), list[tuple[str, Malformed]]()
        for cut, parts in zip(cuts, of_files, strict=True):
            single, head = cut.plan.single, count_lines(cut.plan.head)
            account, lines = account_of(parts, single.bytes, head)
            accounts.append((single.shown, account))
            malformed.append((single.shown, lines))
        account = Account.of(accounts) if len(accounts) > 1 else accounts[0][1]
        return account, AllMalformed(malformed, self._folder / "malformed.csv")

    # -- the steps that tasks do, where there are any

    def _counts(self, statements: Statements) -> list[int]:
        return super()._counts(statements) if self._tasks is None else self._parts.counts()

    def _twins(self, unique: list[str]) -> list[int]:
        if self._tasks is None:
            return super()._twins(unique)
        of = self._tasks.slots
        arguments = [
            self._argument(
                column=name, number=k, part=part, of=of, staged=self._staged, is_only=len(unique) == 1
            )
            for k, name in enumerate(unique)
            for part in range(of)
        ]
        results = list(self._tasks.do("find_twins", arguments))
        if len(unique) == 1:
            found = note_duplicates(self._connection, later_rows(results), 1)
        else:
            shared = shared_rows(results, len(unique))
            found = note_repeating(self._connection, shared, len(unique), self._folder)
        if found[-1]:
            path = self._folder / "duplicates.parquet"
            copy_to(self._connection, "SELECT * FROM _lume_duplicates ORDER BY n", path)
            self._duplicates = str(path)
        return found

    def _look_at(self, mapped: str, metrics: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, str]]]:
        if self._tasks is None:
            return super()._look_at(mapped, metrics)
        names = [column["name"] for column in self._flow["columns"]]
        groups = [names[n :: self._tasks.slots] for n in range(min(self._tasks.slots, len(names)))]
        common = {"mapped": mapped, "duplicates": self._duplicates}
        arguments = [self._argument(columns=group, **common) for group in groups]
        if self._flow["expect"]:
            counts = {name: metrics[name] for name in COUNTS}
            arguments.insert(0, self._argument(counts=counts, **common))
        columns, broken = dict[str, Any](), list[dict[str, str]]()
        for result in self._tasks.do("measure", arguments):
            columns |= result.get("columns", {})
            broken += result.get("unmet", [])
        return {name: columns[name] for name in names}, broken

    def _build(
        self, part: str, target: Target, statements: Statements, metrics: dict[str, Any], rejects: Rejects
    ) -> Path:
        is_single = self._tasks is None or part == "rejects" or self._job.dry_run
        is_parts = isinstance(target, PartsTarget)
        if is_single or not (is_parts or can_be_joined(target.suffix)):
            return super()._build(part, target, statements, metrics, rejects)
        assert self._tasks is not None
        folder = self._folder / "parts"
        folder.mkdir()
        layout = asdict(statements.layout)
        arguments = [
            self._argument(
                number=n,
                staged=self._parts.part(n),
                rows=self._parts.span(n),
                layout=layout,
                suffix=target.suffix,
                duplicates=self._duplicates,
            )
            for n in range(len(self._parts.staged))
        ]
        written, files = 0, list[Path]()
        for n, result in enumerate(self._tasks.do("build", arguments)):
            files.append(folder / f"{n:06}{target.suffix}")
            os.replace(result["path"], files[-1])
            written += result["rows"]
        check_written(part, metrics["rows_mapped"], written)
        if is_parts:
            sync_folder(folder)
            return folder
        return joined(files, self._folder / f"{part}{target.suffix}", self._pause)

    def _argument(self, **more: Any) -> dict[str, Any]:
        return {"job": self._told, "folder": str(self._folder), **more}

    def _measure(self, statements: Statements, intake: Intake) -> tuple[dict[str, Any], bool]:
        metrics, duplicates = super()._measure(statements, intake)
        return metrics | {"shards": self._shards}, duplicates


def _remove_read(cuts: list[Cut], taken: list[Taken], folder: Path) -> None:
    """What the shards were read from, now that all are staged: it is as large as the source. Malformed lines stay."""
    copies = [Path(look.path) for cut in cuts for look in cut.looks]
    read = [path for one in taken for path in Path(one.result["folder"]).iterdir()]
    for path in [*copies, *read]:
        if path.is_relative_to(folder) and path.is_file() and not path.name.startswith("malformed"):
            path.unlink()


def _described(engine: dict[str, Any], count: int, plans: list[Plan]) -> dict[str, Any]:
    """How the work was split, and why some files were not."""
    whole = {plan.single.shown: plan.why for plan in plans if plan.why}
    if not plans:
        whole = {"the query": "one worker reads it"}
    kind = engine.get("kind") or engine["url"].partition("://")[0]  # the rest may hold a secret
    return {"engine": kind, "count": count, "whole": dict(list(whole.items())[:_MOST_NAMED])}


def _same_seeds(each: list[dict[str, Any]]) -> dict[str, Any]:
    """What the seeds were, for all shards. Raises `SourceError` where somebody has written to one meanwhile."""
    for seeds in each[1:]:
        for name, seed in seeds.items():
            if seed != each[0][name]:
                raise SourceError(
                    f"the seed {seed['file']} was changed while it was read: submit the run again"
                )
    return each[0]
