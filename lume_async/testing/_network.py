"""`SimulatedNetwork`: the way between clients and a simulated server, with delays, losses and partitions."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from attrs import define, evolve, field
from multidict import CIMultiDict

from lume_async import _client
from lume_async._http.settings import Settings
from lume_async._http.transport import Body
from lume_async._wire.call import Receiver, Response
from lume_async.errors import ApiConnectionError, ApiTimeoutError, ClientClosedError
from lume_async.testing._chance import Chance
from lume_async.testing._fakes import FakeAnswer, FakeRequest
from lume_async.testing._loop import Dialer
from lume_async.testing._server import HeldAnswer, SimulatedServer

FAULTS = (
    "refused",
    "reset before",
    "reset after",
    "lost before",
    "lost after",
    "503",
    "502 before",
    "404 before",
    "500 after",
    "cut after",
    "twice",
)
"""What can befall a request: "before" or "after" it has reached the service."""
HTML = b"<html>busy</html>"


@define
class SimulatedNetwork:
    """The network of a simulation.

    Args:
        server: the service at its other end.
        chance: decides about faults and delays.
        faults: the share of requests that something befalls.
        kinds: what can befall them; default: everything.
        delays: seconds that a message takes, each as likely as the others.

    Attributes:
        down_until: the loop's time up to which nothing comes through.
        sent: the number of requests so far.
        trace: a line for each request with its outcome, in the order of the outcomes.

    Examples:
        >>> network = SimulatedNetwork(SimulatedServer(), Chance(7), faults=0.2)
    """

    server: SimulatedServer
    chance: Chance
    faults: float = 0.0
    kinds: tuple[str, ...] = FAULTS
    delays: tuple[float, ...] = (0.0, 0.01, 0.2)
    down_until: float = 0.0
    trace: list[str] = field(factory=list)
    sent: int = 0
    is_cut: bool = False

    @classmethod
    def drawn(cls, server: SimulatedServer, chance: Chance) -> "SimulatedNetwork":
        """Return a network with faults and delays that are drawn.

        Examples:
            >>> network = SimulatedNetwork.drawn(SimulatedServer(), Chance(7))
        """
        delays = chance.pick("messages take up to", [(0.0, 0.01), (0.0, 0.01, 1.0), (0.01, 20.0)])
        return cls(server, chance, chance.random.choice([0.0, 0.05, 0.2, 0.5]), delays=delays)

    @property
    def dialer(self) -> Dialer | None:
        """What makes the connections of the event loop; None: messages need none."""
        return None

    def replacements(self, now: Callable[[], float]) -> list[tuple[object, str, object]]:
        """Return the owner, the name and the value of each part of the library to replace by this network."""
        return [(_client, "AiohttpTransport", partial(SimulatedTransport, self))]

    async def exchange(self, request: FakeRequest) -> FakeAnswer:
        """Bring a request to the service and its answer back; a lost one waits for ever.

        Raises:
            ApiConnectionError: nothing was connected, or the connection broke.
        """
        loop = asyncio.get_running_loop()
        self.sent += 1
        fault = ""
        if self.is_cut:
            fault = "refused"
        elif loop.time() < self.down_until:
            fault = "lost before" if self.chance.random.random() < 0.5 else "refused"
        elif self.faults and self.chance.random.random() < self.faults:
            fault = self.chance.random.choice(self.kinds)
            if not self.chance.happens(1.0, f"{fault} ({request.method} {request.path})"):
                fault = ""
        try:
            answer = await self._travel(request, fault)
        except BaseException as error:
            self.trace.append(
                f"{loop.time():.6f} {request.method} {request.path} {type(error).__name__} {fault}"
            )
            raise
        self.trace.append(f"{loop.time():.6f} {request.method} {request.path} {answer.status} {fault}")
        return answer

    async def _travel(self, request: FakeRequest, fault: str) -> FakeAnswer:
        loop = asyncio.get_running_loop()
        back: asyncio.Future[FakeAnswer] = loop.create_future()
        if fault == "refused":
            await asyncio.sleep(self._delay())
            raise ApiConnectionError("refused", reached=False)
        if fault in ("lost before", "reset before") and request.body:
            self.server.part(evolve(request, body=request.body[: self._somewhere(request.body)]))
        if fault == "lost before":
            return await back
        if fault in ("reset before", "503", "502 before", "404 before"):
            await asyncio.sleep(self._delay())
            if fault == "reset before":
                raise ApiConnectionError("reset", reached=True)
            return FakeAnswer(int(fault[:3]), HTML)
        arrived: asyncio.Future[FakeAnswer] = loop.create_future()
        # The request travels on, whatever becomes of who sent it.
        loop.call_later(self._delay(), self._arrive, request, arrived)
        if fault == "twice" and self._may_come_twice(request):
            loop.call_later(self._delay() + 0.5, self._arrive, request, loop.create_future())
        answer = await arrived
        if fault == "lost after":
            return await back
        await asyncio.sleep(self._delay())
        if fault == "reset after":
            raise ApiConnectionError("reset", reached=True)
        if fault == "500 after":
            return FakeAnswer(500, HTML)
        if fault == "cut after":
            is_file = "Content-Length" in answer.headers  # an answer that is read as it arrives
            end = self._somewhere(answer.body) if is_file else 7
            return FakeAnswer(answer.status, answer.body[:end], answer.headers)
        return answer

    def _arrive(self, request: FakeRequest, arrived: "asyncio.Future[FakeAnswer]") -> None:
        if self.is_cut:
            return
        self._settle(lambda: self.server.answer(request), arrived)

    def _settle(
        self, ask: Callable[[], FakeAnswer | HeldAnswer], arrived: "asyncio.Future[FakeAnswer]"
    ) -> None:
        answer = ask()
        if not isinstance(answer, HeldAnswer):
            if not arrived.done():
                arrived.set_result(answer)
            return
        loop = asyncio.get_running_loop()
        held, listeners = answer, self.server.on_run

        def again() -> None:
            listeners.pop(again, None)
            timer.cancel()
            if not arrived.done():
                self._settle(held.again, arrived)

        timer = loop.call_at(held.due, again)
        listeners[again] = None

    def _somewhere(self, content: bytes) -> int:
        """Return the number of bytes before a cut."""
        return self.chance.random.randrange(len(content)) if content else 0

    def _may_come_twice(self, request: FakeRequest) -> bool:
        """Return whether a gateway may repeat it: without keys, nobody could make good a second submission."""
        return request.method == "GET" or "idempotency" in self.server.offers

    def _delay(self) -> float:
        return self.chance.random.choice(self.delays)


class SimulatedTransport:
    """The transport of a client over a simulated network: messages in place of bytes."""

    def __init__(self, network: SimulatedNetwork, settings: Settings) -> None:
        self._network = network
        self._closed = False
        self._under_way: set[asyncio.Timeout] = set()

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Body,
        timeout: float,
        receiver: Receiver | None = None,
    ) -> Response:
        """Make one attempt, as `Transport.request` says."""
        if self._closed:
            raise ClientClosedError
        try:
            content = (
                body if body is None or isinstance(body, bytes) else b"".join([part async for part in body])
            )
        except OSError as error:
            raise ApiConnectionError(str(error), reached=True) from None
        request = FakeRequest(method, path, CIMultiDict(headers), content, timeout)
        try:
            async with asyncio.timeout(timeout) as alarm:
                self._under_way.add(alarm)
                try:
                    answer = await self._network.exchange(request)
                finally:
                    self._under_way.discard(alarm)
        except TimeoutError:
            if self._closed:
                raise ApiConnectionError("the client was closed", reached=True) from None
            raise ApiTimeoutError(f"no answer within {timeout:.3g} s") from None
        if receiver is not None and answer.status in (200, 206):
            await receiver.begin(answer.status, CIMultiDict(answer.headers))
            await receiver.write(answer.body)
            await receiver.flush()
            if len(answer.body) < int(answer.headers.get("Content-Length", "0")):
                raise ApiConnectionError("the body is truncated", reached=True)
            return Response(answer.status, CIMultiDict(answer.headers), b"")
        return Response(answer.status, CIMultiDict(answer.headers), answer.body)

    async def aclose(self) -> None:
        self._closed = True
        for alarm in list(self._under_way):
            alarm.reschedule(0)
