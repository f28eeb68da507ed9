"""A transport of the user's in place of the default one: keeps its promises where it does not."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from contextlib import suppress

from multidict import CIMultiDict

from lume_async._base.tasks import is_being_cancelled
from lume_async._http.body import too_large
from lume_async._http.settings import Proxy, Settings, Ssl
from lume_async._http.transport import Body, Transport
from lume_async._wire.answers import ERROR_BYTES
from lume_async._wire.call import Receiver, Response
from lume_async._wire.headers import ACCEPT, USER_AGENT
from lume_async.errors import ApiConnectionError, ApiTimeoutError, ConfigurationError, LumeError

GRACE = 1.0
"""Seconds that it has beyond the time limit, for an error of its own."""
_STREAMED = (200, 206)


def chosen_transport(
    given: Transport | Callable[[Transport], Transport],
    default: Callable[[Settings], Transport],
    proxy: Proxy,
    ssl: Ssl,
) -> tuple[Proxy, Callable[[Settings], Transport]]:
    """Return the client's proxy, and what makes its transport from its settings. Raises `ConfigurationError`."""
    if callable(given) and isinstance(given, type) == hasattr(
        given, "request"
    ):  # a class of them, or a function
        make = given
        return proxy, lambda settings: OwnTransport(_transport(make(default(settings))), settings)
    if proxy or ssl is not None:
        raise ConfigurationError(
            "proxy and ssl are settings of the default transport, which transport replaces"
        )
    found = _transport(given)
    return False, lambda settings: OwnTransport(found, settings)


def _transport(found: object) -> Transport:
    if isinstance(found, Transport) and not isinstance(found, type):
        return found
    raise ConfigurationError(
        "transport must be an object with the methods of Transport, or a function that makes one from the default "
        f"one, not {type(found).__name__}"
    )


class OwnTransport:
    """Limits the time and the size of each response, and raises errors of this library only."""

    def __init__(self, inner: Transport, settings: Settings) -> None:
        self._inner = inner
        self._largest = settings.max_response_bytes
        self._always = {ACCEPT: "application/json", USER_AGENT: settings.user_agent}
        self._under_way: dict[asyncio.Timeout, asyncio.AbstractEventLoop] = {}
        self._is_closed = False

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
        loop = asyncio.get_running_loop()
        sent: CIMultiDict[str] = CIMultiDict(headers)
        for name, value in self._always.items():
            sent.setdefault(name, value)

        def more_time() -> None:
            limit.reschedule(loop.time() + timeout + GRACE)

        relay = None if receiver is None else _Relay(receiver, more_time)
        if isinstance(body, AsyncIterable):
            body = _paced(body, more_time)
        failure: ApiConnectionError
        cause: BaseException
        try:
            async with asyncio.timeout(timeout + GRACE) as limit:
                self._under_way[limit] = loop
                try:
                    response = await self._inner.request(
                        method, path, headers=sent, body=body, timeout=timeout, receiver=relay
                    )
                    return await self._checked(response, relay)
                finally:
                    del self._under_way[limit]
                    if relay is not None and relay.is_open:
                        await relay.flush()
        except (LumeError, AssertionError):  # a test's assertion is for the test
            raise
        except TimeoutError as error:
            cause, failure = error, ApiTimeoutError(f"the transport gave no answer within {timeout:.3g} s")
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                raise
            # Its message is not repeated, as it may contain the key. It may have been sent: `reached` is True.
            cause, failure = error, ApiConnectionError(f"the transport failed: {type(error).__name__}")
        raise failure from cause

    async def _checked(self, response: Response, relay: "_Relay | None") -> Response:
        """Return the response with headers in any case; give the receiver a body that it has not got."""
        if not (isinstance(response, Response) and isinstance(response.body, bytes)):
            raise TypeError(f"a transport returns a Response with bytes, not {type(response).__name__}")
        status, headers, body = int(response.status), CIMultiDict(response.headers), response.body
        if relay is not None and status in _STREAMED:
            if not relay.has_begun:
                await relay.begin(status, headers)
                await relay.write(body)
            return Response(status, headers, b"")
        if status < 400 and len(body) > self._largest:
            raise too_large(response, self._largest)
        return Response(status, headers, body if status < 400 else body[:ERROR_BYTES])

    async def aclose(self) -> None:
        for limit, loop in list(self._under_way.items()):
            with suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(_expire, limit)
        if not self._is_closed:
            self._is_closed = True
            await self._inner.aclose()


class _Relay:
    """Passes the body on to the receiver, and gives the transport more time with each chunk."""

    def __init__(self, receiver: Receiver, more_time: Callable[[], None]) -> None:
        self._receiver, self._more_time = receiver, more_time
        self.has_begun = False
        self.is_open = False

    @property
    def headers(self) -> Mapping[str, str]:
        return self._receiver.headers

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        if status not in _STREAMED:
            raise ValueError("a receiver takes the body of a 200 or 206")
        self._more_time()
        self.has_begun = self.is_open = True
        await self._receiver.begin(status, CIMultiDict(headers))

    async def write(self, chunk: bytes) -> None:
        self._more_time()
        await self._receiver.write(chunk)

    async def flush(self) -> None:
        self.is_open = False
        await self._receiver.flush()


async def _paced(body: AsyncIterable[bytes], more_time: Callable[[], None]) -> AsyncIterator[bytes]:
    async for chunk in body:
        more_time()
        yield chunk


def _expire(limit: asyncio.Timeout) -> None:
    with suppress(RuntimeError):  # it has ended meanwhile
        limit.reschedule(0)
