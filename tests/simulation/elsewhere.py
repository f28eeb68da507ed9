"""Batches before services with other promises than Lume's: see `services`.

In every history:
- No item has two runs, also if the first one has failed: these servers refuse no source.
- Each item has one outcome: a run of its own that shows its end, or an error. One that says that there is no run is
  right; where there may be one it is `SubmissionUnknownError`.
- Where the server keeps keys, nothing stays unknown before the deadline; and nowhere, where no answer gets lost.
- Where a key finds its run, every item has a run in the end.
"""

from collections import Counter

from lume_async import Client, LumeRun, Outcome, RunRequest
from lume_async.errors import ApiError, SubmissionUnknownError
from simulation.batches import OVERTIME
from simulation.services import Keyless, Labelled, OtherServer
from simulation.world import World, within

Outcomes = list[Outcome[LumeRun]]
HARMLESS = ("refused", "503")
"""What befalls a request before it has reached anybody who could start a run."""


def resumed(world: World) -> None:
    """A batch that is killed and started again until it ends, and once more where nothing goes wrong any longer."""
    server = world.server
    assert isinstance(server, OtherServer)
    promises = server.contract.promises
    if isinstance(server.contract, Labelled):  # there the age of a submission decides, by the server's clock
        world._accidents = [(at, it) for at, it in world._accidents if it.__name__ != "jump_there"]
    count = world.chance.pick("items", [1, 2, 3, 5, 8])
    sources = world.chance.pick("sources", [count, (count + 1) // 2])
    force = world.chance.pick("force_rerun", [False, True])
    own = bool(promises.keys) and world.chance.pick("with keys of their own", [False, True])
    requests = [
        RunRequest("flow:v1", f"{n % sources}.csv", None, force, idempotency_key=f"own-{n}" if own else None)
        for n in range(count)
    ]
    # A refusal that is not the service's, or is cut, ends a submission whose answer was lost: nobody knows then.
    gateways = world.chance.happens(0.5, "gateways are there")
    if not gateways:
        unclear = ("404 before", "cut after")
        world.network.kinds = tuple(kind for kind in world.network.kinds if kind not in unclear)
    if world.chance.happens(0.2, "cut off for longer than keys are kept"):
        moment = 2 ** (world.random.random() * 6) - 1

        def cut_off() -> None:
            world.network.down_until = world.simulation.now() + 700.0

        world.add_accident(moment, cut_off)
    journal = world.folder / "journal" if world.chance.pick("a journal", [True, False]) else None
    active = world.chance.pick("max_active", [100, 1, 3])

    async def batch(client: Client) -> Outcomes:
        begun = world.simulation.now()
        items = client.run_many(requests, journal=journal, max_active=active, timeout=3000.0)
        outcomes = [outcome async for outcome in items]
        within(begun + 3000.0 + OVERTIME, "run_many")
        return outcomes

    kills = 0 if journal is None else world.chance.pick("kills", [0, 1, 2, 3])
    outcomes = world.live(batch, kills=kills)
    if world.has_forgotten:
        return
    check(world, requests, outcomes)
    lossless = not world.was_killed and not set(faults_of(world)) - set(HARMLESS)
    keeps = promises.keys and not (gateways or world.was_killed or promises.kept == 600.0)
    for outcome in outcomes:
        is_sure = keeps or (lossless and not world._accidents)
        is_unknown = isinstance(outcome.error, SubmissionUnknownError)
        assert not (is_sure and is_unknown), f"with keys it is sent until the deadline: {outcome!r}"
    if journal is None:
        return
    world.network.faults = 0.0
    world._accidents.clear()
    world.simulation.begins += 3600.0  # nothing is on its way any longer
    outcomes = world.live(batch)
    check(world, requests, outcomes)
    for outcome in outcomes:
        refused = not isinstance(outcome.error, SubmissionUnknownError) and gateways  # recorded as such
        is_found = outcome.run is not None or refused or isinstance(server.contract, Keyless)
        assert is_found, f"where a key finds its run no item is lost: {outcome!r}"


def faults_of(world: World) -> list[str]:
    """Return what has befallen requests so far."""
    return [event.partition(" (")[0] for event in world.chance.events if event.endswith(")")]


def check(world: World, requests: list[RunRequest], outcomes: Outcomes) -> None:
    """Check what holds for the outcomes of a batch."""
    given = Counter(request.source_path for request in requests)
    told = Counter(outcome.request.source_path for outcome in outcomes if outcome.request)
    assert told == given, f"each item has one outcome: {told - given} more, {given - told} fewer"
    started = Counter(run.source_path for run in world.server.runs.values())
    assert started <= given, f"at most one run a submission: {started - given} more"
    shared = [run for run, items in Counter(o.run.id for o in outcomes if o.run).items() if items > 1]
    assert not shared, f"each item has a run of its own: {shared} have several"
    for outcome in outcomes:
        assert outcome.request is not None
        source = outcome.request.source_path
        if outcome.run is not None:
            run = world.server.runs[outcome.run.id]
            assert run.source_path == source, "an outcome is of its own item"
            assert outcome.run.status == run.changes[-1][1], "an outcome shows the end of its run"
            continue
        assert isinstance(outcome.error, ApiError), f"an error of ours: {outcome.error!r}"
        if outcome.run_id is None and not isinstance(outcome.error, SubmissionUnknownError):
            others = sum(other.run is not None for other in outcomes if other.request == outcome.request)
            assert started[source] < given[source] or others < given[source] - 1, (
                f"an error that says that there is no run is right: {source}, {outcome.error!r}"
            )
