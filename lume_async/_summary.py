"""`Summary`: what came of many runs, and which of them need a person."""

import json
from collections import Counter
from collections.abc import Iterable
from copy import copy
from heapq import nlargest
from typing import Any, Self

from attrs import Factory, define, evolve

from lume_async._public import public
from lume_async.models import Outcome

SLOWEST = 5
"""How many of the slowest runs are kept."""

LISTED = 20
"""How many failures the printed summary lists; `failures` has them all."""


@public
@define
class Failure:
    """A run or a submission that needs a person: which, how it ended, why."""

    run_id: str | None
    source_path: str | None
    status: str
    message: str


@public
@define
class Summary:
    """Counts of many outcomes: feed it with `add`, print it, or turn it into JSON with `to_dict`.

    Attributes:
        outcomes: how many there were.
        statuses: how many per status; outcomes without a run are counted under their error's name.
        rows_read: rows read by all runs, and so on.
        reject_reasons: how many rows were rejected for which reason.
        slowest: the longest runs, as (seconds, run id), longest first.
        failures: what needs a person: FAILED, CRASHED, CANCELLED, unknown, and everything with an error.
    """

    outcomes: int = 0
    statuses: Counter[str] = Factory(Counter)
    rows_read: int = 0
    rows_mapped: int = 0
    rows_rejected: int = 0
    reject_reasons: Counter[str] = Factory(Counter)
    slowest: list[tuple[float, str]] = Factory(list)
    failures: list[Failure] = Factory(list)

    @classmethod
    def of(cls, outcomes: Iterable[Outcome[Any]]) -> Self:
        """The summary of all of them."""
        summary = cls()
        for outcome in outcomes:
            summary.add(outcome)
        return summary

    @property
    def ok(self) -> bool:
        """Whether nothing needs a person."""
        return not self.failures

    def add(self, outcome: Outcome[Any]) -> None:
        """Count one more outcome."""
        self.outcomes += 1
        run, error = outcome.run, outcome.error
        if run is None:
            source = outcome.request.source_path if outcome.request else None
            kind = type(error).__name__
            self.statuses[kind] += 1
            self.failures.append(Failure(outcome.run_id, source, kind, str(error)))
            return
        self.statuses[str(run.status)] += 1
        metrics = run.metadata.metrics
        self.rows_read += metrics.rows_read
        self.rows_mapped += metrics.rows_mapped
        self.rows_rejected += metrics.rows_rejected
        self.reject_reasons.update(metrics.reject_reasons)
        if run.started_at and run.finished_at:
            lasted = (run.finished_at - run.started_at).total_seconds()
            self.slowest = nlargest(SLOWEST, [*self.slowest, (lasted, run.id)])
        if not run.has_output:
            message = run.error_message or "the server gave no reason"
            self.failures.append(Failure(run.id, run.source_path, str(run.status), message))

    def copy(self) -> Self:
        """One that later outcomes do not change."""
        mutable = ("statuses", "reject_reasons", "slowest", "failures")
        return evolve(self, **{name: copy(getattr(self, name)) for name in mutable})

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            "outcomes": self.outcomes,
            "statuses": dict(self.statuses),
            "rows_read": self.rows_read,
            "rows_mapped": self.rows_mapped,
            "rows_rejected": self.rows_rejected,
            "reject_reasons": dict(self.reject_reasons),
            "slowest": [{"seconds": seconds, "run_id": run_id} for seconds, run_id in self.slowest],
            "failures": [
                {
                    "run_id": it.run_id,
                    "source_path": it.source_path,
                    "status": it.status,
                    "message": it.message,
                }
                for it in self.failures
            ],
        }

    def __str__(self) -> str:
        """A few lines for a terminal or a log."""
        lines = [f"{self.outcomes:,} outcome{'s' * (self.outcomes != 1)}: " + _counts(self.statuses)]
        lines.append(
            f"rows: {self.rows_read:,} read, {self.rows_mapped:,} mapped, {self.rows_rejected:,} rejected"
        )
        if self.reject_reasons:
            lines.append("rejected because: " + _counts(self.reject_reasons))
        if self.slowest:
            lines.append(
                "slowest: " + ", ".join(f"{run_id} ({lasted:.1f} s)" for lasted, run_id in self.slowest)
            )
        for failure in self.failures[:LISTED]:
            where = failure.run_id or failure.source_path
            lines.append(f"{failure.status} {where}: {json.dumps(failure.message, ensure_ascii=False)}")
        if len(self.failures) > LISTED:
            lines.append(f"and {len(self.failures) - LISTED:,} more failures")
        return "\n".join(lines)


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
