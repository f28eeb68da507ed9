"""Clients whose answers are scripted with aioresponses: all of the library is real, down to aiohttp's session.

Scripts are those of `lume_async.testing`, a function from `FakeRequest` to `FakeAnswer` or answers in turn; the clock
is a `FakeClock`. Needs the fixture `http`, which replaces aiohttp's requests for one test.
"""

import random
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import aioresponses_shim  # noqa: F401
import orjson
import pytest
from aioresponses import CallbackResult, aioresponses
from multidict import CIMultiDict
from yarl import URL

from lume_async import Client
from lume_async.testing import Answerer, FakeAnswer, FakeClock, FakeRequest

METHODS = ("GET", "HEAD", "PATCH", "POST", "PUT")
_active: list[aioresponses] = []


class Script:
    """What the server says, and what it was asked.

    Attributes:
        requests: every request, in order.
        answer: gives the answers; may be replaced at any time.
    """

    def __init__(self, answers: Answerer | Iterable[Any], clock: FakeClock) -> None:
        self.requests: list[FakeRequest] = []
        queue = iter(()) if callable(answers) else iter(answers)
        self.answer: Answerer = answers if callable(answers) else lambda _: next(queue)
        self._clock = clock

    async def reply(self, method: str, url: URL, **sent: Any) -> CallbackResult:
        request = FakeRequest(method, url.raw_path_qs, CIMultiDict(sent["headers"]), sent["data"])
        self.requests.append(request)
        said = self.answer(request)
        if isinstance(said, Exception):
            raise said
        if said.took:
            await self._clock.sleep(said.took)
        return _result(said)


def _result(said: FakeAnswer) -> CallbackResult:
    body = said.body if isinstance(said.body, bytes) else orjson.dumps(said.body)
    return CallbackResult(status=said.status, body=body, headers=CIMultiDict(said.headers))


@pytest.fixture
def http() -> Iterator[aioresponses]:
    """aioresponses, in place of everything that aiohttp would send."""
    with aioresponses() as mocked:
        _active.append(mocked)
        yield mocked
        _active.remove(mocked)


def scripted_client(
    answers: Answerer | Iterable[Any], *, clock: FakeClock | None = None, **options: Any
) -> tuple[Client, Script]:
    """A real client on a fake clock that aioresponses answers, and its script."""
    [mocked] = _active
    clock = FakeClock() if clock is None else clock
    script = Script(answers, clock)
    host = f"lume-{len(mocked._matches)}.test"  # one test may have several clients, each with a script of its own
    for method in METHODS:
        mocked.add(
            re.compile(rf"http://{host}/"), method, callback=partial(script.reply, method), repeat=True
        )
    client = Client(**{"api_key": "test-key", "base_url": f"http://{host}", "proxy": False, **options})
    sender = client._sender
    client._sender = sender.over(sender._transport, clock=clock, rng=random.Random(0))
    return client, script
