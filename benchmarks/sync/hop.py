"""What does one synchronous call cost over the coroutine that it runs?

    ROUNDS=15 python -m benchmarks.sync.hop

An empty coroutine through the facade's hop, against other ways from a thread into a loop, and 5,000 ready items
through the facade's iteration. The contestants take turns in every round, both threads on one core (waking another
core costs more than any hop and is the same for all); a ratio is the median of the rounds' ratios. Peers that are
not installed are skipped: pip install asgiref synchronicity.
"""

import asyncio
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from benchmarks._bench import header, interleaved, table
from lume_async._base.batched import Batched
from lume_sync._hops.iteration import Items
from lume_sync._hops.portal import Portal

CALLS, ITEMS, PAGE = 2_000, 5_000, 100
ITERATION = "lume_sync, an item of an iteration"
BASE = "run_coroutine_threadsafe"
TARGETS = {
    ("lume_sync", BASE): 0.78,
    ("lume_sync", "anyio portal.call"): 0.45,
    ("lume_sync", "synchronicity"): 0.50,
    ("lume_sync", "asgiref async_to_sync"): 0.15,
    (ITERATION, "lume_sync"): 0.03,
}


async def empty() -> None: ...


class Pages(Batched[int]):
    """5,000 items, 100 of them ready at a time, as a list of runs has them."""

    def __init__(self) -> None:
        self.left, self.ready = ITEMS, 0

    async def __anext__(self) -> int:
        if not self.left:
            raise StopAsyncIteration
        self.ready = PAGE
        return self._take_ready(1)[0]

    def _take_ready(self, limit: int) -> list[int]:
        taken = min(limit, self.ready)
        self.ready -= taken
        self.left -= taken
        return [0] * taken


def start_loop(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> asyncio.AbstractEventLoop:
    loop = new_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


def contestants(running: ExitStack) -> dict[str, Callable[[], object]]:
    """Name and one call of each; every one has its loop running already, asyncio's own unless it says so."""
    portal = Portal(new_loop=asyncio.new_event_loop)
    loop = start_loop(asyncio.new_event_loop)
    found: dict[str, Callable[[], object]] = {
        "lume_sync": lambda: portal.call(empty).result(),
        BASE: lambda: asyncio.run_coroutine_threadsafe(empty(), loop).result(),
    }
    try:
        import uvloop
    except ImportError:
        print("uvloop is not installed: skipped")
    else:
        fast, fast_loop = Portal(new_loop=uvloop.new_event_loop), start_loop(uvloop.new_event_loop)
        found["lume_sync on uvloop"] = lambda: fast.call(empty).result()
        found[f"{BASE} on uvloop"] = lambda: asyncio.run_coroutine_threadsafe(empty(), fast_loop).result()
    from anyio.from_thread import start_blocking_portal

    anyio_portal = running.enter_context(start_blocking_portal())
    found["anyio portal.call"] = lambda: anyio_portal.call(empty)
    try:
        from asgiref.sync import async_to_sync
    except ImportError:
        print("asgiref is not installed: skipped")
    else:
        found["asgiref async_to_sync"] = async_to_sync(empty)
    try:
        from synchronicity import Synchronizer
    except ImportError:
        print("synchronicity is not installed: skipped")
    else:
        found["synchronicity"] = Synchronizer().create_blocking(empty, "blocking_empty", __name__)
    return found


def p50(call: Callable[[], object]) -> float:
    """Microseconds of the median call."""
    times = []
    for _ in range(CALLS):
        before = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - before)
    return statistics.median(times) / 1e3


def an_item(portal: Portal) -> float:
    """Microseconds per item of the median iteration in bulk: a median, as for the calls."""
    times = []
    for _ in range(40):
        before = time.perf_counter_ns()
        count = sum(1 for _ in Items(portal, Pages(), lambda item: item))
        times.append(time.perf_counter_ns() - before)
        assert count == ITEMS
    return statistics.median(times) / 1e3 / ITEMS


def main() -> int:
    header("anyio", "uvloop", "asgiref", "synchronicity")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with ExitStack() as running:  # anyio's portal, dropped at the end of the process, waits for ever
        return measure(contestants(running))


def measure(calls: dict[str, Callable[[], object]]) -> int:
    portal = Portal(new_loop=asyncio.new_event_loop)
    measures: dict[str, Callable[[], float]] = {name: partial(p50, call) for name, call in calls.items()}
    measures[ITERATION] = lambda: an_item(portal)
    for call in calls.values():
        call()
    results = interleaved(measures)
    table(results, BASE, unit="p50 us")
    print()
    missed = False
    for (one, other), target in TARGETS.items():
        if other not in results:
            continue
        found = statistics.median(mine / its for mine, its in zip(results[one], results[other], strict=True))
        missed |= found > target
        print(f"{one} / {other}: {found:.3f} (target {target}: {'met' if found <= target else 'MISSED'})")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
