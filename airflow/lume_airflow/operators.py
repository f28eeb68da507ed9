"""Operators: one run per task, without a worker if possible, or thousands of runs in one task."""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, NoReturn

from attrs import fields

from lume_airflow import _direct
from lume_airflow._arguments import Seconds, names_a_task
from lume_airflow._compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    Context,
    StartTriggerArgs,
    is_at_least,
    need,
)
from lume_airflow._connection import ConnectionSettings
from lume_airflow._identity import OnClear, TaskTry, in_triggerer, on_worker
from lume_airflow._lineage import TaskLineage, emit
from lume_airflow._options import BatchOptions, OnPartial, OperatorOptions, RunOptions
from lume_airflow._results import run_result
from lume_airflow._work import Event, batch_to_end, cancel, failure, run_async, run_to_end, settled, start
from lume_airflow.hooks import LumeHook
from lume_airflow.links import LINK_KEY, LumeRunLink
from lume_airflow.triggers import LumeBatchTrigger, LumeRunTrigger
from lume_async import JsonObject, LumeError

__all__ = ["LumeDirectRunOperator", "LumeRunBatchOperator", "LumeRunOperator"]

_TIMED_OUT = ("Trigger timeout", "Trigger/execution timeout")
"""The error texts of Airflow 3 and 2."""
_WITH_OUTPUT = ("SUCCEEDED", "PARTIAL_FAILED")
_CLOCKS = 300.0
"""Seconds by which the clocks of Airflow and of the service may differ."""
_OLDEST = (3, 3)
"""The first Airflow in which a trigger knows its task."""

_START = StartTriggerArgs(
    trigger_cls="lume_airflow.triggers.LumeDirectTrigger",
    trigger_kwargs={"arguments": None},
    next_method="execute_complete",
    next_kwargs=None,
    timeout=None,
)
"""The arguments for mapped tasks, whose trigger finds its own in the task."""


class LumeOperator(BaseOperator):
    """The common base class; use one of its subclasses."""

    options_class: ClassVar[type[OperatorOptions]] = OperatorOptions
    template_fields: Collection[str] = ("flow_version", "run_metadata", "lume_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"run_metadata": "json"}
    ui_color = "#d9efe6"

    def __init__(
        self,
        *,
        flow_version: str,
        run_metadata: JsonObject | None = None,
        force_rerun: bool = False,
        layout: str | None = None,
        lume_conn_id: str = LumeHook.default_conn_name,
        deferrable: bool = True,
        timeout: Seconds = None,
        on_partial: OnPartial = "success",
        on_clear: OnClear = "rerun",
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.flow_version = flow_version
        self.run_metadata = run_metadata
        self.force_rerun = force_rerun
        self.layout = layout
        self.lume_conn_id = lume_conn_id
        self.deferrable = deferrable
        self.timeout = timeout
        self.on_partial = on_partial
        self.on_clear = on_clear
        self.cancel_on_kill = cancel_on_kill
        self._lineage = TaskLineage()
        self._task_try: TaskTry | None = None

    @classmethod
    def partial(cls, *, task_id: str, **kwargs: Any) -> Any:
        """Do as Airflow, but check the arguments here, as it creates the operators only when the tasks start."""
        cls._check(task_id, kwargs)
        return super().partial(task_id=task_id, **kwargs)

    def check(self) -> None:
        """Check the arguments that are known before rendering.

        Raises:
            ValueError: an argument is not valid; the message names task and argument.
        """
        names = [each.name for each in fields(self.options_class)]
        self._check(self.task_id, {name: getattr(self, name) for name in [*names, "deferrable"]})

    @classmethod
    def _check(cls, task_id: str, given: Mapping[str, Any]) -> None:
        try:
            cls.options_class.check(given, templated=cls.template_fields)
            if not isinstance(given.get("deferrable", True), bool):
                raise ValueError(f"deferrable must be True or False, not {given['deferrable']!r:.60}")
        except ValueError as error:
            raise ValueError(f"{cls.__name__} {task_id!r}: {error}") from None

    @property
    def options(self) -> Any:
        """The arguments, checked; they are rendered when the task runs."""
        return self.options_class.of(self)

    @property
    def settings(self) -> ConnectionSettings:
        """The connection, checked."""
        return LumeHook(self.lume_conn_id).settings()

    def this_try(self, context: Context) -> TaskTry:
        """Return the current try."""
        self._task_try = on_worker(context["ti"], self.retries or 0, self.options.on_clear)
        return self._task_try

    def deadline(self) -> float | None:
        """Return the task's deadline in seconds since the epoch; Airflow itself does not limit deferred tasks."""
        limit = self.timeout if self.timeout is not None else self.execution_timeout
        if limit is None:
            return None
        return time.time() + (limit.total_seconds() if isinstance(limit, timedelta) else limit)

    def execute_complete(self, context: Context, event: Event) -> Any:
        """End the task with the trigger's event: return the result, or raise a skip or an error."""
        result = event.get("result")
        if result is not None:
            self.log.info("%s", self.summary(result))
            self._lineage.note(self.options, self.settings, result)
        if "error" in event:
            self.fail(event)
        assert result is not None
        self.judge(context, result)
        emit(self.outlets, context, result)
        if self.has_partial(result):
            self._partial(context, result)
        return result

    def judge(self, context: Context, result: dict[str, Any]) -> None:
        """Raise an error if there is no output for the next tasks."""

    def has_partial(self, result: dict[str, Any]) -> bool:
        """Return whether rows were rejected."""
        raise NotImplementedError

    def summary(self, result: dict[str, Any]) -> str:
        """Return a line for the log."""
        raise NotImplementedError

    def _partial(self, context: Context, result: dict[str, Any]) -> None:
        message = f"rejected rows: {result['rows_rejected']:,} of {result['rows_read']:,}"
        if self.on_partial != "success" and self.do_xcom_push:
            context["ti"].xcom_push(key="return_value", value=result)  # an exception returns no result
        if self.on_partial == "skip":
            raise AirflowSkipException(message)
        if self.on_partial == "fail":
            raise AirflowFailException(f"{message}; on_partial is 'fail'")

    def fail(self, event: Event) -> NoReturn:
        """Fail the task with the error of an event, without retries if they can't help."""
        raise (AirflowFailException if event.get("final") else AirflowException)(event["error"])

    def resume_execution(self, next_method: str, next_kwargs: Any, context: Context) -> Any:
        """Do as Airflow, but cancel the run if the trigger has exceeded Airflow's own timeout."""
        if next_method == "__fail__" and (next_kwargs or {}).get("error") in _TIMED_OUT:
            self.this_try(context)
            self.on_kill()
        return super().resume_execution(next_method, next_kwargs, context)

    def on_kill(self) -> None:
        """Cancel the runs of a task that is killed on a worker, if `cancel_on_kill` is set."""
        if self._task_try is None or not self.cancel_on_kill:
            return
        cancelled = run_async(cancel(self.settings, self.options, self._task_try, sure=False))
        self.log.info("the task was killed; cancelled %s", ", ".join(cancelled) or "nothing")

    def get_openlineage_facets_on_start(self) -> Any:
        """Return the sources."""
        return self._lineage.on_start(self.options)

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return sources, outputs, counts and reasons, from memory: asking Airflow for an XCom hangs the listener."""
        return self._lineage.on_end(self.options)

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> Any:
        """Return the known part of the same facets."""
        return self._lineage.on_end(self.options)


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
        layout: the layout of all files of the source, one of the flow version's; default: recognised.
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
        page = settings.run_page(run.id)
        self.log.info("%s %s: %s", "found" if run.reused else "submitted", run.id, page)
        context["ti"].xcom_push(key=LINK_KEY, value=page)
        if run.is_terminal and (run.has_output or task.started(run)):
            return self.execute_complete(context, {"result": run_result(run, settings, task)})
        if self.deferrable:
            # Not Airflow's own timeout: it would pass by execute_complete and on_kill.
            trigger = LumeRunTrigger(options.as_kwargs(), task.as_kwargs(), run.id, deadline)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=None)
        work = run_to_end(settings, options, task, run_id=run.id, deadline=deadline)
        event = run_async(settled(work))
        return self.execute_complete(context, event)

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


class LumeDirectRunOperator(LumeRunOperator):
    """A `LumeRunOperator` whose task the triggerer submits and ends: no process is started for it.

    Meant for many tasks: `LumeDirectRunOperator.partial(…).expand(source_path=[…])`. A worker still ends failed tasks
    (for their retries) and tasks with outlets, and starts tasks with arguments that only a worker can look up.
    A task that ends in the triggerer sends no OpenLineage event for its end.

    Raises:
        AirflowFailException: Airflow is older than 3.3; raised when the DAG is parsed, or when a mapped task starts.
    """

    start_from_trigger = is_at_least(_OLDEST)  # in older ones a worker creates the operator of a mapped task
    start_trigger_args = _START

    def __init__(self, **kwargs: Any) -> None:
        need(_OLDEST, "LumeDirectRunOperator", "LumeRunOperator, or LumeRunBatchOperator for many sources")
        super().__init__(**kwargs)
        given = {each.name: getattr(self, each.name) for each in fields(RunOptions)}
        if given["timeout"] is None:
            given["timeout"] = self.execution_timeout
        if names_a_task(given):
            self.start_from_trigger = False  # the output of another task: a worker looks it up
            return
        arguments = RunOptions.from_arguments(given).as_kwargs()
        self.start_trigger_args = replace(_START, trigger_kwargs={"arguments": arguments})

    def this_try(self, context: Context) -> TaskTry:
        """Return the current try, as in the triggerer, so that the keys are the same."""
        ti = context["ti"]
        self._task_try = in_triggerer(ti, self._delivered(ti), self.options.on_clear)
        return self._task_try

    def _delivered(self, ti: Any) -> list[int]:
        return _direct.tries(
            ti.xcom_pull(task_ids=ti.task_id, key=_direct.DELIVERED, map_indexes=ti.map_index)
        )

    def execute_complete(self, context: Context, event: Event) -> Any:
        """End a task that did not end in the triggerer, or execute it if the triggerer could not start it."""
        if event.get("on_worker"):
            return self.execute(context)
        return super().execute_complete(context, event)

    def judge(self, context: Context, result: dict[str, Any]) -> None:
        """Judge as for a plain run; record the try of a task that ends with output."""
        super().judge(context, result)
        ti = context["ti"]
        ti.xcom_push(key=_direct.DELIVERED, value=[*self._delivered(ti), ti.try_number])


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
        flow_version, run_metadata, force_rerun, layout, lume_conn_id, deferrable, timeout, on_partial,
            cancel_on_kill: as for `LumeRunOperator`; `on_partial` applies if any source has rejected rows.
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
        begun = getattr(
            context.get("dag_run"), "start_date", None
        )  # no attempt since the last clear is earlier
        since = None if begun is None else begun.timestamp() - _CLOCKS
        if self.deferrable:
            trigger = LumeBatchTrigger(options.as_kwargs(), task.as_kwargs(), deadline, since)
            self.defer(trigger=trigger, method_name="execute_complete", timeout=None)
        work = batch_to_end(self.settings, options, task, self.log.info, deadline=deadline, since=since)
        event = run_async(settled(work))
        return self.execute_complete(context, event)

    def has_partial(self, result: dict[str, Any]) -> bool:
        """Return whether rows of any source were rejected."""
        return bool(result["partial"])

    def summary(self, result: dict[str, Any]) -> str:
        """Return a line for the log."""
        statuses = ", ".join(f"{name} {count:,}" for name, count in result["statuses"].items())
        counts = f"rows: {result['rows_mapped']:,} mapped, {result['rows_rejected']:,} rejected"
        return f"sources: {result['sources']:,}: {statuses or 'nothing'}; {counts}"
