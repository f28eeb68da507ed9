"""Events, reported to the log and to the user's hooks. They cost nothing without a listener.

Loggers: `lume.http` (DEBUG: requests, WARNING: retries) and `lume.runs` (INFO: status changes). Records carry
flat `lume_*` attributes. Headers and query strings are never logged; a reason may quote the start of an error.
With `LUME_LOG`, lines on standard error show the records and their attributes.
"""

import logging
import os
import sys
from asyncio import CancelledError
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeAlias

from attrs import frozen

from lume_async._base import arguments
from lume_async._base.controls import escaped
from lume_async._base.public import public
from lume_async.errors import ConfigurationError
from lume_async.models import RunStatus

http_log = logging.getLogger("lume.http")
runs_log = logging.getLogger("lume.runs")
_log = logging.getLogger("lume")
_log.addHandler(logging.NullHandler())
_LEVELS = ("debug", "info", "warning", "error")


class _StderrLines(logging.Handler):
    """A line on standard error for each record that no handler of the program writes there."""

    def emit(self, record: logging.LogRecord) -> None:
        facts = [
            f" {name[5:]}={value}" for name, value in vars(record).items() if name[:5] == "lume_" and value
        ]
        others = (*_log.handlers, *(_log.root.handlers if _log.propagate else ()))
        streams = [getattr(each, "stream", None) for each in others if each.level <= record.levelno]
        if sys.stderr is not None and sys.stderr not in streams:
            with suppress(OSError, ValueError):
                print(escaped(self.format(record) + "".join(facts)), file=sys.stderr, flush=True)


def heed_environment() -> None:
    """Write the log to standard error if `LUME_LOG` is set to a level. Raises `ConfigurationError`."""
    level = os.getenv("LUME_LOG", "").strip().lower()
    if level and level not in _LEVELS:
        raise ConfigurationError(
            f"LUME_LOG must be one of {', '.join(_LEVELS)}, not {arguments.shown(level)}"
        )
    if level and not any(isinstance(handler, _StderrLines) for handler in _log.handlers):
        lines = _StderrLines(level.upper())
        lines.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        _log.addHandler(lines)
        if not _log.isEnabledFor(lines.level):
            _log.setLevel(lines.level)


@public
@frozen
class RequestStarted:
    """A request is about to be sent: the operation, such as `GET /v1/runs/{id}`, and the number of the attempt."""

    operation: str
    attempt: int


@public
@frozen
class RequestFinished:
    """A request ended, `duration` seconds after its start, with a status or with the name of an error."""

    operation: str
    attempt: int
    duration: float
    status_code: int | None = None
    request_id: str | None = None
    error: str | None = None


@public
@frozen
class RetryScheduled:
    """The request will be sent again after `delay` seconds, because of `error`."""

    operation: str
    attempt: int
    delay: float
    error: str


@public
@frozen
class RunStatusChanged:
    """The status of a run has changed (`previous` is None for the first known status)."""

    run_id: str
    previous: RunStatus | None
    status: RunStatus


Event: TypeAlias = RequestStarted | RequestFinished | RetryScheduled | RunStatusChanged
"""The argument of a hook."""

Hook: TypeAlias = Callable[[Event], object]
"""A plain function, called on the event loop: it must return quickly. Exceptions in it are logged, never raised."""


class Observer:
    """Reports every event to the log and to the hooks."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(arguments.several(hooks, "hooks", "functions"))
        for hook in self._hooks:
            arguments.plain_function(hook, "a hook")
        heed_environment()

    @property
    def listening(self) -> bool:
        """Whether a hook or the log wants events of single requests."""
        return bool(self._hooks) or http_log.isEnabledFor(logging.DEBUG)

    def started(self, operation: str, attempt: int) -> None:
        self._report(RequestStarted(operation, attempt))

    def finished(self, event: RequestFinished, path: str | None = None) -> None:
        http_log.debug(
            "%s: %s in %.3f s",
            event.operation,
            event.status_code or event.error,
            event.duration,
            extra={
                "lume_path": path and path.partition("?")[0],
                "lume_attempt": event.attempt,
                "lume_request_id": event.request_id,
            },
        )
        self._report(event)

    def retrying(self, operation: str, attempt: int, delay: float, error: Exception) -> None:
        http_log.warning(
            "%s: attempt %d failed (%s), again in %.2f s",
            operation,
            attempt,
            error,
            delay,
            extra={"lume_attempt": attempt, "lume_request_id": getattr(error, "request_id", None)},
        )
        self._report(RetryScheduled(operation, attempt, delay, str(error)))

    def status_changed(self, run_id: str, previous: RunStatus | None, status: RunStatus) -> None:
        runs_log.info("run %s: %s", run_id, status, extra={"lume_run_id": run_id, "lume_status": str(status)})
        if self._hooks:
            self._report(RunStatusChanged(run_id, previous, status))

    def unknown_status(self, run_id: str, status: RunStatus) -> None:
        runs_log.warning(
            "run %s: unknown status %r; continuing to poll",
            run_id,
            str(status),
            extra={"lume_run_id": run_id, "lume_status": str(status)},
        )

    def _report(self, event: Event) -> None:
        for hook in self._hooks:
            try:
                hook(event)
            except (Exception, CancelledError):  # nothing is awaited here, so this task was not cancelled
                http_log.exception("the hook %r failed; the call continues", hook)
