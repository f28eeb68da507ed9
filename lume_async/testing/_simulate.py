"""`simulate`: run a program with its clients on virtual time, against a simulated server; a seed is a history."""

import asyncio
import gc
import os
import random
import sys
import uuid
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import Executor, Future
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypeVar
from unittest.mock import patch

from anyio import to_thread

from lume_async import _client
from lume_async._base import arguments, threads
from lume_async._base.default_client import forget_client
from lume_async._base.tasks import loop_here
from lume_async._base.threads import outcome_of, settle
from lume_async._batch import journal
from lume_async.testing._chance import Chance
from lume_async.testing._loop import LOOPS, START, StuckError, VirtualLoop
from lume_async.testing._network import SimulatedNetwork
from lume_async.testing._server import EPOCH, SimulatedServer
from lume_async.testing._wire import WireNetwork

T = TypeVar("T")
_DISK = (0.0, 0.0, 0.001, 0.05)
"""Seconds that a write takes, each as likely as the others."""


class Killed(SystemExit):
    """The simulated process was killed."""


class Simulation:
    """One history: a program with its clients, the network, a server, and the kills of the program.

    Args:
        chance: decides about everything.
        network: the network, with the server at its other end; the real HTTP client runs over one of bytes.
        folder: the files that outlive a kill.
        loop: the library whose order of callbacks the event loop has.

    Attributes:
        kill_at: the turn of the event loop, or the write of a journal, before which the program is killed.
        on_start: called with the event loop of each life, before the program begins.
        jump: the client's wall clock minus the true time, in seconds.
    """

    def __init__(
        self,
        chance: Chance,
        network: SimulatedNetwork,
        folder: Path | None = None,
        loop: Literal["asyncio", "uvloop"] = "asyncio",
    ) -> None:
        self.network = network
        self.kill_at: tuple[Literal["turn", "write"], int] | None = None
        self.on_start: Callable[[VirtualLoop], object] = lambda _loop: None
        self.jump: float = 0.0
        self.begins: float = max(START, network.server.now)
        self.writes: int = 0
        self._chance = chance
        self._folder = folder
        self._saved: dict[Path, tuple[int, bytes]] | None = None
        self._make = LOOPS[loop]
        self._loop: VirtualLoop | None = None
        self._is_dead = False
        self._main: asyncio.Task[Any] | None = None
        self._failure: Exception | None = None

    def now(self) -> float:
        assert self._loop is not None
        return self._loop.now()

    def wall(self) -> float:
        """Return the client's wall clock."""
        return EPOCH + self.now() + self.jump

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def live(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run the program once. Raises `Killed` if it was killed; then the folder is as at that moment."""
        self._is_dead = self.network.is_cut = False
        self.writes, self._saved = 0, None
        with self._surroundings(), warnings.catch_warnings():
            if self.kill_at is not None:  # of tasks that did not begin
                warnings.filterwarnings("ignore", "coroutine .* was never awaited")
            try:
                with asyncio.Runner(loop_factory=self._new_loop) as runner:
                    result = self._until_its_end(runner, main)
                if self._failure is not None:
                    raise self._failure
                if not self._is_dead:
                    return result
            except (Killed, StuckError) as end:
                if not self._is_dead:  # a killed program may well be stuck
                    raise
                end.with_traceback(None)
                gc.collect(0)  # what its tasks leave is finalized here, not where warnings are errors
            finally:
                assert self._loop is not None
                self.begins = self.network.server.now = self._loop.now()
                self.network.server.on_run.clear()  # what listens ends with its loop
                if self._folder is not None and self._saved is not None:
                    _restore(self._folder, self._saved)
        raise Killed

    def _until_its_end(self, runner: asyncio.Runner, main: Callable[[], Awaitable[T]]) -> T:
        try:
            return runner.run(self._program(main))
        finally:
            assert self._loop is not None
            self._loop.on_turn = None

    def die(self) -> None:
        """Kill the program: its files are what they are now, and nothing that it still does has an effect."""
        if not self._is_dead:
            self._is_dead = self.network.is_cut = True
            if self._folder is not None:
                self._saved = _saved(self._folder)

    def _new_loop(self) -> VirtualLoop:
        loop = self._loop = self._make(self.begins)
        loop.on_turn = self._turn
        loop.set_exception_handler(self._broken)
        loop.dialer = self.network.dialer
        self.on_start(loop)
        return loop

    def _turn(self) -> None:
        assert self._loop is not None
        if self.kill_at == ("turn", self._loop.turns):
            self.die()
        ends = self._is_dead or self._failure is not None
        if ends and not (self._main is not None and self._main.done()):
            self._loop.on_turn = None
            raise self._failure or Killed

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep the error of a callback, such as the server's; a task has somebody who sees its own."""
        error = context.get("exception")
        if self._is_dead:
            return  # nobody hears what a killed program says
        if "handle" in context and isinstance(error, Exception):
            self._failure = self._failure or error
        else:
            loop.default_exception_handler(context)

    async def _program(self, main: Callable[[], Awaitable[T]]) -> T:
        self._main = asyncio.current_task()
        return await main()

    def _write(self, work: Callable[[], None]) -> None:
        self.writes += 1
        if self.kill_at == ("write", self.writes):
            self.die()
        work()

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        """Replace what the library takes from the machine: time, chance, threads and the network."""
        # With the time: a server that is used again knows the keys of the same seed.
        rng = random.Random(f"{self._chance.random.getrandbits(64)} {self.begins}")  # noqa: S311 - repeatable
        chances = SimpleNamespace(Random=lambda: random.Random(rng.random()))  # noqa: S311 - jitter
        with (
            ExitStack() as of_network,
            _no_default_client(),
            patch.object(_client, "SystemClock", lambda: self),
            patch.object(_client, "random", chances),
            patch.object(threads, "spawn", _no_threads),
            patch.object(journal, "ThreadPoolExecutor", lambda *_, **__: OnLoop(self._write, rng)),
            patch.object(to_thread, "run_sync", partial(_later, rng)),
            patch.object(uuid, "uuid4", lambda: uuid.UUID(int=rng.getrandbits(128), version=4)),
            _no_garbage_collection(),
        ):
            for place in self.network.replacements(self.now):
                of_network.enter_context(patch.object(*place))
            yield


class OnLoop(Executor):
    """A thread whose work is done on the event loop, one piece after the other, each with a delay."""

    def __init__(self, work: Callable[[Callable[[], None]], None], rng: random.Random) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._rng = rng
        self._free_at = 0.0
        self._waiting: deque[Callable[[], None]] = deque()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        self._waiting.append(lambda: settle(future, *outcome_of(partial(fn, *args, **kwargs))))
        self._free_at = max(self._free_at, self._loop.time()) + self._rng.choice(_DISK)
        self._loop.call_at(self._free_at, lambda: self._work(self._waiting.popleft()))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: submitted work is still done."""


def simulate(
    main: Callable[[], Awaitable[T]],
    server: SimulatedServer | None = None,
    *,
    seed: int = 0,
    faults: float = 0.1,
    kills: int = 0,
    folder: Path | None = None,
    loop: Literal["asyncio", "uvloop"] = "asyncio",
    wire: bool = False,
    only: Collection[int] | None = None,
) -> T:
    """Run a program on virtual time against a simulated server, over a network that loses things; return its result.

    Every `lume_async.Client` that is created in it, including the default client, talks to the server, whatever its
    URL is. All time is the event loop's, and passes only when every task waits: an hour takes a moment. The seed
    decides about everything, so that a failure can be repeated. Your own threads and `lume_sync` are not simulated.

    Args:
        main: the program, without arguments.
        server: the service; keep it, to look at its `runs` afterwards. Default: one that can do everything.
        seed: the same seed gives the same history.
        faults: the share of requests that are refused, lost, cut, answered by a gateway, or whose answer is lost.
        kills: how often the program is killed at a moment that the seed decides, if it lives so long, and called
            again. What its `finally` blocks do then has no effect but on files outside of `folder`.
        folder: the files that outlive a kill, such as the journal of a `run_many`, as they were at that moment.
        loop: the library whose order of callbacks the event loop has, asyncio or uvloop.
        wire: let bytes travel, in place of messages: with the real HTTP client and faults at any byte, at about half
            the speed; without TLS.
        only: the numbers of the events that happen, as in the note of a failure; to find the ones it needs.

    Raises:
        StuckError: every task waits for something that never comes.
        BaseException: whatever the program or the server raises, with the seed and the events in a note.
        TypeError, ValueError: an argument is not valid.
        RuntimeError: it was called inside of a running event loop.

    Examples:
        >>> async def load() -> str:
        ...     async with Client("key", base_url="http://lume.test") as client:
        ...         run = await client.run("customer_cleaner:v1", "january.csv")
        ...         return (await run.wait()).status
        >>> server = SimulatedServer(lasts=600)
        >>> print(simulate(load, server, seed=7, faults=0.3))
        SUCCEEDED
        >>> assert not server.doubled()
    """
    if not callable(main):
        raise TypeError("main must be a function that takes no arguments: pass load, not load()")
    if loop_here() is not None:
        raise RuntimeError("simulate runs an event loop of its own: call it outside of one")
    arguments.instance(seed, "seed", int, "a whole number")
    arguments.number(faults, "faults", 0, 1)
    arguments.whole(kills, "kills", 0)
    arguments.choice(loop, "loop", LOOPS)
    server = SimulatedServer() if server is None else server
    arguments.instance(server, "server", SimulatedServer, "a SimulatedServer")
    chance = Chance(seed, only)
    network = (WireNetwork if wire else SimulatedNetwork)(server, chance, faults=faults)
    simulation = Simulation(chance, network, folder, loop)
    try:
        for _ in range(kills):
            turn = int(2 * 2 ** (chance.random.random() * 8))
            simulation.kill_at = ("turn", turn) if chance.happens(1.0, f"killed at turn {turn}") else None
            try:
                return simulation.live(main)
            except Killed:
                simulation.begins += chance.random.choice([0.0, 5.0, 3600.0])
        simulation.kill_at = None
        return simulation.live(main)
    except BaseException as error:
        happened = [f"{n}: {event}" for n, event in enumerate(chance.events) if only is None or n in only]
        error.add_note(
            f"simulated with {seed=}, {faults=}, {kills=}, {loop=}, {wire=}; events: {'; '.join(happened) or 'none'}"
        )
        raise


async def _later(rng: random.Random, work: Callable[..., T], *arguments: Any, **_: Any) -> T:
    """Do the work of a thread on the loop, after a delay; it is done even if its caller is cancelled meanwhile."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    loop.call_later(rng.choice(_DISK), lambda: settle(done, *outcome_of(partial(work, *arguments))))
    return await done


def _no_threads(*_target: object) -> None:
    raise RuntimeError("a simulation has no threads: the work is done at once")


def _files(folder: Path) -> list[Path]:
    return [Path(place, name) for place, _, names in os.walk(folder) for name in names]


def _saved(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return the mode and the content of each file."""
    return {file: (file.stat().st_mode, file.read_bytes()) for file in _files(folder)}


def _restore(folder: Path, saved: dict[Path, tuple[int, bytes]]) -> None:
    for file in _files(folder):
        file.unlink()  # what the killed program still has open is another file
    for file, (mode, content) in saved.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)


@contextmanager
def _no_default_client() -> Iterator[None]:
    """Set the default client aside, so that each life of the program creates its own."""
    before = forget_client("lume_async")
    try:
        yield
    finally:
        forget_client("lume_async")
        if before is not None:
            sys.modules["lume_async._api"].__dict__["_default"]["client"] = before


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Finalizers must not run at a moment that the size of the process decides."""
    if was_on := gc.isenabled():
        gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
