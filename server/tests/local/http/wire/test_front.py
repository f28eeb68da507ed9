"""The wire contract: every operation, every error, the headers. Each answer is held against openapi.yaml."""

import asyncio
import gzip
import io
import re
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from local.flows import PEOPLE_CSV, people, slow_rows
from local.wire import CAPABILITIES, SPEC, Wire

import lume_local
from lume_local._http import requests, run_operations
from lume_local._runs import waiters
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.records import StoreUnavailable
from lume_local._runs.waiters import Hub
from tools import openapi_json

UNKNOWN = "/v1/runs/run_none"
JSON = {"Content-Type": "application/json"}


async def test_all_else_needs_the_key(server: lume_local.Server, wire: Wire) -> None:
    for key in (None, "", "wrong", "é", "x" * 5000):
        other = Wire(server.base_url, "")
        del other.session.headers["lume-api-key"]
        headers = {} if key is None else {"lume-api-key": key}
        async with other.session:
            for path in ("/v1/runs", "/v1/changes", UNKNOWN, "/nothing"):
                answer = await other.ask("GET", path, headers=headers)
                assert (answer.status, answer.kind) == (401, "unauthorized")
                assert answer.headers["WWW-Authenticate"]
                assert server.api_key not in str(answer.document)


async def test_a_submission(wire: Wire) -> None:
    answer = await wire.submit("people:v1", "people.csv", run_metadata={"a": [1, None]}, force_rerun=True)
    assert answer.status == 201
    run = answer.document
    assert answer.headers["Location"] == f"/v1/runs/{run['id']}"
    assert answer.headers["ETag"]
    assert (run["status"], run["progress"], run["force_rerun"]) == ("CREATED", 0, True)
    assert run["metadata"]["run"]["run_id"] == run["id"]
    assert run["run_metadata"] == {"a": [1, None]}


@pytest.mark.parametrize(("size", "is_elsewhere"), [(100, False), (1_000_000, True)])
async def test_a_large_body_is_not_read_by_the_loop(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, size: int, is_elsewhere: bool
) -> None:
    read, threads = requests.submission, list[int]()

    def noted(*arguments: Any) -> requests.SubmissionBody:
        threads.append(threading.get_ident())
        return read(*arguments)

    monkeypatch.setattr(requests, "submission", noted)
    answer = await wire.submit("people:v1", "people.csv", run_metadata={"a": "x" * size})
    assert answer.status == (422 if is_elsewhere else 201)
    assert (threads != [threading.get_ident()]) is is_elsewhere


async def test_the_rule_against_processing_twice(wire: Wire, home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    first = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    for force in (False, True):
        answer = await wire.submit("slow:v1", str(home / "slow.csv"), force_rerun=force)
        assert (answer.status, answer.kind, answer.document["run_id"]) == (409, "run-in-progress", first)
        assert "wait for that run" in answer.document["detail"]
    await wire.ask("POST", f"/v1/runs/{first}/cancel")
    done = await wire.run("people:v1", "people.csv")
    answer = await wire.submit("people:v1", "./people.csv")
    assert (answer.status, answer.kind, answer.document["run_id"]) == (409, "already-processed", done["id"])
    assert "force_rerun" in answer.document["detail"]
    assert (await wire.run("people:v1", "people.csv", force_rerun=True))["status"] == "SUCCEEDED"


async def test_many_at_once_give_one_run(wire: Wire) -> None:
    answers = await asyncio.gather(*(wire.submit("people:v1", "people.csv") for _ in range(50)))
    (created,) = [answer for answer in answers if answer.status == 201]
    refused = [answer for answer in answers if answer.status == 409]
    assert len(refused) == 49
    assert {answer.document["run_id"] for answer in refused} == {created.document["id"]}


async def test_a_replay_starts_nothing(wire: Wire) -> None:
    first = (await wire.submit("people:v1", "people.csv", key="k", force_rerun=True)).document["id"]
    ended = await wire.until(first)
    replay = await wire.submit("people:v1", "people.csv", key="k", force_rerun=True)
    assert (replay.status, replay.document) == (200, ended)
    other = await wire.submit("people:v1", "people.csv", key="k")
    assert (other.status, other.kind) == (422, "idempotency-key-reused")
    listed = await wire.ask("GET", "/v1/runs")
    assert [run["id"] for run in listed.document["items"]] == [first]


async def test_bad_submissions(wire: Wire) -> None:
    for body, status, kind in (
        (b"{", 400, "malformed-json"),
        (b'{"flow_version": "people:v1"}', 422, "invalid-field"),
        (b'{"flow_version": "none:v1", "source_path": "a"}', 404, "flow-version-not-found"),
        (b'{"flow_version": "people:v1", "source_path": "../a"}', 422, "source-not-allowed"),
        (b'{"flow_version": "people:v1", "source_path": "/etc/passwd"}', 422, "source-not-allowed"),
        (b'{"flow_version": "people:v1", "source_path": "s3://b/a.csv"}', 422, "source-not-allowed"),
        (
            b'{"flow_version": "people:v1", "source_path": ".lume/state/runs.sqlite"}',
            422,
            "source-not-allowed",
        ),
        (
            b'{"flow_version": "people:v1", "source_path": "a", "webhook_url": "http://x"}',
            422,
            "not-supported",
        ),
        (b" " * 1_048_577, 413, "too-large"),
    ):
        answer = await wire.ask("POST", "/v1/runs", data=io.BytesIO(body), headers=JSON)
        assert (answer.status, answer.kind) == (status, kind), body[:100]
        assert (await wire.ask("GET", "/v1/runs")).document["items"] == []


async def test_bad_headers(wire: Wire) -> None:
    answer = await wire.submit("people:v1", "people.csv", key="x" * 256)
    assert (answer.status, answer.kind) == (400, "invalid-idempotency-key")
    body = {"flow_version": "people:v1", "source_path": "people.csv"}
    twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "a")]
    answer = await wire.ask("POST", "/v1/runs", json=body, headers=twice)
    assert (answer.status, answer.kind) == (400, "invalid-idempotency-key")
    assert (await wire.ask("GET", "/v1/runs")).document["items"] == []


async def test_a_key_is_taken_literally(wire: Wire) -> None:
    ids = {
        (await wire.submit("people:v1", source, key=key)).document["id"]
        for source, key in (("people.csv", "k-9"), ("other.csv", '"k-9"'), ("people.csv", "k-9"))
    }
    assert len(ids) == 2


async def test_a_body_that_says_that_it_is_not_json(wire: Wire) -> None:
    for method, path in (("POST", "/v1/runs"), ("PUT", "/v1/flows/a/versions/v1")):
        for content_type in (
            *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"),
            *("application/octet-stream", "application/xml", "json", ""),
        ):
            answer = await wire.ask(method, path, data=b"{}", headers={"Content-Type": content_type})
            assert (answer.status, answer.kind) == (415, "unsupported-media-type")


async def test_a_cancel_that_says_that_it_is_not_json(wire: Wire) -> None:
    path = f"/v1/runs/{(await wire.submit('people:v1', 'people.csv')).document['id']}/cancel"
    answer = await wire.ask("POST", path, data=b"now", headers={"Content-Type": "text/plain"})
    assert (answer.status, answer.kind) == (415, "unsupported-media-type")
    assert (await wire.ask("POST", path, headers={"Content-Type": "text/plain"})).status in (200, 202)


async def test_a_body_that_is_json(wire: Wire) -> None:
    for n, headers in enumerate(
        (
            {"Content-Type": "Application/JSON; charset=utf-8"},
            {"Content-Type": "application/merge-patch+json"},
            {**JSON, "Content-Encoding": "identity"},
            {},
        )
    ):
        body = f'{{"flow_version": "people:v1", "source_path": "{n}.csv"}}'.encode()
        skip = [] if headers else ["Content-Type"]
        answer = await wire.ask("POST", "/v1/runs", data=body, headers=headers, skip_auto_headers=skip)
        assert answer.status == 201, headers


async def test_only_where_there_is_none(wire: Wire) -> None:
    none = {"If-None-Match": "*"}
    for expected in (201, 412):
        answer = await wire.ask("PUT", "/v1/uploads/a.csv", data=b"id\n1\n", headers=none)
        assert answer.status == expected
        flow = people(version="v9")
        answer = await wire.ask("PUT", "/v1/flows/people/versions/v9", json=flow, headers=none)
        assert answer.status == expected
    assert answer.kind == "precondition-failed"


async def test_a_flow_version_that_the_client_has(wire: Wire) -> None:
    path = "/v1/flows/people/versions/v1"
    first = await wire.ask("GET", path)
    again = await wire.ask("GET", path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.document) == (304, None)
    assert (await wire.ask("GET", path, headers={"If-None-Match": '"other"'})).status == 200


async def test_a_part_of_an_upload_is_refused(wire: Wire, home: Path) -> None:
    await wire.ask("PUT", "/v1/uploads/a.csv", data=b"thirteen byte")
    part = {"Content-Range": "bytes 0-1/13"}
    answer = await wire.ask("PUT", "/v1/uploads/a.csv", data=b"th", headers=part)
    assert (answer.status, answer.kind) == (400, "malformed-request")
    assert (home / ".lume/uploads/a.csv").read_bytes() == b"thirteen byte"


FILLED = {"run_id": UNKNOWN.rpartition("/")[2], "output": "mapped", "name": "a.csv"}
FILLED |= {"flow": "people", "version": "v1"}


async def test_a_filter_is_read_as_strictly_as_it_is_described(wire: Wire) -> None:
    (parameter,) = (
        one for one in SPEC["paths"]["/v1/runs"]["get"]["parameters"] if one.get("name") == "status"
    )
    for status in ("", "FAILED,", ",FAILED", "FAILED, CRASHED", " FAILED", "F" * 33, "1"):
        assert not re.fullmatch(parameter["schema"]["items"]["pattern"], status)
        answer = await wire.ask("GET", "/v1/runs", params={"status": status})
        assert (answer.status, answer.kind) == (400, "invalid-query"), status


async def test_the_server_describes_itself_without_a_key(server: lume_local.Server) -> None:
    wire = Wire(server.base_url, "wrong")
    async with wire.session:
        async with wire.session.get("/openapi.yaml") as response:
            assert response.headers["Content-Type"] == "application/yaml"
            assert await response.read() == (openapi_json.FOLDER / "openapi.yaml").read_bytes()
        document = (await wire.ask("GET", "/openapi.json")).document
        assert document == openapi_json.with_examples(SPEC)
        assert "externalValue" not in str(document)


async def test_a_body_that_is_encoded(wire: Wire) -> None:
    for method, path in (("POST", "/v1/runs"), ("PUT", "/v1/uploads/a.csv")):
        for encoding in ("gzip", "deflate", "br", "zstd", "GZIP", "rot13"):
            body = gzip.compress(b'{"flow_version": "people:v1", "source_path": "people.csv"}')
            answer = await wire.ask(method, path, data=body, headers={"Content-Encoding": encoding})
            assert (answer.status, answer.kind) == (415, "unsupported-encoding")


async def test_requests_that_fail(wire: Wire) -> None:
    for method, path, status, kind in (
        ("GET", UNKNOWN, 404, "run-not-found"),
        ("GET", "/v1/runs/a%2Fb", 404, "run-not-found"),
        ("GET", "/v1/runs/a%20b", 404, "run-not-found"),
        ("GET", f"{UNKNOWN}?x=1", 400, "invalid-query"),
        ("POST", f"{UNKNOWN}/cancel", 404, "run-not-found"),
        ("GET", "/v1/flows/none/versions/v1", 404, "flow-version-not-found"),
        ("GET", "/v1/flows/none/versions/v1/schema", 404, "flow-version-not-found"),
        ("GET", "/v1", 404, "not-found"),
        ("GET", "/v1/runs/", 404, "not-found"),
        ("DELETE", "/v1/runs", 405, "method-not-allowed"),
        ("OPTIONS", "/v1/runs", 405, "method-not-allowed"),
        ("PUT", "/healthz", 405, "method-not-allowed"),
        ("GET", "/v1/runs?limit=0", 400, "invalid-query"),
        ("GET", "/v1/runs?limit=x", 400, "invalid-query"),
        ("GET", "/v1/runs?limit=1&limit=2", 400, "invalid-query"),
        ("GET", "/v1/runs?stauts=FAILED", 400, "invalid-query"),
        ("GET", "/v1/runs?status=failed", 400, "invalid-query"),
        ("GET", "/v1/runs?cursor=1", 400, "invalid-cursor"),
        ("GET", "/v1/changes?after=1", 400, "invalid-cursor"),
        ("GET", "/v1/changes?limit=99999", 400, "invalid-query"),
    ):
        answer = await wire.ask(method, path)
        assert (answer.status, answer.kind) == (status, kind), path
        assert (status == 405) == ("Allow" in answer.headers)


async def raw(server: lume_local.Server, request: bytes) -> bytes:
    host, port = server.base_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_what_is_no_http_gets_a_problem_too(server: lume_local.Server) -> None:
    for request_ in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b"\x16\x03\x01\r\n\r\n"):
        answer = await raw(server, request_)
        assert answer.partition(b"\r\n")[0].endswith(b" 400 Bad Request")
        for header in (
            b"X-Request-Id: ",
            b"Lume-Capabilities: " + CAPABILITIES.encode(),
            b"application/problem+json",
        ):
            assert header in answer


async def test_errors_of_the_server_itself_are_problems_without_their_text(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from lume_local._runs.sqlite.sqlite_store import SqliteStore

    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(SqliteStore, "runs", broken)
    answer = await wire.ask("GET", "/v1/runs")
    assert (answer.status, answer.kind) == (500, "internal")
    assert "secret" not in str(answer.document)
    assert answer.headers["X-Request-Id"] in caplog.text


# -- tags and waiting


async def test_the_tag_changes_with_everything_but_progress(wire: Wire) -> None:
    answer = await wire.submit("people:v1", "people.csv")
    run_id, seen = answer.document["id"], {}
    while not answer.document["finished_at"]:
        seen[answer.headers["ETag"]] = answer.document
        following = await wire.get(run_id, wait=10, tag=answer.headers["ETag"])
        if following.status == 304:
            assert following.headers["ETag"] == answer.headers["ETag"]
            continue
        assert following.headers["ETag"] not in seen
        assert following.headers["Preference-Applied"] == "wait=10"
        assert {**following.document, "progress": 0} != {**answer.document, "progress": 0}
        answer = following
    assert (await wire.get(run_id, tag=answer.headers["ETag"])).status == 304
    assert (await wire.get(run_id, tag='W/"other"')).status == 200


async def test_waiting_ends_with_the_change_or_in_time(wire: Wire, home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
    await wire.until(run_id, "TRANSFORMING")
    tag = (await wire.get(run_id)).headers["ETag"]
    assert (await wire.get(run_id, wait=1, tag=tag)).status == 304
    waiting = [asyncio.create_task(wire.get(run_id, wait=60, tag=tag)) for _ in range(5)]
    await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
    async with asyncio.timeout(30):
        answers = await asyncio.gather(*waiting)
        assert {answer.document["status"] for answer in answers} == {"CANCELLED"}
        # A run that has ended changes no more: the answer comes at once.
        assert (await wire.get(run_id, wait=60, tag=answers[0].headers["ETag"])).status == 304
        assert (await wire.get(run_id, wait=60)).status == 200


async def test_changes_of_a_young_run_are_shown_together(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setattr(run_operations, "TOGETHER", 60.0)
    monkeypatch.setattr(run_operations, "YOUNG", 60.0)
    answer = await wire.submit("people:v1", "people.csv")
    following = await wire.get(answer.document["id"], wait=60, tag=answer.headers["ETag"])
    assert following.document["status"] == "SUCCEEDED"
    monkeypatch.setattr(run_operations, "YOUNG", 0.0)
    (home / "slow.csv").write_text(slow_rows())
    answer = await wire.submit("slow:v1", "slow.csv")
    following = await wire.get(answer.document["id"], wait=60, tag=answer.headers["ETag"])
    assert following.document["status"] in ("SYNCING_SOURCE", "TRANSFORMING")
    await wire.ask("POST", f"/v1/runs/{answer.document['id']}/cancel")


async def test_the_feed_shows_the_stages_of_a_small_run_together_with_its_end(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = (await wire.ask("GET", "/v1/changes")).document["next_cursor"]

    async def following(after: str) -> tuple[list[str], str]:
        wait = {"Prefer": "wait=60"}
        page = (await wire.ask("GET", "/v1/changes", params={"after": after}, headers=wait)).document
        return [one["status"] for one in page["items"]], page["next_cursor"]

    monkeypatch.setattr(waiters, "TOGETHER", 60.0)
    monkeypatch.setattr(run_operations, "TOGETHER", 60.0)
    held = asyncio.create_task(following(start))
    await wire.submit("people:v1", "people.csv")
    shown, end = await held
    assert (shown[0], shown[-1]) == ("CREATED", "SUCCEEDED")
    assert (await following(start)) == (shown, end), "an end does not wait for more"
    monkeypatch.setattr(run_operations, "TOGETHER", 0.0)
    await wire.submit("people:v1", "other.csv")
    shown, _ = await following(end)
    assert shown[0] == "CREATED", "at the end of that time whatever there is"


async def test_a_full_server_does_not_wait(wire: Wire, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(Hub, "is_open", property(lambda hub: False))
    (home / "slow.csv").write_text(slow_rows())
    answer = await wire.submit("slow:v1", "slow.csv")
    waited = await wire.get(answer.document["id"], wait=30)
    assert "Preference-Applied" not in waited.headers
    changes = await wire.ask("GET", "/v1/changes", headers={"Prefer": "wait=30"})
    assert "Preference-Applied" not in changes.headers
    await wire.ask("POST", f"/v1/runs/{answer.document['id']}/cancel")


async def test_leaving_the_block_answers_those_that_wait(home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    async with lume_local.serve(home / "flows", home / ".lume", [home]) as server:
        wire = Wire(server.base_url, server.api_key)
        run_id = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(run_id, "TRANSFORMING")
        tag = (await wire.get(run_id)).headers["ETag"]
        waiting = asyncio.create_task(wire.get(run_id, wait=60, tag=tag))
        other = asyncio.create_task(wire.ask("GET", "/healthz"))
        await other
    async with wire.session:
        assert (await asyncio.wait_for(waiting, 10)).status in (200, 304)


# -- lists and changes


@pytest.fixture
async def several(wire: Wire, home: Path) -> list[str]:
    ids = []
    for number in range(5):
        (home / f"{number}.csv").write_text(PEOPLE_CSV if number % 2 else "id,Email,Age\nx,,\n")
        ids.append((await wire.run("people:v1", f"{number}.csv"))["id"])
    return ids


async def test_lists(wire: Wire, several: list[str]) -> None:
    async def ids(query: str) -> list[str]:
        return [run["id"] for run in (await wire.ask("GET", f"/v1/runs?{query}")).document["items"]]

    assert await ids("") == several[::-1]
    assert await ids("status=SUCCEEDED") == [several[3], several[1]]
    assert await ids("status=SUCCEEDED,FAILED&status=CRASHED") == several[::-1]
    assert await ids("source_path=2.csv") == [several[2]]
    assert await ids("flow_version=people:v1&status=FAILED&limit=2") == [several[4], several[2]]
    assert await ids("flow_version=people:v2") == []
    assert await ids("status=SOME_NEW_STATUS") == []


async def test_pages_hold_still_while_runs_are_added(wire: Wire, several: list[str]) -> None:
    first = await wire.ask("GET", "/v1/runs?limit=2")
    assert [run["id"] for run in first.document["items"]] == [several[4], several[3]]
    await wire.run("people:v1", "people.csv")
    second = await wire.ask("GET", "/v1/runs", params={"limit": 2, "cursor": first.document["next_cursor"]})
    assert [run["id"] for run in second.document["items"]] == [several[2], several[1]]
    third = await wire.ask("GET", "/v1/runs", params={"limit": 2, "cursor": second.document["next_cursor"]})
    assert [run["id"] for run in third.document["items"]] == [several[0]]
    assert third.document["next_cursor"] is None


async def test_the_change_feed_tells_every_change_in_order(wire: Wire) -> None:
    start = await wire.ask("GET", "/v1/changes", headers={"Prefer": "wait=30"})
    assert start.document["items"] == []
    run = await wire.run("people:v1", "people.csv")
    cursor, statuses, ids = start.document["next_cursor"], [], set()
    for _ in range(5):
        answer = await wire.ask("GET", "/v1/changes", params={"after": cursor, "limit": 1})
        (item,) = answer.document["items"]
        cursor = answer.document["next_cursor"]
        statuses.append(item["status"])
        ids.add(item["id"])
    assert statuses == ["CREATED", "SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET", "SUCCEEDED"]
    assert ids == {run["id"]}
    assert item["finished_at"] == run["finished_at"]
    nothing = await wire.ask("GET", "/v1/changes", params={"after": cursor})
    assert nothing.document == {"items": [], "next_cursor": cursor}


async def test_the_change_feed_waits(wire: Wire) -> None:
    cursor = (await wire.ask("GET", "/v1/changes")).document["next_cursor"]
    options = {"params": {"after": cursor}, "headers": {"Prefer": "wait=30"}}
    waiting = asyncio.create_task(wire.ask("GET", "/v1/changes", **options))
    run_id = (await wire.submit("people:v1", "people.csv")).document["id"]
    answer = await waiting
    assert answer.document["items"][0]["id"] == run_id
    assert answer.headers["Preference-Applied"] == "wait=30"
    await wire.until(run_id)


# -- flow versions


async def test_registering_a_flow_version(wire: Wire) -> None:
    path, body = "/v1/flows/people/versions/v2", people(version="v2")
    assert (await wire.ask("PUT", path, json=body)).status == 201
    again = await wire.ask("PUT", path, json=dict(reversed(body.items())))
    assert (again.status, again.document["definition"]) == (200, body)
    other = await wire.ask("PUT", path, json=people(version="v2", columns={"id": {}}))
    assert (other.status, other.kind) == (409, "flow-version-exists")
    assert (await wire.ask("GET", path)).document == again.document
    schema = await wire.ask("GET", f"{path}/schema")
    assert schema.document["properties"] == {"id": {"type": "integer"}}
    assert (await wire.run("people:v2", "people.csv"))["status"] == "SUCCEEDED"


async def test_bad_flow_versions(wire: Wire) -> None:
    for body, field in (
        (people(), "flow"),
        (people(version="v2", columns={}), "columns"),
        (people(version="v2", columns={"a": {"sql": "nope("}}), "columns.a.sql"),
        (people(version="v2", columns={"a": {"sql": "nope(1)"}}), "columns.a.sql"),
        (people(version="v2", more=1), "more"),
    ):
        answer = await wire.ask("PUT", "/v1/flows/people/versions/v2", json=body)
        assert (answer.status, answer.kind, answer.document["field"]) == (422, "invalid-flow", field)
        assert (await wire.ask("GET", "/v1/flows/people/versions/v2")).status == 404


async def test_one_flow_registered_by_many_at_once(wire: Wire) -> None:
    path, body = "/v1/flows/people/versions/v3", people(version="v3")
    answers = await asyncio.gather(*(wire.ask("PUT", path, json=body) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]


@pytest.mark.parametrize(
    ("keep", "said"), [(None, None), (86_400.5, "86400"), (timedelta(hours=1), "3600")], ids=str
)
async def test_every_answer_says_how_long_a_key_is_known(
    tmp_path: Path, keep: float | timedelta | None, said: str | None
) -> None:
    async with lume_local.serve(None, data=tmp_path / "data", keep=keep) as server:
        for path in ("/healthz", "/v1/runs", "/nowhere"):
            answer = await raw(
                server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
            )
            found = re.findall(rb"Lume-Idempotency-Expires: (.*)\r\n", answer)
            assert found == ([] if said is None else [said.encode()])


async def test_what_may_have_been_done_is_not_told_as_nothing(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client repeats what gets 503 or 507 as if it had not been sent."""
    error = StoreUnavailable("the answer was lost", is_in_doubt=True)

    async def create(*args: object) -> None:
        raise error

    monkeypatch.setattr(SqliteStore, "create", create)
    answer = await wire.submit("people:v1", "people.csv")
    assert (answer.status, answer.kind) == (500, "internal")
    assert "the answer was lost: it may have been done, and a run may exist" in answer.document["detail"]
    error = StoreUnavailable("it is away")
    answer = await wire.submit("people:v1", "people.csv")
    assert (answer.status, answer.kind) == (503, "unavailable")
    assert answer.document["detail"] == "it is away: nothing was done, try again later"
