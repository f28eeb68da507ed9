"""`VirtualLoop`: an event loop without sockets, whose time passes only when every task waits."""

import asyncio
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from functools import partial
from heapq import heappop, heappush
from itertools import count
from socket import socket
from typing import Any, Protocol, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from lume_async._base.threads import outcome_of, settle

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
START = 1_000.0
"""The loop's time at its start, in seconds."""


LONGEST = 3_153_600_000.0
"""The longest delay of uvloop in seconds: a hundred years."""


TURN = 2e-5
"""The seconds of a turn of `UvloopLikeLoop`: without them, waiting for less than a millisecond would not end."""


class StuckError(AssertionError):
    """Every task waits for something that never comes."""


class Dialer(Protocol):
    """Makes the connections of a loop that has no sockets."""

    async def reach(self, address: tuple[Any, ...]) -> Callable[[asyncio.Protocol], asyncio.Transport]:
        """Return what connects a protocol with the other end. Raises `OSError`."""
        ...


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's loop over a selector that never sleeps: where it would, the time jumps to the next timer.

    Work for threads (`asyncio.to_thread`, `run_in_executor`) is done on the loop, a turn later.

    Attributes:
        turns: the number of turns so far.
        on_turn: called before each turn; may raise an error, which ends `run_until_complete`.
        dialer: makes connections; None: there is nothing to connect to.
    """

    def __init__(self, start: float = START) -> None:
        self.turns: int = 0
        self.on_turn: Callable[[], object] | None = None
        self.dialer: Dialer | None = None
        self._now = start
        self._reached: WeakKeyDictionary[socket, Callable[[asyncio.Protocol], asyncio.Transport]] = (
            WeakKeyDictionary()
        )
        self._numbers = count()
        super().__init__(_Jumps(self))

    def create_future(self) -> "asyncio.Future[Any]":
        """Return a future whose place in a set is the same in every process."""
        future = _Future(loop=self)
        future.number = next(self._numbers)
        return future

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        """Return a task whose place in a set is the same in every process."""
        return _Task(coro, loop=self, number=next(self._numbers), **options)

    async def sock_connect(self, sock: socket, address: Any) -> None:
        """Connect a socket, which itself stays unused, with what the dialer finds at the address."""
        if self.dialer is None:
            raise ConnectionRefusedError("nothing is simulated at this address")
        self._reached[sock] = await self.dialer.reach(address)

    async def create_connection(self, protocol_factory: Callable[[], Any], *_: Any, **options: Any) -> Any:
        """Return the transport and the protocol of a socket that `sock_connect` has connected."""
        sock = options.get("sock")
        if sock is None or sock not in self._reached:
            raise NotImplementedError("only the connections of lume_async are simulated")
        connect = self._reached.pop(sock)
        sock.close()
        protocol = protocol_factory()
        return connect(protocol), protocol

    def time(self) -> float:
        return self._now

    def now(self) -> float:
        """Return the same as precise as a clock of the system, not of the loop."""
        return self._now

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call the function in the next turn; there are no other threads, so nobody is woken."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> "asyncio.Future[T]":
        """Call the function on the loop, a turn later."""
        done: asyncio.Future[T] = self.create_future()

        def work() -> None:
            if not done.cancelled():
                settle(done, *outcome_of(partial(func, *args)))

        self.call_soon(work)
        return done

    def next_turn(self, timeout: float | None) -> None:
        """Let the time pass, before a turn; `timeout` is as in `select`."""
        self.turns += 1
        if self.on_turn is not None:
            self.on_turn()
        if timeout is None:
            raise StuckError("every task waits for something that never comes")
        self._now += max(0.0, timeout)


class UvloopLikeLoop(VirtualLoop):
    """The same with the timers of uvloop, which its users have met as surprises.

    They and the loop's time count in milliseconds, so that one can end half a millisecond early, and waiting again
    for the rest takes turns without an end of the time; and those that are due run before callbacks that are ready.
    """

    def __init__(self, start: float = START) -> None:
        self._timers: list[tuple[int, int, _Timer]] = []
        self._order = count()
        super().__init__(start)

    def time(self) -> float:
        """Return the virtual time in seconds, in whole milliseconds."""
        return self._milliseconds() / 1000

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call the function after the delay, rounded to milliseconds."""
        wait = round(min(max(0.0, delay), LONGEST) * 1000)
        due = self._milliseconds() + wait
        timer = _Timer(due / 1000, callback, args, self, context)
        if wait:
            heappush(self._timers, (due, next(self._order), timer))
        else:
            self.call_soon(timer.fire)
        return timer

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call the function at a time of the loop."""
        return self.call_later(when - self.time(), callback, *args, context=context)

    def next_turn(self, timeout: float | None) -> None:
        """Let the time pass, and call the timers that are due."""
        while self._timers and self._timers[0][2].cancelled():
            heappop(self._timers)
        if timeout != 0:  # nothing is ready
            timeout = max(0.0, self._timers[0][0] / 1000 - self._now) if self._timers else None
        super().next_turn(timeout)
        self._now += TURN
        while self._timers and self._timers[0][0] <= self._milliseconds():
            heappop(self._timers)[2].fire()

    def _milliseconds(self) -> int:
        return int(self._now * 1000)


class _Future(asyncio.Future[Any]):
    """A future that hashes as its number."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class _Task(asyncio.Task[Any]):
    """A task that hashes as its number."""

    def __init__(self, coro: Any, *, number: int, **options: Any) -> None:
        self.number = number  # before anybody adds it to a set
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.number


class _Timer(asyncio.TimerHandle):
    """A timer that is not in the heap of asyncio's loop."""

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self._fire = partial((context or copy_context()).run, callback, *args)

    def fire(self) -> None:
        """Call the function, unless the timer was cancelled."""
        if self.cancelled():
            return
        try:
            self._fire()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            loop = asyncio.get_running_loop()
            loop.call_exception_handler({"message": "error in a timer", "exception": error, "handle": self})


class _Jumps(selectors.BaseSelector):
    """A selector that knows the loop's own wake-up socket only, and never sleeps."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._keys: dict[int, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._loop.next_turn(timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[number] = selectors.SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


LOOPS: Mapping[str, type[VirtualLoop]] = {"asyncio": VirtualLoop, "uvloop": UvloopLikeLoop}
"""The loops by the name of the library whose order of callbacks they have."""
