"""Scenarios whose crash points are all visited: each is played for every point, and killed before or after it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from attrs import frozen

from .invariants import judge
from .stage import play
from .world import World

Play = Callable[[World], Awaitable[None]]


@frozen
class Scenario:
    """What happens, and with which options of a world.

    Attributes:
        is_shared: whether servers share the state.
    """

    play: Play
    is_shared: bool = False


async def run(world: World) -> None:
    """The first start of a server, and a run."""
    world.counts = True
    world.write("a.csv", "ok ok ok")
    await _done(world, "a", "orders:v1", "a.csv")


async def rejects(world: World) -> None:
    """A run that rejects rows, some for a reason that another version doesn't have."""
    world.write("a.csv", "ok bad late late")
    await world.ready()
    world.counts = True
    await _done(world, "a", "orders:v1", "a.csv")


async def mend(world: World) -> None:
    """Corrected rejects are submitted; one of them is rejected again, another is left out."""
    world.write("a.csv", "ok bad bad bad")
    first = await _done(world, "a", "orders:v1", "a.csv")
    world.counts = True
    world.write("corrected.csv", "ok,0 bad,2", first=1)
    await _done(world, "b", "orders:v1", "corrected.csv", run_metadata={"resubmit_of": first})


async def replay(world: World) -> None:
    """The open rows of two runs are replayed by a newer version, which accepts some."""
    world.write("a.csv", "ok late bad late")
    world.write("b.csv", "ok late", first=10)
    await _done(world, "a", "orders:v1", "a.csv")
    await _done(world, "b", "orders:v1", "b.csv")
    world.counts = True
    await world.replay("c", "orders:v2")


async def arrival(world: World) -> None:
    """A file arrives, is processed, and moved."""
    world.options |= {"arrivals": world.folder / "arrivals.toml"}
    await world.ready()
    world.arrive("a.csv", "ok bad")
    world.counts = True
    await asyncio.sleep(40)


async def failed_arrival(world: World) -> None:
    """A file whose run fails is put aside, and taken again by a person."""
    world.options |= {"arrivals": world.folder / "arrivals.toml"}
    await world.ready()
    world.arrive("a.csv", "bad bad")
    world.counts = True
    await asyncio.sleep(20)
    await world.take_again("inbox")
    await asyncio.sleep(20)


async def rerun(world: World) -> None:
    """A source is processed again: its output is replaced, and that of rejects, of which there are none, removed."""
    world.write("a.csv", "ok bad bad")
    await _done(world, "a", "fixed:v1", "a.csv")
    world.write("a.csv", "ok ok")
    world.counts = True
    await _done(world, "b", "fixed:v1", "a.csv", force_rerun=True)


async def takeover(world: World) -> None:
    """A server takes over the state, and the run, of one that was killed."""
    world.write("a.csv", "ok bad late")
    server = await world.ready()
    first = asyncio.ensure_future(_done(world, "a", "orders:v1", "a.csv"))
    while not world.asked("SELECT 1 FROM runs WHERE status = 'SYNCING_TARGET'"):
        await asyncio.sleep(0.005)
    world.kill(server)
    world.counts = True
    await first


async def purge(world: World) -> None:
    """Outputs, uploads and runs are removed, days later."""
    world.purges = True
    day = 86400.0
    world.options |= {"keep_runs": day, "keep_output": day, "archive": world.folder / "archive"}
    world.write("a.csv", "ok ok")
    world.write("b.csv", "ok bad", first=10)
    for name in ("a", "b"):
        await _done(world, name, "orders:v1", f"{name}.csv")
    await asyncio.sleep(2)
    await world.stop()
    world.ahead += 3 * day
    world.counts = True
    await world.ready()
    await asyncio.sleep(5)


async def _done(world: World, key: str, flow: str, source: str, **fields: Any) -> str:
    run_id = await world.submit(key, flow, source, **fields)
    assert run_id is not None, world.submissions[key]
    await world.ended(run_id)
    return run_id


SCENARIOS = {
    "run": Scenario(run),
    "rejects": Scenario(rejects),
    "mend": Scenario(mend),
    "replay": Scenario(replay),
    "arrival": Scenario(arrival),
    "failed_arrival": Scenario(failed_arrival),
    "rerun": Scenario(rerun),
    "takeover": Scenario(takeover, is_shared=True),
    "purge": Scenario(purge),
}


def visit(name: str, kill_at: tuple[int, bool] | None, loop: str = "asyncio") -> World:
    """Play a scenario, kill at a point, and judge. Raises `Violation`."""
    scenario = SCENARIOS[name]

    async def history(world: World) -> None:
        await scenario.play(world)
        world.counts = False
        await judge(world)

    return play(history, 0, loop, is_shared=scenario.is_shared, kills=[] if kill_at is None else [kill_at])


def sweep(name: str, step: int = 1, first: int = 0) -> Iterable[tuple[int, bool]]:
    """Visit the points of a scenario, each from before and after; return them."""
    names = visit(name, None).names
    for number in range(first, 2 * len(names), step):
        at = number // 2, bool(number % 2)
        world = visit(name, at)
        assert world.names[: at[0] + 1] == names[: at[0] + 1], "the same seed is another history"
        yield at
