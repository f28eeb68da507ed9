"""`LumeDirectRunOperator`: one run without a worker process."""

from dataclasses import replace
from typing import Any

from attrs import fields

from lume_airflow import _direct
from lume_airflow._arguments import names_a_task
from lume_airflow._compat import Context, StartTriggerArgs, is_at_least, need
from lume_airflow._identity import TaskTry, in_triggerer
from lume_airflow._options import RunOptions
from lume_airflow._work import Event
from lume_airflow.operators.run import LumeRunOperator

OLDEST = (3, 3)
"""The first Airflow in which a trigger knows its task."""

START = StartTriggerArgs(
    trigger_cls="lume_airflow.triggers.LumeDirectTrigger",
    trigger_kwargs={"arguments": None},
    next_method="execute_complete",
    next_kwargs=None,
    timeout=None,
)
"""The arguments for mapped tasks, whose trigger finds its own in the task."""


class LumeDirectRunOperator(LumeRunOperator):
    """A `LumeRunOperator` whose task the triggerer submits and ends: no process is started for it.

    Meant for many tasks: `LumeDirectRunOperator.partial(…).expand(source_path=[…])`. A worker still ends failed tasks
    (for their retries) and tasks with outlets, and starts tasks with arguments that only a worker can look up.
    A task that ends in the triggerer sends no OpenLineage event for its end.

    Raises:
        AirflowFailException: Airflow is older than 3.3; raised when the DAG is parsed, or when a mapped task starts.
    """

    start_from_trigger = is_at_least(
        OLDEST
    )  # in older versions a worker creates the operator of a mapped task
    start_trigger_args = START

    def __init__(self, **kwargs: Any) -> None:
        need(OLDEST, "LumeDirectRunOperator", "LumeRunOperator, or LumeRunBatchOperator for many sources")
        super().__init__(**kwargs)
        given = {each.name: getattr(self, each.name) for each in fields(RunOptions)}
        if given["timeout"] is None:
            given["timeout"] = self.execution_timeout
        if names_a_task(given):
            self.start_from_trigger = False  # the output of another task: a worker looks it up
            return
        arguments = RunOptions.from_arguments(given).as_kwargs()
        self.start_trigger_args = replace(START, trigger_kwargs={"arguments": arguments})

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
