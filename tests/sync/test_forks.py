"""Forks in a process that is busy with calls of other threads: whatever these are at, every child works.

Newer Pythons warn of forks with threads: here that is the point, so the scripts ignore it.
"""

import pytest
from sync.conftest import RunScript
from sync.service import Service

BUSY = """
import os, signal, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import lume_sync as lume

client = lume.Client()
parent, stop, failures = os.getpid(), threading.Event(), []

def hammer(number):
    try:
        while not stop.is_set():
            client.run_status(f"done-{parent}-{number}")
    except BaseException as error:
        failures.append(error)

def work(*_):
    process = os.getpid()
    runs = [client.run_status(f"done-{process}-{n}") for n in range(3)]
    runs.append(lume.run("f:v1", f"{process}-run").wait())  # the default client: made here, or in the parent
    return all(run.succeeded for run in runs), process

threads = [threading.Thread(target=hammer, args=[number]) for number in range(4)]
for thread in threads: thread.start()
"""

END = """
stop.set()
for thread in threads: thread.join()
print(failures, client.run_status(f"done-{parent}-end").status, parent)
"""


def each_process_had_its_own_connections(service: Service, processes: int) -> bool:
    found = service.connections_by_process()
    total = sum(map(len, found.values()))
    return len(found) == processes and total == len(set.union(*found.values()))


def test_plain_forks(run_script: RunScript, service: Service) -> None:
    done = run_script(
        BUSY
        + """
children = []
for number in range(24):
    if number == 12: work()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        succeeded, _ = work()
        os._exit(not succeeded)
    children.append(child)
print({os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children})
"""
        + END
    )
    assert (done.code, done.err) == (0, "")
    codes, failures, status, parent = done.out.split()
    assert (codes, failures, status) == ("{0}", "[]", "SUCCEEDED")
    assert each_process_had_its_own_connections(service, 25)
    kept = service.connections_by_process()[parent]
    # One for each thread, the main one among them, and one of the default client.
    assert len(kept) <= 6, "children have ended connections of the parent"


def test_a_block_of_the_parent_says_so_in_the_child(run_script: RunScript, service: Service) -> None:
    done = run_script(
        """
import os, signal, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import lume_sync as lume

def said(what):
    try:
        what()
    except lume.ClientClosedError as error:
        return str(error)

client = lume.Client()
with client.monitor() as monitor:
    monitor.add("x")
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        words = {said(lambda: next(monitor)), said(lambda: monitor.__exit__(None, None, None))}
        os._exit(words != {"this block belongs to another process, or its loop was closed"})
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    monitor.add("done")
    print(next(event.run.id for event in monitor if event.run.id == "done"))
"""
    )
    assert (done.code, done.out, done.err) == (0, "0\ndone\n", "")


@pytest.mark.parametrize("pool", ["multiprocessing", "concurrent.futures"])
def test_pools(run_script: RunScript, service: Service, pool: str) -> None:
    make = {
        "multiprocessing": "context.Pool(4, maxtasksperchild=4)",
        "concurrent.futures": "concurrent.futures.ProcessPoolExecutor(4, mp_context=context)",
    }[pool]
    done = run_script(
        BUSY
        + f"""
import concurrent.futures, multiprocessing
context = multiprocessing.get_context("fork")
with {make} as pool:
    succeeded, processes = zip(*pool.map(work, range(24)))
assert all(succeeded) and parent not in processes
"""
        + END
    )
    assert (done.code, done.err) == (0, "")
    failures, status, _ = done.out.split()
    assert (failures, status) == ("[]", "SUCCEEDED")
    assert each_process_had_its_own_connections(service, len(service.connections_by_process()))


def test_forks_while_a_call_is_at_any_stage(run_script: RunScript, service: Service) -> None:
    """A key is being asked for, a host looked up, the only place taken, others in the queue for it."""
    done = run_script("""
        import os, signal, threading, time, warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import lume_sync as lume

        def key():
            time.sleep(0.002 if os.getpid() == parent else 0)
            return "key"

        parent, codes = os.getpid(), set()
        for round_ in range(12):
            client = lume.Client(key, max_connections=1)
            names = [f"held-{round_}", "done-queued", "done-queued-too"]
            threads = [threading.Thread(target=client.run_status, args=[name], daemon=True) for name in names]
            for thread in threads: thread.start()
            time.sleep(0.0006 * round_)  # the stage that the fork meets
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                assert client.run_status("done").succeeded
                assert client.attach("done").wait().succeeded
                os._exit(0)
            codes.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            lume.run_status("release")
            for thread in threads: thread.join()
        print(codes)
    """)
    assert (done.code, done.out, done.err) == (0, "{0}\n", "")
