"""The results of runs as JSON values for an XCom: counts and locations, never rows. Pure."""

from typing import Any

from attrs import Factory, define

from lume_airflow._connection import ConnectionSettings
from lume_airflow._identity import AnyRun, TaskTry
from lume_async import LumeRun, Outcome, Summary

MOST_LOCATIONS = 2_000
"""The maximum number of locations of each kind in the XCom of a batch."""

MOST_FAILURES = 20
"""The maximum number of failures in the XCom of a batch; all are counted."""


def run_result(run: AnyRun, settings: ConnectionSettings, task: TaskTry) -> dict[str, Any]:
    """Return the result of a run that has ended; `reused` if this task did not start it."""
    metrics, locations = run.metadata.metrics, run.metadata.target_locations
    lasted = run.metadata.run.duration_seconds
    return {
        "run_id": run.id,
        "status": str(run.status),
        "flow_version": run.flow_version,
        "source_path": run.source_path,
        "mapped_location": locations.mapped,
        "rejects_location": locations.rejects,
        "rows_read": metrics.rows_read,
        "rows_mapped": metrics.rows_mapped,
        "rows_rejected": metrics.rows_rejected,
        "reject_reasons": dict(metrics.reject_reasons),
        "duration_seconds": lasted,
        "reused": not task.started(run),
        "url": settings.run_page(run.id),
        "error_message": run.error_message,
    }


@define
class BatchResult:
    sources: int
    summary: Summary = Factory(Summary)
    partial: int = 0
    mapped: list[str] = Factory(list)
    rejects: list[str] = Factory(list)

    def add(self, outcome: Outcome[LumeRun]) -> None:
        self.summary.add(outcome)
        run = outcome.run
        if run is None or not run.has_output:
            return
        self.partial += run.status == "PARTIAL_FAILED"
        if run.mapped_location and len(self.mapped) < MOST_LOCATIONS:
            self.mapped.append(run.mapped_location)
        if run.rejects_location and len(self.rejects) < MOST_LOCATIONS:
            self.rejects.append(run.rejects_location)

    @property
    def failed(self) -> int:
        """The number of sources that have ended without output."""
        return len(self.summary.failures)

    @property
    def unfinished(self) -> bool:
        """Whether some sources were not submitted."""
        return self.summary.outcomes < self.sources

    def to_dict(self) -> dict[str, Any]:
        counted = self.summary.to_dict()
        kept = ("statuses", "rows_read", "rows_mapped", "rows_rejected", "reject_reasons")
        return {
            "sources": self.sources,
            "not_started": self.sources - self.summary.outcomes,
            "partial": self.partial,
            "failed": self.failed,
            **{name: counted[name] for name in kept},
            "mapped_locations": self.mapped,
            "rejects_locations": self.rejects,
            "failures": counted["failures"][:MOST_FAILURES],
        }
