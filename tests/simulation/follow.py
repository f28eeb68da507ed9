"""Histories of runs that are followed: waits, slots, lists, and what an event loop leaves behind."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import orjson

from lume_async import Client, LumeRun, Monitor
from lume_async._batch.journal_file import held_paths
from lume_async._http.transport import Body, Transport
from lume_async._wire.call import Receiver, Response
from lume_async.errors import (
    ApiError,
    ClientClosedError,
    NotSupportedError,
    RunFailedError,
    RunTimeoutError,
)
from lume_async.testing._server import SimulatedRun
from simulation.world import World, noticed_in_time, within

OVERTIME = 2.0
"""Seconds after its deadline in which a wait ends: a long poll may be answered one late, the last poll takes one."""


class Spy:
    """A transport that notes the newest status of each run that an answer has brought."""

    def __init__(self, world: World, client: Client) -> None:
        self._inner: Transport = client._sender._transport
        self._runs = world.server.runs
        self.newest: dict[str, int] = {}
        client._sender._transport = self

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Body,
        timeout: float,
        receiver: Receiver | None = None,
    ) -> Response:
        answer = await self._inner.request(
            method, path, headers=headers, body=body, timeout=timeout, receiver=receiver
        )
        if answer.status < 300 and path.startswith("/v1/runs"):
            try:
                record = orjson.loads(answer.body)
            except orjson.JSONDecodeError:
                return answer
            if record.get("id") in self._runs:
                place = place_of(self._runs[record["id"]], record["status"])
                self.newest[record["id"]] = max(place, self.newest.get(record["id"], -1))
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


def place_of(run: SimulatedRun, status: str) -> int:
    """Return the place of a status among those that the run has one after the other."""
    return [name for _, name in run.changes].index(status)


async def given_run(world: World, client: Client, n: int = 0) -> LumeRun:
    """Return a run of this client, or of somebody else if it has none; one that the server finds."""
    if world.random.random() < 0.5:
        try:
            return await client.run("flow:v1", f"{n}.csv")
        except ApiError:
            assert not world.is_calm, "without faults every submission has a run"
    run = world.server.add(source_path=f"{n}.csv", force_rerun=True)
    await asyncio.sleep(3.0)
    return client.attach(run.id)


def following(world: World) -> None:
    """A run that is waited for in one of several ways, until it ends, or the time, or somebody's patience."""
    how = world.random.choice(["wait", "completion", "watch", "wait_all"])
    timeout = world.random.choice([0.0, 3.0, 30.0, 600.0])
    leaves: Literal["", "cancel", "twice", "close"] = world.random.choice(
        ["", "", "cancel", "twice", "close"]
    )
    after = 2 ** (world.random.random() * 6) - 1

    async def wait(client: Client, run: LumeRun) -> None:
        if how == "wait":
            await run.wait(timeout)
        elif how == "completion":
            await client.wait_for_run_completion(run.id, 10_000, timeout=timeout)
        elif how == "watch":
            places = []
            async for state in run.watch(timeout=timeout):
                assert state.status is not None
                places.append(place_of(world.server.runs[run.id], state.status))
            assert places == sorted(set(places)), f"a change is reported once, in its order: {places}"
        else:
            for outcome in await client.wait_all([run], timeout=timeout):
                if outcome.error is not None:
                    raise outcome.error

    async def program(client: Client) -> None:
        spy = Spy(world, client)
        run = await given_run(world, client)
        begun = world.simulation.now()
        if how == "wait_all":
            world.network.deadline = begun + timeout
        waiting = asyncio.create_task(wait(client, run))
        if leaves:
            await asyncio.wait([waiting], timeout=after)
            await leave(waiting, client, leaves)
        else:
            await asyncio.wait([waiting])
            within(begun + timeout + OVERTIME, how)
        error = None if waiting.cancelled() else waiting.exception()
        allowed = ApiError | RunFailedError | RunTimeoutError | ClientClosedError
        assert error is None or isinstance(error, allowed), f"an error of ours: {error!r}"
        if world.has_forgotten or run.id not in world.server.runs:
            return
        truth = world.server.runs[run.id]
        if how in ("wait", "watch") and run.id in spy.newest and not waiting.cancelled():
            assert run.status is not None
            place = place_of(truth, run.status)
            assert place >= spy.newest[run.id], (
                f"a wait reports the newest state that it has seen: {run.status}"
            )
        if not leaves:
            check_end(error, truth)

    def check_end(error: BaseException | None, truth: SimulatedRun) -> None:
        ended, status = truth.changes[-1]
        if error is None:
            assert status == "SUCCEEDED" or how in ("watch", "completion", "wait_all"), (
                "a wait succeeds with its run"
            )
            assert ended <= world.simulation.now(), "a wait ends after its run"
            if how != "completion":  # it has delays of its own
                noticed_in_time(world, max(ended, begun_of(truth)), alone=how in ("wait", "watch"))
        elif isinstance(error, RunTimeoutError) and world.is_calm and timeout == 600.0:
            raise AssertionError(f"without faults a wait sees the end: {error!r}") from error
        elif isinstance(error, ApiError):
            assert not world.is_calm or isinstance(error, RunTimeoutError), (
                f"without faults no error: {error!r}"
            )

    def begun_of(truth: SimulatedRun) -> float:
        """Return when the wait can have begun at the earliest: a run may have ended before."""
        return truth.changes[0][0] + 3.0

    world.live(program)


async def leave(task: "asyncio.Task[Any]", client: Client, how: str) -> None:
    """Cancel a task, once or twice, or close its client; see that it ends at once."""
    if how == "close":
        await client.aclose()
    else:
        task.cancel()
        if how == "twice":
            await asyncio.sleep(0)
            task.cancel()
    await asyncio.wait([task], timeout=0.1)
    assert task.done(), f"who leaves waits for nothing: the task goes on after {how}"


def crowded(world: World) -> None:
    """More waits than connections, some of them cancelled, beside short requests."""
    world.options["max_connections"] = world.chance.pick("max_connections", [1, 2, 4])
    count = world.random.choice([3, 10, 30])

    async def program(client: Client) -> None:
        runs = [world.server.add(source_path=f"{n}.csv") for n in range(count)]
        await asyncio.sleep(3.0)
        begun = world.simulation.now()
        waits = [asyncio.create_task(client.attach(run.id).wait(300)) for run in runs]
        leaving = [wait for wait in waits if world.random.random() < 0.3]
        for wait in leaving:
            await asyncio.sleep(world.random.choice([0.0, 0.0, 0.1, 3.0]))
            wait.cancel()
            if world.random.random() < 0.3:
                await asyncio.sleep(0)
                wait.cancel()
            if world.random.random() < 0.3:
                asked = asyncio.create_task(client.run_status(runs[0].id))
                await asyncio.sleep(world.random.choice([0.0, 0.01]))
                asked.cancel()
                await asyncio.wait([asked])
        await asyncio.wait(waits)
        within(begun + 300 + OVERTIME, "a crowd of waits")
        for wait, run in zip(waits, runs, strict=True):
            error = None if wait.cancelled() else wait.exception()
            if world.is_calm and wait not in leaving and max(world.network.delays) <= 1:
                expected = None if run.changes[-1][1] == "SUCCEEDED" else RunFailedError
                assert isinstance(error, expected or type(None)), (
                    f"without faults a wait sees the end: {error!r}"
                )

    world.live(program)


def listed(world: World) -> None:
    """A list that is read page by page while runs begin."""
    count = world.random.choice([0, 1, 99, 100, 101, 350])
    limit = world.random.choice([None, None, 1, 100, 120])

    async def program(client: Client) -> None:
        before = [world.server.add(source_path=f"{n}.csv").id for n in range(count)]
        found, failure = Counter[str](), None
        try:
            async for run in client.list_runs(limit=limit):
                found[run.id] += 1
                if world.random.random() < 0.1:
                    world.server.add(source_path="new.csv", force_rerun=True)
                if world.random.random() < 0.02:
                    await asyncio.sleep(1.0)
        except ApiError as error:
            failure = error
        if failure is not None:
            lacks_it = isinstance(failure, NotSupportedError) and "list" in world.server.lacks
            assert not world.is_calm or lacks_it, f"without faults a list is read: {failure!r}"
            return
        if world.has_forgotten:
            return
        assert not found or max(found.values()) == 1, "a run is listed once"
        if limit is None:
            missed = set(before) - set(found)
            assert not missed, f"each run that was there at the begin is listed: {missed}"
        else:
            assert sum(found.values()) == min(limit, count), "a list has as many runs as asked for"

    world.live(program)


def abandoned(world: World) -> None:
    """An event loop that ends with everything open; the client is used again in the next one."""
    clients = list[Client]()
    left = list[object]()
    first = world.random.choice([0.0, 0.1, 5.0])

    async def opened(client: Client) -> None:
        runs = [client.attach(world.server.add(source_path=f"{n}.csv").id) for n in range(3)]
        monitor = client.monitor()
        steps: list[Callable[[], Awaitable[object]]] = [
            lambda: anext(client.list_runs()),
            lambda: anext(runs[0].watch()),
            lambda: anext(client.as_completed(runs)),
            lambda: runs[1].wait(),
            monitor.__aenter__,
        ]
        world.random.shuffle(steps)
        for step in steps[: world.random.randrange(1, 6)]:
            task = asyncio.ensure_future(step())
            left.append(task)
            if world.random.random() < 0.5:
                await asyncio.wait([task], timeout=5.0)
        left.append(monitor)
        await asyncio.sleep(first)
        for task in left:
            if isinstance(task, asyncio.Task) and task.done() and not task.cancelled():
                task.exception()  # seen: it may have failed before

    async def one() -> None:
        clients.append(world.client())
        await opened(clients[0])

    async def two() -> str:
        client = clients[0]
        async with client:
            run = await given_run(world, client, 10)
            waiting = asyncio.ensure_future(run.wait(600))
            await asyncio.wait([waiting])
            error = waiting.exception()
            assert error is None or isinstance(error, RunFailedError) or not world.is_calm, (
                f"the next loop works as the first: {error!r}"
            )
            slots = client._sender._limiter.get()
            assert slots._free == client._sender.settings.max_connections, (
                "nothing left: request slots are taken"
            )
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, f"nothing left: tasks go on after the end: {others}"
        return "ended"

    world.simulation.live(one)
    for monitor in left:
        if isinstance(monitor, Monitor) and monitor._loop is not None:
            # A block that is never left: anyio would warn of its queue, rightly.
            monitor._send.close()
            monitor._events.close()
    known = clients[0]._sender.known
    assert known.long_polls == 0, "nothing left: a long poll is counted after its loop"
    assert not held_paths._held, "nothing left: a journal is open after its loop"
    assert world.simulation.live(two) == "ended"
