"""`LumeRunSensor`: waits for a run that others have started."""

import time
from typing import Any

from lume_airflow._arguments import is_rendered_later
from lume_airflow._compat import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    BaseSensorOperator,
    Context,
)
from lume_airflow._connection import ConnectionSettings
from lume_airflow._identity import TaskTry
from lume_airflow._results import run_result
from lume_airflow._work import Event
from lume_airflow.hooks import LumeHook
from lume_airflow.links import LINK_KEY, LumeRunLink
from lume_airflow.triggers import LumeWaitTrigger
from lume_async import ApiError, InvalidRequestError
from lume_async.models import check_run_id

__all__ = ["LumeRunSensor"]


class LumeRunSensor(BaseSensorOperator):
    """Succeeds when a run has ended with output; its result is as in `LumeRunOperator`.

    Args:
        run_id: the run (templated).
        lume_conn_id: the connection (templated).
        deferrable: False polls on the worker, in the sensor's `mode` every `poke_interval`.
        timeout: as for every sensor; `soft_fail` skips instead of failing, even if the run has no output.
    """

    template_fields = ("run_id", "lume_conn_id")
    operator_extra_links = (LumeRunLink(),)
    ui_color = "#d9efe6"

    def __init__(
        self,
        *,
        run_id: str,
        lume_conn_id: str = LumeHook.default_conn_name,
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.run_id = run_id
        self.lume_conn_id = lume_conn_id
        self.deferrable = deferrable
        self._result: dict[str, Any] | None = None
        try:
            if not is_rendered_later(run_id):
                check_run_id(run_id)
        except InvalidRequestError as error:
            message = str(error).removesuffix("; no request was sent")
            raise ValueError(f"{type(self).__name__} {self.task_id!r}: {message}") from None

    @property
    def settings(self) -> ConnectionSettings:
        """The connection, checked."""
        return LumeHook(self.lume_conn_id).settings()

    def execute(self, context: Context) -> Any:
        """Defer the task, or poll as every sensor does."""
        context["ti"].xcom_push(key=LINK_KEY, value=self.settings.run_page(self.run_id))
        if not self.deferrable:
            super().execute(context)
            return self._result
        deadline = time.time() + self.timeout
        self.defer(
            trigger=LumeWaitTrigger(self.lume_conn_id, self.run_id, deadline),
            method_name="execute_complete",
            timeout=None,
        )

    def poke(self, context: Context) -> bool:
        """Return whether the run has ended; False after a transient error.

        Raises:
            AirflowFailException: the run has ended without output.
            LumeError: the run can't be followed, and polling again can't help.
        """
        try:
            with LumeHook(self.lume_conn_id).get_client() as client:
                run = client.run_status(self.run_id)
        except ApiError as error:
            if not error.retryable:
                raise
            self.log.warning("polling %s failed and will be retried: %s", self.run_id, error)
            return False
        if not run.is_terminal:
            return False
        self._result = run_result(run, self.settings, TaskTry("", "", ""))
        self._judge(self._result)
        return True

    def execute_complete(self, context: Context, event: Event) -> Any:
        """Return the trigger's result, or raise its error."""
        if "error" in event:
            kind = AirflowFailException if event.get("final") else AirflowException
            raise AirflowSkipException(event["error"]) if self.soft_fail else kind(event["error"])
        self._judge(event["result"])
        return event["result"]

    def _judge(self, result: dict[str, Any]) -> None:
        if result["status"] in ("SUCCEEDED", "PARTIAL_FAILED"):
            return
        message = (
            f"{result['run_id']} ended {result['status']}: {result['error_message'] or 'no reason given'}"
        )
        raise AirflowSkipException(message) if self.soft_fail else AirflowFailException(message)
