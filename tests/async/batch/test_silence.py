"""A batch whose server is gone: the caller is warned, once, and the batch goes on."""

import warnings
from collections.abc import Callable

import pytest

from lume_async import ApiConnectionError, Client, RunRequest, RunTimeoutError
from lume_async._batch.run_many import SILENCE
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, fake_client, run_json

REQUESTS = [RunRequest("f:v1", f"{n}.csv") for n in range(3)]


def gone(clock: FakeClock, since: float, until: float) -> Callable[[FakeRequest], FakeAnswer | Exception]:
    """A server that can't be reached from one second to another, and is fine before and after that."""
    begun = clock.now()

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        if since <= clock.now() - begun < until:
            return ApiConnectionError("Cannot connect to host lume.test:80", reached=False)
        if request.method == "POST":
            return FakeAnswer(201, run_json(f"run_{request.json()['source_path'][0]}", "CREATED"))
        run_id = request.path.rpartition("/")[2]
        done = clock.now() - begun >= until
        return FakeAnswer(200, run_json(run_id, "SUCCEEDED" if done else "TRANSFORMING"))

    return answer


def client_of(clock: FakeClock, since: float, until: float) -> Client:
    return fake_client(gone(clock, since, until), clock=clock)[0]


async def test_after_a_minute_without_an_answer_the_caller_is_warned_once() -> None:
    clock = FakeClock()
    client = client_of(clock, 10, 1000)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", RuntimeWarning)
        outcomes = [outcome async for outcome in client.run_many(REQUESTS)]
    assert [outcome.error for outcome in outcomes] == [None] * 3
    (message,) = [str(one.message) for one in warned if one.category is RuntimeWarning]
    assert message.startswith("http://lume.test has not answered for ")
    assert int(message.split()[5]) >= SILENCE
    assert "Cannot connect to host" in message
    assert "keeps trying without end: pass timeout=, leave the iteration or press Ctrl-C to end it" in message


async def test_submissions_that_get_no_answer_count_as_well() -> None:
    clock = FakeClock()
    client = client_of(clock, 0.5, 1000)
    await client.run("f:v1", "9.csv")
    clock.advance(1)
    with pytest.warns(RuntimeWarning, match=r"up to its timeout of 300 s: leave the iteration"):
        outcomes = [outcome async for outcome in client.run_many(REQUESTS, timeout=300)]
    assert {type(outcome.error) for outcome in outcomes} <= {ApiConnectionError, RunTimeoutError}


@pytest.mark.parametrize(("since", "until"), [(10, 10 + SILENCE / 2), (10_000, 10_001)])
async def test_a_shorter_silence_is_no_news(since: float, until: float) -> None:
    clock = FakeClock()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async for outcome in client_of(clock, since, until).run_many(REQUESTS):
            assert outcome.error is None


@pytest.mark.thorough
async def test_an_answer_ends_the_silence() -> None:
    clock = FakeClock()
    begun = clock.now()

    def answer(request: FakeRequest) -> FakeAnswer | Exception:
        if request.method == "POST":
            return FakeAnswer(201, run_json("run_1", "CREATED"))
        if clock.now() - begun > 500:
            return FakeAnswer(200, run_json("run_1", "SUCCEEDED"))
        # It can be reached for a moment every 40 s.
        if (clock.now() - begun) % 40 < 8:
            return FakeAnswer(503)
        return ApiConnectionError("refused", reached=False)

    client, _ = fake_client(answer, clock=clock)
    async for outcome in client.run_many(REQUESTS[:1]):
        assert outcome.error is None
