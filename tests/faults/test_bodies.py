"""Bodies that are too large, endless, zipped to the extreme, or no JSON: bounded in memory, named in the error."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from faults.support import client_for, leaping_client, run_reply, run_script
from loopback import Loopback, Step, bomb, endless, forever, gzipped, reply
from loopback_steps import Connection, Moment

from lume_async import ApiError, ResponseDecodeError, Retry, RunNotFoundError, RunTimeoutError, ServerError

pytestmark = pytest.mark.once

ONCE = Retry(attempts=1)
MIB = 1024 * 1024

LOOK = """
    import asyncio, resource
    from lume_async import ApiError, Client

    def most_mib():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    async def main():
        async with Client(proxy=False) as client:
            try:
                await client.run_status("warm_up")
            except ApiError:
                pass
            before = most_mib()
            try:
                await client.run_status("run_1")
            except ApiError as error:
                print(type(error).__name__, most_mib() - before)

    asyncio.run(main())
"""


HUGE: dict[str, Callable[[], Step]] = {
    "gzip bomb": lambda: bomb("gzip", 128 * MIB),
    "deflate bomb": lambda: bomb("deflate", 128 * MIB),
    "endless": endless,
    "40 MiB": lambda: reply(200, b" " * 40 * MIB),
}


@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE)
async def test_no_answer_takes_more_memory_than_was_allowed(huge: Callable[[], Step]) -> None:
    async with Loopback([reply(404), huge()]) as server:
        done = await run_script(LOOK, env={"LUME_BASE_URL": server.url})

    assert done.err == ""
    kind, mib = done.out.split()
    assert kind == "ResponseDecodeError"
    assert int(mib) < 80  # 32 MiB are allowed; the bombs hold 128
    assert len(server.requests) == 2  # not asked for again


@dataclass
class EndlessError:
    """A 500 with a body that never ends; counts what the client took."""

    sent: int = 0
    moment: Moment = "request"

    async def play(self, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            self.sent += 0x10000


async def test_of_an_endless_error_only_the_beginning_is_read() -> None:
    step = EndlessError()
    async with Loopback([step]) as server, client_for(server, retry=ONCE) as client:
        with pytest.raises(ServerError) as caught:
            await client.run_status("run_1")
        await server.all_closed()

    assert len(caught.value.body) == 2048
    assert step.sent < 16 * MIB  # what the sockets' buffers hold; the client has hung up


async def test_a_zipped_error_is_read_to_its_limit() -> None:
    step = gzipped(reply(500, b"x" * 10 * MIB))
    async with Loopback([step]) as server, client_for(server, retry=ONCE) as client:
        with pytest.raises(ServerError) as caught:
            await client.run_status("run_1")

    assert caught.value.body == "x" * 2048


NO_RUNS = {
    "empty": b"",
    "white space": b" \r\n",
    "HTML": b"<html><body>Welcome</body></html>",
    "text": b"OK",
    "Latin-1": '{"id": "run_1", "status": "SUCC\u00c9"}'.encode("latin-1"),
    "UTF-16": '{"id": "run_1"}'.encode("utf-16"),
    "NaN": b'{"id": "run_1", "status": NaN}',
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "two documents": b"{}{}",
    "no id": b'{"status": "SUCCEEDED"}',
    "null status": b'{"id": "run_1", "status": null}',
    "an id that re-aims": b'{"id": "../admin", "status": "SUCCEEDED"}',
}


@pytest.mark.parametrize("body", NO_RUNS.values(), ids=NO_RUNS)
async def test_a_200_that_is_no_run_is_named_with_its_request_id(body: bytes) -> None:
    answer = reply(200, body, headers={"Content-Type": "nonsense", "X-Request-Id": "req_7"})
    async with Loopback([answer]) as server, client_for(server, retry=ONCE) as client:
        with pytest.raises(ResponseDecodeError) as caught:
            await client.run_status("run_1")

    assert caught.value.status_code == 200
    assert caught.value.request_id == "req_7"
    assert caught.value.retryable
    assert "req_7" in str(caught.value)


@pytest.mark.parametrize("content_type", ["application/json", "text/html; charset=latin-1", "nonsense"])
async def test_a_run_is_read_whatever_its_content_type(content_type: str) -> None:
    body = b"\xef\xbb\xbf" + run_reply().body
    answer = reply(200, body, headers={"Content-Type": content_type})
    async with Loopback([answer]) as server, client_for(server) as client:
        assert (await client.run_status("run_1")).succeeded


@pytest.mark.parametrize("status", [409, 502])
@pytest.mark.parametrize("body", NO_RUNS.values(), ids=NO_RUNS)
async def test_what_an_error_is_depends_on_its_status_not_on_its_body(body: bytes, status: int) -> None:
    async with Loopback([reply(status, body)]) as server, client_for(server, retry=ONCE) as client:
        with pytest.raises(ApiError) as caught:
            await client.run_status("run_1")

    assert not isinstance(caught.value, ResponseDecodeError)
    assert caught.value.status_code == status


async def test_a_run_that_is_too_large_ends_the_wait_instead_of_being_fetched_for_an_hour() -> None:
    async with Loopback([forever(reply(200, b" " * 5_000))]) as server:
        client, _ = leaping_client(server, max_response_bytes=4_096)
        async with client:
            with pytest.raises(ResponseDecodeError, match="max_response_bytes") as caught:
                await client.attach("run_1").wait()

    assert not isinstance(caught.value, RunTimeoutError)
    assert len(server.requests) == 1


async def test_a_long_error_is_that_error_whatever_the_limit() -> None:
    """The limit is for what is read whole; of an error only the beginning is."""
    async with (
        Loopback([reply(404, b'{"detail": "no such run"}' + b" " * 500)]) as server,
        client_for(server, max_response_bytes=100, retry=Retry(attempts=1)) as client,
    ):
        with pytest.raises(RunNotFoundError, match="no such run"):
            await client.run_status("run_1")
