"""`LumeRunOperator`: one run."""

from typing import Any, ClassVar

from lume_airflow._compat import AirflowException, Context
from lume_airflow._options import OperatorOptions, RunOptions
from lume_airflow._results import run_result
from lume_airflow._work import failure, run_async, run_to_end, start
from lume_airflow.links import LINK_KEY, LumeRunLink
from lume_airflow.operators.base import LumeOperator
from lume_airflow.triggers import LumeRunTrigger
from lume_async import LumeError, LumeRun

_WITH_OUTPUT = ("SUCCEEDED", "PARTIAL_FAILED")


class LumeRunOperator(LumeOperator):
    """Runs a flow version on a source, and waits for the end without a worker.

    The run is submitted once: a retry, or a restarted triggerer or scheduler, finds the existing run.
    Only a try after a run without output starts another one. The result is a dict: `run_id`, `status`,
    `mapped_location`, `rejects_location`, `rows_read`, `rows_mapped`, `rows_rejected`, `reject_reasons`, `url` …

    Args:
        flow_version: the flow and its version, such as `customer_cleaner:v1` (templated).
        source_path: the file's URI or the batch identifier that the flow's source understands (templated).
        run_metadata: a JSON object of your own (templated); the operator adds `airflow`, which identifies the task.
            It must not change between retries, as an idempotency key belongs to one request.
        force_rerun: process the source even if it was processed before.
        lume_conn_id: the connection (templated).
        deferrable: False waits on the worker.
        timeout: seconds, or a `timedelta`, from the submission; default: `execution_timeout`.
        on_partial: how the task ends if rows were rejected: "success", "skip" (with the result as XCom) or "fail".
        on_clear: the work of a cleared task: "rerun" processes the source again, "failed" only if it has no output.
        cancel_on_kill: cancel the run if the task is killed, marked, cleared, or has timed out.
    """

    options_class: ClassVar[type[OperatorOptions]] = RunOptions
    template_fields = ("flow_version", "source_path", "run_metadata", "lume_conn_id")
    operator_extra_links = (LumeRunLink(),)

    def __init__(self, *, source_path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_path = source_path
        self.check()

    def execute(self, context: Context) -> Any:
        """Submit the run; then defer, or wait."""
        task, options = self.this_try(context), self.options
        settings, deadline = self.settings, self.deadline()
        try:
            run = run_async(start(settings, options, task))
        except LumeError as error:
            self.fail(failure(error))
        self._show(context, run, settings.run_page(run.id))
        if run.is_terminal and (run.has_output or task.started(run)):
            return self.execute_complete(context, {"result": run_result(run, settings, task)})
        if self.deferrable:
            # Not Airflow's own timeout: it would pass by execute_complete and on_kill.
            trigger = LumeRunTrigger(options.as_kwargs(), task.as_kwargs(), run.id, deadline)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=None)
        event = run_async(run_to_end(settings, options, task, run_id=run.id, deadline=deadline))
        return self.execute_complete(context, event)

    def _show(self, context: Context, run: LumeRun, page: str) -> None:
        found = "found" if run.reused else "submitted"
        self.log.info("%s %s: %s", found, run.id, page)
        context["ti"].xcom_push(key=LINK_KEY, value=page)

    def judge(self, context: Context, result: dict[str, Any]) -> None:
        """Raise an error if the run has no output."""
        if result["status"] not in _WITH_OUTPUT:
            message = result["error_message"] or "the server gave no reason"
            raise AirflowException(f"{result['run_id']} ended {result['status']}: {message}")

    def has_partial(self, result: dict[str, Any]) -> bool:
        """Return whether rows were rejected."""
        return bool(result["status"] == "PARTIAL_FAILED")

    def summary(self, result: dict[str, Any]) -> str:
        """Return a line for the log."""
        counts = f"rows: {result['rows_mapped']:,} mapped, {result['rows_rejected']:,} rejected"
        return f"{result['run_id']} {result['status']}: {counts}"
