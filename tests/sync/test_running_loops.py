"""Calls from within an event loop of the program's own, asyncio's or uvloop's, and what drives the private one."""

import signal

import pytest
from components import package
from sync.conftest import Interrupt, RunScript
from sync.service import Service


@pytest.mark.parametrize("loop", ["uvloop"], indirect=True)
def test_uvloop_connects_without_threads_that_a_fork_would_break(
    run_script: RunScript, service: Service
) -> None:
    done = run_script("""
        from pathlib import Path
        import lume_sync
        lume_sync.run_status("done")
        print([file.read_text() for file in Path("/proc/self/task").glob("*/comm") if "uv" in file.read_text()])
    """)
    assert (done.code, done.out, done.err) == (0, "[]\n", "")


LOOPS = pytest.mark.parametrize(
    ("loop", "outer"),
    [
        ("asyncio", "asyncio"),
        ("uvloop", "uvloop"),
        pytest.param("uvloop", "asyncio", marks=pytest.mark.thorough),
    ],
    ids=lambda name: name,
    indirect=["loop"],
)
"""The private loop's kind, and that of the program."""


@LOOPS
def test_it_works_and_the_one_warning_names_the_twin(
    run_script: RunScript, service: Service, outer: str
) -> None:
    done = run_script(f"""
        import warnings, {outer}, lume_async, lume_sync as lume
        async def main():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                run = lume.run("f:v1", "1").wait()
                runs = [run, lume.run_status("done"), *lume.watch("done"), await lume_async.run_status("done")]
            assert all(run.succeeded for run in runs)
            [warning] = caught
            assert issubclass(warning.category, RuntimeWarning)
            print(warning.message)
        {outer}.run(main())
        print(lume.run_status("done").status)
    """)
    said = (
        "Client.run of lume_sync blocks the event loop that is running in this thread; in async code, await "
    )
    assert (done.code, done.out, done.err) == (
        0,
        f"{said}lume_async's Client.run (reported once)\nSUCCEEDED\n",
        "",
    )


@LOOPS
@pytest.mark.parametrize(
    ("call", "name"),
    [("list(lume.watch('done'))", "iteration"), ("lume.monitor().__enter__()", "block")],
    ids=["iteration", "block"],
)
def test_the_warning_names_no_module_that_users_do_not_know(
    run_script: RunScript, service: Service, outer: str, call: str, name: str
) -> None:
    done = run_script(f"""
        import warnings, {outer}, lume_sync as lume
        async def main():
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                {call}
            [warning] = caught
            print(warning.message)
        {outer}.run(main())
    """)
    said = f"{name} of lume_sync blocks the event loop that is running in this thread; in async code, await "
    assert (done.code, done.out, done.err) == (0, f"{said}lume_async's {name} (reported once)\n", "")


@LOOPS
def test_the_second_ctrl_c_ends_it(interrupt: Interrupt, outer: str) -> None:
    """The first one asks the program's task to end, which it can't while the call blocks its loop."""
    done = interrupt(
        f"""
        import asyncio, threading, time, {outer}, lume_sync as lume
        def tell(task):
            while not task.cancelling():
                time.sleep(0.001)
            lume.run_status("cancelled")
        async def main():
            threading.Thread(target=tell, args=[asyncio.current_task()]).start()
            lume.attach("x").wait(poll_interval=0.01)
        {outer}.run(main())
        """,
        after="x",
        then=("cancelled",),
        flags=("-W", "ignore"),
    )
    assert done.code == -signal.SIGINT
    assert done.err.splitlines()[-1].startswith("KeyboardInterrupt")


@pytest.mark.parametrize("run", ["trio.run(main)", 'anyio.run(main, backend="trio")'])
def test_under_trio_the_private_loop_stays_asyncio(run_script: RunScript, service: Service, run: str) -> None:
    package("trio")
    done = run_script(f"""
        import anyio, trio, lume_sync as lume
        async def main():
            runs = [lume.run("f:v1", "1").wait(), *lume.watch("done")]
            runs += [outcome.run for outcome in lume.as_completed(["done"])]
            outcomes = list(lume.run_many([lume.RunRequest("f:v1", str(n)) for n in range(5)]))
            with lume.monitor() as monitor:
                monitor.add("done")
                runs.append(next(monitor).run)
            assert all(run.succeeded for run in [*runs, *(outcome.run for outcome in outcomes)])
            print(len(runs), len(outcomes))
        {run}
    """)
    assert (done.code, done.out, done.err) == (0, "4 5\n", "")
