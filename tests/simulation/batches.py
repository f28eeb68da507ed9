"""Histories of `run_many`: with a journal and kills, without one, left early."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from attrs import evolve

from lume_async import Client, LumeRun, Outcome, RunRequest
from lume_async.errors import ApiError, DuplicateRunError, RunTimeoutError, SubmissionUnknownError
from simulation.world import World, noticed_in_time, within

Outcomes = list[Outcome[LumeRun]]
OVERTIME = 13.0
"""Seconds after its timeout in which a batch ends: submissions under way have 10, the last polls 2."""


def requests_of(world: World) -> list[RunRequest]:
    """Return up to eight requests; some are alike in all but the source, some come twice on purpose."""
    force = world.chance.pick("force_rerun", [False, True])
    count = world.chance.pick("items", [1, 2, 3, 5, 8])
    metadata = world.chance.pick("with metadata", [False, True])
    sources = count if not force else world.chance.pick("sources", [count, (count + 1) // 2])
    return [
        RunRequest(
            "flow:v1", f"{n % sources}.csv", {"n": n % sources} if metadata else None, force, priority=0
        )
        for n in range(count)
    ]


def journaled(world: World) -> None:
    """A batch with a journal that is killed and started again, until it ends."""
    requests = requests_of(world)
    active = world.chance.pick("max_active", [100, 1, 3])
    timeout = world.random.choice([30.0, 3000.0])

    async def batch(client: Client) -> tuple[Outcomes, bool]:
        await earlier_runs(world, requests)
        begun, outcomes = world.simulation.now(), Outcomes()
        world.watched.deadline, sent = begun + timeout, world.network.sent
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
        if world.network.sent > sent:
            check_ends(world, begun)
        return outcomes, is_late

    outcomes, is_late = world.live(batch, kills=world.chance.pick("kills", [0, 1, 2, 3]))
    check_outcomes(world, requests, outcomes, all_taken=not is_late, in_time=timeout > 1000)
    sent = world.network.sent
    once_more, is_late = world.live(batch)
    check_outcomes(world, requests, once_more, all_taken=not is_late, in_time=False)
    if all(outcome.run is not None for outcome in outcomes) and len(outcomes) == len(requests):
        assert world.network.sent == sent, "a journal that is complete needs no request"


def killed(world: World) -> None:
    """The same where nothing else goes wrong, so that more is certain."""
    calm(world)
    journaled(world)


def left_calmly(world: World) -> None:
    """A batch that is left where nothing else goes wrong."""
    calm(world)
    left_early(world)


def calm(world: World) -> None:
    """Let nothing go wrong but what the client does."""
    world.network.faults, world.server.limit, world.server._grace = 0.0, None, 0.0
    world._accidents.clear()


async def earlier_runs(world: World, requests: list[RunRequest]) -> None:
    """Let somebody else run some of the sources, long before a batch."""
    if world.earlier is None:
        number = world.chance.pick("sources were run before", [0, 0, 1, 2])
        world.earlier = {
            request.source_path: world.server.add(
                request.flow_version,
                request.source_path,
                run_metadata=request.run_metadata,
                force_rerun=request.force_rerun,
            ).id
            for request in {request.source_path: request for request in requests[:number]}.values()
        }
        world.begins = world.simulation.now() + (200.0 if number else 0.0)
    await asyncio.sleep(
        world.begins - world.simulation.now()
    )  # also in the life after one that was killed here


def plain(world: World) -> None:
    """A batch without a journal, from an asynchronous input that takes time."""
    requests = requests_of(world)
    active = world.chance.pick("max_active", [100, 1, 3])
    timeout = world.chance.pick("timeout", [3000.0, 3000.0, 3000.0, 4.0])
    pauses = [0.0, 0.0, min(2.0, timeout / 3)]
    outcomes, is_closed = Outcomes(), False

    async def given(until: float) -> AsyncIterator[RunRequest]:
        nonlocal is_closed
        try:
            for number, request in enumerate(requests, 1):
                assert world.simulation.now() <= until + 1.0, "no item is taken after the deadline"
                await asyncio.sleep(world.random.choice(pauses))
                # After the deadline one is taken to know whether there are more, and is not submitted.
                is_over = world.simulation.now() >= until
                is_few = number - len(outcomes) <= active + is_over
                assert is_few, "no more than max_active items are under way"
                yield request
        finally:
            is_closed = True

    async def batch(client: Client) -> bool:
        await earlier_runs(world, requests)
        begun = world.simulation.now()
        items = client.run_many(given(begun + timeout), max_active=active, timeout=timeout)
        is_late = False
        try:
            async for outcome in items:
                outcomes.append(outcome)
        except RunTimeoutError:
            is_late = True
        assert is_closed, "the input is closed with its batch"
        within(begun + timeout + OVERTIME, "run_many")
        check_ends(world, begun)
        return is_late

    is_late = world.live(batch)
    assert not is_late or timeout < 3000.0, "each item has one outcome: the input was not read to its end"
    check_outcomes(world, requests, outcomes, all_taken=not is_late, in_time=timeout == 3000.0)


def left_early(world: World) -> None:
    """A batch whose reader leaves after some outcomes, or is cancelled, or whose client is closed."""
    requests = requests_of(world)
    journal = world.folder / "journal" if world.random.random() < 0.5 else None
    how = world.random.choice(["leave", "cancel", "twice", "close"])
    active = world.chance.pick("max_active", [100, 1, 3])
    after = 2 ** (world.random.random() * 6) - 1
    taken: Outcomes = []
    inputs: list[str] = []

    async def given() -> AsyncIterator[RunRequest]:
        inputs.append("begun")
        try:
            for request in requests:
                await asyncio.sleep(world.random.choice([0.0, 0.0, 2.0]))
                yield request
        finally:
            inputs.append("ended")

    source = given()  # kept, so that only the batch can close it

    async def read(client: Client) -> None:
        items = client.run_many(source, journal=journal, max_active=active, timeout=3000)
        async with items:
            async for outcome in items:
                taken.append(outcome)
                if how == "leave" and world.random.random() < 0.5:
                    break
        assert inputs != ["begun"], "nothing left: the input goes on after its batch"

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
        assert inputs != ["begun"], "nothing left: the input goes on after its batch"

    world.live(batch)
    check_at_most_one(world, requests)
    if journal is None:
        return
    given = Counter(request.source_path for request in requests)
    once = {source for source, count in given.items() if count == 1}  # of a twin nobody knows which was told
    clear = once - (world.watched.submitted - world.watched.told)

    async def again(client: Client) -> Outcomes:
        return [outcome async for outcome in client.run_many(requests, journal=journal, timeout=3000)]

    outcomes = world.live(again)
    check_outcomes(world, requests, outcomes, in_time=False)
    if world.is_steady and world.watched is world.network:
        unknown = [
            outcome.request.source_path for outcome in outcomes if is_unknown(outcome) and outcome.request
        ]
        assert not clear & set(unknown), f"what was answered, or never sent, is not unknown: {unknown}"


def retried(world: World) -> None:
    """A batch whose failed items are tried again, some with keys of their own."""
    requests = [
        evolve(request, idempotency_key=f"own-{n}" if n % 2 else None)
        for n, request in enumerate(requests_of(world))
    ]
    journal = world.folder / "journal"

    async def batch(client: Client) -> Outcomes:
        items = client.run_many(requests, journal=journal, timeout=3000, retry_failed=True)
        return [outcome async for outcome in items]

    first = world.live(batch)
    check_outcomes(world, requests, first)
    failed = {outcome.run.id for outcome in first if outcome.run is not None and not outcome.run.has_output}
    before = set(world.server.runs)
    second = world.live(batch)
    is_known = world.server._habits.end == "SUCCEEDED"  # otherwise the server refuses what looks failed to us
    check_outcomes(world, requests, second, rounds=2, in_time=is_known)
    same = {outcome.run.id for outcome in second if outcome.run is not None} & failed & before
    assert not same or world.has_forgotten, f"a retry is a new run: {same}"


def check_outcomes(
    world: World,
    requests: list[RunRequest],
    outcomes: Outcomes,
    *,
    all_taken: bool = True,
    in_time: bool = True,
    rounds: int = 1,
) -> None:
    """Check that each item that was taken has one outcome, and the runs that it speaks of."""
    given = Counter(request.source_path for request in requests)
    told = Counter(outcome.request.source_path for outcome in outcomes if outcome.request)
    complete = told == given if all_taken else told <= given
    assert complete, f"each item has one outcome: {told - given} more, {given - told} fewer"
    check_at_most_one(world, requests, rounds)
    forgotten, earlier = {run.id for run in world.server.lost}, world.earlier or {}
    shared = [run for run, items in Counter(o.run.id for o in outcomes if o.run).items() if items > 1]
    # Where nobody knows whether a key is still kept, a look-up may take the run of a twin for its own.
    knows_keys = world.server._keys_kept is not None and max(world.network.delays) < 5.0
    is_sure = world.is_steady and (knows_keys or not world.was_killed)
    assert not shared or not is_sure, f"each item has a run of its own: {shared} have several"
    for outcome in outcomes:
        assert outcome.request is not None
        if outcome.run is not None:
            if outcome.run.id in forgotten:
                continue
            run = world.server.runs[outcome.run.id]
            assert run.source_path == outcome.request.source_path, "an outcome is of its own item"
            assert outcome.run.status == run.changes[-1][1], "an outcome shows the end of its run"
            assert outcome.run.finished_at is not None, "an outcome shows all of its run"
            others = run.id in earlier.values()
            assert not others or not world.is_steady, (
                "an outcome is of its own item: not of somebody else's run"
            )
            continue
        is_free = outcome.request.source_path not in earlier
        if in_time and is_free and (world.is_calm or is_certain(world, outcome.request)):
            raise AssertionError(f"without faults every item has a run: {outcome.error!r}") from outcome.error
        assert isinstance(outcome.error, ApiError | RunTimeoutError), f"an error of ours: {outcome.error!r}"
        if rounds == 1:
            check_error(world, outcome, given)


def check_error(world: World, outcome: Outcome[LumeRun], given: Counter[str]) -> None:
    """Check that an error that says that no run was started is right."""
    error, request = outcome.error, outcome.request
    assert request is not None
    source = request.source_path
    if world.has_forgotten or given[source] > 1 or source in (world.earlier or {}):
        return
    # A clock that jumps makes a run of ours look old, the client's where no answer has told the server's.
    if isinstance(error, DuplicateRunError) and (world.server_went_back or world.simulation.jump):
        return
    assert not isinstance(error, DuplicateRunError), f"a run of ours is not taken for another's: {error!r}"
    if not isinstance(error, SubmissionUnknownError | RunTimeoutError) and outcome.run_id is None:
        runs = [run.id for run in world.server.runs.values() if run.source_path == source]
        assert not runs, f"an error that says that there is no run is right: {runs}, {error!r}"


def is_unknown(outcome: Outcome[LumeRun]) -> bool:
    """Return whether nobody knows whether the item has a run."""
    return isinstance(outcome.error, SubmissionUnknownError)


def is_certain(world: World, request: RunRequest) -> bool:
    """Return whether the server can tell, after a kill, whether an item was submitted."""
    return world.is_steady and (not request.force_rerun) and max(world.network.delays) <= 1


def check_at_most_one(world: World, requests: Sequence[RunRequest] = (), rounds: int = 1) -> None:
    """Check that no submission has two runs. One that failed at once may hide behind a lost answer."""
    if world.has_forgotten:
        return
    given = Counter(request.source_path for request in requests)
    earlier = set((world.earlier or {}).values())
    for source, all_runs in world.server.doubled().items():
        runs = [run for run in all_runs if run not in earlier]
        open_runs = [run for run in runs if world.server.runs[run].changes[-1][1] != "FAILED"]
        forced = any(world.server.runs[run].body["force_rerun"] for run in runs)
        most = max(1, given[source]) * rounds
        assert not forced or len(runs) <= most, f"at most one run a submission: {source} has {runs}"
        assert forced or len(open_runs) <= 1, f"at most one run a submission: {source} has {open_runs}"


def check_ends(world: World, begun: float) -> None:
    """Check, at the end of a batch in which nothing went wrong, that its last end was noticed in time.

    A run takes some polls at its begin, one in three seconds later, and so does a feed.
    """
    ended, runs = world.simulation.now(), world.server.runs
    last = max((run.changes[-1][0] for run in runs.values()), default=0.0)
    if not world.is_calm or last < begun:
        return
    noticed_in_time(world, last)
    most = 20 + len(runs) * (10 + (ended - begun) / 3) + (ended - begun) / 3
    sent = sum(world.server.requests.values())
    is_few = sent <= most
    assert is_few, f"requests are few: {sent}, more than {most:.0f}, in {ended - begun:.1f} s"
