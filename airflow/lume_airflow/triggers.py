"""Triggers: they wait in the triggerer and survive its restart. Their arguments are JSON, without the API key."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from anyio import sleep

from lume_airflow import _direct
from lume_airflow._compat import BaseTrigger, Context, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from lume_airflow._identity import TaskTry
from lume_airflow._options import BatchOptions, OperatorOptions, RunOptions
from lume_airflow._work import Event, batch_to_end, cancel, run_to_end, settled, wait_to_end
from lume_airflow.hooks import LumeHook
from lume_async import InvalidRequestError

__all__ = ["LumeBatchTrigger", "LumeDirectTrigger", "LumeRunTrigger", "LumeWaitTrigger"]

SETTLED = 5.0
"""The minimum time, in seconds, that a deferred task waits.

The scheduler fails a task ("finished with state success, but the task instance's state attribute is queued") that is
resumed before the scheduler knows that the deferring process has exited: apache/airflow#67287, #72716.
"""


class _LumeTrigger(BaseTrigger):
    """Waits for the end of its work, and reports it in one event.

    Args:
        arguments: the subclass's arguments, which Airflow stores to create the trigger again.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self._arguments = arguments

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments."""
        return f"lume_airflow.triggers.{type(self).__name__}", self._arguments

    async def _to_end(self) -> Event:
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, at the end."""
        begun = time.monotonic()
        event = await settled(self._to_end())
        if self.trigger_id is not None:  # None in `dag.test()`, which has no scheduler
            await sleep(begun + SETTLED - time.monotonic())
        yield TriggerEvent(event)


class _KillableTrigger(_LumeTrigger):
    """A trigger that cancels its runs if a user kills the task and `cancel_on_kill` is set."""

    _options: OperatorOptions | None = None
    _task: TaskTry | None = None
    _submitted = False  # whether all submissions have ended

    async def on_kill(self) -> None:
        """Cancel the runs when a user marks or clears the task; not called when the triggerer stops."""
        if self._options is None or self._task is None or not self._options.cancel_on_kill:
            return
        settings = await LumeHook(self._options.lume_conn_id).asettings()
        cancelled = await cancel(settings, self._options, self._task, sure=self._submitted)
        self.log.info("the task was killed; cancelled %s", ", ".join(cancelled) or "nothing")


class LumeRunTrigger(_KillableTrigger):
    """Follows one run to its end.

    Args:
        options: `RunOptions` as JSON.
        task: `TaskTry` as JSON.
        run_id: the run that the operator has submitted.
        deadline: when the task times out, in seconds since the epoch.
    """

    _submitted = True

    def __init__(
        self, options: dict[str, Any], task: dict[str, Any], run_id: str, deadline: float | None = None
    ) -> None:
        super().__init__(options=options, task=task, run_id=run_id, deadline=deadline)
        self._options = self._what = RunOptions(**options)
        self._task = TaskTry(**task)
        self._run_id = run_id
        self._deadline = deadline

    async def _to_end(self) -> Event:
        assert self._task is not None
        settings = await LumeHook(self._what.lume_conn_id).asettings()
        return await run_to_end(
            settings, self._what, self._task, run_id=self._run_id, deadline=self._deadline
        )


class LumeBatchTrigger(_KillableTrigger):
    """Submits a batch and follows it to its end; after a restart it finds the same runs by their keys.

    Args:
        options: `BatchOptions` as JSON.
        task: `TaskTry` as JSON.
        deadline: when the task times out, in seconds since the epoch.
        since: the earliest possible start of its first attempt, in seconds since the epoch.
    """

    def __init__(
        self,
        options: dict[str, Any],
        task: dict[str, Any],
        deadline: float | None = None,
        since: float | None = None,
    ) -> None:
        super().__init__(options=options, task=task, deadline=deadline, since=since)
        self._options = self._what = BatchOptions(**options)
        self._task = TaskTry(**task)
        self._deadline = deadline
        self._since = since

    async def _to_end(self) -> Event:
        assert self._task is not None
        settings = await LumeHook(self._what.lume_conn_id).asettings()
        place = {"deadline": self._deadline, "since": self._since}
        return await batch_to_end(settings, self._what, self._task, self.log.info, **place)


class LumeDirectTrigger(_KillableTrigger):
    """Submits and follows one run of a task that was not on a worker, and ends the task if it succeeded.

    Args:
        arguments: the operator's arguments; None for a mapped operator, whose arguments are in the task.
    """

    def __init__(self, arguments: dict[str, Any] | None = None) -> None:
        super().__init__(arguments=arguments)
        self._given = arguments
        self._context: Context | None = None

    def render_template_fields(self, context: Context, jinja_env: Any = None) -> None:
        """Keep the context: the arguments of a mapped task are looked up before they are rendered."""
        self._context = context

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the end of the task, or an event for a worker; at once, as no process has deferred the task."""
        yield await self._end(await settled(self._to_end()))

    async def _to_end(self) -> Event:
        arguments = await _direct.arguments(self, self._given, self._context)
        if arguments is None:
            return {"on_worker": True}
        self._options = options = _options_of(arguments)
        self._task = task = await _direct.this_try(self.task_instance, options)
        settings = await LumeHook(options.lume_conn_id).asettings()
        deadline = _direct.deadline(options)
        return await run_to_end(settings, options, task, deadline=deadline)

    async def _end(self, event: Event) -> TriggerEvent:
        """End the task here if it needs no worker: retries, outlets and lineage need one."""
        result = event.get("result")
        has_outlets = bool(getattr(getattr(self, "task", None), "outlets", None))
        kind = None if result is None or has_outlets else self._kind(result["status"])
        if result is None or kind is None:
            return TriggerEvent(event)
        return kind(xcoms=await _direct.deliver(result, self.task_instance))

    def _kind(self, status: str) -> Callable[..., TriggerEvent] | None:
        """Return the event that ends a task whose run has that status; None if a worker must end it."""
        choice = self._options.on_partial if self._options else "fail"
        ends: dict[tuple[str, str], Callable[..., TriggerEvent]] = {
            ("PARTIAL_FAILED", "success"): TaskSuccessEvent,
            ("PARTIAL_FAILED", "skip"): TaskSkippedEvent,
        }
        return TaskSuccessEvent if status == "SUCCEEDED" else ends.get((status, choice))


def _options_of(arguments: dict[str, Any]) -> RunOptions:
    """Check and return the options of a task; a mapped task's were not checked before."""
    try:
        return RunOptions.from_arguments(arguments)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(str(error)) from error


class LumeWaitTrigger(_LumeTrigger):
    """Waits for the end of a run that others have started.

    Args:
        lume_conn_id: the connection.
        run_id: the run.
        deadline: when to time out, in seconds since the epoch.
    """

    def __init__(self, lume_conn_id: str, run_id: str, deadline: float | None = None) -> None:
        super().__init__(lume_conn_id=lume_conn_id, run_id=run_id, deadline=deadline)
        self._conn_id = lume_conn_id
        self._run_id = run_id
        self._deadline = deadline

    async def _to_end(self) -> Event:
        settings = await LumeHook(self._conn_id).asettings()
        return await wait_to_end(settings, self._run_id, self._deadline)
