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
    "wait_all": """lume.wait_all(["x"], poll_interval=0.01)""",
    "wait": """lume.attach("x").wait(poll_interval=0.01)""",
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", LOOPS)
def test_no_task_is_left_after_ctrl_c(interrupt: Interrupt, name: str) -> None:
    done = interrupt(
        f"""
import asyncio, gc, itertools, time, lume_sync as lume
from lume_sync._bridge import portal
gc.disable()
kept = lume.Client()
kept.run_status("done")

def requests():
    for number in itertools.count():
        yield lume.RunRequest("flow:v1", "s.csv")
        lume.run_status("x")

def loop():
{LOOPS[name] if LOOPS[name].startswith(chr(10)) else "        " + LOOPS[name]}

async def names():
    return [task.get_coro().__qualname__ for task in asyncio.all_tasks() - {{asyncio.current_task()}}]

try:
    loop()
except KeyboardInterrupt:
    print("interrupted", flush=True)
deadline = time.monotonic() + 2
while (left := portal.call(names).result()) and time.monotonic() < deadline:
    time.sleep(0.01)
print(left, flush=True)
""",
        after="x",
    )
    assert (done.code, done.out, done.err) == (0, "interrupted\n[]\n", "")
