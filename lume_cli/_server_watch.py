"""Reports on stderr when the server stops responding or fails while a command waits, and when it recovers."""

import time
from collections.abc import Awaitable, Callable

import anyio

from lume_async import Event, RequestFinished, RequestStarted, RetryScheduled
from lume_cli._output.stderr import Say

_EVERY = 0.25
"""Seconds between two checks of the known state."""
_BLIP = 2.0
"""Shorter failures are not reported: the client's retries recover from them, or end the command."""
_QUIET = 1.0
"""Seconds after which a request is a long poll, or the server hangs: only a health check can show."""
_FAILS = "responds with"
"""The beginning of a trouble with a response."""


class ServerWatch:
    """Follows a client's requests; `run` reports what they and `check` show, until it is cancelled."""

    def __init__(
        self,
        base_url: str,
        say: Say,
        check: Callable[[], Awaitable[str | None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trouble: str | None = None
        """The server's fault, such as "does not respond (why)"; None while it works, or if unknown."""
        self._base_url = base_url
        self._say = say
        self._check = check
        self._clock = clock
        self._in_flight = 0
        self._since = clock()  # the time of the last response, or of the first failure after it
        self._hangs = False  # the trouble was found by a health check, not by a request
        self._reported = False

    def on_event(self, event: Event) -> None:
        """Handle an event, as a hook of the client."""
        if isinstance(event, RequestStarted):
            if not self._in_flight and self.trouble is None:
                self._since = self._clock()
            self._in_flight += 1
        elif isinstance(event, RequestFinished):
            self._in_flight -= 1
            if event.error != "CancelledError":
                failed = (event.status_code or 0) >= 500
                trouble = f"{_FAILS} status {event.status_code}" if failed else None
                trouble = unresponsive(event.error) if event.error else trouble
                if trouble is None or self.trouble is None:  # the first reason is at least as specific
                    self._set(trouble)
        elif isinstance(event, RetryScheduled) and self._fails:
            self._set(f"{_FAILS} an error ({event.error})")

    def on_unsent(self, why: str) -> None:
        """Handle a request that was not sent, because the server is known to be down."""
        if self.trouble is None:
            self._set(why)

    @property
    def _fails(self) -> bool:
        return self.trouble is not None and self.trouble.startswith(_FAILS)

    async def run(self) -> None:
        while True:
            await anyio.sleep(_EVERY)
            passed = self._clock() - self._since
            if self._hangs or (self.trouble is None and self._in_flight and passed >= _QUIET):
                self._set(await self._check(), hangs=True)
                self._report()
            elif self.trouble is not None and passed >= _BLIP and not self._reported:
                if why := await self._check():  # its reason is more readable
                    self._set(why)
                self._report()

    def _set(self, trouble: str | None, *, hangs: bool = False) -> None:
        if trouble is None or self.trouble is None:
            self._since = self._clock()
        if trouble is None and self._reported:
            self._reported = False
            self._say.warn(f"{self._base_url} {'works' if self._fails else 'responds'} again")
        self.trouble, self._hangs = trouble, hangs and trouble is not None

    def _report(self) -> None:
        if self.trouble is not None and not self._reported:
            self._reported = True
            self._say.warn(f"{self._base_url} {self.trouble}; still trying, Ctrl-C to stop")


def unresponsive(why: str) -> str:
    """Return the trouble text for a server that does not respond."""
    return f"does not respond ({why})"
