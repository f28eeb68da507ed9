"""Who works on rejected rows, and comments: over the wire, until the rows end."""

from pathlib import Path
from typing import Any

import pytest
from local.http.rejects.test_rejected import NOT_AN_ADDRESS, TOO_OLD, dirty, replayed, rows
from local.wire import Wire

import lume_async
import lume_local
from lume_local._http import reject_operations


async def assigned(wire: Wire, **fields: Any) -> int:
    answer = await wire.ask("POST", "/v1/rejects/assign", json=fields)
    assert answer.status == 200, answer.document
    return int(answer.document["assigned"])


async def notes(wire: Wire, **query: str) -> list[tuple[str | None, str | None, str | None]]:
    found = await rows(wire, **query)
    return [(row.get("id"), row.get("_lume_assignee"), row.get("_lume_comment")) for row in found]


@pytest.mark.usefixtures("each_state")
async def test_an_assignment_is_with_the_rows_until_they_end(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    assert await assigned(wire, flow="people", reason=NOT_AN_ADDRESS, assignee="ann", comment="asked") == 3
    assert await assigned(wire, run=run["id"], rows=[2, 99], assignee="bob") == 1
    assert await notes(wire) == [
        ("2", "ann", "asked"),
        ("3", "bob", None),
        ("5", "ann", "asked"),
        (None, None, None),
    ]
    assert await notes(wire, assignee="bob") == [("3", "bob", None)]
    assert await notes(wire, assignee="bob", reason=TOO_OLD) == [("3", "bob", None)]
    assert await notes(wire, assignee="nobody") == []
    (flow,) = (await wire.ask("GET", "/v1/inbox")).document["flows"]
    assert {(one["assignee"], one["reason"]): one["open"] for one in flow["assigned"]} == {
        ("ann", NOT_AN_ADDRESS): 2,
        ("bob", NOT_AN_ADDRESS): 1,
        ("bob", TOO_OLD): 1,
    }
    assert await assigned(wire, flow="people", reason=TOO_OLD, comment="a comment of nobody") == 1
    assert (await notes(wire))[1] == ("3", None, "a comment of nobody")
    assert await assigned(wire, flow="people", reason=TOO_OLD) == 1
    assert (await notes(wire))[1] == ("3", None, None)
    body = {"run": run["id"], "rows": [1], "why": "known"}
    assert (await wire.ask("POST", "/v1/rejects/discard", json=body)).document == {"discarded": 1}
    assert await notes(wire, state="discarded") == [("2", None, None)]
    assert await notes(wire, assignee="ann") == [("5", "ann", "asked")]
    acts = (await wire.ask("GET", "/v1/audit", params={"what": "assign"})).document["items"]
    assert [(act["subject"], act["detail"]["rows"]) for act in acts] == [("people", n) for n in (1, 1, 1, 3)]
    assert acts[-1]["detail"] == {"rows": 3, "assignee": "ann", "comment": "asked"}


async def test_pages_of_one_person(wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reject_operations, "_MOST_RUNS", 1)
    for name in ("a.csv", "b.csv", "c.csv"):
        await dirty(wire, home, name, "id,Email,Age\n1,a@b.org,5\n2,no,6\n3,no,6\n")
    await assigned(wire, flow="people", assignee="ann")
    page = (await wire.ask("GET", "/v1/rejects", params={"assignee": "ann", "limit": "1"})).document
    cursor = {"cursor": page["next_cursor"]}
    assert (await wire.ask("GET", "/v1/rejects", params=cursor)).status == 400, "it is of another request"
    assert len(await rows(wire, assignee="ann", limit="1")) == 6


async def test_rows_that_are_rejected_again_by_a_replay_keep_theirs(wire: Wire, home: Path) -> None:
    await dirty(wire, home)
    await assigned(wire, flow="people", assignee="ann", comment="asked")
    await replayed(wire, flow="people")
    assert {one[1:] for one in await notes(wire)} == {("ann", "asked")}


async def test_bad_requests(wire: Wire, home: Path) -> None:
    await dirty(wire, home)
    for body, field in (
        ({"assignee": "ann"}, "flow"),
        ({"flow": "people", "assignee": ""}, "assignee"),
        ({"flow": "people", "assignee": "a" * 257}, "assignee"),
        ({"flow": "people", "comment": "a\nb"}, "comment"),
        ({"flow": "people", "rows": [1], "assignee": "ann"}, "rows"),
        ({"flow": "people", "why": "no"}, "why"),
    ):
        answer = await wire.ask("POST", "/v1/rejects/assign", json=body)
        assert (answer.status, answer.document["field"]) == (422, field), body
    assert (
        await wire.ask("POST", "/v1/rejects/assign", json={"flow": "nobody", "assignee": "a"})
    ).status == 404


async def test_the_client_assigns_rows(wire: Wire, home: Path, server: lume_local.Server) -> None:
    run = await dirty(wire, home)
    async with lume_async.Client(server.api_key, base_url=server.base_url) as client:
        assert await client.assign_rejects("ann", comment="asked", run=run["id"], rows=[1]) == 1
        (row,) = [row async for row in client.open_rejects(assignee="ann")]
        assert (row["_lume_reject"], row["_lume_assignee"], row["_lume_comment"]) == (1, "ann", "asked")
        assert await client.assign_rejects(None, flow="people") == 4
        assert [row async for row in client.open_rejects(assignee="ann")] == []
