"""Puts a world where the product meets the outside, gives it its folder, and plays a history."""

import asyncio
import atexit
import contextlib
import functools
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lume_async.testing._loop import LOOPS, START
from lume_local._arrivals import arrivals, local_place, watcher  # noqa: F401 - before the seams are put in place
from lume_local._http.routes import Operations
from lume_local._http.telemetry import ServerMetrics
from lume_local._messages import messenger
from lume_local._runs.deliveries import message_carrier  # noqa: F401
from lume_local._runs.postgres import lease, postgres_state, postgres_store  # noqa: F401
from lume_local._runs.store.records import PendingDelivery
from lume_local._runs.workers import child
from lume_local._serve import assembly
from lume_local._shared import lock
from lume_local._shared.lock import Process as Identity

from . import shared_state
from .seams import current, freezable, in_process, simulated
from .workers import WorkerProcess
from .world import Server, Violation, World

SHARED_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
FLOWS = {
    "orders.v1": 'flow = "orders"\nversion = "v1"\n',
    "orders.v2": 'flow = "orders"\nversion = "v2"\n',
    "fixed.v1": 'flow = "fixed"\nversion = "v1"\n[target]\nmapped = "{data}/fixed/{source_path}.csv"\n'
    'rejects = "{data}/fixed/{source_path}.rejects.csv"\n',
}
COLUMNS = "[columns.id]\n[columns.kind]\n"
ARRIVALS = """
[[arrival]]
name = "inbox"
flow = "orders:v1"
from = "arriving/*.csv"
ready = { quiet = "1s" }
after = { move = "done" }
failed = "quarantine"
retry = 1
"""
MESSAGES = """
[[message]]
on = ["FAILED", "CRASHED", "PARTIAL_FAILED", "arrival.refused"]
to_env = ["SIMULATED_CHAT"]
at_most = "100 in 1s"
"""
LONGEST = 3 * 3600.0
"""Seconds of a history."""


class _Listener:
    """In place of the socket."""

    def __init__(self, front: Any, hub: Any) -> None:
        self._front, self._hub = front, hub
        self.base_url: str | None = None
        self.on_reload: Callable[[Path], None] = lambda path: None
        self._server = current.get()

    @property
    def front(self) -> Any:
        return self._front

    @front.setter
    def front(self, front: Any) -> None:
        self._front = front
        if self.base_url is not None or isinstance(front, _Front):
            self._tell()

    async def open(self, host: str, port: int, tls: object = None) -> str:
        self.base_url = f"http://{host}:1"
        self._tell()
        return self.base_url

    def _tell(self) -> None:
        assert isinstance(self._server, Server)
        self._server.operations = self._front.operations if isinstance(self._front, _Front) else None

    async def close(self) -> None:
        assert isinstance(self._server, Server)
        self._server.operations = None
        self._hub.close()


class _Front:
    """In place of HTTP."""

    def __init__(self, operations: Operations, *_: object) -> None:
        self.operations = operations


class _Carrier:
    """In place of the carriers of webhooks and lineage events."""

    most_per_host = 2

    def __init__(self, world: World, kind: str) -> None:
        self._world, self.kind, self.name = world, kind, kind

    @asynccontextmanager
    async def running(self) -> Any:
        yield

    def host(self, delivery: PendingDelivery) -> str:
        return delivery.url

    async def carry(self, delivery: PendingDelivery, body: bytes) -> str | None:
        await asyncio.sleep(self._world.latency())
        failure = self._world.received(self.kind, body.decode())
        await asyncio.sleep(self._world.latency())
        return failure


@contextlib.contextmanager
def taken_over(world: World) -> Iterator[None]:
    """Let the world stand where the product meets the outside, while the block lasts."""
    with simulated(world, world.loop.time, world.seed) as patch:

        async def start(program: str, environment: dict[str, str], longest_line: int) -> Any:
            server = current.get()
            assert isinstance(server, Server)
            server.check()
            world._pids += 1
            worker = WorkerProcess(world, server, world._pids)
            server.workers.append(worker)
            coroutine, context = in_process(worker, worker.main)
            worker.task = world.loop.create_task(coroutine, context=context)
            return worker

        def lives(pid: int) -> str:
            processes = [one for server in world.servers for one in (server, *server.workers)]
            return "then" if any(one.pid == pid and not one.is_dead for one in processes) else ""

        def kill(identity: Identity) -> None:
            for server in world.servers:
                for worker in server.workers:
                    if worker.pid == identity.pid:
                        worker.end(-9)

        def this() -> Identity | None:
            process = current.get()
            return None if process is None else Identity(process.pid, "sim", "boot", "", "then")

        async def connect(url: str) -> Any:
            await asyncio.sleep(world.latency())
            return shared_state.Connection(Path(url), world)

        patch.setattr(child, "default_start", start)
        patch.setattr(lock, "surroundings", lambda: ("sim", "boot", ""))
        patch.setattr(lock, "_started", lives)
        patch.setattr(lock, "this_process", this)
        patch.setattr(Identity, "kill", kill)
        patch.setattr(assembly, "Listener", _Listener)
        patch.setattr(assembly, "Front", _Front)
        patch.setattr(
            assembly, "http_carriers", lambda *_: [_Carrier(world, kind) for kind in ("webhook", "lineage")]
        )
        real = messenger.Messenger
        patch.setattr(messenger, "Messenger", lambda path: real(path, time.time))  # the clock of the seams
        patch.setattr(ServerMetrics, "of", classmethod(lambda cls: None))
        patch.setattr(local_place, "file_system", lambda folder: "nfs")  # no notifications, so no thread
        patch.setenv("SIMULATED_CHAT", "chat://room")
        patch.setenv("SIMULATED_STATE", "postgresql://simulated")
        if world.is_shared:
            patch.setattr(assembly, "opened_state", lambda settings: shared_state.shared(settings, world))
            patch.setattr(lease, "connect", connect)
        yield


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Provide an empty folder for a history, in memory if there is room."""
    path = Path(tempfile.mkdtemp(prefix="lume-simulation-", dir=SHARED_MEMORY)).resolve()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def play(
    history: Callable[[World], Awaitable[None]], seed: int, loop: str = "asyncio", **options: Any
) -> World:
    """Carry out a history and return its world. Raises `Violation`."""
    with folder() as home:
        _lay_out(home)
        shutil.copyfile(template(), home / ".lume" / "state" / "runs.sqlite")
        if options.get("is_shared"):
            shared_state.prepare(home / ".lume" / "state" / "runs.sqlite")
        return _played(home, history, seed, loop, **options)


def _played(
    home: Path, history: Callable[[World], Awaitable[None]], seed: int, loop: str, **options: Any
) -> World:
    async def main() -> World:
        world = World(home, seed, **options)
        with taken_over(world):
            try:
                await history(world)
            finally:
                await world.end()
        if world.violations:
            raise world.violations[0]
        return world

    log = logging.getLogger("lume_local")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)
    try:
        with asyncio.Runner(loop_factory=freezable(LOOPS[loop])) as runner:
            loop: Any = runner.get_loop()
            loop.set_exception_handler(lambda *_: None)

            def check() -> None:
                if loop.time() > START + LONGEST:
                    loop.on_turn = None
                    raise Violation("comes to rest", f"the history goes on after {LONGEST:g} s")

            loop.on_turn = check
            return runner.run(main())
    finally:
        log.setLevel(level)


def _lay_out(home: Path) -> None:
    """Give a history its folder, with the flows and the arrivals."""
    for name in ("flows", "arriving", ".lume/state"):
        (home / name).mkdir(parents=True, mode=0o700)
    for name, text in FLOWS.items():
        (home / "flows" / f"{name}.toml").write_text(text + COLUMNS)
    (home / "arrivals.toml").write_text(ARRIVALS)
    (home / "messages.toml").write_text(MESSAGES)


@functools.cache
def template() -> Path:
    """Return a state in which the flows are registered, made once in this process."""

    async def start_once(world: World) -> None:
        await world.ready()

    with folder() as home:
        _lay_out(home)
        _played(home, start_once, 0, "asyncio")
        handle, kept = tempfile.mkstemp(prefix="lume-simulation-", suffix=".sqlite", dir=SHARED_MEMORY)
        os.close(handle)
        atexit.register(Path(kept).unlink, missing_ok=True)
        shutil.copyfile(home / ".lume" / "state" / "runs.sqlite", kept)
        return Path(kept)
