"""Repeat a history, or play many: `python tests/simulation journaled 17 --only 3,5`, `… --count 100000 --jobs 4`."""

import argparse
import sys
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation.histories import HISTORIES, check
from simulation.world import play

AT_ONCE = 200
"""The number of histories that a process takes at a time."""


def main() -> int:
    """Play what the arguments say; return 1 if an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="python tests/simulation", description=__doc__)
    parser.add_argument("kind", nargs="?", choices=HISTORIES, help="the kind of the history; default: all")
    parser.add_argument("seed", nargs="?", type=int, default=0, help="its seed, or that of the first one")
    parser.add_argument(
        "--only", help="the numbers of the events that happen, such as 3,5, or none; default: all"
    )
    parser.add_argument("--count", type=int, help="play so many, from the seed on, and count the failures")
    parser.add_argument("--first", type=int, help="with --count: the seed of the first one of each kind")
    parser.add_argument("--jobs", type=int, default=1, help="with --count: so many processes")
    chosen = parser.parse_args()
    if chosen.count is not None:
        first = chosen.seed if chosen.first is None else chosen.first
        return play_many(chosen.kind, first, chosen.count, chosen.jobs)
    only = None
    if chosen.only is not None:
        only = [int(number) for number in chosen.only.split(",") if number != "none"]
    if chosen.kind is None:
        parser.error("name the kind of the history, or how many to play (--count)")
    history, _ = HISTORIES[chosen.kind]
    try:
        world = play(history, chosen.seed, only)
    except (AssertionError, Exception):
        traceback.print_exc()
        return 1
    print("\n".join(world.network.trace))
    return 0


def play_many(kind: str | None, first: int, count: int, jobs: int) -> int:
    """Play `count` histories of a kind, or of all kinds in the proportions of the tests; print the failures."""
    whole = sum(number for _, number in HISTORIES.values())
    shares = {
        name: count if kind else max(1, count * number // whole)
        for name, (_, number) in HISTORIES.items()
        if kind in (None, name)
    }
    parts = [
        (name, seed, min(AT_ONCE, first + share - seed))
        for name, share in shares.items()
        for seed in range(first, first + share, AT_ONCE)
    ]
    failed, took = 0, 0.0
    with ProcessPoolExecutor(jobs) if jobs > 1 else nullcontext() as pool:
        for failures, seconds in pool.map(play_part, parts) if pool else map(play_part, parts):
            failed, took = failed + len(failures), took + seconds
            for failure in failures:
                print(failure, flush=True)
    played = sum(shares.values())
    print(f"{played} histories, {failed} failed, {played / took:.0f} a second of CPU")
    return int(failed > 0)


def play_part(part: tuple[str, int, int]) -> tuple[list[str], float]:
    """Play some histories of a kind; return the failures and the seconds of CPU."""
    name, first, count = part
    failures, began = list[str](), time.process_time()
    for seed in range(first, first + count):
        try:
            check(name, seed)
        except AssertionError as error:
            failures.append(f"{name} {seed}: {error}\n")
    return failures, time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
