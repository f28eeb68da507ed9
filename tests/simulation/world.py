"""A world: what one seed decides about a history, and what must hold when it has come to its end.

In every history:
- At most one run a submission, and each item has one outcome, of its own run, which shows the end of that run.
- A wait ends by its deadline, two seconds later at the most; a batch, with its last submissions, thirteen.
- A wait reports the newest state that it has seen; changes are reported once, and in their order.
- Each end is reported once, and nothing of a run after it.
- Without faults every item has a run, and every end is seen.
- Ends are noticed in time: see `noticed_in_time`.
- Who leaves waits for nothing; no request after leaving, and nothing left: no task, no request slot, no long poll, no
  place in the throttle's queue, no journal.
- Each run that was there at the begin of a list is listed, and none twice.
- Before a limit, refused are the requests that were under way when it was met, and 9 %; and the limit is used.
"""

import asyncio
import logging
import math
import warnings
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import orjson
from attrs import define, field

from lume_async import Client
from lume_async._batch.journal_file import held_paths
from lume_async.testing import Chance, FakeAnswer, FakeRequest, SimulatedServer
from lume_async.testing._loop import VirtualLoop
from lume_async.testing._network import SimulatedNetwork
from lume_async.testing._simulate import Killed, Simulation
from lume_async.testing._wire import WireNetwork

T = TypeVar("T")
AFTERWARDS = 400.0
"""Virtual seconds after the end of a program in which nothing may be sent any more."""
ENDLESS = "a wait ends by its deadline: the loop never comes to rest"
MOST_TURNS = 100_000
"""Turns of the event loop that a life never takes: the longest honest ones take 2,000."""


@define
class WatchedNetwork(SimulatedNetwork):
    """A network that remembers what the client has asked for, and what it was told.

    Attributes:
        submitted: the sources that a request was sent for.
        told: those whose run the client was told.
        quiet: until when the server asked not to repeat a submission (by its key), or not to poll a run (by its
            path).
        impatient: requests that came earlier.
        deadline: when the client asks for the last time, however new a run is.
    """

    submitted: set[str] = field(factory=set)
    told: set[str] = field(factory=set)
    quiet: dict[str, float] = field(factory=dict)
    impatient: list[str] = field(factory=list)
    deadline: float = math.inf

    async def exchange(self, request: FakeRequest) -> FakeAnswer:
        """Bring a request to the service and its answer back."""
        clock = asyncio.get_running_loop()
        key = request.headers.get("Idempotency-Key") or request.path
        may_know = request.method == "GET" and "changes" in self.server.offers  # the feed knows more
        if not may_know and clock.time() < min(self.deadline, self.quiet.get(key, 0.0)) - 0.01:
            self.impatient.append(f"{request.method} {request.path} at {clock.time():.3f}")
        is_submission = request.method == "POST" and request.path == "/v1/runs"
        source = str(request.json()["source_path"]) if is_submission else ""
        self.submitted.add(source)
        answer = await SimulatedNetwork.exchange(self, request)
        asked = float(answer.headers.get("Retry-After", 0.0))
        if is_submission and answer.status in (429, 503):
            self.quiet[key] = clock.time() + asked
        elif is_submission and answer.status in (200, 201) and answer.body.endswith(b"}"):
            self.told.add(source)
            self.quiet[f"/v1/runs/{orjson.loads(answer.body)['id']}"] = clock.time() + asked
        return answer


class World:
    """The server, the network, the client's process and the accidents of one history.

    Args:
        seed: decides about everything.
        only: the numbers of the events that happen; None: all.
        folder: the files of the client.
        on_bytes: whether bytes travel, in place of messages.
        service: the kind of the server.
    """

    def __init__(
        self,
        seed: int,
        only: Collection[int] | None,
        folder: Path,
        *,
        on_bytes: bool = False,
        service: type[SimulatedServer] = SimulatedServer,
    ) -> None:
        self.chance = chance = Chance(seed, only)
        self.random = chance.random
        self.folder = folder
        self.server = service.drawn(chance)
        self.network: SimulatedNetwork = (WireNetwork if on_bytes else WatchedNetwork).drawn(
            self.server, chance
        )
        # Bytes are not watched: what is sent and told shows at their ends only.
        self.watched = (
            self.network if isinstance(self.network, WatchedNetwork) else WatchedNetwork(self.server, chance)
        )
        loop: Literal["asyncio", "uvloop"] = "uvloop" if seed % 2 else "asyncio"
        self.simulation = Simulation(chance, self.network, folder, loop)
        self.simulation.on_start = self._start
        self.options: dict[str, Any] = {}
        """Arguments of the client, besides those that every client has here."""
        self._accidents = self._drawn_accidents()
        self.has_forgotten = False
        self.earlier: dict[str, str] | None = None
        """The runs that somebody else has started, by their sources; None before that was decided."""
        self.begins = 0.0
        """When ours begin: long after those."""
        self.was_killed = False
        self.server_went_back = False
        self.spoils = False
        """Whether the program itself spoils what it does."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong, so that only delays remain."""
        return not self.was_killed and self.is_steady

    @property
    def is_steady(self) -> bool:
        """Whether nothing goes wrong but kills of the client."""
        return not (self.network.faults or self._accidents or self.server.limit or self.spoils)

    def add_accident(self, moment: float, happen: Callable[[], object]) -> None:
        """Let something happen at a second of each life."""
        self._accidents.append((moment, happen))

    def client(self) -> Client:
        """Return a new client of the server."""
        make = getattr(self.server, "client", Client)
        return make("the-key", base_url="http://lume.test", proxy=False, **self.options)  # type: ignore[no-any-return]

    def live(self, program: Callable[[Client], Awaitable[T]], *, kills: int = 0) -> T:
        """Run the program until it ends, with up to `kills` kills before; check that nothing is left of it."""
        for _ in range(kills):
            kind: Literal["turn", "write"] = "turn" if self.random.random() < 0.5 else "write"
            number = int(2 ** (self.random.random() * (8 if kind == "turn" else 4)))
            self.simulation.kill_at = kind, number
            if not self.chance.happens(1.0, f"killed at {kind} {number}"):
                continue
            try:
                return self.simulation.live(lambda: self._whole(program))
            except Killed:
                self.was_killed = True
                self.simulation.begins += self.random.choice([0.0, 5.0, 3600.0])
        self.simulation.kill_at = None
        return self.simulation.live(lambda: self._whole(program))

    async def _whole(self, program: Callable[[Client], Awaitable[T]]) -> T:
        """Run the program with a client, and see that both end."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of a server that is silent for long
            async with self.client() as client:
                result = await program(client)
                await asyncio.sleep(0)
                listening = set(client._sender.clock._listeners.get())
                slots, places = client._sender._limiter.get(), client._sender.settings.max_connections
                queue = client._sender._queue._lock.get()
        await asyncio.sleep(0)
        left = {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}
        assert not left, f"nothing left: tasks go on after the end: {left}"
        assert slots._free == places, f"nothing left: {places - slots._free} request slots are taken"
        assert not slots._waiting, "nothing left: somebody waits for a request slot"
        assert not queue.locked(), "nothing left: somebody is in the throttle's queue"
        assert client._sender.known.long_polls == 0, "nothing left: a long poll is counted"
        assert not listening, "nothing left: somebody listens for the client's end"
        assert not client._sender.on_silence, "nothing left: somebody listens for the server's silence"
        assert not held_paths._held, "nothing left: a journal is open"
        sent = self.network.sent
        await asyncio.sleep(AFTERWARDS)
        assert self.network.sent == sent, "no request after leaving"
        early = (
            self.watched.impatient if "changes" not in self.server.offers else []
        )  # a feed may know better
        assert not early, f"a pause that the server asks for is kept: {early}"
        return result

    def _drawn_accidents(self) -> list[tuple[float, Callable[[], object]]]:
        """Return what happens at which second: partitions, restarts, clocks that jump."""
        found: list[tuple[float, Callable[[], object]]] = []
        at = lambda: 2 ** (self.random.random() * 8) - 1  # noqa: E731 - mostly early

        def cut_off() -> None:
            self.network.down_until = self.simulation.now() + seconds

        def forget() -> None:
            self.has_forgotten = True
            self.server.restart(forgets=True)

        def jump_there() -> None:
            by = self.random.choice([-3600.0, 3.0, 3600.0])
            self.server.clock += by
            self.server_went_back |= by < 0  # its new runs look old

        def jump() -> None:
            self.simulation.jump += self.random.choice([-3600.0, 3.0, 86_400.0])

        seconds = self.random.choice([1.0, 20.0, 200.0])
        for share, name, happen in (
            (0.15, f"cut off for {seconds:g} s", cut_off),
            (0.1, "the server restarts", self.server.restart),
            (0.05, "the server forgets", forget),
            (0.1, "the client's clock jumps", jump),
            (0.1, "the server's clock jumps", jump_there),
        ):
            moment = at()
            if self.chance.happens(share, f"{name} after {moment:.1f} s"):
                found.append((moment, happen))
        return found

    def _start(self, loop: VirtualLoop) -> None:
        self.watched.quiet.clear()  # a new process does not know
        before = loop.on_turn

        def turn() -> None:
            if loop.turns > MOST_TURNS:
                loop.on_turn = None
                raise AssertionError(f"{ENDLESS}: more than {MOST_TURNS:,} turns at {loop.now():.1f} s")
            if before is not None:
                before()

        loop.on_turn = turn
        for moment, happen in self._accidents:
            loop.call_later(moment, happen)


@contextmanager
def silent_log() -> Iterator[None]:
    """Keep the warnings of a thousand lost answers out of the reports."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def within(deadline: float, what: str) -> None:
    """Fail if it is later."""
    now = asyncio.get_running_loop().time()
    assert now <= deadline + 0.01, f"a wait ends by its deadline: {what} ended {now - deadline:.3f} s late"


class OnBytes:
    """A history over a network of bytes, with the real HTTP client."""

    def __init__(self, history: Callable[[World], None]) -> None:
        self._history = history

    def __call__(self, world: World) -> None:
        """Play it in a world in which bytes travel."""
        self._history(world)


class OfService:
    """A history with another kind of server."""

    def __init__(self, history: Callable[[World], None], service: type[SimulatedServer]) -> None:
        self._history = history
        self.service = service

    def __call__(self, world: World) -> None:
        """Play it in a world with such a server."""
        self._history(world)


def noticed_in_time(world: World, ended: float, *, alone: bool = False) -> None:
    """Fail if nothing goes wrong and the end of a run, the last one that is waited for, is noticed late.

    Polls are up to 5 s apart, ± a quarter, and a request and the end may meet on the way, so that the request, its
    answer and those of the next poll count. A long poll shows an end within 0.05 s and the way of the answer. With a
    feed that keeps ends for itself it takes up to 30 s: ten until a sample, six of grace, and the next sample.
    """
    if not world.is_calm:
        return
    habits = world.server._habits
    limit, way = 5.0 * 1.25, 6 * max(world.network.delays)
    quick = habits.etags and habits.announces == 1 and not habits.asks and not world.server._grace
    if alone and "wait" in world.server.offers and quick:
        limit = 0.05
    elif not alone and habits.feed in ("silent", "repeats") and "changes" in world.server.offers:
        limit = 30.0
    late = asyncio.get_running_loop().time() - ended
    assert late <= limit + way, (
        f"ends are noticed in time: {late:.2f} s after it, more than {limit + way:.2f} s"
    )


def play(history: Callable[[World], None], seed: int, only: Collection[int] | None = None) -> World:
    """Play one history in a folder of its own."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with TemporaryDirectory(dir=memory) as folder, silent_log():
        (Path(folder) / "files").mkdir()
        service = history.service if isinstance(history, OfService) else SimulatedServer
        world = World(
            seed, only, Path(folder) / "files", on_bytes=isinstance(history, OnBytes), service=service
        )
        try:
            history(world)
        except BaseException as error:
            error.events = world.chance.events  # type: ignore[attr-defined]
            raise
        return world


def shrunk(
    history: Callable[[World], None], seed: int, budget: float = 60.0
) -> tuple[list[int], list[str], BaseException] | None:
    """Return the events that the failure of a history needs, by leaving out halves, quarters … as long as it fails.

    Returns:
        Their numbers, their names and the failure; None if the history doesn't fail.
    """
    import time

    until = time.process_time() + budget

    def failure(only: Collection[int] | None) -> BaseException | None:
        try:
            play(history, seed, only)
        except (AssertionError, Exception) as error:
            return error
        return None

    found = failure(None)
    if found is None:
        return None
    names: list[str] = found.events  # type: ignore[attr-defined]
    kept = list(range(len(names)))
    size = math.ceil(len(kept) / 2)
    while size and time.process_time() < until:
        for first in range(0, len(kept), size):
            fewer = kept[:first] + kept[first + size :]
            if len(fewer) < len(kept) and (error := failure(fewer)) is not None:
                found, kept = error, fewer
                names = error.events  # type: ignore[attr-defined]
                break
        else:
            size //= 2
    return kept, [names[n] for n in kept if n < len(names)], found
