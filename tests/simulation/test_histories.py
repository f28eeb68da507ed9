"""Histories of the core that seeds decide, and what holds in each of them; see `world` and the kinds."""

import subprocess
import sys
from pathlib import Path

import pytest

from lume_async import Client
from simulation.histories import HISTORIES, check
from simulation.world import World, play, shrunk

AT_ONCE = 50
HERE = Path(__file__).parent


@pytest.mark.parametrize(
    ("kind", "first"),
    [(kind, first) for kind, (_, count) in HISTORIES.items() for first in range(0, count, AT_ONCE)],
)
def test_the_invariants_hold(kind: str, first: int) -> None:
    _, count = HISTORIES[kind]
    for seed in range(first, min(count, first + AT_ONCE)):
        check(kind, seed)


def test_a_seed_is_the_same_history_in_every_process() -> None:
    """Neither the order of sets, nor addresses, nor the time reach a decision.

    Only the order in which anyio cancels the tasks of one group is that of a set, so the lines are sorted, unless
    bytes travel: of those, what a cancelled task no longer waits for is no part of the trace.
    """
    program = (
        f"import sys; sys.path.insert(0, {str(HERE.parent)!r})\n"
        "from simulation.histories import HISTORIES\nfrom simulation.world import play\n"
        "for kind, (history, number) in HISTORIES.items():\n    for seed in range(min(6, number)):\n"
        "        trace = play(history, seed).network.trace\n"
        "        print(kind, seed, *(trace if 'on_bytes' in kind else sorted(trace)), sep='\\n')\n"
    )
    traces = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert traces[0] == traces[1]
    assert traces[0].count("\n") > 1000


def impatient(world: World) -> None:
    """A history with a mistake in it: somebody takes it that no answer is ever lost."""

    async def program(client: Client) -> None:
        await client.run("flow:v1", "a.csv")

    world.network.kinds = ("reset after",)
    world.live(program)


def test_a_failure_is_shrunk_to_the_events_that_it_needs() -> None:
    failing = next(seed for seed in range(200) if shrunk(impatient, seed) is not None)
    smaller = shrunk(impatient, failing)
    assert smaller is not None
    numbers, names, error = smaller
    with pytest.raises(type(error)):
        play(impatient, failing, numbers)
    for number in numbers:
        play(impatient, failing, [other for other in numbers if other != number])
    assert any("reset after" in name for name in names)
