"""All arrivals of a server, from a file that is reloaded when it changes."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync
from attrs import define, field

from lume_async._base.tasks import task_group
from lume_async.errors import ConfigurationError
from lume_local._arrivals.settings import Arrival, read_arrivals, with_flow
from lume_local._arrivals.submission import Submissions
from lume_local._arrivals.watcher import Watcher, WatcherParts
from lume_local._flow.fields import FlowError
from lume_local._flow.mistakes import read_settings
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.health import why
from lume_local._runs.runner import Runner
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.resolver import SourceResolver
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoredRun
from lume_local._shared.failing import require
from lume_local._shared.saved import OnReload, Reread, unnoticed

_log = logging.getLogger("lume_local")

LOOK = 1.0
"""Seconds between checks of the file for changes."""


def read_file(path: Path) -> tuple[Arrival, ...]:
    """Return the arrivals of a file. Raises `ConfigurationError` with all mistakes, or if the extra is missing."""
    found = read_settings(path, "arrivals", read_arrivals)
    if any(not arrival.scheme for arrival in found):
        try:
            require("watchfiles", "arrivals", f"arrivals ({path})")
        except ModuleNotFoundError as error:
            raise ConfigurationError(str(error)) from None
    return found


@define
class _Task:
    watcher: Watcher
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ended: anyio.Event = field(factory=anyio.Event)


class Arrivals:
    """The arrivals of one server.

    Raises:
        ConfigurationError: the file can't be read, or has a mistake.
    """

    _parts: WatcherParts
    _watching: TaskGroup

    def __init__(self, path: Path) -> None:
        self._path = path
        self.on_reload: OnReload = unnoticed
        self._file = Reread(lambda: read_file(path), "arrivals stay in effect", path)
        self._tasks: dict[str, _Task] = {}
        self._lock = anyio.Lock()

    @property
    def problem(self) -> str:
        """Why the file's current content is not in effect; empty if it is."""
        return self._file.trouble

    @property
    def watchers(self) -> list[Watcher]:
        """The watcher of each arrival, in the order of the file."""
        return [self._tasks[one.name].watcher for one in self._file.value if one.name in self._tasks]

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return the number of files by state for each arrival; `trouble` is 1 while its place can't be used."""
        found = {}
        for watcher in self.watchers:
            name = watcher.arrival.name
            submitted, refused = await self._parts.store.arrivals.counts(name)
            found[name] = {
                "waiting": len(watcher.waiting),
                "submitted": submitted,
                "refused": refused,
                "trouble": int(bool(watcher.trouble)),
            }
        return found

    def run_ended(self, run: StoredRun) -> None:
        for task in self._tasks.values():
            task.watcher.run_ended(run)

    @asynccontextmanager
    async def running(
        self,
        store: SqlStore,
        flows: FlowRegistry,
        runner: Runner,
        resolver: SourceResolver,
        roots: Roots,
        on_notice: Callable[[], None] | None,
    ) -> AsyncIterator[None]:
        """Watch while the block lasts; `on_notice` is that of `WatcherParts`."""
        self._parts = WatcherParts(store, Submissions(store, flows, runner, resolver), roots, on_notice)
        await run_sync(self._file.look)  # it may have changed while this server waited for the state
        async with task_group() as tasks:
            self._watching = tasks
            self._start({})
            tasks.start_soon(self._follow_file)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def use(self, name: str, flow: str) -> None:
        """Write into the file that an arrival has this flow, such as `orders:v3`; it is in effect afterwards.

        Raises:
            KeyError: there is no such arrival.
            ConfigurationError: the file can't be changed.
        """
        async with self._lock:
            await run_sync(_rewrite, self._path, name, flow)
            with anyio.CancelScope(
                shield=True
            ):  # half of a change would leave an arrival without its watcher
                await self._look()

    async def _follow_file(self) -> None:
        while True:
            await anyio.sleep(LOOK)
            async with self._lock:
                await self._look()

    async def _look(self) -> None:
        if await run_sync(self._file.look):
            await self._follow()
            _log.warning("%s was read again: %d arrivals", self._path, len(self._file.value))
            self.on_reload(self._path, arrivals=len(self._file.value))

    async def _follow(self) -> None:
        """Stop the watchers of removed and changed arrivals; start watchers for new ones."""
        wanted = {one.name: one for one in self._file.value}
        for name, task in list(self._tasks.items()):
            if wanted.get(name) == task.watcher.arrival:
                continue
            task.scope.cancel()
            await task.ended.wait()
            del self._tasks[name]
            try:
                await self._parts.store.arrivals.forget_refusals(name)  # to be decided again
            except Exception as error:
                _log.error("arrival %s: %s", name, why(error))
        self._start(self._tasks)

    def _start(self, known: dict[str, _Task]) -> None:
        async def watch(task: _Task) -> None:
            try:
                with task.scope:
                    await task.watcher.watch()
            finally:
                task.ended.set()

        for arrival in self._file.value:
            if arrival.name not in known:
                self._tasks[arrival.name] = task = _Task(Watcher(arrival, self._parts))
                self._watching.start_soon(watch, task)


def _rewrite(path: Path, name: str, flow: str) -> None:
    """Change the flow of an arrival in the file. Raises `KeyError` or `ConfigurationError`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
        path.write_bytes(with_flow(text, name, flow).encode())  # in place: a mounted file can't be replaced
    except FlowError as error:
        raise ConfigurationError(f"{path.name}: {error}") from None
    except (OSError, UnicodeError) as error:
        why_not = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f'the server can\'t change {path.name} ({why_not}): write flow = "{flow}" for {name} there'
        ) from None
