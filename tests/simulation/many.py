"""Histories of many runs together: monitors, and clients before a limit."""

import asyncio
from collections import Counter

from lume_async import Client, LumeRun, Outcome, RunRequest
from lume_async.errors import ApiError, ClientClosedError, RunTimeoutError
from lume_async.testing import RequestLimit
from lume_async.testing._habits import Habits
from simulation.follow import OVERTIME, leave, place_of
from simulation.world import World, noticed_in_time, within


async def runs_of(world: World, client: Client, count: int) -> list[LumeRun]:
    """Return runs, some of this client, that the server finds."""
    runs = []
    for n in range(count):
        if world.random.random() < 0.3:
            try:
                runs.append(await client.run("flow:v1", f"{n}.csv", force_rerun=True))
                continue
            except ApiError:
                pass
        run = world.server.add(source_path=f"other-{n}.csv")
        runs.append(client.attach(run.id))
        await asyncio.sleep(world.random.choice([0.0, 0.0, 0.5]))
    await asyncio.sleep(3.0)
    return runs


def monitored(world: World) -> None:
    """Runs in a monitor that come, go and are asked for, or in one of its siblings."""
    count = world.chance.pick("runs", [2, 1, 5, 20])
    how = world.random.choice(["monitor", "monitor", "as_completed", "wait_all"])
    timeout = world.random.choice([0.0, 5.0, 400.0])
    if world.chance.happens(0.3, "the feed is odd"):
        world.server._habits.feed = world.chance.pick("it is", ["silent", "repeats", "forgets"])

    async def program(client: Client) -> None:
        runs = await runs_of(world, client, count)
        if how == "monitor":
            await watched(world, client, runs)
        else:
            await completed(world, client, runs, how, timeout)

    world.live(program)


async def watched(world: World, client: Client, runs: list[LumeRun]) -> None:
    """Watch runs; add, discard and notify at random meanwhile; check what is reported."""
    ends, discarded = Counter[str](), set[str]()
    begun = Counter(run.id for run in runs)  # how often each was begun to be watched
    places: dict[str, int] = {}
    leaves = world.random.choice(["", "", "cancel", "twice", "close"])
    tells = world.server._habits.feed in ("whole", "forgets")

    async def disturb() -> None:
        for _ in range(10):
            await asyncio.sleep(world.random.choice([0.0, 0.01, 1.0, 20.0]))
            if reading.done():
                return
            run = world.random.choice(runs)
            what = world.random.choice(["add", "notify", "notify", "discard"])
            if what == "add" and not ends[run.id]:
                # Anew, if it was discarded, or its end waits to be read.
                begun[run.id] += run.id not in monitor._watched
                monitor.add(run)
                discarded.discard(run.id)
            elif what == "notify":
                monitor.notify(run.id)
            elif what == "discard" and world.random.random() < 0.5:
                monitor.discard(run)
                discarded.add(run.id)

    async def read() -> None:
        while monitor.pending:
            event = await anext(monitor)
            run_id = event.run.id
            if event.error is None and run_id in world.server.runs and event.run.status is not None:
                place = place_of(world.server.runs[run_id], event.run.status)
                in_order = place >= places.get(run_id, 0) or begun[run_id] > 1
                assert in_order, f"changes are reported in their order: {event!r}"
                places[run_id] = place
            assert ends[run_id] < begun[run_id], (
                f"each end is reported once, and nothing of a run after it: {event!r}"
            )
            if event.error is not None or event.run.is_terminal:
                ends[run_id] += 1
                # With a feed that tells ends, each of them is noticed in time, not only the last one.
                if tells and world.is_calm and begun[run_id] == 1 and run_id not in discarded:
                    noticed_in_time(world, max(began_at, world.server.runs[run_id].changes[-1][0]))

    began_at = world.simulation.now()
    async with client.monitor() as monitor:
        for run in runs:
            monitor.add(run)
        disturbing, reading = asyncio.create_task(disturb()), asyncio.create_task(read())
        if leaves:
            await asyncio.wait([reading], timeout=2 ** (world.random.random() * 6) - 1)
            await leave(reading, client, leaves)
        else:
            await asyncio.wait([reading], timeout=2000.0)
            if world.is_calm and sum(begun.values()) == len(runs) and not discarded:
                last = max(world.server.runs[run.id].changes[-1][0] for run in runs)
                noticed_in_time(world, max(last, began_at))
        disturbing.cancel()
        await asyncio.wait([disturbing])
        if not leaves and world.is_calm:
            assert reading.done() or discarded, "each end is reported: the monitor waits for ever"
        reading.cancel()
        await asyncio.wait([reading])
        error = None if reading.cancelled() else reading.exception()
        disturbed = None if disturbing.cancelled() else disturbing.exception()
    for failure in (error, disturbed):
        allowed = ClientClosedError if leaves == "close" else RuntimeError if failure is disturbed else ()
        if failure is not None and not isinstance(failure, allowed):
            raise failure
    if not leaves and world.is_calm:
        missed = {run.id for run in runs} - set(ends) - discarded
        assert not missed, f"each end is reported: {missed}"


async def completed(world: World, client: Client, runs: list[LumeRun], how: str, timeout: float) -> None:
    """Wait for all runs, some of them given twice; check the outcomes."""
    given = [*runs, *(run for run in runs if world.random.random() < 0.2)]
    begun = world.simulation.now()
    world.network.deadline = begun + timeout  # at it runs are asked for once more, however new they are
    outcomes: list[Outcome[LumeRun]] = []
    if how == "wait_all":
        outcomes = await client.wait_all(given, timeout=timeout)
        assert [outcome.run_id for outcome in outcomes] == [run.id for run in given], (
            "outcomes have the order of runs"
        )
    else:
        async for outcome in client.as_completed(given, timeout=timeout):
            outcomes.append(outcome)
            if world.random.random() < 0.1:
                await asyncio.sleep(0.5)
    if how == "wait_all":
        within(begun + timeout + OVERTIME, how)
    told, asked = Counter(outcome.run_id for outcome in outcomes), Counter(run.id for run in given)
    assert told == asked, (
        f"each run has one outcome for each time that it was given: {told} instead of {asked}"
    )
    if world.has_forgotten:
        return
    ended = begun
    for outcome in outcomes:
        assert outcome.run_id is not None
        truth = world.server.runs[outcome.run_id].changes[-1]
        if outcome.run is not None:
            assert outcome.run.status == truth[1], "an outcome shows the end of its run"
            ended = max(ended, truth[0])
        else:
            assert isinstance(outcome.error, ApiError | RunTimeoutError), (
                f"an error of ours: {outcome.error!r}"
            )
            assert not world.is_calm or timeout < 400, f"without faults each end is seen: {outcome.error!r}"
    if how == "wait_all" and all(outcome.run is not None for outcome in outcomes):
        noticed_in_time(world, ended)


def limited(world: World) -> None:
    """One or two clients with hundreds of short runs before a server that takes so many requests a second.

    Refused are those under way when the limit is met, and at most 9 % of all; and they take at most 1.35 times as
    long as the limit needs: as in docs/design/throttle.md. The eight seconds are those of a search that found too
    low a rate, and of the last polls.
    """
    world.server._habits, world.server._grace = Habits(), 0.0
    world.network.faults, world.network.delays, world._accidents = 0.0, (0.01,), []
    clients = world.random.choice([1, 1, 2])
    rate, burst = world.random.choice([(50, 10), (100, 10), (100, 100)])
    limit = world.server.limit = RequestLimit(rate, burst, tells=world.random.random() < 0.5)
    count = 300 // clients
    requests = [[RunRequest("flow:v1", f"{m}-{n}.csv") for n in range(count)] for m in range(clients)]

    async def program(client: Client) -> None:
        begun = world.simulation.now()
        others = [world.client() for _ in range(clients - 1)]

        async def batch(which: Client, items: list[RunRequest]) -> int:
            return len([outcome async for outcome in which.run_many(items, max_active=1000) if outcome.run])

        pairs = zip([client, *others], requests, strict=True)
        ended = await asyncio.gather(*(batch(which, items) for which, items in pairs))
        for other in others:
            await other.aclose()
        assert ended == [count] * clients, f"each item has a run: {ended}"
        taken = sum(world.server.requests.values()) - world.server.refused
        took, needed = world.simulation.now() - begun, (taken - limit.burst) / limit.rate
        longest = max(run.changes[-1][0] - run.changes[0][0] for run in world.server.runs.values())
        refused, at_once = world.server.refused, clients * client._sender.settings.max_connections
        assert refused <= at_once + 0.09 * (taken + refused), (
            f"refused are those under way and 9 %: {refused} of {taken + refused}"
        )
        assert took <= 1.35 * needed + longest + 8, (
            f"a limit is used: {took:.1f} s for what needs {needed:.1f} s"
        )

    world.live(program)
