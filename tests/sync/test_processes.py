"""What only a process of its own can show: forks, Ctrl-C at the prompt, the interpreter's exit, patched threads.

Every script runs on both kinds of loop and under a watchdog that shows where it hangs.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sync.conftest import ROOT, RunScript


class Service(ThreadingHTTPServer):
    """A Lume service with one run for each id: `done…` has succeeded, any other is at work for ever."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.looks: list[tuple[int, str]] = []

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_GET(self) -> None:
        run_id = self.path.rpartition("/")[2]
        self.server.looks.append((self.client_address[1], run_id))
        status = "SUCCEEDED" if run_id.startswith("done") else "TRANSFORMING"
        run = {"id": run_id, "status": status, "flow_version": "f:v1", "source_path": "s", "metadata": {}}
        body = json.dumps({**run, "created_at": "2026-01-01T00:00:00Z"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with Service() as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        monkeypatch.setenv("LUME_BASE_URL", running.url)
        yield running
        running.shutdown()


# ── fork ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_forked_child_gets_a_loop_and_connections_of_its_own(
    run_script: RunScript, service: Service
) -> None:
    done = run_script("""
        import gc, os, signal, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks with threads
        import lume_sync as lume
        client = lume.Client()
        run = client.run_status("done1")
        watching = client.watch("x")
        next(watching)
        child = os.fork()
        if child == 0:
            signal.alarm(5)
            assert client.run_status("done2").id == "done2"
            assert run.wait() is run
            try:
                next(watching)
            except lume.ClientClosedError:
                print("refused", flush=True)
            del watching, client, run
            gc.collect()
            raise SystemExit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert next(client.watch("done3")).succeeded
        print("parent too")
    """)
    assert (done.code, done.out, done.err) == (0, "refused\nparent too\n", "")
    ports = {run_id: {port for port, seen in service.looks if seen == run_id} for _, run_id in service.looks}
    assert ports["done2"].isdisjoint(ports["done1"])
    assert ports["done3"] == ports["done1"], "the parent's connection did not survive its child"


def test_every_child_of_a_busy_parent_works(run_script: RunScript, service: Service) -> None:
    done = run_script("""
        import os, signal, threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks with threads
        from lume_sync._bridge import portal
        async def nothing(): ...
        stop = threading.Event()
        def hammer():
            while not stop.is_set():
                portal.call(nothing).result()
        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads: thread.start()
        children = []
        for _ in range(50):
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                for _ in range(3): portal.call(nothing).result()
                os._exit(0)
            children.append(child)
        codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
        stop.set()
        for thread in threads: thread.join()
        print(codes)
    """)
    assert (done.out, done.err) == ("{0}\n", "")


def test_a_child_leaves_quietly_and_may_fork_again(run_script: RunScript, service: Service) -> None:
    done = run_script(
        """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import lume_sync as lume
        assert lume.run_status("done").succeeded
        def generation(depth):
            child = os.fork()
            if child:
                return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert lume.run_status("done").succeeded
            raise SystemExit(generation(depth - 1) if depth else 0)
        code = generation(2)
        assert lume.run_status("done").succeeded
        raise SystemExit(code)
        """,
        flags=("-X", "dev", "-W", "error"),
    )
    assert (done.code, done.out, done.err) == (0, "", "")


def test_multiprocessing_by_fork_and_pickled_runs(run_script: RunScript, service: Service) -> None:
    done = run_script("""
        import multiprocessing, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import lume_sync as lume
        def work(run):
            return run.wait().id
        runs = [lume.run_status(f"done{number}") for number in range(8)]
        with multiprocessing.get_context("fork").Pool(4) as pool:
            print(pool.map(work, runs) == [run.id for run in runs])
    """)
    assert (done.out, done.err) == ("True\n", "")


# ── Ctrl-C ──────────────────────────────────────────────────────────────────────────────────────────────────────


def interrupted(
    source: str, service: Service, *, after: str, times: int = 1
) -> subprocess.CompletedProcess[str]:
    """Runs the script, presses Ctrl-C once the service has seen the run `after`, and waits for its end."""
    watchdog = "import faulthandler; faulthandler.dump_traceback_later(20, exit=True)\n"
    with subprocess.Popen(
        [sys.executable, "-c", watchdog + textwrap.dedent(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LUME_API_KEY": "test-key"},
    ) as process:
        deadline = time.monotonic() + 15
        while not any(run_id == after for _, run_id in service.looks):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def test_ctrl_c_stops_the_looks_and_the_program(service: Service) -> None:
    begun = time.monotonic()
    done = interrupted('import lume_sync; lume_sync.attach("x").wait(poll_interval=0.01)', service, after="x")
    assert done.returncode == -signal.SIGINT
    assert done.stderr.splitlines()[-1].startswith("KeyboardInterrupt")
    assert time.monotonic() - begun < 10


def test_after_ctrl_c_nothing_is_looked_at_any_more_and_the_next_call_works(service: Service) -> None:
    done = interrupted(
        """
        import time, lume_sync as lume
        for work in (lambda: lume.attach("x").wait(poll_interval=0.01),
                     lambda: list(lume.watch("x", poll_interval=0.01)),
                     lambda: lume.wait_all(["x"], poll_interval=0.01)):
            try:
                work()
            except KeyboardInterrupt:
                print("interrupted", flush=True)
                break
        lume.run_status("marker")
        time.sleep(0.3)  # time in which a look that goes on would be seen
        assert lume.run_status("done").succeeded
        """,
        service,
        after="x",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
    after = [run_id for _, run_id in service.looks]
    assert after[after.index("marker") :] == ["marker", "done"]


@pytest.mark.parametrize("times", [1, 2, 3])
def test_many_ctrl_cs_end_the_program_all_the_more(service: Service, times: int) -> None:
    done = interrupted(
        'import lume_sync; list(lume_sync.watch("x", poll_interval=0.01))', service, after="x", times=times
    )
    assert done.returncode == -signal.SIGINT
    assert "Timeout (" not in done.stderr


# ── exit ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_program_that_closes_nothing_ends_quietly(run_script: RunScript, service: Service) -> None:
    done = run_script(
        """
        import lume_sync as lume
        client = lume.Client()
        assert client.run_status("done").succeeded
        assert lume.run_status("done").succeeded
        watching = client.watch("x")
        next(watching)
        monitor = client.monitor().__enter__()
        monitor.add("x")
        next(monitor)
        """,
        flags=("-X", "dev", "-W", "error"),
    )
    assert (done.code, done.out, done.err) == (0, "", "")


def test_exit_handlers_may_call_whenever_they_were_registered(
    run_script: RunScript, service: Service
) -> None:
    done = run_script(
        """
        import atexit
        def call():
            import lume_sync
            print(lume_sync.run_status("done").status, flush=True)
        atexit.register(call)
        import lume_sync as lume
        lume.run_status("done")
        atexit.register(call)
        """,
        flags=("-X", "dev", "-W", "error"),
    )
    assert (done.code, done.out, done.err) == (0, "SUCCEEDED\nSUCCEEDED\n", "")


def test_a_finalizer_after_the_end_gets_an_error_and_not_a_hang(
    run_script: RunScript, service: Service
) -> None:
    done = run_script(
        """
        import sys, lume_sync as lume
        class Late:
            def __del__(self):
                try:
                    self.client.run_status("done")
                except lume.ClientClosedError:
                    print("too late", flush=True)
        late = Late()
        late.client = lume.Client()
        late.client.run_status("done")
        sys.modules["late"] = late
        """,
        flags=("-X", "dev", "-W", "error"),
    )
    assert (done.code, done.out, done.err) == (0, "too late\n", "")


def test_threads_under_way_at_the_end_do_not_hold_it_up(run_script: RunScript, service: Service) -> None:
    done = run_script("""
        import threading, lume_sync as lume
        started = threading.Event()
        def work():
            started.set()
            lume.attach("x").wait()
        threading.Thread(target=work, daemon=True).start()
        lume.run_status("done")
        started.wait()
        def slow_key():
            started.clear()
            threading.Event().wait()
        threading.Thread(target=lambda: lume.Client(slow_key).run_status("y"), daemon=True).start()
        while started.is_set(): pass
    """)
    assert (done.code, done.out, done.err) == (0, "", "")


# ── neighbours ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_importing_loads_no_http_library_and_starts_no_thread(run_script: RunScript) -> None:
    done = run_script("""
        import sys, threading, lume_sync
        dir(lume_sync)
        print(sorted({"aiohttp", "anyio", "asyncio", "attrs", "cattrs", "orjson"} & set(sys.modules)))
        lume_sync.Client()
        print(threading.active_count())
    """)
    assert (done.out, done.err) == ("[]\n1\n", "")


def test_nothing_of_asyncio_is_patched_or_set(run_script: RunScript, service: Service) -> None:
    done = run_script("""
        import asyncio, warnings
        def state():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                policy = asyncio.get_event_loop_policy()
            return {name: id(value) for name, value in vars(asyncio).items()}, id(policy)
        asyncio.get_event_loop_policy
        before = state()
        import lume_sync
        lume_sync.run_status("done")
        print(state() == before, asyncio._get_running_loop())
    """)
    assert (done.out, done.err) == ("True None\n", "")


def test_under_gevent_there_is_one_clear_error(run_script: RunScript) -> None:
    pytest.importorskip("gevent")
    done = run_script("""
        from gevent import monkey
        monkey.patch_all()
        import lume_sync
        try:
            lume_sync.run_status("done")
        except RuntimeError as error:
            print(error)
    """)
    assert "patched by gevent" in done.out
