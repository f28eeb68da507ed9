"""Threads that nobody waits for."""

import pytest

from lume_async import _threads
from lume_async._threads import DaemonExecutor


def test_a_job_runs_even_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(_threads, "spawn", refuse)
    assert DaemonExecutor().submit(lambda: 7).result(timeout=1) == 7


def test_a_jobs_error_and_its_cancellation() -> None:
    executor = DaemonExecutor()
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 // 0).result(timeout=5)
