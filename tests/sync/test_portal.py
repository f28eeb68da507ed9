"""The hop: results, errors, contexts, who may call from where, and how it all ends."""

import asyncio
import contextvars
import gc
import sys
import threading
import time
import traceback
import types
import warnings
import weakref
from typing import Any

import pytest
from sync.conftest import add, fail

from lume_sync._hops import call as _call
from lume_sync._hops import portal as _portal
from lume_sync._hops.portal import BlockingCallWarning, Portal

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


# ── results and errors ──────────────────────────────────────────────────────────────────────────────────────────


def test_arguments_go_and_results_come(portal: Portal) -> None:
    assert portal.call(add, 1, right=2).result() == 3


def test_an_error_comes_as_itself_with_its_cause(portal: Portal) -> None:
    async def caused() -> None:
        raise KeyError("x") from OSError("below")

    with pytest.raises(KeyError) as caught:
        portal.call(caused).result()
    assert isinstance(caught.value.__cause__, OSError)


def test_no_frame_of_the_hop_is_in_a_traceback(portal: Portal) -> None:
    with pytest.raises(ValueError, match="deep") as caught:
        portal.call(fail, ValueError("deep")).result()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names == ["test_no_frame_of_the_hop_is_in_a_traceback", "fail"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_what_ends_programs_reaches_the_caller_and_spares_the_loop(
    portal: Portal, kind: type[BaseException]
) -> None:
    with pytest.raises(kind):
        portal.call(fail, kind()).result()
    thread = portal.engine().thread
    assert portal.call(add, 1).result() == 1
    assert portal.engine().thread is thread


def test_the_traceback_of_a_shared_error_does_not_grow(portal: Portal) -> None:
    error = ValueError("shared")
    depths = set()
    for _ in range(100):
        with pytest.raises(ValueError, match="shared"):
            portal.call(fail, error.with_traceback(None)).result()
        depths.add(len(traceback.extract_tb(error.__traceback__)))
    assert len(depths) == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_so_it_does_from_a_task_of_the_coroutine(portal: Portal, kind: type[BaseException]) -> None:
    async def in_a_task() -> None:
        await asyncio.create_task(fail(kind()))

    with pytest.raises(kind):
        portal.call(in_a_task).result()
    assert portal.call(add, 1).result() == 1


def test_a_task_dies_on_the_loop(portal: Portal) -> None:
    """Its death runs Python code of asyncio's, in which a Ctrl-C would get lost in the caller's thread."""
    tasks: list[weakref.ref[asyncio.Task[None]]] = []

    async def noted() -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(weakref.ref(task))

    call = _call.Call(portal.engine(), noted, (), {})
    call.run()
    portal.call(add, 1).result()  # the loop has taken another turn
    assert call.future.done()
    assert [task() for task in tasks] == [None]


@pytest.fixture
def later_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with Python 3.11, whose tasks take no step before the next turn of the loop."""

    def new_task(coroutine: Any, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> object:
        return loop.create_task(coroutine, context=context)

    monkeypatch.setattr(_call, "_first_step_taken", new_task)


@pytest.mark.usefixtures("later_first_step")
def test_a_call_that_was_interrupted_before_its_first_step_is_let_go_of(portal: Portal) -> None:
    class Held:
        async def leave(self) -> None:
            pass

    async def interrupted(call: _call.Call[None]) -> None:
        call._start()
        call._cancel()

    held = Held()
    call = _call.Call(portal.engine(), held.leave, (), {})
    portal.call(interrupted, call).result()
    portal.call(add, 1).result()
    assert call.future.cancelled()
    kept = weakref.ref(held)
    gc.collect()
    gc.disable()
    try:
        del held, call
        portal.call(add, 1).result()
        assert kept() is None
    finally:
        gc.enable()


def test_a_stopped_loop_goes_on(portal: Portal) -> None:
    async def stop() -> int:
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        return 1

    assert portal.call(stop).result() == 1
    assert portal.call(add, 2).result() == 2


def test_a_cancelled_coroutine_is_no_ordinary_exception(portal: Portal) -> None:
    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError) as caught:
        portal.call(cancel_itself).result()
    assert not isinstance(caught.value, Exception)  # so that no `except Exception: retry` takes it


async def _current_task() -> asyncio.Task[Any] | None:
    return asyncio.current_task()


def test_a_call_that_needs_no_other_turn_of_the_loop_has_a_task_all_the_same(portal: Portal) -> None:
    tasks = [portal.call(_current_task).result() for _ in range(2)]
    assert None not in tasks
    assert tasks[0] is not tasks[1]


@pytest.mark.usefixtures("later_first_step")
def test_a_call_whose_task_was_taken_before_its_first_step_ends(portal: Portal, short_waits: None) -> None:
    engine = portal.engine()
    create_task = engine.loop.create_task

    class Loop:
        def __getattr__(self, name: str) -> object:
            return getattr(engine.loop, name)

        def create_task(self, *args: object, **kwargs: object) -> object:
            task = create_task(*args, **kwargs)  # type: ignore[arg-type]
            task.cancel()
            return task

    call = _call.Call(engine, add, (1,), {})
    call._engine = types.SimpleNamespace(  # type: ignore[assignment]
        loop=Loop(), post=engine.post, calls=engine.calls, thread=engine.thread, closing=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the coroutine was never awaited: that is the point
        call.run()
        gc.collect()
    with pytest.raises(asyncio.CancelledError):
        call.future.result()


# ── contexts ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_context_variables_flow_in(portal: Portal) -> None:
    async def read() -> str:
        return variable.get()

    variable.set("mine")
    assert portal.call(read).result() == "mine"
    assert contextvars.Context().run(lambda: portal.call(read).result()) == "unset"


def test_the_loop_thread_has_an_empty_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where an instrumentation runs every thread in the context of the one that started it."""
    seen: list[str] = []

    class Loop(asyncio.SelectorEventLoop):
        def run_forever(self) -> None:
            seen.append(variable.get())
            super().run_forever()

    def start(thread: threading.Thread) -> None:
        context, run = contextvars.copy_context(), thread.run
        monkeypatch.setattr(thread, "run", lambda: context.run(run))
        plain_start(thread)

    plain_start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", start)
    variable.set("the first caller's")
    portal = Portal(new_loop=Loop)
    assert portal.call(add, 1).result() == 1
    portal.close()
    assert seen[0] == "unset"


# ── who may call ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_from_the_loops_own_thread_is_refused_at_once(portal: Portal) -> None:
    async def call_back() -> None:
        portal.call(add, 1).result()

    with pytest.raises(RuntimeError, match=r"own event-loop thread; await lume_async's add"):
        portal.call(call_back).result()
    assert portal.call(add, 1).result() == 1


def test_a_finalizer_on_the_loops_thread_harms_nobody(portal: Portal) -> None:
    class Caller:
        def __init__(self) -> None:
            self.cycle = self

        def __del__(self) -> None:
            try:
                portal.call(add, 1).result()
            except RuntimeError as error:
                refused.append(error)

    refused: list[RuntimeError] = []

    async def collect() -> None:
        Caller()
        gc.collect()

    portal.call(collect).result()
    assert len(refused) == 1
    assert portal.call(add, 1).result() == 1


def test_inside_a_running_loop_it_works_and_warns_once(portal: Portal) -> None:
    async def outer() -> list[int]:
        return [portal.call(add, number).result() for number in range(3)]

    with pytest.warns(BlockingCallWarning, match=r"await lume_async's add") as caught:
        assert asyncio.run(outer()) == [0, 1, 2]
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("name", "module"),
    [("ipykernel", object()), ("IPython", types.SimpleNamespace(get_ipython=lambda: object()))],
)
def test_in_a_notebook_it_does_not_warn(
    portal: Portal, monkeypatch: pytest.MonkeyPatch, name: str, module: object
) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    monkeypatch.setitem(sys.modules, name, module)  # type: ignore[arg-type]

    async def cell() -> int:
        return portal.call(add, 1).result()

    assert asyncio.run(cell()) == 1


def test_opening_while_opening_starts_one_loop() -> None:
    """A finalizer that runs in the middle of the start, on the same thread, calls, too."""
    loops: list[asyncio.AbstractEventLoop] = []

    def new_loop() -> asyncio.AbstractEventLoop:
        if not loops:
            loops.append(asyncio.new_event_loop())
            assert portal.call(add, 1).result() == 1
            return loops[0]
        loops.append(asyncio.new_event_loop())
        return loops[-1]

    portal = Portal(new_loop=new_loop)
    assert portal.call(add, 2).result() == 2
    assert len(loops) == 2
    assert portal.engine().loop is loops[1]
    deadline = time.monotonic() + 5
    while not loops[0].is_closed():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    portal.close()


def test_a_thread_that_cannot_start_leaves_nothing_behind(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            portal.call(add, 1)
    assert portal.state == "new"
    assert portal.call(add, 1).result() == 1


def test_uvloop_makes_the_private_loop_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    uvloop = pytest.importorskip("uvloop")
    loop = _portal.loop_factory()()
    loop.close()
    assert isinstance(loop, uvloop.Loop)
    monkeypatch.setitem(sys.modules, "uvloop", None)  # type: ignore[arg-type]
    assert _portal.loop_factory() is asyncio.new_event_loop


def test_on_windows_the_private_loop_is_not_created_in_the_main_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One of Proactor that is created there takes the wake-up by signals from the loop of the program."""
    created: list[threading.Thread] = []

    def new_event_loop() -> asyncio.AbstractEventLoop:
        created.append(threading.current_thread())
        return asyncio.SelectorEventLoop()

    monkeypatch.setitem(sys.modules, "uvloop", None)  # type: ignore[arg-type]
    monkeypatch.setattr(_portal, "IS_POSIX", False)
    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)
    portal = Portal(new_loop=_portal.loop_factory())
    try:
        assert portal.call(add, 1, right=2).result() == 3
    finally:
        portal.close()
    assert created
    assert threading.main_thread() not in created
