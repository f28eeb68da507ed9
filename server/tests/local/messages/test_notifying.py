"""What apprise does when it can't send, which it documents little: measured, as is that no secret gets out."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from anyio.to_thread import run_sync
from apprise import Apprise
from local.people import PASSWORD, chat, mail
from local.receiver import unused_port

from lume_local._shared.protocol import Notify, without_address
from lume_local._worker.notifying import notify


async def sent(address: str, text: str = "what happened") -> str | None:
    """Why a message was not accepted."""
    done = await run_sync(notify, Notify(address, "a title", text, "failure"))
    return done.problem


async def test_what_is_accepted_arrives_as_it_is() -> None:
    text = "line one\n  2 x a <b>&amp; *c* :smile: \\n é 日本\nhttps://x.example/#/runs/run_1"
    async with chat() as ops, mail() as box:
        assert await sent(ops.address, text) is None
        assert await sent(box.address, text) is None
        (said,), (letter,) = await ops.until(1), await box.until(1)
    assert (said["title"], said["message"], said["type"]) == ("a title", text, "failure")
    assert letter["Subject"] == "a title"
    parts = [part.get_content() for part in letter.walk() if part.get_content_type() == "text/plain"]
    assert not parts or text in parts[0].replace("\r\n", "\n")
    assert "2 x a &lt;b&gt;" in letter.as_string() or parts


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 302])
async def test_a_status_that_is_no_success(status: int) -> None:
    async with chat(lambda _: status) as ops:
        problem = await sent(ops.address)
    assert problem is not None
    assert str(status) in problem


async def test_reasons() -> None:
    async with mail(refuses=True) as box, mail(password="wrong-pw") as locked:
        closed = f"json://ops:s3cret-pw@127.0.0.1:{unused_port()}/t0ken"
        for address, words in {
            closed: "Connection refused",
            box.address: "554",
            locked.address: "535",
            "json://no-such-host.invalid/t0ken": "Name or service not known",
            "nonsense": "not an address that apprise knows",
            "slack://T1JJ3T3L2/A1": "not an address that apprise knows",
            "jsn://foo:secret@127.0.0.1": "not an address that apprise knows",
            "whatever://t0ken": "not an address that apprise knows",
        }.items():
            problem = await sent(address)
            assert problem is not None
            assert words in problem
            for secret in (
                "s3cret-pw",
                "t0ken",
                PASSWORD,
                "wrong-pw",
                "T1JJ3T3L2",
                "ops@example",
                "no-such-host",
                "foo",
                "s...t",
            ):
                assert secret not in problem


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.thorough
async def test_apprise_gives_up_on_its_own_on_a_service_that_says_nothing() -> None:
    """After four seconds without a byte; if bytes come, it waits for ever: so it is in a process of its own."""
    async with silent() as port, asyncio.timeout(20):
        problem = await sent(f"json://127.0.0.1:{port}/")
    assert problem is not None
    assert "timed out" in problem


def test_what_apprise_returns() -> None:
    """A falsy value for every failure; it raises nothing."""
    port = unused_port()
    assert not Apprise().notify(body="x")
    one = Apprise()
    assert one.add(f"json://127.0.0.1:{port}/")
    assert not one.notify(body="x")
    assert Apprise.instantiate("nonsense") is None


@pytest.mark.parametrize(
    ("address", "text", "left"),
    [
        ("slack://TokenA/TokenB/TokenC", "posting to TokenA/tokenb failed", "posting to ***/*** failed"),
        (
            "mailto://bob:p%40ss@mail.example.com?to=a@b.ch",
            "login bob p@ss at mail.example.com",
            "login *** *** at ***",
        ),
        ("json://h/a%2Fb", "POST /a%2Fb and a/b", "POST /*** and ***"),
        ("nonsense", "Unsupported URL: nonsense", "Unsupported URL: ***"),
        ("json://x/", "x is short", "x is short"),
    ],
)
def test_parts_of_an_address_are_taken_out(address: str, text: str, left: str) -> None:
    assert without_address(text, address) == left
