"""People who get messages: by HTTP, as apprise's `json://` sends them, and by mail, from a real SMTP server."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any, Generic, TypeVar, cast

from aiohttp import web
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from attrs import field, frozen

T = TypeVar("T")
PASSWORD = "correct-horse"
"""Of the mail server's user `lume`."""


@frozen
class Inbox(Generic[T]):
    """What has arrived at `address`, an URL for apprise."""

    address: str
    received: list[T] = field(factory=list)
    came: asyncio.Condition = field(factory=asyncio.Condition)

    async def put(self, one: T) -> None:
        async with self.came:
            self.received.append(one)
            self.came.notify_all()

    async def until(self, count: int) -> list[T]:
        """Wait until so much has arrived."""
        async with asyncio.timeout(30), self.came:
            await self.came.wait_for(lambda: len(self.received) >= count)
            return [*self.received]


@asynccontextmanager
async def chat(
    answer: Callable[[int], int] = lambda _: 200, port: int = 0
) -> AsyncIterator[Inbox[dict[str, Any]]]:
    """A receiver of JSON; `answer` gives the status for the n-th message, and only those with 200 have arrived."""
    asked = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        status = answer(asked)
        if status == 200:
            await here.put(await request.json())
        return web.Response(status=status)

    app = web.Application()
    app.router.add_post("/t0ken/chat", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    here = Inbox[dict[str, Any]](f"json://ops:s3cret-pw@127.0.0.1:{runner.addresses[0][1]}/t0ken/chat")
    try:
        yield here
    finally:
        await runner.cleanup()


class _Mailbox:
    def __init__(self) -> None:
        self.inbox: Inbox[EmailMessage]
        self.refuses = False

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.refuses:
            return "554 5.7.1 refused by policy"
        parsed = email.message_from_bytes(cast(bytes, envelope.content), policy=email.policy.default)
        await self.inbox.put(cast(EmailMessage, parsed))
        return "250 OK"


def _logged_in(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: LoginPassword
) -> AuthResult:
    is_known = (given.login, given.password) == (b"lume", PASSWORD.encode())
    return AuthResult(success=is_known, handled=False)


@asynccontextmanager
async def mail(*, refuses: bool = False, password: str = PASSWORD) -> AsyncIterator[Inbox[EmailMessage]]:
    """A mail server that wants a password; it may refuse what it is sent."""
    box, loop = _Mailbox(), asyncio.get_running_loop()
    box.refuses = refuses
    server = await loop.create_server(
        lambda: SMTP(box, hostname="localhost", auth_require_tls=False, authenticator=_logged_in, loop=loop),
        "127.0.0.1",
        0,
    )
    port = server.sockets[0].getsockname()[1]
    box.inbox = Inbox(
        f"mailto://lume:{password}@127.0.0.1:{port}/?smtp=127.0.0.1&from=lume@example.com&to=ops@example.com&mode=insecure"
    )
    try:
        yield box.inbox
    finally:
        server.close()
        await server.wait_closed()
