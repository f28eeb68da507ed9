"""The building blocks of the generated modules: the portal of the process, and wrappers for each kind of value.

A live object of this package holds its core in `_core`; plain data is shared with the core.
"""

import asyncio
import atexit
import inspect
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from lume_async import Outcome, RunError, RunEvent
from lume_async._base.arguments import check_names as check_names
from lume_async._base.batched import all_runs
from lume_async._base.default_client import find_client
from lume_async._base.platform import at_fork
from lume_async._base.secret import veiled as veiled
from lume_async._base.secret import veiled_headers as veiled_headers
from lume_sync._hops.held import Held as Held
from lume_sync._hops.iteration import Items as Items
from lume_sync._hops.iteration import Paged as Paged
from lume_sync._hops.portal import Portal, too_late
from lume_sync._hops.workers import Pulled

S = TypeVar("S")
T = TypeVar("T")
E = TypeVar("E", bound=BaseException | None)


_twins: dict[type, Any] = {}


def twin_of(core_class: type) -> Callable[[type[T]], type[T]]:
    """Return a decorator for the class of this package that wraps the given class of the core."""

    def remember(twin: type[T]) -> type[T]:
        _twins[core_class] = twin
        return twin

    return remember


def adopt(error: E) -> E:
    """Make `.run` of the error the `LumeRun` of this package; return the error."""
    if isinstance(error, RunError) and type(error.run) in _twins:
        error.run = _twins[type(error.run)]._wrap(error.run)
    return error


portal = Portal(adopt)


call = portal.call
atexit.register(portal.at_exit)
at_fork(after_in_child=portal.after_fork)


class _Adopted(AbstractContextManager[None]):
    """Adopts an error that leaves the block; a context manager adds no frame to the traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, ImportError) and sys.is_finalizing():  # from an import on first use in the core
            raise too_late() from error
        if error is not None:
            adopt(error)


adopted = _Adopted()
"""Used around every call into the core that does not hop."""


def hold(manager: AbstractAsyncContextManager[Any, Any], steps: Items[Any] | None = None) -> Held:
    """Return an owner for a context manager before its entry; the iteration of its items ends with it."""
    return Held(portal, manager, steps)


def iterate(source: AsyncIterator[S], wrap: Callable[[S], T]) -> Items[T]:
    """Return an asynchronous iteration as a plain one."""
    return Items(portal, source, wrap)


def paged(source: AsyncIterator[S], wrap: Callable[[S], T]) -> Paged[T]:
    """Return an asynchronous iteration over pages as a plain one."""
    return Paged(portal, source, wrap)


def same(value: T) -> T:
    """Return plain data unchanged."""
    return value


def twin(_of: type[T], core: Any) -> T | Items[Any]:
    """Return the twin of a live object, or a plain iterator of an asynchronous one."""
    owner = _twins.get(type(core))
    if owner is None:
        return iterate(core, same)
    found: T = owner._wrap(core)
    return found


def in_list(wrap: Callable[[S], T]) -> Callable[[list[S]], list[T]]:
    """Return a function that wraps each item."""
    return lambda values: [wrap(value) for value in values]


def in_outcome(wrap: Callable[[S], T]) -> Callable[[Outcome[S]], Outcome[T]]:
    """Return a function that wraps the run of an outcome and of its error."""
    return partial(_outcome, wrap)


def _outcome(wrap: Callable[[S], T], core: Outcome[S]) -> Outcome[T]:
    run = None if core.run is None else wrap(core.run)
    return Outcome(core.run_id, run, adopt(core.error), core.request, core.remembered)


def in_event(wrap: Callable[[S], T]) -> Callable[[RunEvent[S]], RunEvent[T]]:
    """Return a function that wraps the run of an event and of its error."""
    return lambda core: RunEvent(wrap(core.run), core.previous, adopt(core.error))


def core_of(value: object) -> Any:
    """Return the core of a live object; anything else (an ID) is returned as it is."""
    return getattr(value, "_core", value)


def cores_of(values: Iterable[object]) -> list[Any]:
    """Return the cores of live objects; the iterable is read in the caller's thread."""
    return [core_of(value) for value in all_runs(values)]


def pulled(values: Iterable[T]) -> Iterable[T] | AsyncIterator[T]:
    """Return the caller's iterable, pulled as needed in its own thread; lists and our own iterations need none."""
    if type(values) in (list, tuple, str, bytes) or not isinstance(values, Iterable):
        return values  # a list never blocks, and a hop costs more than a replayed item; the core refuses the others
    ours = values._hand_over() if isinstance(values, Items) else None
    return Pulled(values) if ours is None else ours


def offload(api_key: Any) -> Any:
    """Return the API key with a redacted repr, or an asynchronous function that calls a plain one in a thread."""
    if not callable(api_key):
        return veiled(api_key)
    if inspect.iscoroutinefunction(api_key):
        return api_key

    async def ask() -> Any:
        answer: Any | Awaitable[Any] = await asyncio.to_thread(api_key)
        return await answer if inspect.isawaitable(answer) else answer

    return ask


def _default_client() -> Any:
    find = find_client("lume_sync")
    if find is None:
        raise too_late()
    return core_of(find())


def revive(core_class: type[T], state: Any) -> T:
    """Return an unpickled core; it uses this package's default client, which is looked up on first use."""
    core: Any = core_class.__new__(core_class)
    core.__setstate__(state)
    core._bind(_default_client)
    revived: T = core
    return revived
