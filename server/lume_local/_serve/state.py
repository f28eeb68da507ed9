"""Opens the state of a server: a file in its data folder, or a database that it shares with other servers."""

import logging
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio

from lume_async.errors import ConfigurationError
from lume_local._runs.health import Health
from lume_local._runs.sources.paths import Roots
from lume_local._runs.sources.work import check_new, claim, warn_if_remote
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.backup import back_up_hourly, backup_age
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.sqlite.state_file import STATE_FILE, backup_of
from lume_local._runs.store.records import RunFilter, StoreError
from lume_local._serve.settings import ServerSettings
from lume_local._shared.commit import explain
from lume_local._shared.lock import Locked, held, holder, holder_died

_log = logging.getLogger("lume_local")

LOCK_FILE = "lock"
ORPHANED = 5.0
"""Seconds to wait for a lock whose holder has died."""
LOOK = 0.1
"""Seconds to wait for any other lock: a check whether a server is running holds the lock briefly."""


class State(NamedTuple):
    """The state of a running server.

    Attributes:
        is_lost: returns whether another server has taken the state.
        upkeep: tasks for the state as long as the server runs.
    """

    store: SqlStore
    health: Health
    is_lost: Callable[[], bool] = lambda: False
    upkeep: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()


@asynccontextmanager
async def opened_state(settings: ServerSettings) -> AsyncIterator[State]:
    """Hold the state for the duration of the block, once no other server has it. Raises `ConfigurationError`."""
    try:
        opened = _in_file(settings.places) if settings.state_url is None else _in_postgres(settings)
        async with opened as state:
            yield state
    except StoreError as error:
        raise ConfigurationError(str(error)) from None


@asynccontextmanager
async def _in_file(places: Roots) -> AsyncIterator[State]:
    file = places.state / STATE_FILE
    with ExitStack() as stack:
        try:
            _make_folders(places)
            await _enter_lock(stack, places.state / LOCK_FILE)
            if not (file.exists() or backup_of(file).exists()):
                check_new(places)
            store = SqliteStore(file, places.data / "out")
            stack.callback(store.close)
            if places.runs.parent != places.state:
                claim(places, store.store_id)
        except Locked:
            process = holder(places.state / LOCK_FILE)
            which = f" ({process})" if process is not None else ""
            raise ConfigurationError(
                f"another server uses the data folder {places.data}{which}: end it, or pass data=<another folder>"
            ) from None
        except OSError as error:
            raise _unusable(places, error) from None
        health = Health(places.data, partial(backup_age, file), places.state)
        upkeep = partial(back_up_hourly, file, health), partial(store.watch, health)
        yield State(store, health, upkeep=upkeep)


@asynccontextmanager
async def _in_postgres(settings: ServerSettings) -> AsyncIterator[State]:
    from lume_local._runs.postgres import postgres_state  # psycopg is an extra

    places, url, name = settings.places, settings.state_url, settings.state_env
    assert url is not None
    try:
        _make_folders(places)
    except OSError as error:
        raise _unusable(places, error) from None
    if (places.state / STATE_FILE).exists():
        raise ConfigurationError(
            f"the data folder {places.data} has a state of its own, which {name} would replace: without the history "
            "of its runs, sources would be processed again. Pass data=<another folder>"
        )
    health = Health(places.data, lambda: None, places.state)
    try:
        async with postgres_state.leased(url, health) as (store, lease):
            claim(places, store.store_id, is_used=bool(await store.runs(RunFilter(), None, 1)))
            yield State(store, health, lambda: lease.is_lost)
    except StoreError as error:
        raise ConfigurationError(f"the state in the PostgreSQL of {name} can't be used: {error}") from None


def _make_folders(places: Roots) -> None:
    places.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    places.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    warn_if_remote(places.state)
    # The state has the server's key and all runs; outputs may be meant for others.
    for folder, others in ((places.state, 0o077), (places.data, 0o007)):
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & others:
            _log.warning(
                "%s can be read by other users of this machine (mode %o): chmod 700 %s", folder, mode, folder
            )


def _unusable(places: Roots, error: OSError) -> ConfigurationError:
    is_file = isinstance(error, FileExistsError | NotADirectoryError)
    why = f"not a folder: {error.filename}" if is_file else explain(error)
    if places.state.is_relative_to(places.data):
        return ConfigurationError(f"the data folder {places.data} can't be used: {why}")
    return ConfigurationError(f"state and work: {places.state} and {places.data} can't be used: {why}")


async def _enter_lock(stack: ExitStack, lock: Path) -> None:
    """Hold a lock until the stack ends. Raises `Locked` if another process keeps it."""
    began = anyio.current_time()
    while True:
        try:
            stack.enter_context(held(lock))
            return
        except Locked:
            if anyio.current_time() - began > (ORPHANED if holder_died(lock) else LOOK):
                raise
        await anyio.sleep(0.01)  # the end of a lock has no notification
