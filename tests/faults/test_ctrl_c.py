"""Ctrl-C at any moment of a program that uses lume_sync, its exit included: it ends, interrupted or done.

Each process is interrupted at a random instant: 15 in a run of the tests, others in each round of `scripts/soak`.
"""

import asyncio
import random
import re
import signal
import textwrap
from pathlib import Path

import pytest
from faults.support import SEED, Finished, Script
from run_service import ALL, RunService

LOOPS = {
    "monitor": """
        with client.monitor(poll_interval=0.01) as monitor:
            for run_id in (slow, other, quick):
                monitor.add(run_id)
            for _, _ in zip(range(2), monitor):
                pass
    """,
    "run_many": """
        for outcome in client.run_many(requests(), max_active=4, poll_interval=0.01):
            outcome.result()
    """,
    "run_many with a journal": """
        for outcome in client.run_many(requests(), journal=f"{folder}/{next(numbers)}.db", poll_interval=0.01):
            outcome.result()
    """,
    "as_completed": """
        for outcome in client.as_completed([slow, quick, other], timeout=0.02, poll_interval=0.01):
            pass
    """,
    "wait": """
        with contextlib.suppress(lume.RunTimeoutError):
            client.attach(slow).wait(timeout=0.02, poll_interval=0.01)
    """,
}
PROGRAM = """
import asyncio, contextlib, itertools, os, signal, sys, time
import lume_sync as lume
from lume_sync._bridge import portal
# What the calls import late: in the middle of an import, Python's own files are left open.
import lume_async._batch.run_many, lume_async._many.completion, lume_async._many.monitor

signal.signal(signal.SIGINT, signal.default_int_handler)
slow, other, quick = "run_1", "run_2", "run_3"
numbers = itertools.count()

def requests():
    return [lume.RunRequest("flow:v1", f"{os.getpid()}-{next(numbers)}.csv") for _ in range(3)]

async def tasks():
    return [task.get_coro().__qualname__ for task in asyncio.all_tasks() - {asyncio.current_task()}]

def loop(client, folder):
    until = time.monotonic() + 0.15
    while time.monotonic() < until:
%s

folder = os.environ["FOLDER"]
with lume.Client(proxy=False) as client:
    client.run_status(quick)
    print("ready", flush=True)
    %s
print("end", flush=True)
"""
ENDS = "loop(client, folder)"
GOES_ON = """with contextlib.suppress(KeyboardInterrupt):
        loop(client, folder)
    assert client.run_status(quick).id == quick
    deadline = time.monotonic() + 5
    while (left := portal.call(tasks).result()) != ["_Context._own"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left == ["_Context._own"], left  # the client's own block"""
"""What the program does: it lets Ctrl-C end it, or catches it and goes on: no task is left then."""

AT_ONCE = 3
"""Processes of each kind, side by side."""

NOISE = re.compile("was destroyed|never retrieved|never awaited|nclosed|Exception in |exception was|Fatal")
LAST_WORDS = re.compile(
    r"^(?!Traceback|Exception ignored|During handling|The above|Error calling __set_name__)\w.*$",
    re.MULTILINE,
)
"""The line of a traceback that names the error, and everything else at the margin but a note of Python on it."""


def judge(done: Finished) -> None:
    said = f"{done.code}\n{done.out}\n{done.err}"
    assert done.code in (0, -signal.SIGINT), said
    assert not NOISE.search(done.err), said
    if done.err:  # at the end of the interpreter it may come as one that is ignored
        words = LAST_WORDS.findall(done.err)[-1]
        too_late = "end" in done.out and words.endswith(
            "Signal 2 ignored due to race condition"
        )  # CPython's own
        assert words.startswith("KeyboardInterrupt") or too_late, said
    else:  # the interpreter was so near its end that the signal's default action took it
        assert done.code == 0 or "end" in done.out, said


async def interrupted(kind: str, rng: random.Random, folder: Path) -> Finished:
    loop = textwrap.indent(textwrap.dedent(LOOPS[kind]), 8 * " ")
    program = PROGRAM % (loop, rng.choice([ENDS, GOES_ON]))

    def statuses(body: dict[str, object]) -> list[str]:
        ends = ["SUCCEEDED"] if body["source_path"] != "slow.csv" else []
        return ["CREATED", "TRANSFORMING", *ends]

    capabilities = rng.choice([ALL, ("idempotency",)])
    async with RunService(statuses, capabilities=capabilities) as service:
        for source in ("slow.csv", "slow.csv", "quick.csv"):
            service.add(source_path=source)
        # Not one that the program removes: in the middle of that, Python's own files are left open.
        env = {"LUME_BASE_URL": service.url, "FOLDER": str(folder)}
        async with Script(program, env=env, flags=("-X", "dev", "-W", "error"), forked=True) as script:
            stdout = script.process.stdout
            assert stdout is not None
            said = await stdout.readline()
            if rng.random() < 0.3:
                said += await stdout.readline()
                await asyncio.sleep(rng.uniform(0, 0.06))
            else:
                await asyncio.sleep(rng.uniform(0, 0.2))
            if script.process.returncode is None:
                script.process.send_signal(signal.SIGINT)
            done = await script.end()
            return Finished(done.code, said.decode() + done.out, done.err)


@pytest.mark.parametrize("kind", LOOPS)
async def test_ctrl_c_at_any_moment(kind: str, tmp_path: Path) -> None:
    seeds = range(SEED, SEED + AT_ONCE)
    folders = [tmp_path / str(seed) for seed in seeds]
    for folder in folders:
        folder.mkdir()
    processes = [
        interrupted(kind, random.Random(f"{kind} {seed}"), folder)
        for seed, folder in zip(seeds, folders, strict=True)
    ]
    for done in await asyncio.gather(*processes):
        judge(done)
