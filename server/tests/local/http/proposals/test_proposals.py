"""`POST /v1/flows/{flow}/proposals`."""

import asyncio
import hashlib
import json
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from local.wire import Wire

import lume_local
from lume_local._runs import proposals
from lume_local._runs.turns import Turns
from lume_local._runs.workers import worker_pool
from lume_local._shared.protocol import Propose

GOLDEN = Path(__file__).parents[5] / "tests/contract"
CUSTOMERS = "Kd-Nr;E-Mail;Alter\n1;Ann@Example.org;31\n2;bob@example.org;\n3;cy@example.org;47\n"
SCHEMA = {
    "title": "people",
    "type": "object",
    "required": ["email"],
    "properties": {
        "email": {"type": "string", "format": "email"},
        "birth_date": {"type": "string", "format": "date"},
    },
}


async def propose(wire: Wire, flow: str = "people", **body: Any) -> Any:
    return await wire.ask("POST", f"/v1/flows/{flow}/proposals", json=body)


async def test_the_proposal_is_that_of_the_golden_file(wire: Wire, home: Path) -> None:
    (home / "customers.csv").write_text(CUSTOMERS)
    request = json.loads((GOLDEN / "proposal_request.json").read_text())
    answer = await propose(wire, **request)
    assert answer.status == 200
    assert answer.document == json.loads((GOLDEN / "proposal.json").read_text())


async def test_the_next_version_reads_the_sample_and_what_the_flow_reads(wire: Wire, home: Path) -> None:
    (home / "customers.csv").write_text(CUSTOMERS.replace(";", ",").replace("Kd-Nr", "ID"))
    found = (await propose(wire, samples=["customers.csv"])).document
    assert (found["flow_version"], found["target"]) == ("people:v2", "people:v1")
    assert found["definition"] == tomllib.loads(found["toml"])
    assert [*found["definition"]["layouts"]] == ["v1", "customers"]
    registered = await wire.ask("PUT", "/v1/flows/people/versions/v2", json=found["definition"])
    assert registered.status == 201
    for source, rows in (("customers.csv", 3), ("people.csv", 3)):
        run = await wire.run("people:v2", source)
        assert run["metadata"]["metrics"]["rows_mapped"] == rows


async def test_the_next_version_of_a_long_name_fits(wire: Wire, home: Path) -> None:
    (home / "customers.csv").write_text(CUSTOMERS.replace(";", ",").replace("Kd-Nr", "ID"))
    definition = (await propose(wire, samples=["customers.csv"])).document["definition"]
    for version in ("v" * 63 + "2", "v" * 64):
        body = definition | {"version": version}
        put = await wire.ask("PUT", f"/v1/flows/people/versions/{version}", json=body)
        assert put.status == 201, put.document
    found = (await propose(wire, samples=["customers.csv"])).document
    assert found["flow_version"] == "people:" + "v" * 63 + "3"


async def test_a_schema_is_a_target_of_any_flow(wire: Wire, home: Path) -> None:
    (home / "a.csv").write_text("Mail;geboren\na@example.org;03.04.1999\n")
    found = (await propose(wire, "others", samples=["a.csv"], schema=SCHEMA)).document
    assert found["flow_version"] == "others:v1"
    assert found["definition"]["source"]["csv"]["delim"] == ";"
    (email,) = [column for column in found["layouts"][0]["columns"] if column["name"] == "email"]
    assert email["chosen"]["sources"] == ["Mail"]
    assert email["chosen"]["values"] == [{"before": "a@example.org", "after": "a@example.org"}]
    # The versions that there are keep their numbers.
    assert (await propose(wire, samples=["a.csv"], schema=SCHEMA)).document["flow_version"] == "people:v2"


async def test_lookups_may_be_written_into_the_version(wire: Wire, home: Path) -> None:
    (home / "a.csv").write_text("size\nSmall\nit's large\n")
    schema = {"properties": {"size": {"type": "string", "enum": ["S", "it's large"]}}}
    found = (await propose(wire, "sizes", samples=["a.csv"], schema=schema, inline_lookups=True)).document
    assert found["seeds"] == {}
    assert (await wire.ask("PUT", "/v1/flows/sizes/versions/v1", json=found["definition"])).status == 201
    run = await wire.run("sizes:v1", "a.csv")
    assert run["metadata"]["metrics"]["rows_mapped"] == 2


async def test_a_person_chooses_and_sees_what_becomes_of_it(wire: Wire, home: Path) -> None:
    (home / "customers.csv").write_text(CUSTOMERS)
    choices = {"id": "Kd-Nr", "age": None, "email": "Alter"}
    found = (await propose(wire, samples=["customers.csv"], choices=choices)).document
    (layout,) = found["layouts"]
    columns = {one["name"]: one["chosen"] for one in layout["columns"]}
    assert columns["id"]["values"][0] == {"before": "1", "after": "1"}
    assert found["definition"]["layouts"]["customers"]["columns"]["id"]["from"] == ["Kd-Nr"]
    assert layout["unmapped"] == ["age"]
    assert (columns["email"]["sources"], columns["email"]["grade"]) == (["Alter"], "low")
    assert columns["email"]["values"][-1]["after"] is None, "what it does is shown"
    for wrong in ({"none": "Alter"}, {"id": "none"}, {"id": 1}, ["id"]):
        answer = await propose(wire, samples=["customers.csv"], choices=wrong)
        assert (answer.status, answer.document["field"]) == (422, "choices")


async def test_an_upload_is_a_sample(wire: Wire) -> None:
    uploaded = await wire.ask("PUT", "/v1/uploads/a.csv", data=CUSTOMERS.encode())
    found = (await propose(wire, samples=[uploaded.document["source_path"]])).document
    assert found["samples"][0]["columns"] == ["Kd-Nr", "E-Mail", "Alter"]


async def test_what_is_refused(wire: Wire, home: Path) -> None:
    (home / "empty.csv").write_text("")
    (home / "a.pdf").write_bytes(b"%PDF-1.7\n")
    for body, status, kind, words in (
        ({}, 422, "invalid-field", "samples: must be a list of 1 to 20"),
        ({"samples": []}, 422, "invalid-field", "samples"),
        ({"samples": ["people.csv"] * 21}, 422, "invalid-field", "samples"),
        ({"samples": [1]}, 422, "invalid-field", "must be a string"),
        ({"samples": ["people.csv"], "sample": 1}, 422, "invalid-field", "is not a field here"),
        ({"samples": ["people.csv"], "schema": []}, 422, "invalid-field", "schema"),
        ({"samples": ["people.csv"], "schema": {}}, 422, "invalid-field", "it has no properties"),
        ({"samples": ["people.csv"], "source": {"header": {"row": 2**64}}}, 422, "invalid-field", "64-bit"),
        ({"samples": ["people.csv"], "schema": SCHEMA, "version": "v1"}, 422, "invalid-field", "version"),
        ({"samples": ["people.csv"], "version": "v9"}, 404, "flow-version-not-found", "people:v9"),
        ({"samples": ["missing.csv"]}, 422, "source-not-allowed", "does not exist"),
        ({"samples": ["../people.csv"]}, 422, "source-not-allowed", ".."),
        ({"samples": ["/etc/passwd"]}, 422, "source-not-allowed", "outside"),
        ({"samples": ["s3://bucket/a.csv"]}, 422, "source-not-allowed", "object store or on an SFTP server"),
        ({"samples": ["sftp://host/a.csv"]}, 422, "source-not-allowed", "upload it, or a part of it"),
        ({"samples": ["ftp://host/a.csv"]}, 422, "source-not-allowed", "not a local file"),
        ({"samples": ["people.csv"], "source": {"format": "cvs"}}, 422, "invalid-field", "source.format"),
        (
            {"samples": ["people.csv"], "source": {"format": "sql", "url_env": "A", "query": "SELECT 1"}},
            *(422, "invalid-field", "a sample is a file"),
        ),
        ({"samples": ["people.csv"], "layout": "a b"}, 422, "invalid-field", "can't name a layout"),
        ({"samples": ["empty.csv"]}, 422, "invalid-field", "is empty"),
        ({"samples": ["a.pdf"]}, 422, "invalid-field", "a PDF document"),
    ):
        answer = await propose(wire, **body)
        assert (answer.status, answer.kind) == (status, kind), words
        assert words in answer.document["detail"]


async def test_a_flow_that_is_not_there_is_reported(wire: Wire) -> None:
    for flow in ("nothing", "a.b"):
        answer = await propose(wire, flow, samples=["people.csv"])
        assert (answer.status, answer.kind) == (404, "flow-version-not-found")


async def test_a_sample_has_a_size_and_a_time(
    wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals, "MOST_BYTES", 10)
    answer = await propose(wire, samples=["people.csv"])
    assert (answer.status, "the maximum is 10" in answer.document["detail"]) == (422, True)
    monkeypatch.undo()
    monkeypatch.setattr(worker_pool, "PROPOSE_LIMIT", 0.001)
    answer = await propose(wire, samples=["people.csv"])
    assert (answer.status, answer.kind) == (422, "invalid-field")
    assert "take longer than" in answer.document["detail"]
    monkeypatch.undo()
    assert (await propose(wire, samples=["people.csv"])).status == 200, "by another process"


@asynccontextmanager
async def held(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Queue[asyncio.Event]]:
    """Each proposal that is being made puts an event into the queue, and goes on once that is set."""
    made, make = asyncio.Queue[asyncio.Event](), worker_pool.WorkerPool.propose

    async def wait(pool: worker_pool.WorkerPool, job: Propose) -> Any:
        made.put_nowait(going := asyncio.Event())
        await going.wait()
        return await make(pool, job)

    with monkeypatch.context() as patch:
        patch.setattr(worker_pool.WorkerPool, "propose", wait)
        async with asyncio.timeout(20):
            yield made


async def test_keys_take_turns_and_none_has_more_than_three(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("busy", "other")}
    (home / "keys.toml").write_text(
        "".join(f'[{name}]\nrole = "submit"\nsha256 = "{one}"\n' for name, one in digest.items())
    )
    order, waits, wait = list[str](), asyncio.Queue[str](), Turns._wait

    async def noted(turns: Turns, key: str) -> None:
        waits.put_nowait(key)
        await wait(turns, key)

    async def ask(wire: Wire, name: str) -> Any:
        answer = await propose(wire, samples=["people.csv"])
        order.append(name)
        return answer

    monkeypatch.setattr(Turns, "_wait", noted)
    async with lume_local.serve(home / "flows", home / ".lume", [home], keys=home / "keys.toml") as server:
        busy, other = (Wire(server.base_url, name) for name in digest)
        async with busy.session, other.session, held(monkeypatch) as made, asyncio.TaskGroup() as tasks:
            many = [tasks.create_task(ask(busy, "busy"))]
            first = await made.get()
            many += [tasks.create_task(ask(busy, "busy")) for _ in range(3)]
            refused = await next(asyncio.as_completed(many))
            assert (refused.status, refused.kind) == (429, "too-many-proposals")
            assert refused.headers["Retry-After"] == "5"
            assert "3 proposals of 'busy'" in refused.document["detail"]
            assert "try again in 5 s" in refused.document["detail"]
            one = tasks.create_task(ask(other, "other"))
            assert [await waits.get() for _ in range(3)] == ["busy", "busy", "other"]
            order.clear()
            first.set()
            for _ in range(3):
                (await made.get()).set()
        assert one.result().status == 200
    assert order == ["busy", "other", "busy", "busy"]


async def test_a_proposal_leaves_nothing_behind(wire: Wire, home: Path) -> None:
    await propose(wire, samples=["people.csv"])
    assert (await wire.ask("GET", "/v1/flows?flow=people")).document["items"][-1][
        "flow_version"
    ] == "people:v1"
    assert (await wire.ask("GET", "/v1/runs")).document["items"] == []
    assert [path.name for path in (home / ".lume/state").glob("rows/*")] == []
