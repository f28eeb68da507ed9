"""Every event reaches the log and the hooks; a hook that fails is logged and disturbs nothing."""

import asyncio
import logging

import pytest

from lume_async._http.events import (
    Event,
    Observer,
    RequestFinished,
    RequestStarted,
    RetryScheduled,
    RunStatusChanged,
)
from lume_async.errors import ServerError
from lume_async.models import RunStatus

FINISHED = RequestFinished("GET /v1/runs/{id}", 2, 0.25, 200, "req_1")
FAILED = RequestFinished("GET /v1/runs/{id}", 1, 0.25, error="ApiTimeoutError")


def test_hooks_are_told_in_order() -> None:
    events: list[Event] = []
    observer = Observer([events.append])
    observer.started("GET /x", 1)
    observer.finished(FINISHED)
    observer.retrying("GET /x", 1, 0.5, ServerError("oops", status_code=500))
    observer.status_changed("run_1", None, RunStatus.CREATED)

    assert events == [
        RequestStarted("GET /x", 1),
        FINISHED,
        RetryScheduled("GET /x", 1, 0.5, "oops"),
        RunStatusChanged("run_1", None, RunStatus.CREATED),
    ]


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError])
def test_a_hook_that_fails_is_logged_and_the_next_is_told(
    caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    events: list[Event] = []

    def fails(event: Event) -> None:
        raise kind("hook is broken")

    Observer([fails, events.append]).started("GET /x", 1)

    assert events == [RequestStarted("GET /x", 1)]
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert "the call continues" in record.getMessage()


def test_what_a_hook_raises_on_purpose_is_not_swallowed() -> None:
    def interrupts(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Observer([interrupts]).started("GET /x", 1)


def test_what_can_not_be_called_is_no_hook() -> None:
    with pytest.raises(TypeError, match="a hook must be callable"):
        Observer(["print"])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("hooks", "level", "listening"),
    [((), logging.WARNING, False), ((print,), logging.WARNING, True), ((), logging.DEBUG, True)],
)
def test_it_costs_nothing_where_nobody_listens(
    caplog: pytest.LogCaptureFixture, hooks: tuple[object, ...], level: int, listening: bool
) -> None:
    with caplog.at_level(level, "lume.http"):
        assert Observer(hooks).listening is listening  # type: ignore[arg-type]


def test_the_log_says_what_happened(caplog: pytest.LogCaptureFixture) -> None:
    observer = Observer()
    with caplog.at_level(logging.DEBUG, "lume"):
        observer.finished(FINISHED)
        observer.finished(FAILED)
        observer.retrying("GET /x", 1, 0.5, ServerError("oops", request_id="req_2"))
        observer.status_changed("run_1", RunStatus.CREATED, RunStatus.FAILED)
        observer.unknown_status("run_1", RunStatus("PAUSED"))

    assert [(record.name, record.levelname, record.getMessage()) for record in caplog.records] == [
        ("lume.http", "DEBUG", "GET /v1/runs/{id}: 200 in 0.250 s"),
        ("lume.http", "DEBUG", "GET /v1/runs/{id}: ApiTimeoutError in 0.250 s"),
        ("lume.http", "WARNING", "GET /x: attempt 1 failed (oops [request id req_2]), again in 0.50 s"),
        ("lume.runs", "INFO", "run run_1: FAILED"),
        (
            "lume.runs",
            "WARNING",
            "run run_1: unknown status 'PAUSED'; continuing to poll",
        ),
    ]


def test_records_carry_flat_facts(caplog: pytest.LogCaptureFixture) -> None:
    observer = Observer()
    with caplog.at_level(logging.DEBUG, "lume"):
        observer.finished(FINISHED)
        observer.status_changed("run_1", None, RunStatus.CREATED)

    request, run = caplog.records
    assert (request.lume_attempt, request.lume_request_id) == (2, "req_1")  # type: ignore[attr-defined]
    assert (run.lume_run_id, run.lume_status) == ("run_1", "CREATED")  # type: ignore[attr-defined]


def test_a_library_is_silent_unless_asked() -> None:
    handlers = logging.getLogger("lume").handlers

    assert any(isinstance(handler, logging.NullHandler) for handler in handlers)
