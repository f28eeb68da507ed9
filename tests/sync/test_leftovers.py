"""After Ctrl-C in a loop nothing is left on the private loop, and it takes no garbage collection to get there."""

import pytest
from sync.conftest import Interrupt

LOOPS = {
    "monitor": """
        with lume.Client() as client, client.monitor(poll_interval=0.01) as monitor:
            monitor.add("x")
            for event in monitor: pass
    """,
    "a monitor of a client that stays": """
        client = kept
        with client.monitor(poll_interval=0.01) as monitor:
            monitor.add("x")
            for event in monitor: pass
    """,
    "watch": """for run in lume.watch("x", poll_interval=0.01): pass""",
    "as_completed": """for outcome in lume.as_completed(["x", "done"], poll_interval=0.01): pass""",
    "run_many": """for outcome in lume.run_many(requests(), poll_interval=0.01): pass""",
    "run_many with a journal": """
        journal = tempfile.mkdtemp() + "/j.db"
        try:
            for outcome in lume.run_many(requests(), journal=journal, poll_interval=0.01): pass
        finally:
            again.append(lambda: list(lume.run_many(several(), journal=journal)))
    """,
    "wait_all": """lume.wait_all(["x"], poll_interval=0.01)""",
    "wait": """lume.attach("x").wait(poll_interval=0.01)""",
}


@pytest.mark.thorough
@pytest.mark.parametrize("gap", [None, 0.0005])
@pytest.mark.parametrize("name", LOOPS)
def test_no_task_is_left_after_ctrl_c(interrupt: Interrupt, name: str, gap: float | None) -> None:
    """Once, or twice with a gap: the second one arrives during the clean-up after the first, or later."""
    done = interrupt(
        f"""
import asyncio, gc, itertools, tempfile, threading, time, lume_sync as lume
from lume_sync._bridge import portal
gc.disable()
kept = lume.Client()
kept.run_status("done")

again = []

def several():
    return [lume.RunRequest("flow:v1", f"{{number}}.csv") for number in range(300)]

def requests():
    for number, request in enumerate(several()):
        yield request
        if number == 2:
            time.sleep(0.05)
            lume.run_status("x")

def loop():
{LOOPS[name] if LOOPS[name].startswith(chr(10)) else "        " + LOOPS[name]}

async def names():
    return [task.get_coro().__qualname__ for task in asyncio.all_tasks() - {{asyncio.current_task()}}]

def workers():
    return [thread.name for thread in threading.enumerate() if thread.name == "lume-worker"]

def interrupted():
    try:
        loop()
    except KeyboardInterrupt:
        if {gap is not None}:
            time.sleep(0.2)  # for the second one

try:
    interrupted()
except KeyboardInterrupt:
    pass
print("interrupted", flush=True)
deadline = time.monotonic() + 3
while (left := portal.call(names).result() + workers()) and time.monotonic() < deadline:
    time.sleep(0.01)
print(left, flush=True)
for call in again:
    assert len(call()) == 300
""",
        after="x",
        times=1 if gap is None else 2,
        gap=gap or 0,
    )
    unraisable = "Exception ignored" in done.err and done.err.endswith(
        "KeyboardInterrupt: \n"
    )  # in a finalizer
    assert (done.code, done.out) == (0, "interrupted\n[]\n"), done
    assert done.err == "" or unraisable, done.err
