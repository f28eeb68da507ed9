"""Edits that become a rule of the next version: it is tried on the open rows, registered by another request."""

from pathlib import Path

from local.flows import PEOPLE
from local.http.rejects.test_rejected import dirty, inbox, registered, rows
from local.http.wire.test_contract import golden, shape
from local.wire import Wire

EMAIL, OLD = "email: is not an email address", "age: is above 150"


async def test_a_rule_is_tried_on_the_open_rows_and_then_registered(wire: Wire, home: Path) -> None:
    await dirty(wire, home)
    await dirty(wire, home, "second.csv", "id,Email,Age\n11,a@b.org,5\n12,no,6\n13,x,7\n")
    body = {"column": "email", "reason": EMAIL, "changes": {"no": "no@b.org", 'c,\n"d': "c@b.org", "y": None}}
    tried = (await wire.ask("POST", "/v1/drafts/people/rule", json=body)).document
    given = {name: tried[name] for name in ("definition", "rejected_for")}
    assert shape(tried) == shape(golden("draft_rule_tried") | given)
    assert (tried["to"], tried["flow_version"]) == ("people:v1", "people:v2")
    assert (tried["rows"], tried["passed"]) == (5, 2), "the row of two reasons keeps the other one"
    assert tried["rejected_for"] == {EMAIL: 2, OLD: 1}
    assert tried["messages"] == []
    every = (await wire.ask("POST", "/v1/drafts/people/rule", json=body | {"reason": None})).document
    assert every["rows"] == 6
    assert (await wire.ask("GET", "/v1/flows/people/versions/v2")).status == 404, "nothing is registered"
    put = await wire.ask("PUT", "/v1/flows/people/versions/v2", json=tried["definition"])
    assert put.status == 201, put.document
    replay = (await wire.ask("POST", "/v1/replays", json={"flow": "people", "reason": EMAIL})).document
    for run in replay["runs"]:
        await wire.until(run["id"])
    assert [row["id"] for row in await rows(wire, state="replayed")] == ["2", "12"]
    assert (await inbox(wire))[EMAIL] == 2
    again = (
        await wire.ask("POST", "/v1/drafts/people/rule", json=body | {"changes": {"x": "x@b.org"}})
    ).document
    assert again["flow_version"] == "people:v3"
    assert again["passed"] == 2


async def test_a_rule_that_can_not_be(wire: Wire, home: Path) -> None:
    await registered(wire, PEOPLE.replace('"v1"', '"v2"'))
    for changes in (
        {},
        [],
        {"a": 1},
        {"": "a"},
        {"a": ""},
        {"a": "b" * 1001},
        dict.fromkeys(map(str, range(201))),
    ):
        body = {"column": "Email", "changes": changes}
        answer = await wire.ask("POST", "/v1/drafts/people/rule", json=body)
        assert (answer.status, answer.document["field"]) == (422, "changes"), changes
    long = {"column": "Email", "changes": {f"{n:900}": "b" * 900 for n in range(20)}}
    for body, words in (
        ({"column": "Nothing", "changes": {"a": "b"}}, "no column of people:v2 reads 'Nothing'"),
        (long, "20,000 is the most"),
    ):
        answer = await wire.ask("POST", "/v1/drafts/people/rule", json=body)
        assert (answer.status, answer.document["field"]) == (422, "changes")
        assert words in answer.document["detail"]
