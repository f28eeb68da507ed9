"""`Summary`: counts the outcomes of many runs, and lists the runs that need attention."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from copy import copy
from heapq import nlargest
from typing import Any, Self

from attrs import Factory, asdict, define, evolve, field

from lume_async._base import arguments
from lume_async._base.html import facts, table
from lume_async._base.public import public
from lume_async._base.words import counted
from lume_async.errors import ApiError, ResponseDecodeError
from lume_async.models import Outcome, RunStatus

SLOWEST = 5
"""The number of slowest runs that a summary keeps."""

LISTED = 20
"""The number of kinds of failures that the printed summary lists; `failures` has them all."""


@public
@define
class Failure:
    """A run or a submission that needs attention: its source, its status or error, and the reason."""

    run_id: str | None
    source_path: str | None
    status: str
    message: str
    _kind: str = field(default="", repr=False, eq=False)

    @property
    def where(self) -> str:
        """The source, and the run ID in brackets, where known."""
        if self.source_path and self.run_id:
            return f"{self.source_path} ({self.run_id})"
        return self.source_path or self.run_id or "an unknown source"


@public
@define
class Summary:
    """Counts many outcomes: call `add` for each, then print it or convert it with `to_dict`.

    Attributes:
        outcomes: the number of outcomes.
        remembered: outcomes replayed from the journal; nothing was resubmitted.
        statuses: the number per status; outcomes without a run are counted under the name of their error.
        rows_read: rows read by all runs; likewise `rows_mapped` and `rows_rejected`.
        reject_reasons: the number of rejected rows per reason.
        warnings: the number of mapped rows per rule that warns, if the server counts them.
        failures: the runs that need attention: FAILED, CRASHED, CANCELLED, unknown statuses, errors, and runs whose
            metadata (with the counts of rows) can't be decoded.

    Examples:
        >>> summary = Summary.of(outcomes)
        >>> print(summary.outcomes, summary.rows_rejected, summary.ok)
        1 1 True
    """

    outcomes: int = 0
    remembered: int = 0
    statuses: Counter[str] = Factory(Counter)
    rows_read: int = 0
    rows_mapped: int = 0
    rows_rejected: int = 0
    reject_reasons: Counter[str] = Factory(Counter)
    warnings: Counter[str] = Factory(Counter)
    failures: list[Failure] = Factory(list)
    _slowest: list[tuple[float, str, str]] = field(factory=list, repr=False, eq=False)  # the source, too

    @classmethod
    def of(cls, outcomes: Iterable[Outcome[object]]) -> Self:
        """Return the summary of all outcomes.

        Examples:
            >>> print(Summary.of(outcomes))
        """
        summary = cls()
        for outcome in arguments.several(outcomes, "outcomes", "outcomes"):
            summary.add(outcome)
        return summary

    @property
    def ok(self) -> bool:
        """Whether nothing needs attention."""
        return not self.failures

    @property
    def slowest(self) -> list[tuple[float, str]]:
        """The longest runs, as (seconds, run ID), longest first."""
        return [(lasted, run_id) for lasted, run_id, _source in self._slowest]

    def add(self, outcome: Outcome[object]) -> None:
        """Count one more outcome.

        Examples:
            >>> summary = Summary()
            >>> for outcome in outcomes:
            ...     summary.add(outcome)
        """
        arguments.instance(outcome, "an outcome", Outcome, "an Outcome")
        self.outcomes += 1
        self.remembered += outcome.remembered
        run: Any = outcome.run  # the `LumeRun` of either package
        error = outcome.error
        asked = outcome.request.source_path if outcome.request else None
        if run is None:
            kind = type(error).__name__
            self.statuses[kind] += 1
            self._fail(outcome.run_id, asked, kind, str(error), error)
            return
        source = run.source_path or asked
        self.statuses[str(run.status)] += 1
        message = "" if run.has_output else "the server gave no reason"
        try:
            self._measure(run, source)
            message = message and (run.error_message or message)
        except ResponseDecodeError as error:  # the other runs are counted nevertheless
            message = f"the metadata of this run can't be decoded, so its rows may be missing here: {error}"
        if message:
            self._fail(run.id, source, str(run.status), message, None)

    def _measure(self, run: Any, source: str | None) -> None:
        metrics = run.metadata.metrics
        self.rows_read += metrics.rows_read
        self.rows_mapped += metrics.rows_mapped
        self.rows_rejected += metrics.rows_rejected
        for counts, more in (
            (self.reject_reasons, metrics.reject_reasons),
            (self.warnings, metrics.warnings),
        ):
            if more:  # rare, and `Counter.update` is slow
                counts.update(more)
        started, finished = run.started_at, run.finished_at
        if started and finished:
            one = (finished - started).total_seconds(), run.id, source or ""
            if len(self._slowest) < SLOWEST or one > self._slowest[-1]:
                self._slowest = nlargest(SLOWEST, [*self._slowest, one])

    def _fail(
        self, run_id: str | None, source: str | None, status: str, message: str, error: Exception | None
    ) -> None:
        """Add a failure; its kind is the message without source and run ID, so that similar failures are grouped."""
        plain = str(error.args[0]) if isinstance(error, ApiError) and error.args else message
        holder: str | None = getattr(error, "run_id", None)
        for name in (source, run_id, holder):
            if name:
                plain = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", "…", plain)
        kind = "" if plain == message else plain
        self.failures.append(Failure(run_id, source, status, message, kind))

    def copy(self) -> Self:
        """Return a copy that later outcomes do not change.

        Examples:
            >>> before = Summary.of(outcomes).copy()
        """
        mutable = ("statuses", "reject_reasons", "warnings", "failures")
        return evolve(self, **{name: copy(getattr(self, name)) for name in mutable})

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values.

        Examples:
            >>> print(Summary.of(outcomes).to_dict()["statuses"])
            {'PARTIAL_FAILED': 1}
        """
        found = asdict(self, filter=lambda field, _: not field.name.startswith("_"))
        failures = found.pop("failures")
        slowest = [
            {"seconds": seconds, "run_id": run_id, "source_path": source or None}
            for seconds, run_id, source in self._slowest
        ]
        return {**found, "slowest": slowest, "failures": failures}

    def __str__(self) -> str:
        """Return a few lines for a terminal or a log."""
        lines = [f"{counted(self.outcomes, 'outcome')}: " + _counts(self.statuses)]
        lines += [f"{name}: {text}" for name, text in self._facts() if text]
        if self.remembered:
            lines.append(f"known from the journal before: {self.remembered:,}")
        return "\n".join([*lines, *self._failed_lines()])

    def _repr_html_(self) -> str:
        """Return tables for notebooks: the counts, and the failures."""
        shown = [
            ("statuses", _counts(self.statuses)),
            *self._facts(),
            ("from the journal", f"{self.remembered:,}" if self.remembered else None),
        ]
        counts = facts(counted(self.outcomes, "outcome"), shown)
        if not self.failures:
            return counts
        rows = [(it.status, it.where, it.message) for it in self.failures[:LISTED]]
        title = counted(len(self.failures), "failure")
        if len(self.failures) > LISTED:
            title += f", the first {LISTED}"
        return counts + table(title, ("status", "where", "why"), rows)

    def _facts(self) -> list[tuple[str, str]]:
        rows = f"{self.rows_read:,} read, {self.rows_mapped:,} mapped, {self.rows_rejected:,} rejected"
        slowest = (
            f"{source} ({run_id}, {lasted:.1f} s)" if source else f"{run_id} ({lasted:.1f} s)"
            for lasted, run_id, source in self._slowest
        )
        return [
            ("rows", rows),
            ("rejected because", _counts(self.reject_reasons)),
            ("warned of", _counts(self.warnings)),
            ("slowest", ", ".join(slowest)),
        ]

    def _failed_lines(self) -> list[str]:
        """Return a line per kind of failure, the most frequent first."""
        kinds: dict[tuple[str, str], list[Failure]] = {}
        for failure in self.failures:
            kinds.setdefault((failure.status, failure._kind or failure.message), []).append(failure)
        ordered = sorted(kinds.items(), key=lambda item: -len(item[1]))
        lines = []
        for (status, kind), alike in ordered[:LISTED]:
            first = alike[0]
            if len(alike) == 1:
                lines.append(f"{status} {first.where}: {_quoted(first.message)}")
            else:
                lines.append(f"{len(alike):,} x {status}: {_quoted(kind)}; first: {first.where}")
        if rest := sum(len(alike) for _kind, alike in ordered[LISTED:]):
            lines.append(f"and {counted(rest, 'more failure')}")
        return lines


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


_STATUSES = {str(status): n for n, status in enumerate(RunStatus)}


def _counts(counts: Counter[str]) -> str:
    """Format the counts, the commonest first; ties in the order of statuses, or by name, so the text is stable."""
    ordered = sorted(counts.items(), key=lambda it: (-it[1], _STATUSES.get(it[0], len(_STATUSES)), it[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered)
