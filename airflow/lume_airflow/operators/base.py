"""The common part of the operators: arguments, the current try, and the end of the task."""

import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, ClassVar, NoReturn

from attrs import fields

from lume_airflow._arguments import Seconds
from lume_airflow._compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    Context,
)
from lume_airflow._connection import ConnectionSettings
from lume_airflow._identity import OnClear, TaskTry, on_worker
from lume_airflow._lineage import TaskLineage
from lume_airflow._options import OnPartial, OperatorOptions
from lume_airflow._outlets import emit
from lume_airflow._work import Event, cancel, run_async
from lume_airflow.hooks import LumeHook

TIMED_OUT = ("Trigger timeout", "Trigger/execution timeout")
"""The error texts of Airflow 3 and 2."""


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
        run_metadata: dict[str, Any] | None = None,
        force_rerun: bool = False,
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
        """Check the arguments, as far as they are known before rendering.

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
        if next_method == "__fail__" and (next_kwargs or {}).get("error") in TIMED_OUT:
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
