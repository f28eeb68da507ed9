"""The sequence of a run, from the source to the published targets; runs in a worker process."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
from attrs import frozen

from lume_async._base.elided import elided
from lume_async._base.words import counted
from lume_local._shared.commit import begin, commit, explain
from lume_local._shared.failing import on_error
from lume_local._shared.no_links import Relinked
from lume_local._shared.protocol import Json
from lume_local._worker.checks import Checks
from lume_local._worker.connection import words_of
from lume_local._worker.outputs.row_json import Broken
from lume_local._worker.rejects import Rejects, for_ledger, reject_rows
from lume_local._worker.seeds import check_seeds
from lume_local._worker.sources.formats.members import unread_members
from lume_local._worker.sources.formats.names import changes, noted
from lume_local._worker.sources.formats.text.encoding import hint_of_encoding
from lume_local._worker.sources.mending.line_forms import recorded
from lume_local._worker.sources.places.held import changed, moved, named
from lume_local._worker.sources.places.source_kinds import check_source
from lume_local._worker.sources.source import SourceError
from lume_local._worker.sql import row_of
from lume_local._worker.statements import twin_reason
from lume_local._worker.steps import (
    AccountOpen,
    Context,
    Judged,
    Metrics,
    RunSteps,
    TakenIn,
    Unmet,
    close_account,
)
from lume_local._worker.targets import target_kinds as targets
from lume_local._worker.targets.target import TargetError


class RunFailed(Exception):
    """The flow or the data is at fault; nothing is published."""

    def __init__(self, message: str, metrics: Metrics | None = None) -> None:
        super().__init__(elided(message))
        self.metrics = metrics


class RunBroke(RunFailed):
    """DuckDB or the system failed: this process should do no further run."""


@frozen
class Run:
    """The sequence of one run, whose steps are carried out by `steps`."""

    context: Context
    steps: RunSteps

    def execute(self) -> dict[str, Any]:
        """Do the whole run; return the contents of `commit.json`. Raises `RunFailed`, `duckdb.InterruptException`."""
        with attempt(self.context):
            read = begin_source(self.context)
            check_targets(self.context)
            return self.finish(read)

    def finish(self, read: Json | None) -> dict[str, Any]:
        """Do everything after the checks, inside `attempt`; `read` identifies the source."""
        with on_error(partial(targets.abandon, self.context.folder)):  # a transaction may be open
            judged = self.judge()
        if self.context.job.dry_run:
            targets.abandon(self.context.folder)
            return self._tried(judged)
        build = lambda part: self.steps.build(part, judged)  # noqa: E731
        return publish(self.context, read, judged.metrics, build, judged.ledger)

    def judge(self) -> Judged:
        """Do everything before the targets are built, inside `attempt`."""
        context, steps = self.context, self.steps
        taken = steps.take_in()
        metrics, duplicates = self._measure(taken)
        metrics["columns"], unmet = steps.profile(taken, duplicates, metrics)
        # What is expected of a source as a whole says nothing of the few rows that come back.
        message = self._refusal(taken, metrics, unmet if context.job.is_whole else [])
        if message is None and context.flow["whole"] and context.job.is_whole:
            message = Checks(context, taken, metrics).refused()
        if message is not None and not context.job.dry_run:
            raise RunFailed(message, metrics)
        context.enter("SYNCING_TARGET", metrics["rows_read"])
        malformed = taken.intake.malformed
        rejects = Rejects(
            context.connection, context.flow, taken.statements, malformed, taken.staged, duplicates, taken.few
        )
        for layout, count in rejects.by_layout().items():
            metrics["source"]["layouts"][layout]["rows_rejected"] = count
        return Judged(
            taken, metrics, rejects, message, for_ledger(context.job, taken.intake, rejects, metrics)
        )

    def _measure(self, taken: TakenIn) -> tuple[Metrics, bool]:
        """Return the metrics, whose row counts agree, and whether there are duplicates."""
        flow, intake = self.context.flow, taken.intake
        staged, rejected, *broken = self.steps.counts(taken)
        reasons: dict[str, int] = dict(intake.malformed.counts)
        job, filtered = self.context.job, {"filtered": 0}
        of_rejects = job.is_replay or job.mends is not None or bool(intake.account.rows_of)
        warnings = changes(flow, intake.relation, job.headers, of_rejects=of_rejects)
        counts_of = {"reject": reasons, "filter": filtered}  # any other check only warns
        for check, count in zip(flow["checks"], broken, strict=True):
            into = counts_of.get(check["on_fail"], warnings)
            reason = "filtered" if into is filtered else check["reason"]
            if count:
                into[reason] = into.get(reason, 0) + count
        warnings |= intake.account.warnings
        if job.dry_run:
            unread = unread_members(self.context.connection, flow, intake.relation, of_columns=True)
            warnings |= dict.fromkeys(unread, 1)
        warnings |= _few_rows(intake.account.records, filtered["filtered"], job.mends)
        warnings |= self.context.earlier.warnings if self.context.earlier else {}
        if job.accepted is not None:
            from lume_local._worker.returned import not_compared

            warnings |= not_compared(job.accepted["lacking"])
        duplicates, malformed = self._count_late(taken, reasons), intake.malformed.total
        metrics = {
            "rows_read": intake.account.records,
            "rows_mapped": staged - rejected - duplicates - filtered["filtered"],
            "rows_rejected": rejected + duplicates + malformed,
            "reject_reasons": reasons,
            "warnings": warnings,
            "source": intake.account.plain()
            | noted(flow, intake.relation, job.headers, intake.account.by_layout(), of_rejects=of_rejects),
        }
        if malformed and any(
            form["format"] in ("csv", "fixed") for _, form, _ in intake.relation.by_layout(flow)
        ):
            metrics["malformed_lines"] = recorded(intake.lines, dict(taken.statements.raw_labels()))
        if flow["where"]:
            metrics["rows_filtered"] = filtered["filtered"]
        if taken.seeds:
            metrics["seeds"] = taken.seeds
        close_account(intake.account, staged, malformed, metrics)
        if taken.shards is not None:
            metrics["shards"] = taken.shards
        return metrics, duplicates > 0

    def _count_late(self, taken: TakenIn, reasons: dict[str, int]) -> int:
        """Count the rows that are rejected although they break no check (see `Statements.is_judged_late`)."""
        flow, total = self.context.flow, 0
        unique: list[str] = flow["unique"]
        if unique:
            *twins, total = self.steps.twins(taken, unique)
            reasons |= {twin_reason(name): count for name, count in zip(unique, twins, strict=True) if count}
            if self.context.job.accepted is not None:
                from lume_local._worker.returned import held_back

                reasons |= held_back(self.context.connection)
        if flow["references"] or flow["judged_by_table"]:
            counts = self.steps.late(taken, bool(unique))
            total += counts.pop("")
            for reason, count in counts.items():
                reasons[reason] = reasons.get(reason, 0) + count
        return total

    def _refusal(self, taken: TakenIn, metrics: Metrics, unmet: Unmet) -> str | None:
        """Return why this data must not be published, if so; unmet expectations that only warn become warnings."""
        flow = self.context.flow
        for n, check in enumerate(flow["checks"]):
            count = metrics["warnings"].get(check["reason"], 0)
            if check["on_fail"] == "fail" and count:
                (first,) = row_of(self.context.connection, taken.statements.first_broken(taken.staged, n))
                ((line, path),) = taken.intake.malformed.places([first - 1])
                is_alone = line and not taken.intake.relation.of_files
                place = path or (f"line {line:,}" if is_alone else f"row {first:,}")
                return (
                    f"{counted(count, 'row breaks', 'rows break')} the rule {check['reason']!r}, which must never "
                    f"be broken: {place}{'' if count == 1 else ' is the first'}. Nothing was written"
                )
        hints = (
            hint_of_encoding(form, layout, taken.intake.malformed, own.raw)
            for layout, form, own in taken.intake.relation.by_layout(flow)
        )
        hint = next(filter(None, hints), "")
        rejected, limit = metrics["rows_rejected"], flow["max_ratio"]
        if self.context.job.is_replay:  # its rows were rejected before: those rejected again stay open
            rejected = 0
        read = metrics["rows_read"] - metrics.get("rows_filtered", 0)
        rows = counted(read, "row")
        if rejected and limit is not None and rejected > limit * read:
            return (
                f"{counted(rejected, f'of {rows} was', f'of {rows} were')} rejected, more than "
                f"rejects.max_ratio = {limit:g} allows: {_top_reasons(metrics)}. Nothing was written{hint}"
            )
        if rejected and rejected == read:
            all_rows = "the only row was" if read == 1 else f"all {rows} were"
            return f"{all_rows} rejected: {_top_reasons(metrics)}. Nothing was written{hint}"
        for one in unmet:
            if one["on_fail"] == "fail":
                return f"not what the flow expects: {one['reason']}. Nothing was written"
            metrics["warnings"][one["reason"]] = 1
        return None

    def _tried(self, judged: Judged) -> dict[str, Any]:
        """Build the targets without publishing them."""
        metrics = judged.metrics
        built = {
            part: str(self.steps.build(part, judged))
            for part in self.context.targets
            if metrics["rows_mapped" if part == "mapped" else "rows_rejected"]
        }
        status = "FAILED" if judged.message else _status_of(metrics)
        return {
            "status": status,
            "message": judged.message,
            "metrics": metrics,
            "built": built,
            "ledger": judged.ledger,
        }


def _top_reasons(metrics: dict[str, Any]) -> str:
    reasons = sorted(metrics["reject_reasons"].items(), key=lambda item: -item[1])
    listed = "; ".join(f"{reason} ({count:,})" for reason, count in reasons[:5])
    return listed + ("; …" if len(reasons) > 5 else "")


def _few_rows(records: int, filtered: int, mends: int | None) -> dict[str, int]:
    """Return warnings if the source has no rows, or if corrected rejects lack some of the `mends` rows."""
    if mends is not None and records < mends:
        rejects = counted(mends, "reject")
        return {f"{counted(mends - records, f'of {rejects} is', f'of {rejects} are')} not in this file": 1}
    if filtered and filtered == records:
        return {"source.where keeps no row": 1}
    return {} if records else {"the source has no rows": 1}


def _status_of(metrics: dict[str, Any]) -> str:
    return "PARTIAL_FAILED" if metrics["rows_rejected"] else "SUCCEEDED"


@contextmanager
def attempt(context: Context) -> Iterator[None]:
    """Turn every error of the block into `RunFailed`, and close the source at its end."""
    with closing(context.source):
        try:
            yield
        except (SourceError, TargetError) as error:
            raise RunFailed(str(error)) from None
        except duckdb.InterruptException:
            raise
        except AccountOpen as error:
            raise RunBroke(str(error)) from error
        except duckdb.Error as error:
            if path := moved(error):
                raise RunFailed(str(changed(path))) from None
            raise RunBroke(words_of(error, context.job.memory_limit)) from error
        except OSError as error:
            kind = RunFailed if isinstance(error, Relinked) else RunBroke
            raise kind(f"a file can't be used: {named(explain(error))}") from error


def begin_source(context: Context) -> Json | None:
    """Check the source and the seeds before reading; return what identifies the source. Raises `SourceError`."""
    context.enter("SYNCING_SOURCE", None)
    check_seeds(context.flow, context.job.seeds)
    return check_source(context.source, context.job, context.pause)


def check_targets(context: Context) -> None:
    """Check that no target replaces another one or the source. Raises `RunFailed`, `TargetError`."""
    seen = dict.fromkeys(context.source.places, "the source")
    for part in ("mapped", "rejects"):
        target, name = context.targets[part], f"target.{part}"
        other = seen.setdefault(target.place, name)
        if other != name:
            raise RunFailed(f"{name} is the same file as {other}: {target.location}; name another one")
    for part in ("mapped", "rejects"):
        context.targets[part].check()
    if context.rejects_table is not None:
        context.rejects_table.check()
    if context.earlier is not None:
        context.earlier.check()


def publish(
    context: Context, read: Json | None, metrics: Metrics, build: Callable[[str], Path], ledger: Json
) -> dict[str, Any]:
    """Commit the targets that `build` creates, then publish them: the rejects first, the mapped rows last.

    The values of the run are noted before both, as a value that another run accepted meanwhile must not be published.
    """
    record: dict[str, Any] = {
        "status": _status_of(metrics),
        "metrics": metrics,
        "target_locations": {"mapped": None, "rejects": None},
        "read": read,
        "ledger": ledger,
        "steps": [context.earlier.step()] if context.earlier else [],
    }
    try:
        for part, target in context.targets.items():
            if part == "mapped" or metrics["rows_rejected"]:
                built = build(part)
                record["steps"].append(target.prepare(built, partial(begin, context.folder)))
                record["target_locations"][part] = target.location
                if part == "rejects":
                    _prepare_table(context, record, built)
            else:
                record["steps"] += targets.vacate(part, context.job.rejects, context.job.run_id)
        context.permit()
        commit(context.folder, record)
    except BaseException as error:
        targets.abandon(context.folder)
        if isinstance(error, TargetError):
            raise RunFailed(str(error), metrics) from None
        raise
    targets.publish(record, context.folder)
    return record


def _prepare_table(context: Context, record: dict[str, Any], built: Path) -> None:
    """Prepare the rejects in the file `built` for the rejects table, if there is one. Raises `TargetError`."""
    table, place = context.rejects_table, context.job.rejects_table
    if table is None or place is None:
        return
    try:
        rows = reject_rows(built, context.flow, record["metrics"], place["source_path"])
    except Broken as error:
        raise AccountOpen(f"the rejects that were written can't be read (a bug in lume): {error}") from error
    record["steps"].append(table.prepare(rows, partial(begin, context.folder)))
    record["target_locations"]["rejects_table"] = table.location
