"""Users' own tests with aioresponses work, against both APIs: what they script is what the library sees."""

from collections.abc import Iterator
from typing import Any

import aiohttp
import aioresponses_shim  # noqa: F401
import pytest
from aioresponses import CallbackResult, aioresponses
from yarl import URL

import lume_async
import lume_sync
from lume_async.testing import no_backoff

BASE = "http://lume.test"
RUNS, RUN = f"{BASE}/v1/runs", f"{BASE}/v1/runs/run_1"
CREATED, SUCCEEDED = {"id": "run_1", "status": "CREATED"}, {"id": "run_1", "status": "SUCCEEDED"}


@pytest.fixture
def http() -> Iterator[aioresponses]:
    with aioresponses() as mocked, no_backoff():
        yield mocked


def sync_client(**options: Any) -> lume_sync.Client:
    return lume_sync.Client("the-key", base_url=BASE, **options)


def async_client(**options: Any) -> lume_async.Client:
    return lume_async.Client("the-key", base_url=BASE, **options)


async def test_a_run_from_its_submission_to_its_end(http: aioresponses) -> None:
    http.post(RUNS, status=201, payload=CREATED)
    http.get(RUN, status=503)
    http.get(RUN, payload=CREATED)
    http.get(RUN, payload=SUCCEEDED)

    async with async_client() as client:
        run = await client.run("flow:v1", "a.csv")
        await run.wait()

    assert run.succeeded
    http.assert_called_with(RUN, allow_redirects=False, args_to_match=["allow_redirects"])
    [sent] = http.requests["POST", URL(RUNS)]
    assert sent.kwargs["headers"]["lume-api-key"] == "the-key"
    assert len(http.requests["GET", URL(RUN)]) == 3


def test_the_same_in_plain_code(http: aioresponses) -> None:
    http.post(RUNS, status=201, payload=CREATED)
    http.get(RUN, exception=aiohttp.ServerDisconnectedError())
    http.get(RUN, payload=SUCCEEDED)

    with sync_client() as client:
        assert client.run("flow:v1", "a.csv").wait().succeeded


FAILURES = pytest.mark.parametrize(
    ("scripted", "error"),
    [
        ({"status": 401}, lume_sync.AuthenticationError),
        ({"status": 404}, lume_sync.RunNotFoundError),
        ({"status": 500}, lume_sync.ServerError),
        ({"body": b"<html>"}, lume_sync.ResponseDecodeError),
        ({"timeout": True}, lume_sync.ApiTimeoutError),
        ({"exception": aiohttp.ClientPayloadError("cut")}, lume_sync.ApiConnectionError),
        ({"status": 302, "headers": {"Location": f"{BASE}/elsewhere"}}, lume_sync.ApiError),
    ],
)


@FAILURES
async def test_a_scripted_failure_is_raised(
    http: aioresponses, scripted: dict[str, Any], error: type[Exception]
) -> None:
    http.get(RUN, **scripted)

    async with async_client(retry=lume_async.Retry(attempts=1)) as client:
        with pytest.raises(error):
            await client.run_status("run_1")


@FAILURES
def test_a_scripted_failure_is_raised_in_plain_code(
    http: aioresponses, scripted: dict[str, Any], error: type[Exception]
) -> None:
    http.get(RUN, **scripted)

    with sync_client(retry=lume_sync.Retry(attempts=1)) as client, pytest.raises(error):
        client.run_status("run_1")


def test_what_is_not_scripted_is_refused_as_aioresponses_does(http: aioresponses) -> None:
    client = sync_client(retry=lume_sync.Retry(attempts=1))
    with client, pytest.raises(lume_sync.ApiConnectionError):
        client.run_status("run_2")


def test_many_runs(http: aioresponses) -> None:
    def answer(url: URL, **_: Any) -> CallbackResult:
        return CallbackResult(payload={"id": url.name, "status": "SUCCEEDED"})

    for number in range(50):
        http.get(f"{RUNS}/run_{number}", callback=answer)

    with sync_client() as client:
        outcomes = list(client.as_completed(f"run_{number}" for number in range(50)))

    assert {outcome.result().id for outcome in outcomes} == {f"run_{number}" for number in range(50)}


async def test_the_default_client(http: aioresponses) -> None:
    http.get(RUN, payload=SUCCEEDED)
    lume_async.init("the-key", base_url=BASE)

    assert (await lume_async.run_status("run_1")).succeeded
    await lume_async.aclose()


def test_the_real_service_is_there_again_after_the_block() -> None:
    client = lume_sync.Client("the-key", base_url="http://127.0.0.1:1", retry=lume_sync.Retry(attempts=1))
    with aioresponses() as mocked:
        mocked.get("http://127.0.0.1:1/v1/runs/run_1", payload=SUCCEEDED)
        assert client.run_status("run_1").succeeded
    with client, pytest.raises(lume_sync.ApiConnectionError, match="Cannot connect"):
        client.run_status("run_1")
