"""What only a process of its own can show: forks, Ctrl-C at the prompt, the interpreter's exit, patched threads.

Every script runs on both kinds of loop and under a watchdog that shows where it hangs.
"""

import signal
import sys

import pytest
from sync.conftest import Interrupt, RunScript
from sync.service import Service

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
    parents = service.connections_of("done1")
    assert service.connections_of("done2").isdisjoint(parents)
    assert service.connections_of("done3") == parents, "the parent's connection did not survive its child"


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


# ── Ctrl-C ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("times", [1, 2, 3])
def test_many_ctrl_cs_end_the_program_all_the_more(interrupt: Interrupt, times: int) -> None:
    done = interrupt(
        'import lume_sync; list(lume_sync.watch("x", poll_interval=0.01))', after="x", times=times
    )
    assert done.code == -signal.SIGINT


# ── exit ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_program_that_closes_nothing_ends_quietly(run_script: RunScript, service: Service) -> None:
    done = run_script(
        """
        import logging, lume_sync as lume
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # -X dev reports slow callbacks
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


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="starts no thread in exit handlers")
def test_the_first_call_of_a_program_may_come_from_an_exit_handler(
    run_script: RunScript, service: Service
) -> None:
    done = run_script(
        """
        import atexit, lume_sync as lume
        atexit.register(lambda: print(lume.run_status("done").status, flush=True))
        """,
        forked=False,
    )
    assert (done.code, done.out, done.err) == (0, "SUCCEEDED\n", "")


def test_an_exit_handler_that_can_start_no_thread_gets_an_error_of_ours(run_script: RunScript) -> None:
    done = run_script("""
        import atexit, threading, lume_sync as lume
        def refuse(thread):
            raise RuntimeError("can't create new thread at interpreter shutdown")  # Python 3.12 does
        def call():
            try:
                lume.run_status("done")
            except lume.ClientClosedError:
                print("too late", flush=True)
        def end():
            threading.Thread.start = refuse
            call()
        atexit.register(end)
    """)
    assert (done.code, done.out, done.err) == (0, "too late\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="the C library's handlers are called by its Linux name")
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_happens_after_the_interpreter_has_ended_does_no_harm(
    run_script: RunScript, service: Service, loop: str
) -> None:
    """A callback of uvloop would ask for the lock of an interpreter that is gone: a segmentation fault."""
    done = run_script(f"""
        import ctypes, sys, threading, time
        if {loop!r} == "asyncio":
            sys.modules["uvloop"] = None
        import lume_sync as lume
        threading.Thread(target=lume.attach("x").wait, kwargs=dict(poll_interval=0.5), daemon=True).start()
        time.sleep(0.25)  # the next poll is due when the interpreter has ended
        libc = ctypes.CDLL(None)
        libc.__cxa_atexit(libc.usleep, ctypes.c_void_p(600_000), None)
    """)
    assert (done.code, done.out, done.err) == (0, "", "")


def test_an_exit_handler_may_need_the_address_of_a_host(run_script: RunScript, service: Service) -> None:
    """No name was looked up before, and by then the threads of the standard pools have ended."""
    done = run_script(
        """
        import atexit, os, lume_sync as lume
        named = os.environ["LUME_BASE_URL"]
        lume.Client(base_url=named.replace("localhost", "127.0.0.1")).run_status("done")
        atexit.register(lambda: print(lume.Client(base_url=named).run_status("done").status, flush=True))
        """,
        flags=("-X", "dev", "-W", "error"),
    )
    assert (done.code, done.out, done.err) == (0, "SUCCEEDED\n", "")


@pytest.mark.parametrize("facade", ["sync", "async"])
def test_a_name_server_that_never_answers_does_not_hold_up_the_end(
    run_script: RunScript, facade: str
) -> None:
    call = """lume_sync.Client(**options).run_status("x")"""
    if facade == "async":
        call = """asyncio.run(lume_async.Client(**options).run_status("x"))"""
    done = run_script(f"""
        import asyncio, socket, threading, lume_async, lume_sync
        socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
        options = dict(base_url="http://lume.invalid", request_timeout=0.1, retry=lume_sync.Retry(attempts=1))
        try:
            {call}
        except lume_sync.ApiTimeoutError:
            print("timed out")
    """)
    assert (done.code, done.out, done.err) == (0, "timed out\n", "")


@pytest.mark.thorough
@pytest.mark.parametrize(
    "call",
    [
        'self.client.run_status("done")',
        'lume.run_status("done")',  # these use what was not used before
        "next(lume.list_runs())",
        "list(lume.run_many([lume.RunRequest('flow:v1', 's3://bucket/a.csv')]))",
        "lume.Client().attach('done').wait()",
    ],
)
def test_a_finalizer_after_the_end_gets_an_error_and_not_a_hang(
    run_script: RunScript, service: Service, call: str
) -> None:
    done = run_script(
        f"""
        import sys, lume_sync as lume
        class Late:
            def __del__(self):
                try:
                    {call}
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


@pytest.mark.thorough
def test_importing_loads_no_http_library_and_starts_no_thread(run_script: RunScript) -> None:
    done = run_script(
        """
        import sys, threading, lume_sync
        dir(lume_sync)
        print(sorted({"aiohttp", "anyio", "asyncio", "attrs", "cattrs", "orjson"} & set(sys.modules)))
        lume_sync.Client()
        print(threading.active_count())
    """,
        forked=False,
    )
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
