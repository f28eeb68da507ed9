"""A history: servers and workers on one loop of virtual time, their folder, clients, and receivers of messages."""

import asyncio
import hashlib
import json
import os
import random
import sqlite3
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from multidict import CIMultiDict

from lume_async.testing._loop import START
from lume_local._arrivals import arrivals, local_place, watcher  # noqa: F401 - before the seams are put in place
from lume_local._http.exchange import Ask, Problem, Reply
from lume_local._http.routes import Operations
from lume_local._runs.deliveries import message_carrier  # noqa: F401
from lume_local._runs.postgres import lease, postgres_state, postgres_store  # noqa: F401
from lume_local._runs.store.records import StoreUnavailable
from lume_local._serve import assembly
from lume_local._serve.settings import ServerSettings

from .seams import EPOCH, Killed, Points, SimProcess, current, in_process
from .workers import WorkerProcess

HOOK = "https://hooks.example/runs"
OPTIONS: dict[str, Any] = {
    "webhook_secret": "a secret of the simulation",
    "webhook_hosts": ("hooks.example",),
    "lineage_url": "https://lineage.example/api",
    "max_active": 2,
    "api_key": "a key of sixteen characters",
    "run_timeout": 3600,
}


class Lost(Exception):
    """The connection of a client broke, or no answer came: nobody knows whether the request had an effect."""


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


class Server(SimProcess):
    """One life of a server.

    Attributes:
        requests: what it does for clients.
    """

    def __init__(self, world: "World", pid: int) -> None:
        super().__init__(world, "server", pid)
        self.workers: list[WorkerProcess] = []
        self.requests: list[asyncio.Task[Any]] = []
        self.operations: Operations | None = None
        self.task: asyncio.Task[None] | None = None
        self.stop = asyncio.Event()
        self.problem = ""

    @property
    def is_ready(self) -> bool:
        return self.operations is not None and not (self.is_dead or self.is_frozen)


class World(Points):
    """A folder, and whoever is at work on it.

    Args:
        is_shared: whether several servers share the state by a lease.
        faults: the probability of each fault by its name.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        is_shared: bool = False,
        faults: dict[str, float] | None = None,
        kills: Sequence[tuple[int, bool]] = (),
    ) -> None:
        super().__init__(asyncio.get_running_loop())
        self.kills = list(kills)
        self.folder, self.seed, self.is_shared = folder, seed, is_shared
        self.dice = random.Random(seed)
        self.faults = faults or {}
        self.options = OPTIONS | {"messages": folder / "messages.toml"}
        self.purges = False
        """Whether runs, or their outputs, are removed when their time is over."""
        self.servers: list[Server] = []
        self.accepted_by: defaultdict[str, list[str]] = defaultdict(list)
        """What each receiver has accepted."""
        self.submissions: dict[str, dict[str, Any]] = {}
        """What clients have asked for, by the idempotency key."""
        self.arrived: list[str] = []
        """The files that have arrived."""
        self.taken_again = 0
        """How often a person has taken failed files again."""
        self.violations: list[Violation] = []
        self._pids = 100
        self._looking: sqlite3.Connection | None = None
        self.on_kill = self.kill
        self.checks.append(self._check_publishing)

    # -- the clock and the dice

    def now(self) -> float:
        return EPOCH - START + self.ahead + float(self.loop.time())

    def latency(self) -> float:
        return self.dice.choice((0.0, 0.001, 0.02)) if self.faults else 0.001

    def pause(self) -> float:
        """Return how long a step of a worker takes."""
        if self.dice.random() < self.faults.get("slow", 0):
            return self.dice.choice((30.0, 50.0))
        return self.dice.choice((0.0, 0.01, 0.3)) if self.faults else 0.01

    def fault_of_worker(self) -> str:
        return next((name for name in ("dies", "hangs") if self.dice.random() < self.faults.get(name, 0)), "")

    def received(self, receiver: str, body: str) -> str | None:
        """Take a webhook, an event or a message; return why not."""
        if (process := current.get()) is not None:
            process.check()
        if self.dice.random() < self.faults.get("refuses", 0):
            return "the receiver is away"
        self.accepted_by[receiver].append(body)
        # It has it, and the sender is not told.
        return "no answer" if self.dice.random() < self.faults.get("refuses", 0) else None

    @property
    def digest(self) -> str:
        """What has happened, to be compared with another history of the same seed."""
        text = f"{self.names} {dict(self.accepted_by)}".replace(str(self.folder), "")
        return hashlib.sha256(text.encode()).hexdigest()

    # -- places

    @property
    def data(self) -> Path:
        return self.folder / ".lume"

    @property
    def state_file(self) -> Path:
        return self.data / "state" / "runs.sqlite"

    def asked(self, query: str, *values: Any) -> list[Any]:
        """Return what the state answers, in no process."""
        if self._looking is None:
            self._looking = in_process(None, lambda: None)[1].run(sqlite3.connect, self.state_file)
        return self._looking.execute(query, values).fetchall()

    # -- servers

    def start(self) -> Server:
        """Start a server, which waits for the state if others have it."""
        self._pids += 1
        server = Server(self, self._pids)
        self.servers.append(server)
        coroutine, context = in_process(server, lambda: self._serve(server))
        server.task = self.loop.create_task(coroutine, context=context)
        return server

    async def _serve(self, server: Server) -> None:
        try:
            flows, roots = self.folder / "flows", [self.folder]
            named = {name: self.options[name] for name in ("api_key", "max_active")}
            more = {name: value for name, value in self.options.items() if name not in named}
            if self.is_shared:
                more["state_env"] = "SIMULATED_STATE"
            settings = ServerSettings.of(flows, self.data, roots, more, **named)  # type: ignore[arg-type]
            async with assembly.assembled(settings):
                await server.stop.wait()
        except (Killed, asyncio.CancelledError):
            pass
        except BaseException as error:
            is_expected = server.is_dead or isinstance(_first(error), lease.LeaseLost)
            server.problem = "" if is_expected else repr(_first(error))
        finally:
            server.operations = None
            for worker in server.workers:
                worker.let_go()

    def kill(self, process: SimProcess) -> None:
        """Kill a server, whose workers end with it, or a worker."""
        if isinstance(process, WorkerProcess):
            return process.end(-9)
        assert isinstance(process, Server)
        process.die()
        for task in (process.task, *process.requests):
            if task is not None:
                self.loop.call_soon(task.cancel)
        for worker in process.workers:
            worker.let_go()

    async def ready(self, seconds: float = 600.0) -> Server:
        """Return a server that takes requests; start one if all have ended."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            for server in self.servers:
                if server.is_ready:
                    return server
            if all(one.task is None or one.task.done() or one.is_dead for one in self.servers):
                self.start()
            if unexpected := [one.problem for one in self.servers if one.problem]:
                raise Violation("comes to rest", f"a server ended by itself: {unexpected}")
            await asyncio.sleep(0.1)
        raise Violation("comes to rest", "no server works")

    async def stop(self) -> None:
        """End a server in an orderly way."""
        server = await self.ready()
        server.stop.set()
        assert server.task is not None
        await asyncio.wait([server.task])

    async def freeze(self, server: Server, seconds: float) -> None:
        """Stop a server for a while, as SIGSTOP does."""
        server.is_frozen = True
        try:
            await asyncio.sleep(seconds)
        finally:
            server.thaw()

    async def end(self) -> None:
        """Stop all servers; nothing of the history goes on afterwards."""
        for server in self.servers:
            server.stop.set()
            server.thaw()
        tasks = [one.task for one in self.servers if one.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=300)
        for server in self.servers:
            if server.task is not None and not server.task.done():
                self.kill(server)
            for worker in server.workers:
                worker.end(0)
        await asyncio.sleep(0)
        for connection in (one for server in self.servers for one in server.connections):
            connection.abandon()
        if self._looking is not None:
            self._looking.close()

    # -- a client

    async def call(self, make: Callable[[Operations], Awaitable[Reply]], seconds: float = 30.0) -> Reply:
        """Make a request of a server that works. Raises `Lost`, `Problem`."""
        server = await self.ready()

        async def answered() -> Reply:
            assert server.operations is not None
            reply = await make(server.operations)
            await server.operations.runs.settled()
            return reply

        coroutine, context = in_process(server, answered)
        task = self.loop.create_task(coroutine, context=context)
        server.requests.append(task)
        done, _ = await asyncio.wait([task], timeout=seconds)
        server.requests.remove(task)
        if not done:
            task.cancel()
            raise Lost
        if task.cancelled() or isinstance(task.exception(), Killed) or not server.is_ready:
            raise Lost
        error = task.exception()
        if isinstance(error, StoreUnavailable) or (isinstance(error, Problem) and error.status == 503):
            raise Lost from error
        if error is not None and not isinstance(error, Problem):
            raise Violation("comes to rest", f"an internal error: {error!r}") from error
        found: Reply = task.result()
        return found

    async def insisted(self, make: Callable[[Operations], Awaitable[Reply]]) -> Reply:
        """Make a request until it is answered, as a client with a key does. Raises `Problem`."""
        end = self.loop.time() + 900
        while self.loop.time() < end:
            try:
                return await self.call(make)
            except Lost:
                await asyncio.sleep(0.5)
        raise Violation("comes to rest", "no server answers")

    def ask(self, key: str, body: bytes) -> Ask:
        headers = CIMultiDict({"Content-Type": "application/json", "Idempotency-Key": key})
        return Ask({}, [], body, headers, holder="somebody")

    async def submit(self, key: str, flow: str, source: str, **fields: Any) -> str | None:
        """Submit a source; return its run, or None if it is a duplicate."""
        told = self.submissions.setdefault(key, {"flow": flow, "source": source, "run": None, **fields})
        body = {"flow_version": flow, "source_path": source, "webhook_url": HOOK, **fields}
        ask = self.ask(key, json.dumps(body).encode())
        try:
            reply = await self.insisted(lambda api: api.runs.submit(ask))
        except Problem as problem:
            told["refused"] = str(problem)
            return None
        run_id = str(reply.document["id"])
        if told["run"] not in (None, run_id):
            raise Violation("every submission has one end", f"{key} was {told['run']}, and then {run_id}")
        told["run"] = run_id
        return run_id

    async def ended(self, run_id: str, seconds: float = 3600.0) -> str:
        """Return the status of a run once it has ended."""
        end = self.loop.time() + seconds
        while self.loop.time() < end:
            ((status,),) = self.asked("SELECT status FROM runs WHERE run_id = ?", run_id)
            if status not in ("CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET"):
                return str(status)
            await self.ready()
            await asyncio.sleep(0.5)
        raise Violation("every submission has one end", f"{run_id} has none after {seconds:g} s")

    def arrive(self, name: str, kinds: str) -> None:
        """Put a file where it arrives."""
        self.arrived.append(self.write(f"arriving/{name}", kinds, 1000 * (1 + len(self.arrived))))

    async def take_again(self, arrival: str) -> None:
        """Take the failed files of an arrival again, until there is a run more."""
        ask = evolve(self.ask("again", b"{}"), path={"name": arrival})
        before = self.asked("SELECT count(*) FROM runs")
        self.taken_again += 1
        while self.asked("SELECT count(*) FROM runs") == before:
            await self.insisted(lambda api: api.arrivals.retry(ask))
            await asyncio.sleep(5)

    async def replay(self, key: str, to: str) -> None:
        """Replay the open rows of the flow by another version, and wait for the end."""
        flow, _, version = to.partition(":")
        ask = self.ask(key, json.dumps({"flow": flow, "to": version}).encode())
        reply = await self.insisted(lambda api: api.rejects.replay(ask))
        for number, run in enumerate(reply.document["runs"]):
            self.submissions[f"{key}#{number}"] = {"replay": to, "run": run["id"]}
            await self.ended(run["id"])

    def write(self, name: str, kinds: str, first: int = 0) -> str:
        """Write a source with rows of these kinds; return its path."""
        rows = "".join(f"{first + n},{kind}\n" for n, kind in enumerate(kinds.split()))
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("id,kind\n" + rows)
        os.utime(path, (self.now(), self.now()))
        return name

    # -- what is watched all the time

    def _check_publishing(self, process: SimProcess, kind: str, name: str) -> None:
        """A run commits only while its server may publish: the state says so, and its lease is the last one."""
        if not (self.is_shared and name == "replace commit.json" and isinstance(process, WorkerProcess)):
            return
        assert process.folder is not None
        run_id = process.folder.name
        if not self.asked("SELECT 1 FROM runs WHERE run_id = ? AND is_published", run_id):
            lost = "nothing published by a server that lost its lease"
            self.violations.append(Violation(lost, f"{run_id} has committed without a permission"))


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
