"""How long would a run over many machines take? A simulation with its assumptions, for docs/guides/engines.md.

Nobody has measured it: two cores were there. The CPU time for a megabyte is measured by
`server.benchmarks.shards`; the rest is assumed, and named. Tasks differ in length as in real clusters; a phase ends
with its last.
"""

import heapq
import math
import random
from dataclasses import dataclass

SHOWN = (1, 10, 50)
"""Machines, in the guide."""


@dataclass(frozen=True)
class Assumed:
    """What the plan is made from."""

    source_bytes: float = 1e12
    shard_bytes: int = 256 * 1024**2
    machines: int = 50
    cores: int = 16
    cpu_per_mb: float = 0.09
    """CPU seconds of all tasks for a megabyte of CSV, with the rows mapped, judged and written."""
    phases: tuple[float, ...] = (0.05, 0.35, 0.45, 0.15)
    """How that is shared out: finding the cuts, taking in, judging, writing the parts, each after the one before."""
    reads: int = 2
    """How often the source is read: for the cuts, and for its rows."""
    store: float = 10e9
    """Bytes a second that the shared storage gives to all machines together."""
    spread: float = 0.35
    """Of the lengths of tasks: the standard deviation of their logarithm. One of 3,700 takes three times the mean."""
    coordinator: float = 0.01
    """Seconds of the server for each task of each phase."""


@dataclass(frozen=True)
class Planned:
    """What comes out."""

    shards: int
    slots: int
    cpu_hours: float
    minutes: float
    bound_by: str


def plan(assumed: Assumed, seed: int = 1) -> Planned:
    """A phase takes as long as its tasks on the slots, its reading, or the server's own work: whatever is longest."""
    shards = math.ceil(assumed.source_bytes / assumed.shard_bytes)
    slots, rng = assumed.machines * assumed.cores, random.Random(seed)
    cpu = assumed.source_bytes / 1e6 * assumed.cpu_per_mb
    spent = {"CPU": 0.0, "storage": 0.0, "server": 0.0}
    total = 0.0
    for number, share in enumerate(assumed.phases):
        times = {
            "CPU": _makespan(cpu * share / shards, shards, slots, assumed.spread, rng),
            "storage": assumed.source_bytes / assumed.store if number < assumed.reads else 0.0,
            "server": shards * assumed.coordinator,
        }
        worst = max(times, key=lambda name: times[name])
        spent[worst] += times[worst]
        total += times[worst]
    bound = max(spent, key=lambda name: spent[name])
    return Planned(shards, slots, cpu / 3600, total / 60, bound)


def _makespan(mean: float, tasks: int, slots: int, spread: float, rng: random.Random) -> float:
    """Seconds until the last task has ended, where each goes to the first slot that is free."""
    free = [0.0] * min(slots, tasks)
    for _ in range(tasks):
        length = mean * math.exp(rng.gauss(-spread * spread / 2, spread))
        heapq.heapreplace(free, free[0] + length)
    return max(free)


def row(machines: int) -> str:
    """A row of the guide's table."""
    found = plan(Assumed(machines=machines))
    return f"| {machines} | {found.slots} | {found.minutes:.0f} min | {found.bound_by} |"


if __name__ == "__main__":
    print("\n".join(row(machines) for machines in SHOWN))
    found = plan(Assumed())
    print(f"{found.shards:,} shards, {found.cpu_hours:.1f} CPU hours")
