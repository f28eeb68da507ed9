"""The API key, and a proxy's password, in no message, record, pickle or traceback local of what fails on the wire."""

import logging
import random
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from components import package
from faults.proxy import Proxy
from faults.silence import assert_silent, shown_by
from faults.support import FLOW, SOURCE, LeapingClock
from loopback import Loopback, Step, endless, forever, hang_up, redirect, reply, reset, throttled

from lume_async import Client, LumeError, RunTimeoutError, SubmissionUnknownError

pytestmark = pytest.mark.once

CANARY = "canary-key-5f2c9e"
PASSWORD = "canary-password-77"


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.records:
        shown = f"{record.getMessage()} {record.args!r} {vars(record)!r}"
        assert CANARY not in shown
        assert PASSWORD not in shown


Use = Callable[[Client], Awaitable[object]]
USES: dict[str, Use] = {
    "submit": lambda client: client.run(FLOW, SOURCE, force_rerun=True),
    "look": lambda client: client.run_status("run_1"),
    "wait": lambda client: client.attach("run_1").wait(timeout=20),
    "cancel": lambda client: client.attach("run_1").cancel(),
    "list": lambda client: anext(client.list_runs()),
}
FAULTS: dict[str, Callable[[], Step]] = {
    "reset": reset,
    "hang up": hang_up,
    "cut headers": lambda: reply(200, {"id": "run_1"}).cut("headers"),
    "cut chunk": lambda: reply(200, {"id": "run_1"}, framing="chunked").cut("chunk"),
    "no HTTP": lambda: reply(200, reason="\x00"),
    "too many headers": lambda: reply(200, headers=[(f"X-{n}", "y" * 8_000) for n in range(20)]),
    "endless": endless,
    "redirect": lambda: redirect(307, "http://127.0.0.1:9/elsewhere"),
    "throttled": lambda: throttled("1"),
}


def client_of(server: Loopback, **options: object) -> Client:
    client = Client(
        CANARY, **{"base_url": server.url, "proxy": False, "max_response_bytes": 65_536, **options}
    )  # type: ignore[arg-type]
    sender = client._sender
    client._sender = sender.over(sender._transport, clock=LeapingClock(), rng=random.Random(0))
    return client


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_failed_answer_tells_the_key(fault: Callable[[], Step], use: Use) -> None:
    async with Loopback([forever(fault())]) as server, client_of(server) as client:
        with pytest.raises((LumeError, TimeoutError)) as caught:
            await use(client)

    assert_silent(shown_by(caught.value), CANARY, PASSWORD)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("place", [0, "body"])
async def test_no_timeout_tells_the_key(place: int, use: Use) -> None:
    async with Loopback([forever(reply(200, b"{}").stall(place))]) as server:
        client = client_of(server, request_timeout=0.05)
        async with client:
            with pytest.raises((LumeError, TimeoutError)) as caught:
                await use(client)

    assert isinstance(caught.value, (LumeError, RunTimeoutError, SubmissionUnknownError))
    assert_silent(shown_by(caught.value), CANARY, PASSWORD)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("refuses", [None, 407, 502])
async def test_no_failing_proxy_tells_the_key_or_its_password(scheme: str, refuses: int | None) -> None:
    async with Proxy(refuses=refuses) as proxy, Loopback([forever(hang_up("first byte"))]) as server:
        url = proxy.url.replace("http://", f"http://user:{PASSWORD}@")
        async with client_of(server, base_url=f"{scheme}://127.0.0.1:{server.port}", proxy=url) as client:
            with pytest.raises(LumeError) as caught:
                await client.run(FLOW, SOURCE, force_rerun=True)

    assert_silent(shown_by(caught.value), CANARY, PASSWORD)


@pytest.mark.parametrize("status", [200, 403, 407, 502])
@pytest.mark.parametrize(
    "said", [PASSWORD, quote(f"a/{PASSWORD}"), b64encode(f"user:{PASSWORD}".encode()).decode()], ids=str
)
async def test_no_proxy_that_repeats_its_password_is_quoted(status: int, said: str) -> None:
    answer = reply(status, {"detail": f"denied: {said}"}, headers=[("X-Request-Id", f"p-{said}")])
    async with Loopback([forever(answer)]) as proxy:
        url = proxy.url.replace("http://", f"http://user:{PASSWORD}@")
        async with client_of(proxy, base_url="http://lume.test", proxy=url) as client:
            with pytest.raises(LumeError) as caught:
                await client.run_status("run_1")

    assert_silent(shown_by(caught.value), CANARY, PASSWORD)
    assert said not in f"{caught.value!r} {vars(caught.value)!r}"


@pytest.mark.parametrize("trusted", [True, False], ids=["expired", "unknown authority"])
async def test_no_failing_handshake_tells_the_key(trusted: bool, tmp_path: Path) -> None:
    package("cryptography")
    from faults.certificates import Authority

    authority = Authority(tmp_path)
    ca_file = authority.ca_file if trusted else None
    async with (
        Loopback([], ssl=authority.server(expired=True)) as server,
        client_of(server, ssl=ca_file) as client,
    ):
        with pytest.raises(LumeError) as caught:
            await client.run_status("run_1")

    assert_silent(shown_by(caught.value), CANARY, PASSWORD)
