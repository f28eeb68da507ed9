"""Histories of `run_many`: with a journal and kills, without one, left early."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from lume_async import Client, LumeRun, Outcome, RunRequest
from lume_async.errors import ApiError, RunTimeoutError
from simulation.world import World, within

Outcomes = list[Outcome[LumeRun]]
OVERTIME = 13.0
"""Seconds after its timeout in which a batch ends: submissions under way have 10, the last polls 2."""


def requests_of(world: World) -> list[RunRequest]:
    """Return up to eight requests; some are alike in all but the source, some come twice on purpose."""
    force = world.chance.pick("force_rerun", [False, True])
    count = world.chance.pick("items", [1, 2, 3, 5, 8])
    metadata = world.chance.pick("with metadata", [False, True])
    return [
        RunRequest("flow:v1", f"{n}.csv", {"n": n} if metadata else None, force, priority=0)
        for n in range(count)
    ]


def journaled(world: World) -> None:
    """A batch with a journal that is killed and started again, until it ends."""
    requests = requests_of(world)
    active = world.chance.pick("max_active", [100, 1, 3])
    timeout = world.random.choice([30.0, 3000.0])

    async def batch(client: Client) -> tuple[Outcomes, bool]:
        begun, outcomes = world.simulation.now(), Outcomes()
        items = client.run_many(
            requests, journal=world.folder / "journal", max_active=active, timeout=timeout
        )
        is_late = False
        try:
            async for outcome in items:
                outcomes.append(outcome)
        except RunTimeoutError:
            is_late = True
        within(begun + timeout + OVERTIME, "run_many")
        check_ends(world)
        return outcomes, is_late

    outcomes, is_late = world.live(batch, kills=world.chance.pick("kills", [0, 1, 2, 3]))
    check_outcomes(world, requests, outcomes, all_taken=not is_late, in_time=timeout > 1000)


def plain(world: World) -> None:
    """A batch without a journal, from an asynchronous input that takes time."""
    requests = requests_of(world)
    active = world.chance.pick("max_active", [100, 1, 3])

    async def given() -> AsyncIterator[RunRequest]:
        for request in requests:
            await asyncio.sleep(world.random.choice([0.0, 0.0, 2.0]))
            yield request

    async def batch(client: Client) -> Outcomes:
        outcomes = [outcome async for outcome in client.run_many(given(), max_active=active, timeout=3000)]
        check_ends(world)
        return outcomes

    check_outcomes(world, requests, world.live(batch))


def left_early(world: World) -> None:
    """A batch whose reader leaves after some outcomes, or is cancelled, or whose client is closed."""
    requests = requests_of(world)
    journal = world.folder / "journal" if world.random.random() < 0.5 else None
    how = world.random.choice(["leave", "cancel", "twice", "close"])
    after = 2 ** (world.random.random() * 6) - 1
    taken: Outcomes = []

    async def read(client: Client) -> None:
        items = client.run_many(requests, journal=journal, timeout=3000)
        async with items:
            async for outcome in items:
                taken.append(outcome)
                if how == "leave" and world.random.random() < 0.5:
                    break

    async def batch(client: Client) -> None:
        reading = asyncio.create_task(read(client))
        if how == "leave":
            await reading
            return
        await asyncio.wait([reading], timeout=after)
        if how == "close":
            await client.aclose()
        else:
            reading.cancel()
            if how == "twice":
                await asyncio.sleep(0)
                reading.cancel()
        await asyncio.wait([reading], timeout=60.0)
        assert reading.done(), "a wait ends by its deadline: the batch goes on after it was told to end"
        if not reading.cancelled() and (error := reading.exception()) is not None and how != "close":
            raise error

    world.live(batch)
    check_at_most_one(world)
    if journal is None:
        return

    async def again(client: Client) -> Outcomes:
        return [outcome async for outcome in client.run_many(requests, journal=journal, timeout=3000)]

    check_outcomes(world, requests, world.live(again))


def check_outcomes(
    world: World,
    requests: list[RunRequest],
    outcomes: Outcomes,
    *,
    all_taken: bool = True,
    in_time: bool = True,
) -> None:
    """Check that each item that was taken has one outcome, and the runs that it speaks of."""
    given = Counter(request.source_path for request in requests)
    told = Counter(outcome.request.source_path for outcome in outcomes if outcome.request)
    complete = told == given if all_taken else told <= given
    assert complete, f"each item has one outcome: {told - given} more, {given - told} fewer"
    check_at_most_one(world)
    forgotten = {run.id for run in world.server.lost}
    for outcome in outcomes:
        assert outcome.request is not None
        if outcome.run is not None:
            if outcome.run.id in forgotten:
                continue
            run = world.server.runs[outcome.run.id]
            assert run.source_path == outcome.request.source_path, "an outcome is of its own item"
            assert outcome.run.status == run.changes[-1][1], "an outcome shows the end of its run"
        elif world.is_calm and in_time:
            raise AssertionError(f"without faults every item has a run: {outcome.error!r}") from outcome.error
        else:
            assert isinstance(outcome.error, ApiError | RunTimeoutError), (
                f"an error of ours: {outcome.error!r}"
            )


def check_at_most_one(world: World) -> None:
    """Check that no submission has two runs. One that failed at once may hide behind a lost answer."""
    if world.has_forgotten:
        return
    for source, runs in world.server.doubled().items():
        open_runs = [run for run in runs if world.server.runs[run].changes[-1][1] != "FAILED"]
        forced = any(world.server.runs[run].body["force_rerun"] for run in runs)
        assert not forced, f"at most one run a submission: {source} has {runs}"
        assert len(open_runs) <= 1, f"at most one run a submission: {source} has {open_runs}"


def check_ends(world: World) -> None:
    """Check, at the end of a batch in which nothing went wrong, that its last end was not noticed late.

    Polls are up to 5 s apart, ± a quarter; a request and the end may meet on the way.
    """
    if world.is_calm and world.server.runs:
        last = max(run.changes[-1][0] for run in world.server.runs.values())
        limit = 5.0 * 1.25 + 6 * max(world.network.delays)
        late = world.simulation.now() - last
        assert late <= limit, (
            f"ends are noticed in time: {late:.1f} s after the last one, more than {limit:.1f} s"
        )
