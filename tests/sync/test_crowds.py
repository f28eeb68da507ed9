"""Many threads that begin, close and change the default client at the same time."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sync.conftest import RunScript
from sync.service import Service

import lume_sync as lume
from lume_sync import _api

ENOUGH = 30.0
"""Seconds for what takes a fraction of one."""


def test_64_threads_that_begin_together(run_script: RunScript, service: Service) -> None:
    """Nothing is imported yet: no module of ours, no HTTP library, no loop, no default client."""
    done = run_script("""
        import sys, threading
        from concurrent.futures import ThreadPoolExecutor
        import lume_sync as lume
        sys.setswitchinterval(1e-6)
        barrier = threading.Barrier(64)
        def work(number):
            barrier.wait(10)
            return lume.run_status(f"done-{number}").id, lume.default_client(), lume.attach("done").wait().succeeded
        with ThreadPoolExecutor(64) as pool:
            ids, clients, succeeded = zip(*pool.map(work, range(64)))
        assert list(ids) == [f"done-{number}" for number in range(64)]
        loops = [thread for thread in threading.enumerate() if thread.name == "lume-sync"]
        print(len(set(map(id, clients))), all(succeeded), len(loops))
    """)
    assert (done.code, done.out, done.err) == (0, "1 True 1\n", "")
    assert len({connection for connection, _ in service.looks}) <= 64


def test_closing_a_client_under_100_calls(service: Service, busy_switching: None) -> None:
    client, other = lume.Client("key"), lume.Client("key")

    def work(number: int) -> type[BaseException] | None:
        try:
            if number % 2:
                client.run_status(f"held-{number}")
            else:
                client.attach(f"x-{number}").wait(poll_interval=0.05)
        except lume.ClientClosedError as error:
            return type(error)
        return None

    with ThreadPoolExecutor(100) as pool:
        working = [pool.submit(work, number) for number in range(100)]
        deadline = time.monotonic() + ENOUGH
        while len({run_id for _, run_id in service.looks}) < 100:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        theirs = pool.submit(other.run_status, "done")
        client.close()
        assert {future.result(timeout=ENOUGH) for future in working} == {lume.ClientClosedError}
        assert theirs.result(timeout=ENOUGH).succeeded
    with pytest.raises(lume.ClientClosedError):
        client.run_status("done")
    with other:
        assert other.run_status("done").succeeded


def test_another_default_client_and_another(
    service: Service, busy_switching: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`init` leaves those that work with the one before alone; `close` ends its calls, and nothing else."""
    monkeypatch.setattr(_api, "_default", {})
    monkeypatch.setenv("LUME_API_KEY", "key")  # for a call between `close` and `init`
    stop = threading.Event()

    def work() -> set[str]:
        seen = set()
        while not stop.is_set():
            try:
                seen.add(str(lume.run_status("done").status))
            except lume.ClientClosedError:
                seen.add("closed")
        return seen

    def hammered(meanwhile: Callable[[], None]) -> set[str]:
        with ThreadPoolExecutor(16) as pool:
            working = [pool.submit(work) for _ in range(16)]
            try:
                look_on()
                meanwhile()
                look_on()
            finally:
                stop.set()
            return {status for future in working for status in future.result(timeout=ENOUGH)}

    def look_on() -> None:
        service.wait_for("done", looks=service.count("done") + 16)

    def begin_anew() -> None:
        for _ in range(20):
            lume.init("key")
            service.wait_for("done", looks=service.count("done") + 3)

    lume.init("key")
    assert hammered(begin_anew) == {"SUCCEEDED"}
    stop.clear()
    assert hammered(lume.close) <= {"SUCCEEDED", "closed"}
    assert lume.run_status("done").succeeded
    lume.close()
