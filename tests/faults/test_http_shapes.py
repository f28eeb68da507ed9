"""Odd and broken HTTP: each answer is read or refused in one way, and never becomes that of another request."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from faults.shapes import (
    EVIL,
    FRAMING,
    NOT_HTTP,
    OTHER_RUN,
    RUN,
    SHAPES,
    Shape,
    chunked,
    head,
    sized,
)
from faults.support import ENOUGH, FLOW, KEY, ROOT, SOURCE, run_script

from lume_async import Client, LumeError, Retry
from lume_async.testing import run_json

ONCE = Retry(attempts=1)


@dataclass
class OddServer:
    """Answers what concerns `run_1`, and every submission, with the shape; everything else as it should."""

    shape: Shape
    step: int = 1_000_000
    """So many bytes are written at once."""
    heads: list[str] = field(default_factory=list)
    newest: asyncio.StreamWriter | None = None
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.newest = writer
        try:
            while await self.answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has seen enough
        finally:
            writer.close()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        self.heads.append(request)
        length = re.search(r"(?i)\r\ncontent-length: *(\d+)", request)
        await reader.readexactly(int(length[1]) if length else 0)
        asked = request.split(" ")[1].rpartition("/")[2]
        odd = asked in ("run_1", "runs")
        raw = self.shape.raw if odd else sized(json.dumps(run_json(asked, "SUCCEEDED")).encode())
        for start in range(0, len(raw), self.step):
            writer.write(raw[start : start + self.step])
            await writer.drain()
            await asyncio.sleep(0)
        return not (odd and self.shape.ends)


@asynccontextmanager
async def serving(shape: Shape, **options: Any) -> AsyncIterator[OddServer]:
    odd = OddServer(shape, **options)
    server = await asyncio.start_server(odd.serve, "127.0.0.1", 0, limit=2**21)
    async with server:
        odd.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield odd


STRAY = {
    "a second answer": EVIL,
    "408, as of a proxy that has waited": head("Connection: close", status="HTTP/1.0 408 Request Time-out"),
    "half an answer": EVIL[:40],
    "garbage": b"garbage",
    "a byte": b"\r",
}


def client_of(server: OddServer) -> Client:
    return Client(KEY, base_url=server.url, proxy=False, retry=ONCE, request_timeout=ENOUGH)


async def outcome(client: Client, run_id: str) -> str:
    """`RUN`, or the error."""
    try:
        run = await client.run_status(run_id)
    except LumeError as error:
        return f"{type(error).__name__}: {error}"
    assert run.id == run_id
    return RUN


async def submitted(client: Client) -> str:
    """`RUN`, or the kind of the error."""
    try:
        await client.run(FLOW, SOURCE, force_rerun=True)
    except LumeError as error:
        return type(error).__name__
    return RUN


@pytest.mark.once
@pytest.mark.parametrize("name", SHAPES)
async def test_an_odd_answer_is_read_or_refused_and_leaves_nothing_behind(name: str) -> None:
    shape = SHAPES[name]
    async with serving(shape) as server, client_of(server) as client:
        seen = await outcome(client, "run_1")
        kind, _, words = (RUN if shape.lenient and seen == RUN else shape.gives).partition(": ")
        assert seen.startswith(kind)
        assert words in seen
        assert await outcome(client, "run_2") == RUN

        read = kind == RUN or shape.gives == OTHER_RUN
        seen = await submitted(client)
        refused = "ApiError" if re.match("ApiError: [34]", shape.gives) else "SubmissionUnknownError"
        assert seen == (RUN if read else refused)
        assert await outcome(client, "run_3") == RUN

    sent = [head.split(" ")[0] for head in server.heads]
    assert sent.count("POST") == 1
    assert sent.count("GET") - sum(head.startswith("GET /healthz") for head in server.heads) == 3
    assert not any("cookie" in head.lower() for head in server.heads)


@pytest.mark.once
@pytest.mark.parametrize("name", [name for name, shape in (FRAMING | NOT_HTTP).items() if shape.clean])
async def test_an_answer_in_single_bytes_is_the_same_answer(name: str) -> None:
    shape = SHAPES[name]
    async with serving(shape, step=1) as server, client_of(server) as client:
        seen = await outcome(client, "run_1")
        assert seen.startswith(shape.gives.partition(": ")[0])
        assert await outcome(client, "run_2") == RUN


@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
async def test_what_comes_unasked_on_an_idle_connection_answers_no_request(stray: bytes) -> None:
    async with serving(Shape(sized(), RUN)) as server, client_of(server) as client:
        for run_id in ("run_1", "run_2", "run_3"):
            assert await outcome(client, run_id) == RUN
            assert server.newest is not None
            server.newest.write(stray)
            for _ in range(20):
                await asyncio.sleep(0)  # a turn of the loop brings it: it comes from this machine

    assert len(server.heads) == 3


@pytest.mark.parametrize("lost", ["0x10", "F" * 17, "5\r\n123456\r\n"])
async def test_a_body_that_goes_wrong_half_way_ends_its_attempt_at_once(lost: str) -> None:
    """aiohttp's reader waits until the time is up: it hears of no error behind the headers."""
    shape = Shape(chunked(lost.encode() + b"\r\n"), "ApiConnectionError: ")
    async with serving(shape, step=1) as server, client_of(server) as client:
        assert (await outcome(client, "run_1")).startswith("ApiConnectionError: ")


@pytest.mark.once
def test_the_page_lists_every_shape_with_what_it_gives() -> None:
    page = (ROOT / "docs" / "design" / "odd-responses.md").read_text(encoding="utf-8")
    listed = [line for line in page.splitlines() if line.startswith("| ") and "what you get" not in line]

    assert listed == [f"| {name} | {shape.shown} |" for name, shape in SHAPES.items()]


@pytest.mark.thorough
@pytest.mark.once
async def test_the_parser_without_extensions_mixes_up_no_answers() -> None:
    done = await run_script(
        """
        import asyncio
        from faults.shapes import OTHER_RUN, RUN, SHAPES
        from faults.test_http_shapes import client_of, outcome, serving

        async def main():
            for name, shape in SHAPES.items():
                async with serving(shape) as server, client_of(server) as client:
                    seen = [await outcome(client, run_id) for run_id in ("run_1", "run_2", "run_3")]
                if seen[2] != RUN or "run_evil" in str(seen[shape.gives == OTHER_RUN :]):
                    print(name, seen)

        asyncio.run(main())
        """,
        env={"AIOHTTP_NO_EXTENSIONS": "1"},
    )

    assert (done.code, done.out) == (0, ""), done
