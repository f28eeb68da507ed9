"""The fake service keeps the contract that the client's tests rely on."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from loopback import reply, reset
from run_service import RunService

BODY = {"flow_version": "flow:v1", "source_path": "a.csv"}


class Api:
    def __init__(self, service: RunService, session: aiohttp.ClientSession) -> None:
        self._service = service
        self._session = session

    async def __call__(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(
            method,
            self._service.url + path,
            json=body,
            headers={"lume-api-key": self._service.api_key, **names},
        ) as answer:
            content = await answer.json(content_type=None) if answer.status != 304 else None
            return answer.status, content, answer.headers


class Served:
    """A service, and a way to call it."""

    def __init__(self, **options: Any) -> None:
        self.service = RunService(**options)

    async def __aenter__(self) -> tuple[RunService, Api]:
        await self.service.__aenter__()
        self._session = aiohttp.ClientSession()
        return self.service, Api(self.service, self._session)

    async def __aexit__(self, *error: Any) -> None:
        await self._session.close()
        await self.service.__aexit__(*error)


async def test_a_run_walks_through_its_statuses() -> None:
    async with Served(statuses=["CREATED", "TRANSFORMING", "SUCCEEDED"]) as (service, call):
        status, run, headers = await call("POST", "/v1/runs", BODY, Idempotency_Key="k")
        assert (status, run["status"], headers["Location"]) == (201, "CREATED", f"/v1/runs/{run['id']}")
        seen = [(await call("GET", f"/v1/runs/{run['id']}"))[1]["status"] for _ in range(3)]

    assert seen == ["TRANSFORMING", "SUCCEEDED", "SUCCEEDED"]
    assert service.submissions == {"k": 1}
    assert service.runs[run["id"]].finished_at


async def test_a_key_starts_one_run_and_a_source_is_held_by_one() -> None:
    async with Served() as (service, call):
        first = await call("POST", "/v1/runs", BODY, Idempotency_Key="k")
        again = await call("POST", "/v1/runs", BODY, Idempotency_Key="k")
        other = await call("POST", "/v1/runs", {**BODY, "run_metadata": {}}, Idempotency_Key="k")
        duplicate = await call("POST", "/v1/runs", BODY, Idempotency_Key="k2")
        forced = await call("POST", "/v1/runs", {**BODY, "force_rerun": True}, Idempotency_Key="k3")

    assert [answer[0] for answer in (first, again, other, duplicate, forced)] == [201, 200, 422, 409, 201]
    assert duplicate[1]["run_id"] == first[1]["id"] == again[1]["id"]
    assert duplicate[1]["type"] == "urn:lume:problem:run-in-progress"
    assert (len(service.runs), service.submissions["k"]) == (2, 3)


@pytest.mark.parametrize("committed", [True, False])
async def test_loses_an_answer_after_or_before_the_commit(committed) -> None:
    async with Served() as (service, call):
        service.lose(reset(), committed=committed)
        with pytest.raises(aiohttp.ClientConnectionError):
            await call("POST", "/v1/runs", BODY, Idempotency_Key="k")
        assert len(service.runs) == committed
        assert (await call("POST", "/v1/runs", BODY, Idempotency_Key="k"))[0] == (200 if committed else 201)


async def test_a_bare_server_knows_no_keys_and_says_nothing_of_itself() -> None:
    async with Served(capabilities=(), etags=False) as (_, call):
        _, run, headers = await call("POST", "/v1/runs", BODY, Idempotency_Key="k")
        assert (await call("POST", "/v1/runs", BODY, Idempotency_Key="k"))[0] == 409
        assert (await call("POST", f"/v1/runs/{run['id']}/cancel"))[0] == 404
        assert (await call("GET", "/v1/changes"))[0] == 404

    assert "Lume-Capabilities" not in headers
    assert "ETag" not in headers


async def test_holds_a_wait_until_the_run_moves() -> None:
    async with Served(by_hand=True) as (service, call):
        run = service.add()
        path = f"/v1/runs/{run.id}"
        etag = (await call("GET", path))[2]["ETag"]
        assert (await call("GET", path, If_None_Match=etag))[0] == 304
        held = asyncio.ensure_future(call("GET", path, If_None_Match=etag, Prefer="wait=30"))
        feed = asyncio.ensure_future(call("GET", "/v1/changes?after=1", Prefer="wait=30"))
        await service.received(4)
        service.move(run)

        assert (await held)[1]["status"] == "TRANSFORMING"
        assert (await feed)[1] == {
            "items": [{"id": run.id, "status": "TRANSFORMING", "finished_at": None}],
            "next_cursor": "2",
        }
        assert (await call("GET", path, If_None_Match=run.etag, Prefer="wait=0"))[0] == 304


async def test_the_feed_begins_where_it_is() -> None:
    async with Served() as (service, call):
        run = service.add()
        assert (await call("GET", "/v1/changes"))[1] == {"items": [], "next_cursor": "1"}
        _, page, _ = await call("GET", "/v1/changes?after=1")

    assert [item["status"] for item in page["items"]] == ["TRANSFORMING"]
    assert run.status == "TRANSFORMING"


async def test_cancels_lists_and_hides_new_runs() -> None:
    async with Served(grace=1) as (service, call):
        runs = [service.add(source_path=f"{n}.csv") for n in range(3)]
        assert (await call("GET", f"/v1/runs/{runs[0].id}"))[0] == 404
        assert (await call("GET", f"/v1/runs/{runs[0].id}"))[0] == 200
        assert (await call("POST", f"/v1/runs/{runs[0].id}/cancel"))[0] == 202
        assert (await call("POST", f"/v1/runs/{runs[0].id}/cancel"))[0] == 200
        _, page, _ = await call("GET", "/v1/runs?limit=2")
        _, rest, _ = await call("GET", f"/v1/runs?limit=2&cursor={page['next_cursor']}")
        _, cancelled, _ = await call("GET", "/v1/runs?status=CANCELLED")

    assert [item["id"] for item in page["items"] + rest["items"]] == ["run_3", "run_2", "run_1"]
    assert rest["next_cursor"] is None
    assert [item["id"] for item in cancelled["items"]] == ["run_1"]


async def test_faults_come_first_and_the_key_is_checked() -> None:
    async with Served() as (service, call):
        run = service.add()
        service.fault(reply(500), None)
        statuses = [(await call("GET", f"/v1/runs/{run.id}"))[0] for _ in range(3)]
        assert (await call("GET", "/v1/runs", lume_api_key="wrong"))[0] == 401
        assert (await call("GET", "/healthz", lume_api_key=""))[0] == 200

    assert statuses == [500, 200, 200]


async def test_more_requests_than_the_rate_get_429() -> None:
    async with Served(rate=0.001, burst=2, retry_after="3") as (service, call):
        answers = [await call("GET", "/healthz") for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert answers[2][2]["Retry-After"] == "3"
    assert service.refusals == 1
