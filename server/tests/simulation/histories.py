"""Random histories: clients, servers, and what may happen to them, all drawn from a seed; and their shrinking."""

import asyncio
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve, frozen

from lume_local._http.exchange import Ask

from .invariants import judge
from .stage import play
from .world import Server, Violation, World

KINDS = ("one", "several")
"""A server alone, and several over one state."""
LOOPS = ("asyncio", "uvloop")
FAULTS = {
    "dies": 0.03,
    "hangs": 0.01,
    "slow": 0.05,
    "refuses": 0.2,
    "away": 0.05,
    "clings": 0.3,
    "babbles": 0.1,
}
"""The probabilities of faults: at each step of a worker, each message, each file, each death of a server."""
SERVERS = 3
LONG = 16.0
"""Seconds of a history until it comes to rest."""


@frozen
class Act:
    """Something that happens at a time: a client's request, or mischief."""

    at: float
    what: str
    arguments: tuple[Any, ...] = ()


@frozen
class Plan:
    """All that is drawn from a seed, besides the dice of its faults.

    Attributes:
        kills: numbers of points, and whether the process is killed after them.
    """

    kind: str
    seed: int
    loop: str
    faults: dict[str, float]
    acts: tuple[Act, ...]
    kills: tuple[tuple[int, bool], ...]


def drawn(kind: str, seed: int) -> Plan:
    """Return the plan of a history."""
    dice = random.Random(f"{kind} {seed}")
    faults = {name: most for name, most in FAULTS.items() if dice.random() < 0.5}
    acts = [*_submissions(dice), *_follow_ups(dice), *_mischief(dice, kind)]
    kills = tuple((dice.randrange(60, 900), dice.random() < 0.5) for _ in range(dice.choice((0, 0, 1, 2, 4))))
    return Plan(kind, seed, dice.choice(LOOPS), faults, tuple(sorted(acts, key=lambda act: act.at)), kills)


def _submissions(dice: random.Random) -> Iterator[Act]:
    for number in range(dice.randint(1, 4)):
        kinds = " ".join(dice.choices(("ok", "bad", "late"), (5, 1, 2), k=dice.randint(1, 6)))
        at, flow = dice.uniform(0, LONG / 2), dice.choice(("orders:v1", "orders:v1", "orders:v2", "fixed:v1"))
        key, source = f"k{number}", f"source{number}.csv"
        yield Act(at, "submit", (key, flow, source, kinds, number * 100))
        if dice.random() < 0.5:  # the client, or another one, sends it again meanwhile
            yield Act(at + dice.choice((0.0, 0.01, 1.0)), "submit", (key, flow, source, kinds, number * 100))
        if dice.random() < 0.3:
            yield Act(at + dice.uniform(0, 3), "rival", (f"{key}-rival", flow, source))
        if dice.random() < 0.2:
            yield Act(at + dice.uniform(0, 2), "cancel", (key,))
        if dice.random() < 0.5:
            yield Act(at, "mend", (key, dice.choice(("ok", "bad")), dice.randint(1, 3)))
        if dice.random() < 0.3 and flow == "fixed:v1":
            yield Act(at, "rerun", (key, flow, source))
    for number in range(dice.choice((0, 0, 1, 2))):
        yield Act(
            dice.uniform(0, LONG / 2),
            "arrive",
            (f"file{number}.csv", dice.choice(("ok ok", "ok bad late", "bad"))),
        )


def _follow_ups(dice: random.Random) -> Iterator[Act]:
    for number in range(dice.choice((0, 1, 2))):
        yield Act(dice.uniform(LONG / 4, LONG), "replay", (f"r{number}", "orders:v2"))
    if dice.random() < 0.3:
        yield Act(dice.uniform(LONG / 4, LONG), "discard", ("orders",))


def _mischief(dice: random.Random, kind: str) -> Iterator[Act]:
    for _ in range(dice.choice((0, 1, 2, 3))):
        whom = dice.choice(("server", "server", "worker", "all"))
        yield Act(dice.uniform(0, LONG), "kill", (whom,))
    for _ in range(dice.choice((0, 0, 1, 2))):
        yield Act(dice.uniform(0, LONG), "jump", (dice.choice((-7200.0, -5.0, 5.0, 7200.0)),))
    for _ in range(dice.choice((0, 1)) if kind == "one" else dice.choice((0, 1, 2, 3))):
        yield Act(dice.uniform(0, LONG), "stall", (dice.choice((0.5, 4.0, 7.0, 20.0)),))
    if dice.random() < 0.3:
        yield Act(dice.uniform(0, LONG), "stop")


async def _carry_out(world: World, plan: Plan) -> None:
    world.counts = True
    if any(act.what == "arrive" for act in plan.acts):
        world.options |= {"arrivals": world.folder / "arrivals.toml"}
    supervisor = asyncio.create_task(_supervise(world, SERVERS if plan.kind == "several" else 1))
    await world.ready()
    began = world.loop.time()

    async def do(act: Act) -> None:
        await asyncio.sleep(max(0.0, began + act.at - world.loop.time()))
        await ACTS[act.what](world, *act.arguments)

    tasks = [asyncio.create_task(do(act)) for act in plan.acts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in (supervisor, *tasks):
            task.cancel()
        await asyncio.wait([supervisor, *tasks])
    await judge(world)


async def _supervise(world: World, number: int) -> None:
    """Start servers again that have ended, as a supervisor does."""
    while True:
        alive = sum(not (one.is_dead or one.task is None or one.task.done()) for one in world.servers)
        for _ in range(number - alive):
            world.start()
        await asyncio.sleep(0.7)


# -- acts


async def _submit(world: World, key: str, flow: str, source: str, kinds: str, first: int) -> None:
    if not (world.folder / source).exists():
        world.write(source, kinds, first)
    await world.submit(key, flow, source)


async def _rival(world: World, key: str, flow: str, source: str) -> None:
    """Another client submits the same source."""
    if (world.folder / source).exists():
        await world.submit(key, flow, source)


async def _rerun(world: World, key: str, flow: str, source: str) -> None:
    """The source is written again, without rejects, and processed again."""
    if await _end_of(world, key) is not None:
        world.write(source, "ok ok")
        await world.submit(f"{key}-again", flow, source, force_rerun=True)


async def _end_of(world: World, key: str) -> str | None:
    """Return a run once it has ended; None if it was refused, or not submitted for long."""
    end = world.loop.time() + 10 * LONG
    while world.submissions.get(key, {}).get("run") is None:
        if "refused" in world.submissions.get(key, {}) or world.loop.time() > end:
            return None
        await asyncio.sleep(0.5)
    run_id = str(world.submissions[key]["run"])
    await world.ended(run_id)
    return run_id


async def _mend(world: World, key: str, kind: str, rows: int) -> None:
    """A person corrects the first rejects of a run, and submits them."""
    run_id = await _end_of(world, key)
    found = world.asked("SELECT count, flow FROM rejected WHERE run_id = ?", run_id)
    if found:
        (rejects, flow), name = found[0], f"{key}-mended.csv"
        world.write(
            name, " ".join(f"{kind},{n}" for n in range(min(rows, rejects))), first=int(key[1:]) * 100 + 50
        )
        version = "v1" if flow == "fixed" else "v2"
        await world.submit(f"{key}-mend", f"{flow}:{version}", name, run_metadata={"resubmit_of": run_id})


async def _cancel(world: World, key: str) -> None:
    run_id = world.submissions.get(key, {}).get("run")
    if run_id is not None:
        await world.insisted(lambda api: api.runs.cancel(Ask({"run_id": run_id}, [], b"")))


async def _discard(world: World, flow: str) -> None:
    body = json.dumps({"flow": flow, "why": "not needed"}).encode()
    await world.insisted(lambda api: api.rejects.discard(world.ask("discard", body)))


async def _replay(world: World, key: str, to: str) -> None:
    await world.replay(key, to)


async def _arrive(world: World, name: str, kinds: str) -> None:
    world.arrive(name, kinds)


async def _kill(world: World, whom: str) -> None:
    alive = [one for one in world.servers if not one.is_dead]
    chosen: list[Any] = alive if whom == "all" else [one for one in alive if one.is_ready][:1]
    if whom == "worker":
        chosen = [worker for one in alive for worker in one.workers if not worker.is_dead]
        chosen = [world.dice.choice(chosen)] if chosen else []
    for one in chosen:
        world.kill(one)


async def _jump(world: World, seconds: float) -> None:
    for server in world.servers:
        server.offset += seconds


async def _stall(world: World, seconds: float) -> None:
    ready: list[Server] = [one for one in world.servers if one.is_ready]
    if ready:
        await world.freeze(ready[0], seconds)


async def _stop(world: World) -> None:
    for server in world.servers:
        server.stop.set()


ACTS: dict[str, Callable[..., Any]] = {
    "submit": _submit,
    "rival": _rival,
    "rerun": _rerun,
    "mend": _mend,
    "cancel": _cancel,
    "discard": _discard,
    "replay": _replay,
    "arrive": _arrive,
    "kill": _kill,
    "jump": _jump,
    "stall": _stall,
    "stop": _stop,
}


# -- a history, and its smallest form


def carried_out(plan: Plan) -> World:
    """Play a plan. Raises `Violation`, or whatever goes wrong."""
    return play(
        lambda world: _carry_out(world, plan),
        plan.seed,
        plan.loop,
        is_shared=plan.kind == "several",
        faults=plan.faults,
        kills=plan.kills,
    )


def failure(plan: Plan) -> str:
    """Return what is wrong with a history: the invariant, or the kind of an error; empty if nothing is."""
    try:
        carried_out(plan)
    except Violation as violation:
        return violation.invariant
    except Exception as error:
        return type(error).__name__
    return ""


def shrunk(plan: Plan, tries: int = 200) -> Plan:
    """Return a smaller plan that fails in the same way: fewer acts, faults and kills, and earlier ones."""
    wrong, is_smaller = failure(plan), True
    while is_smaller and tries > 0:
        is_smaller = False
        for smaller in _smaller(plan):
            tries -= 1
            if failure(smaller) == wrong:
                plan, is_smaller = smaller, True
                break
            if tries <= 0:
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    half = len(plan.acts) // 2
    if half > 1:
        yield evolve(plan, acts=plan.acts[:half])
        yield evolve(plan, acts=plan.acts[half:])
    for n in range(len(plan.kills)):
        yield evolve(plan, kills=plan.kills[:n] + plan.kills[n + 1 :])
    for name in plan.faults:
        yield evolve(plan, faults={other: most for other, most in plan.faults.items() if other != name})
    for n in range(len(plan.acts)):
        yield evolve(plan, acts=plan.acts[:n] + plan.acts[n + 1 :])
    for n, (number, is_after) in enumerate(plan.kills):
        if number > 60:
            yield evolve(
                plan, kills=(*plan.kills[:n], (60 + (number - 60) // 2, is_after), *plan.kills[n + 1 :])
            )
