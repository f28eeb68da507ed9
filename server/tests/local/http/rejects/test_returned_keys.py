"""Keys of rows that come back, by requests to a running server: each is accepted once of a source."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
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
HEAD = "_lume_row,_lume_reasons,id,mail,city\n"
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


async def uploaded(wire: Wire, text: str, name: str = "mended.csv") -> str:
    assert (await wire.ask("PUT", f"/v1/uploads/{name}", data=text.encode())).status in (200, 201)
    return f"upload://{name}"


async def resubmitted(
    wire: Wire, run: dict[str, Any], text: str, name: str = "mended.csv", **fields: Any
) -> dict[str, Any]:
    source = await uploaded(wire, text, name)
    fields = {"run_metadata": {"resubmit_of": run["id"]}, "force_rerun": True} | fields
    ref = fields.pop("ref", run["flow_version"])
    return await wire.run(ref, source, **fields)


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
    text = f"{HEAD}3,,1,c@b.org,Kiel am Meer\n4,,2,x@b.org,Hof\n5,,4,y@b.org,Jena\n"
    mend = await resubmitted(wire, run, text)
    assert (await ids(wire, mend), reasons(mend)) == ([4], {REPEATS: 2})
    again = await resubmitted(wire, mend, f"{HEAD}1,,4,c@b.org,Kiel\n2,,5,x@b.org,Hof\n")
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


@pytest.mark.usefixtures("each_state")
async def test_the_rows_of_a_draft_are_judged_with_those_beside_them(wire: Wire, home: Path) -> None:
    """And with the accepted keys: a row that was fine may repeat one that is edited later."""
    await registered(wire)
    run = await first_run(wire, home)
    revs: dict[int, int] = {}

    async def edited(row: int, **cells: str) -> dict[int, list[str]]:
        """What is judged then, by row."""
        change = {"run": run["id"], "row": row, "cells": cells, "rev": revs.get(row, 0)}
        saved = await wire.ask("PATCH", "/v1/drafts/clients", json={"rows": [change]})
        revs[row] = saved.document["saved"][0]["rev"]
        judged = await wire.ask("POST", "/v1/drafts/clients/judge", json={})
        return {one["row"]: one["reasons"] for one in judged.document["items"]}

    assert await edited(1, city="Kiel am Meer") == {1: [REPEATS]}
    assert await edited(3, mail="x@b.org") == {3: [REPEATS]}, "3 is accepted already"
    assert await edited(3, mail="x@b.org", id="4") == {3: []}
    assert await edited(2, mail="x@b.org", id="4") == {2: [], 3: [REPEATS]}, "it comes before the other one"
    assert await edited(2, mail="x@b.org", id="5") == {2: [], 3: []}
    assert await edited(1, id="5") == {1: [], 2: [REPEATS]}
    answer = await wire.ask("POST", "/v1/drafts/clients/submit", json={"rev": revs[1]})
    mend = await wire.until(answer.document["runs"][0]["id"])
    assert (mend["status"], sorted(await ids(wire, mend))) == ("SUCCEEDED", [4, 5])
    assert await edited(2, id="4", mail="x@b.org") == {2: [REPEATS]}


@pytest.mark.usefixtures("each_state")
async def test_each_row_is_compared_with_its_own_source(wire: Wire, home: Path) -> None:
    """Of a replay of several sources, too: what it has accepted of one is no repeat in another one."""
    await registered(wire)
    texts = {
        "may": "1,a@b.org,Ulm\n2,no,Bonn\n3,no,Kiel\n",
        "june": "2,a@b.org,Ulm\n1,no,Hof\n4,no,Jena\n3,no,Hof\n",
    }
    runs = [
        await first_run(wire, home, f"id,mail,city\n{rows}", name=f"{name}.csv")
        for name, rows in texts.items()
    ]
    v2 = await registered(wire, FLOW.replace('format = "email"\n', ""), "v2")
    dry = (await wire.ask("POST", "/v1/replays", json={"flow": "clients", "dry_run": True})).document
    assert (dry["rows"], dry["passed"], dry["rejected_for"]) == (5, 4, {REPEATS: 1})
    done = (await wire.ask("POST", "/v1/replays", json={"flow": "clients"})).document
    replay = await wire.until(done["runs"][0]["id"])
    assert (await ids(wire, replay), reasons(replay)) == ([2, 3, 1, 4], {REPEATS: 1}), (
        "a run has each key once"
    )
    text = f"{HEAD}4,,3,n@b.org,Hof\n"
    rows = (await wire.ask("GET", f"/v1/runs/{replay['id']}/rejects")).document["items"]
    assert [row["_lume_row"] for row in rows] == [5]
    mend = await resubmitted(wire, replay, text.replace("4,,", "5,,"), ref=v2)
    assert (mend["status"], await ids(wire, mend)) == ("SUCCEEDED", [3])
    for run, header, known in zip(runs, ("2", "2"), ("2", "4"), strict=True):
        again = await resubmitted(
            wire,
            run,
            f"{HEAD}{header},,{known},n@b.org,Hof\n,,9,n@b.org,Hof\n",
            f"{known}.csv",
        )
        assert (await ids(wire, again), reasons(again)) == ([9], {REPEATS: 1})


async def test_rejects_of_a_replay_of_several_sources_are_corrected(wire: Wire, home: Path) -> None:
    await registered(wire)
    for name, rows in {"may": "1,a@b.org,Ulm\n2,no,Bonn\n", "june": "2,a@b.org,Ulm\n1,no,Hof\n"}.items():
        await first_run(wire, home, f"id,mail,city\n{rows}", name=f"{name}.csv")
    await registered(wire, FLOW.replace("[columns.city]", "[columns.city]\nminLength = 9"), "v2")
    done = (await wire.ask("POST", "/v1/replays", json={"flow": "clients"})).document
    replay = await wire.until(done["runs"][0]["id"])
    assert replay["metadata"]["metrics"]["rows_mapped"] == 0
    text = f"{HEAD}1,,2,n@b.org,Bonn am Rhein\n2,,1,n@b.org,Hof an der Saale\n"
    dry = await wire.submit(
        "clients:v2", await uploaded(wire, text), run_metadata={"resubmit_of": replay["id"]}, dry_run=True
    )
    assert dry.document["status"] == "SUCCEEDED"
    mend = await resubmitted(wire, replay, text)
    assert (mend["status"], await ids(wire, mend)) == ("SUCCEEDED", [2, 1])
    swapped = f"{HEAD}1,,1,n@b.org,Bonn am Rhein\n2,,2,n@b.org,Hof an der Saale\n,,5,n@b.org,Bad Aibling\n"
    again = await resubmitted(wire, replay, swapped, "swapped.csv")
    assert (await ids(wire, again), reasons(again)) == ([5], {REPEATS: 2})


async def test_a_row_whose_first_output_is_gone_is_held_back(wire: Wire, home: Path) -> None:
    await registered(wire)
    run = await first_run(wire, home)
    Path(run["metadata"]["target_locations"]["mapped"]).unlink()
    held = f"id: can't be checked, because the output of {run['id']} is gone"
    body = {"flow": "clients", "reason": [REPEATS]}
    dry = (await wire.ask("POST", "/v1/replays", json=body | {"dry_run": True})).document
    assert (dry["passed"], dry["rejected_for"]) == (0, {held: 1})
    done = (await wire.ask("POST", "/v1/replays", json=body)).document
    assert reasons(await wire.until(done["runs"][0]["id"])) == {held: 1}
    open_rows = (await wire.ask("GET", "/v1/rejects", params={"reason": held})).document["items"]
    assert [row["_lume_reasons"] for row in open_rows] == [[held]]
    text = f"{HEAD}3,,77,c@b.org,Kiel\n"
    mend = await resubmitted(wire, run, text)
    assert mend["status"] == "FAILED"
    assert held in mend["metadata"]["error_message"]
