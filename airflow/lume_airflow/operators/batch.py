"""`LumeRunBatchOperator`: thousands of sources in one task."""

from typing import Any, ClassVar

from lume_airflow._compat import Context
from lume_airflow._identity import OnClear
from lume_airflow._options import BatchOptions, OperatorOptions
from lume_airflow._work import batch_to_end, run_async
from lume_airflow.operators.base import LumeOperator
from lume_airflow.triggers import LumeBatchTrigger

CLOCKS = 300.0
"""Seconds by which the clocks of Airflow and of the service may differ."""


class LumeRunBatchOperator(LumeOperator):
    """Runs a flow version on many sources, each once, and waits for all of them in the triggerer.

    After a restart at any point, it finds the existing runs and submits the rest. The result is a dict of counts and
    locations: `sources`, `statuses`, `partial`, `failed`, `rows_read`, `rows_mapped`, `rows_rejected`,
    `reject_reasons`, `mapped_locations`, `rejects_locations` (2,000 of each at most), `failures` (the first 20).

    Args:
        source_paths: the sources: a list, or the output of a task (templated).
        max_active: the maximum number of unfinished runs.
        max_failures: the limit of sources without output; beyond it submitting stops, and the task fails when the
            others have ended; its retry continues with the sources without output. None for no limit.
        on_clear: the work of a cleared task: "failed" processes the sources without output, "rerun" all sources.
        flow_version, run_metadata, force_rerun, lume_conn_id, deferrable, timeout, on_partial, cancel_on_kill: as for
            `LumeRunOperator`; `on_partial` applies if any source has rejected rows.
    """

    options_class: ClassVar[type[OperatorOptions]] = BatchOptions
    template_fields = ("flow_version", "source_paths", "run_metadata", "lume_conn_id")

    def __init__(
        self,
        *,
        source_paths: Any,
        max_active: int = 100,
        max_failures: int | None = 0,
        on_clear: OnClear = "failed",
        **kwargs: Any,
    ) -> None:
        super().__init__(on_clear=on_clear, **kwargs)
        self.source_paths = source_paths
        self.max_active = max_active
        self.max_failures = max_failures
        self.check()

    def execute(self, context: Context) -> Any:
        """Defer the task, or submit and wait on the worker."""
        if isinstance(self.source_paths, str):
            raise ValueError(
                "source_paths is a string: give a list, or set render_template_as_native_obj in the DAG"
            )
        task, options, deadline = self.this_try(context), self.options, self.deadline()
        since = _begun(context)
        if self.deferrable:
            trigger = LumeBatchTrigger(options.as_kwargs(), task.as_kwargs(), deadline, since)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=None)
        work = batch_to_end(self.settings, options, task, self.log.info, deadline=deadline, since=since)
        event = run_async(work)
        return self.execute_complete(context, event)

    def has_partial(self, result: dict[str, Any]) -> bool:
        """Return whether rows of any source were rejected."""
        return bool(result["partial"])

    def summary(self, result: dict[str, Any]) -> str:
        """Return a line for the log."""
        statuses = ", ".join(f"{name} {count:,}" for name, count in result["statuses"].items())
        counts = f"rows: {result['rows_mapped']:,} mapped, {result['rows_rejected']:,} rejected"
        return f"sources: {result['sources']:,}: {statuses or 'nothing'}; {counts}"


def _begun(context: Context) -> float | None:
    """Return the earliest possible start of an attempt since the last clear, in seconds since the epoch."""
    begun = getattr(context.get("dag_run"), "start_date", None)
    return None if begun is None else begun.timestamp() - CLOCKS
