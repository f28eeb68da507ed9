"""Repeat a history, or play many: `python tests/simulation journaled 17 --only 3,5`, `… --count 100000`."""

import argparse
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation.histories import HISTORIES, check
from simulation.world import play


def main() -> int:
    """Play what the arguments say; return 1 if an invariant did not hold."""
    parser = argparse.ArgumentParser(prog="python tests/simulation", description=__doc__)
    parser.add_argument("kind", nargs="?", choices=HISTORIES, help="the kind of the history; default: all")
    parser.add_argument("seed", nargs="?", type=int, default=0, help="its seed, or that of the first one")
    parser.add_argument(
        "--only", help="the numbers of the events that happen, such as 3,5, or none; default: all"
    )
    parser.add_argument("--count", type=int, help="play so many, from the seed on, and count the failures")
    chosen = parser.parse_args()
    if chosen.count is not None:
        return play_many(chosen.kind, chosen.seed, chosen.count)
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


def play_many(kind: str | None, first: int, count: int) -> int:
    """Play `count` histories of a kind, or of all kinds in the proportions of the tests; print the failures."""
    whole = sum(number for _, number in HISTORIES.values())
    failed, played, began = 0, 0, time.process_time()
    for name, (_, number) in HISTORIES.items():
        if kind in (None, name):
            for seed in range(first, first + (count if kind else count * number // whole)):
                played += 1
                try:
                    check(name, seed)
                except AssertionError as error:
                    failed += 1
                    print(f"{name} {seed}: {error}\n", flush=True)
    took = time.process_time() - began
    print(f"{played} histories, {failed} failed, {played / took:.0f} a second of CPU")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
