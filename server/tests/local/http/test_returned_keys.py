"""Keys of rows that come back, by requests to a running server: each is accepted once of a source."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from local.servers import serve
from local.wire import Wire

FLOW = """
flow = "clients"
version = "v1"
[columns.id]
type = "integer"
required = true
unique = true
[columns.mail]
format = "email"
required = true
[columns.city]
"""
REPEATS = "id: repeats the value of an earlier row"
NO_MAIL = "mail: is not an email address"
ROWS = "id,mail,city\n1,a@b.org,Ulm\n2,b@b.org,Bonn\n1,c@b.org,Kiel\n2,no,Hof\n3,no,Jena\n3,d@b.org,Trier\n"
"""Mapped are 1, 2 and 3; rejected 1 as a repeat, 2 and 3 for their addresses."""


async def registered(wire: Wire, text: str = FLOW, version: str = "v1") -> str:
    flow = tomllib.loads(text.replace('"v1"', f'"{version}"'))
    path = f"/v1/flows/{flow['flow']}/versions/{version}"
    assert (await wire.ask("PUT", path, json=flow)).status == 201
    return f"{flow['flow']}:{version}"


async def first_run(
    wire: Wire, home: Path, text: str = ROWS, ref: str = "clients:v1", name: str = "source.csv"
) -> dict[str, Any]:
    (home / name).write_text(text)
    run = await wire.run(ref, name)
    assert run["status"] == "PARTIAL_FAILED"
    return run


async def resubmitted(
    wire: Wire, run: dict[str, Any], text: str, name: str = "mended.csv", **fields: Any
) -> dict[str, Any]:
    assert (await wire.ask("PUT", f"/v1/uploads/{name}", data=text.encode())).status in (200, 201)
    fields = {"run_metadata": {"resubmit_of": run["id"]}, "force_rerun": True} | fields
    ref = fields.pop("ref", run["flow_version"])
    return await wire.run(ref, f"upload://{name}", **fields)


async def ids(wire: Wire, run: dict[str, Any], column: str = "id") -> list[Any]:
    page = await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")
    return [row[column] for row in page.document["items"]] if page.status == 200 else []


def reasons(run: dict[str, Any]) -> dict[str, int]:
    assert run["status"] == "PARTIAL_FAILED", run["metadata"]["error_message"]
    found: dict[str, int] = run["metadata"]["metrics"]["reject_reasons"]
    return found


async def test_a_repeat_that_is_resubmitted_is_rejected_again(wire: Wire, home: Path) -> None:
    await registered(wire)
    run = await first_run(wire, home)
    assert await ids(wire, run) == [1, 2, 3]
    text = "_lume_row,_lume_reasons,id,mail,city\n3,,1,c@b.org,Kiel am Meer\n4,,2,x@b.org,Hof\n5,,4,y@b.org,Jena\n"
    mend = await resubmitted(wire, run, text)
    assert (await ids(wire, mend), reasons(mend)) == ([4], {REPEATS: 2})
    again = await resubmitted(
        wire, mend, "_lume_row,_lume_reasons,id,mail,city\n1,,4,c@b.org,Kiel\n2,,5,x@b.org,Hof\n"
    )
    assert (await ids(wire, again), reasons(again)) == ([5], {REPEATS: 1})


async def test_a_replay_and_its_dry_run(wire: Wire, home: Path) -> None:
    await registered(wire)
    await first_run(wire, home)
    await registered(wire, FLOW.replace('format = "email"\n', ""), "v2")
    body = {"flow": "clients"}
    dry = (await wire.ask("POST", "/v1/replays", json=body | {"dry_run": True})).document
    assert (dry["rows"], dry["passed"], dry["rejected_for"], dry["messages"]) == (3, 0, {REPEATS: 3}, [])
    done = (await wire.ask("POST", "/v1/replays", json=body)).document
    run = await wire.until(done["runs"][0]["id"])
    assert (run["status"], reasons(run)) == ("PARTIAL_FAILED", {REPEATS: 3})
