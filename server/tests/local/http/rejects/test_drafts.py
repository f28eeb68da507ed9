"""Drafts: rejected rows of several runs are edited, judged by the flow, and submitted as one run."""

import sqlite3
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from local.flows import PEOPLE
from local.http.access.test_keys import entry
from local.http.rejects.test_rejected import DIRTY, WITHOUT_RULE, dirty, inbox, registered, rows
from local.http.wire.test_contract import golden, shape
from local.wire import Wire

import lume_local
from lume_local._http import draft_operations
from lume_local._runs.store.drafts import Room

EMAIL, OLD = "email: is not an email address", "age: is above 150"


async def saved(wire: Wire, *changes: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = await wire.ask("PATCH", "/v1/drafts/people", json={"rows": list(changes)}, headers=headers)
    assert answer.status == 200, answer.document
    return dict(answer.document)


async def judged(wire: Wire, flow: str = "people") -> dict[int, list[str]]:
    answer = await wire.ask("POST", f"/v1/drafts/{flow}/judge", json={})
    assert answer.status == 200, answer.document
    return {one["row"]: one["reasons"] for one in answer.document["items"]}


async def draft(wire: Wire, flow: str = "people") -> dict[str, Any]:
    return dict((await wire.ask("GET", f"/v1/drafts/{flow}")).document)


async def submitted(wire: Wire, rev: int, flow: str = "people", **fields: str) -> dict[str, Any]:
    answer = await wire.ask("POST", f"/v1/drafts/{flow}/submit", json={"rev": rev, **fields})
    assert answer.status in (200, 201), answer.document
    for run in answer.document["runs"]:
        await wire.until(run["id"])
    return dict(answer.document)


def mend(run: dict[str, Any], row: int, rev: int = 0, **cells: str | None) -> dict[str, Any]:
    return {"run": run["id"], "row": row, "rev": rev, "cells": cells}


def spoil(home: Path, value: str) -> None:
    """Change a row of the draft after it was judged, as a flow version does that differs from the one that judged."""
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite", timeout=10)) as db:
        db.execute("UPDATE draft_rows SET cells = json_object('Email', ?) WHERE number = 0", [value])
        db.commit()


async def test_rows_of_two_runs_are_mended_by_one(wire: Wire, home: Path) -> None:
    first = await dirty(wire, home)
    second = await dirty(wire, home, "second.csv", "id,Email,Age\n7,seven,7\n8,e@b.org,8\n")
    saving = await saved(
        wire,
        mend(first, 1, Email="two@b.org"),
        mend(first, 2, Email="three@b.org", Age="20"),
        mend(first, 3, Email="still wrong"),
        mend(second, 1, Email="seven@b.org"),
    )
    assert [one["rev"] for one in saving["saved"]] == [1, 2, 3, 4]
    answer = (await wire.ask("POST", "/v1/drafts/people/judge", json={})).document
    found = {(one["run"], one["row"]): one["reasons"] for one in answer["items"]}
    assert found == {
        (first["id"], 1): [],
        (first["id"], 2): [],
        (first["id"], 3): [EMAIL],
        (second["id"], 1): [],
    }
    assert (await inbox(wire))[None] == 5, "nothing has happened"
    done = await submitted(wire, saving["rev"])
    assert (done["rows"], len(done["runs"])) == (3, 1)
    run = (await wire.ask("GET", f"/v1/runs/{done['runs'][0]['id']}")).document
    assert (run["status"], run["metadata"]["metrics"]["rows_mapped"]) == ("SUCCEEDED", 3)
    assert run["run_metadata"] == {"mend": {"flow": "people", "rows": 3}}, "they are of two sources"
    assert await inbox(wire) == {None: 2, EMAIL: 1, "malformed line: too few columns": 1}
    assert {one["id"] for one in await rows(wire, state="mended")} == {"2", "3", "7"}
    (act,) = (await wire.ask("GET", "/v1/audit", params={"what": "mend"})).document["items"]
    assert (act["subject"], act["detail"]["rows"]) == (run["id"], 3)
    left = await draft(wire)
    assert [(one["row"], one["state"]) for one in left["items"]] == [(3, "open")], (
        "the one that is wrong stays"
    )
    again = await submitted(wire, saving["rev"])
    assert [one["id"] for one in again["runs"]] == [run["id"]], "an answer that was lost"
    assert again["rows"] == 3


async def of_two_reasons(wire: Wire, home: Path) -> tuple[list[dict[str, Any]], int]:
    """Rows that would be accepted: one with two reasons, one and two with one of them; and the draft's revision."""
    first = await dirty(wire, home)
    second = await dirty(wire, home, "second.csv", "id,Email,Age\n7,g@b.org,700\n8,e@b.org,8\n")
    saving = await saved(
        wire,
        mend(first, 1, Email="two@b.org"),
        mend(first, 2, Email="three@b.org", Age="20"),
        mend(first, 3, Email="five@b.org"),
        mend(second, 1, Age="70"),
    )
    assert {*map(tuple, (await judged(wire)).values())} == {()}
    return [first, second], saving["rev"]


async def test_rows_of_one_reason_are_submitted_and_the_others_stay(wire: Wire, home: Path) -> None:
    (first, second), rev = await of_two_reasons(wire, home)
    why = {(one["run"], one["row"]): one["rejected_for"] for one in (await draft(wire))["items"]}
    assert why == {
        (first["id"], 1): [EMAIL],
        (first["id"], 2): [OLD, EMAIL],
        (first["id"], 3): [EMAIL],
        (second["id"], 1): [OLD],
    }
    done = await submitted(wire, rev, reason=OLD)
    (run,) = done["runs"]
    assert (done["rows"], run["run_metadata"]) == (
        2,
        {"mend": {"flow": "people", "rows": 2, "reasons": [OLD]}},
    )
    assert {one["id"] for one in await rows(wire, state="mended")} == {"3", "7"}
    left = await draft(wire)
    assert [(one["row"], one["cells"], one["state"], one["reasons"]) for one in left["items"]] == [
        (1, {"Email": "two@b.org"}, "open", []),
        (3, {"Email": "five@b.org"}, "open", []),
    ]
    assert left["rev"] == rev, "the draft is the one that was seen"
    again = await submitted(wire, rev, reason=OLD)
    assert [one["id"] for one in again["runs"]] == [run["id"]], "an answer that was lost"
    assert (await submitted(wire, rev, reason="no row has this"))["rows"] == 0
    rest = await submitted(wire, rev)
    assert (rest["rows"], len(rest["runs"]), rest["runs"][0]["id"] != run["id"]) == (2, 1, True)
    assert (await submitted(wire, rev))["runs"][0]["id"] == rest["runs"][0]["id"]
    assert (await submitted(wire, rev, reason=EMAIL))["rows"] == 0, "they are mended"
    assert len(await rows(wire, state="mended")) == 4
    assert (await draft(wire))["items"] == []


async def test_reasons_that_are_submitted_at_once_have_each_row_once(wire: Wire, home: Path) -> None:
    _, rev = await of_two_reasons(wire, home)
    async with anyio.create_task_group() as both:
        for fields in ({"reason": OLD}, {"reason": EMAIL}, {}) * 2:
            both.start_soon(partial(submitted, wire, rev, **fields))
    found = (await wire.ask("GET", "/v1/runs", params={"flow": "people"})).document["items"]
    mends = [await wire.until(run["id"]) for run in found if "mend" in (run["run_metadata"] or {})]
    assert sum(run["metadata"]["metrics"]["rows_mapped"] for run in mends) == 4
    assert (await draft(wire))["items"] == []


async def test_edits_of_a_reason_are_back_if_their_run_fails(wire: Wire, home: Path) -> None:
    await of_two_reasons(wire, home)
    await registered(wire, PEOPLE.replace('"v1"', '"v2"') + "[rejects]\nmax_ratio = 0.1\n")
    await judged(wire)
    rev = (await draft(wire))["rev"]
    spoil(home, "spoilt")
    (failed,) = (await submitted(wire, rev, reason=EMAIL))["runs"]
    assert (await wire.until(failed["id"]))["status"] == "FAILED"
    assert {one["state"] for one in (await draft(wire))["items"]} == {"open"}
    spoil(home, "a@b.org")
    again = await submitted(wire, rev, reason=EMAIL)
    assert (again["rows"], again["runs"][0]["id"] != failed["id"]) == (3, True)
    assert [one["rejected_for"] for one in (await draft(wire))["items"]] == [[OLD]]


async def test_a_row_that_was_changed_since_is_not_submitted(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    saving = await saved(wire, mend(run, 1, Email="a@b.org"), mend(run, 3, Email="c@b.org"))
    await judged(wire)
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite", timeout=10)) as db:
        # As a request does that comes between the look at the draft and that at its rows.
        db.execute("UPDATE draft_rows SET rev = 9 WHERE number = 2")
        db.commit()
    assert (await submitted(wire, saving["rev"]))["rows"] == 1
    assert [one["row"] for one in (await draft(wire))["items"]] == [3]


async def test_the_answers_are_as_the_golden_files_say(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    found = {"draft_saved": await saved(wire, mend(run, 1, Email="a@b.org"), mend(run, 1 + 1, Email="x"))}
    found["draft_judged"] = (await wire.ask("POST", "/v1/drafts/people/judge", json={})).document
    found["draft"] = await draft(wire)
    values = [{"run": run["id"], "row": 3, "value": "c@b.org  "}]
    body = golden("draft_suggest") | {"values": values}
    found["draft_suggested"] = (await wire.ask("POST", "/v1/drafts/people/suggest", json=body)).document
    found["draft_submitted"] = (
        await wire.ask(
            "POST",
            "/v1/drafts/people/submit",
            json=golden("draft_submit") | {"rev": found["draft_saved"]["rev"]},
        )
    ).document
    for name, document in found.items():
        assert shape(document) == shape(golden(name)), name


async def test_what_is_rejected_again_is_a_row_of_the_new_run(wire: Wire, home: Path) -> None:
    """The flow has changed between the judgement and the run, say: what a person wrote is not lost."""
    run = await dirty(wire, home)
    saving = await saved(wire, mend(run, 1, Email="same@b.org"), mend(run, 3, Email="x@b.org"))
    await judged(wire)
    spoil(home, "spoilt")
    done = await submitted(wire, saving["rev"])
    (mending,) = done["runs"]
    (again,) = await rows(wire, run=mending["id"])
    assert (again["Email"], again["_lume_reasons"]) == ("spoilt", [EMAIL])
    assert await inbox(wire) == {None: 3, EMAIL: 2, OLD: 1, "malformed line: too few columns": 1}


async def test_malformed_lines_and_rows_are_mended_together(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    (line,) = await rows(wire, reason="malformed line: too few columns")
    assert line["_lume_raw"] == "4"
    saving = await saved(
        wire,
        mend(run, 1, Email="a@b.org"),
        mend(run, line["_lume_reject"], _lume_raw="4,d@b.org,4"),
    )
    assert await judged(wire) == {1: [], line["_lume_reject"]: []}
    done = await submitted(wire, saving["rev"])
    assert (done["rows"], len(done["runs"])) == (2, 1)
    assert (await inbox(wire))[None] == 2


async def test_objects_keep_what_is_not_edited(wire: Wire, home: Path) -> None:
    line = '{"text": "%s", "stars": "%s", "more": 1.10, "deep": {"a": [1]}}\n'
    (home / "notes.ndjson").write_text(line % ("good", 1) + line % ("fine", "no"))
    run = await wire.run("notes:v1", "notes.ndjson")
    (row,) = await rows(wire, flow="notes")
    body = {"rows": [mend(run, row["_lume_reject"], stars="4")]}
    saving = (await wire.ask("PATCH", "/v1/drafts/notes", json=body)).document
    assert await judged(wire, "notes") == {1: []}
    done = await submitted(wire, saving["rev"], "notes")
    (mapped,) = (await wire.ask("GET", f"/v1/runs/{done['runs'][0]['id']}/mapped")).document["items"]
    assert (mapped["text"], mapped["stars"]) == ("fine", 4)


async def test_two_tabs_do_not_overwrite_each_other(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    first = await saved(wire, mend(run, 1, Email="first@b.org"))
    refused = await saved(wire, mend(run, 1, Email="second@b.org"), mend(run, 2, Age="5"))
    (mine,) = refused["refused"]
    assert (mine["cells"], mine["rev"]) == ({"Email": "first@b.org"}, first["saved"][0]["rev"])
    assert [one["row"] for one in refused["saved"]] == [2], "the others are changed"
    with_revision = await saved(wire, mend(run, 1, mine["rev"], Email="second@b.org"))
    assert with_revision["refused"] == []
    gone = await saved(
        wire, {"run": run["id"], "row": 1, "rev": with_revision["saved"][0]["rev"], "cells": None}
    )
    assert gone["rows"] == 1
    late = await saved(wire, mend(run, 1, with_revision["saved"][0]["rev"], Email="third@b.org"))
    assert [(one["cells"], one["rev"]) for one in late["refused"]] == [(None, 0)]


async def test_a_draft_that_has_changed_is_not_submitted(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    saving = await saved(wire, mend(run, 1, Email="a@b.org"))
    await judged(wire)
    await saved(wire, mend(run, 2, Age="1"))
    answer = await wire.ask("POST", "/v1/drafts/people/submit", json={"rev": saving["rev"]})
    assert (answer.status, answer.document["type"]) == (409, "urn:lume:problem:draft-changed")
    assert (await inbox(wire))[None] == 4


async def test_rows_that_somebody_else_has_ended_stay_in_the_draft_and_say_so(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    saving = await saved(wire, mend(run, 1, Email="a@b.org"), mend(run, 3, Email="c@b.org"))
    assert await judged(wire) == {1: [], 3: []}
    await wire.ask("POST", "/v1/rejects/discard", json={"run": run["id"], "rows": [1], "why": "known"})
    done = await submitted(wire, saving["rev"])
    assert done["rows"] == 1
    (left,) = (await draft(wire))["items"]
    assert (left["row"], left["state"], left["cells"]) == (1, "discarded", {"Email": "a@b.org"})
    assert left["by"]
    await saved(wire, mend(run, 1, left["rev"], Email="b@b.org"))
    assert await judged(wire) == {1: ["the row is no longer open"]}
    values = [{"run": run["id"], "row": 1, "value": " A@B.org "}]
    body = {"column": "Email", "reason": EMAIL, "values": values}
    answer = await wire.ask("POST", "/v1/drafts/people/suggest", json=body)
    assert answer.document["items"] == []
    nothing = await submitted(wire, (await draft(wire))["rev"])
    assert (nothing["rows"], nothing["runs"]) == (0, [])


async def test_two_people_are_told_of_each_other(home: Path) -> None:
    keys = home / "keys.toml"
    keys.write_text(entry("ann", "submit") + entry("bob", "submit") + entry("eve", "read"))
    (home / "dirty.csv").write_text(DIRTY)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            lume_local.serve(home / "flows", home / ".lume", [home], keys=keys)
        )
        ann, bob, eve = (Wire(server.base_url, name) for name in ("ann", "bob", "eve"))
        for wire in (ann, bob, eve):
            await stack.enter_async_context(wire.session)
        run = await ann.run("people:v1", "dirty.csv")
        assert (await saved(ann, mend(run, 1, Email="ann@b.org")))["elsewhere"] == []
        of_bob = await saved(bob, mend(run, 1, Email="bob@b.org"))
        assert [(one["row"], one["owner"]) for one in of_bob["elsewhere"]] == [(1, "ann")]
        assert [(one["row"], one["owner"]) for one in (await draft(ann))["elsewhere"]] == [(1, "bob")]
        await judged(ann)
        await judged(bob)
        async with anyio.create_task_group() as both:
            both.start_soon(submitted, ann, 1)
            both.start_soon(submitted, bob, 1)
        assert len(await rows(ann, state="mended")) == 1, "one of them was first"
        drafts = [(await draft(wire))["items"] for wire in (ann, bob)]
        (kept,) = next(items for items in drafts if items)
        assert kept["state"] == "mended"
        assert kept["by"].startswith("run_")
        assert sorted(map(len, drafts)) == [0, 1], "the other still has what they wrote"
        assert (await draft(eve))["items"] == []
        answer = await eve.ask("PATCH", "/v1/drafts/people", json={"rows": [mend(run, 2, Age="1")]})
        assert answer.status == 403


async def test_a_draft_is_limited(wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await dirty(wire, home)
    await saved(wire, mend(run, 1, Email="a" * 100))
    monkeypatch.setattr(draft_operations, "ROOM", Room(500, 1000))
    body = {"rows": [mend(run, 2, Email="b" * 300)]}
    answer = await wire.ask("PATCH", "/v1/drafts/people", json=body)
    assert (answer.status, "500 bytes" in answer.document["detail"]) == (413, True)
    monkeypatch.setattr(draft_operations, "ROOM", Room(1000, 500))
    answer = await wire.ask("PATCH", "/v1/drafts/people", json=body)
    assert (answer.status, answer.document["type"]) == (507, "urn:lume:problem:storage-full")
    left = await draft(wire)
    assert (left["rows"], left["rev"]) == (1, 1), "nothing was changed"
    gone = await saved(wire, {"run": run["id"], "row": 1, "rev": 1, "cells": None})
    assert (gone["rows"], gone["bytes"]) == (0, 0)


async def test_a_draft_is_removed(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    before = await saved(wire, mend(run, 1, Email="a@b.org"))
    assert (await wire.ask("DELETE", "/v1/drafts/people")).status == 204
    assert (await draft(wire))["items"] == []
    await saved(wire, mend(run, 1, Email="b@b.org"))
    await judged(wire)
    done = await submitted(wire, before["rev"])
    assert done["rows"] == 1, "its revisions are those of another draft"


async def test_a_draft_is_shown_a_page_at_a_time(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    await saved(wire, *(mend(run, row, Email="a@b.org") for row in (1, 2, 3)))
    seen, cursor = list[int](), None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await wire.ask("GET", "/v1/drafts/people", params=query)).document
        seen += [one["row"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [1, 2, 3]


async def test_repairs_are_suggested_that_the_flow_accepts(wire: Wire, home: Path) -> None:
    text = PEOPLE.replace('"people"', '"visits"') + '[columns.day]\nsql = "Day"\nformat = "date"\n'
    text += '[columns.country]\nsql = "Country"\nenum = ["Germany", "France"]\n'
    await registered(wire, text)
    bad = ["04/31/2024,Germny,1", "2024-31-12,  france,2", "never,Italy,3"]
    lines = [f"{n},a@b.org,{n},{one.rpartition(',')[0]}" for n, one in enumerate(bad, 1)]
    (home / "visits.csv").write_text(
        "\n".join(["id,Email,Age,Day,Country", *lines, "9,a@b.org,9,2024-01-01,France\n"])
    )
    run = await wire.run("visits:v1", "visits.csv")
    found = await rows(wire, flow="visits")

    async def suggested(column: str, reason: str) -> dict[str, dict[str, str]]:
        values = [{"run": run["id"], "row": row["_lume_reject"], "value": row[column]} for row in found]
        body = {"column": column, "reason": reason, "values": values}
        answer = await wire.ask("POST", "/v1/drafts/visits/suggest", json=body)
        assert answer.status == 200, answer.document
        return {
            one["repair"]: {each["from"]: each["to"] for each in one["values"]}
            for one in answer.document["items"]
        }

    reasons = {reason for row in found for reason in row["_lume_reasons"]}
    (of_country,) = (reason for reason in reasons if reason.startswith("country:"))
    (of_day,) = (reason for reason in reasons if reason.startswith("day:"))
    assert await suggested("Country", of_country) == {"closest": {"Germny": "Germany", "  france": "France"}}
    assert await suggested("Day", of_day) == {"swapped": {"2024-31-12": "2024-12-31"}}
    assert (await draft(wire, "visits"))["rows"] == 0, "nothing is changed"


BAD: list[tuple[str, str, Any, str]] = [
    ("PATCH", "people", {"rows": []}, "rows"),
    ("PATCH", "people", {"rows": [{"run": "run_1", "row": 1, "rev": 0}]}, "rows[0]"),
    ("PATCH", "people", {"rows": [{"run": "run_1", "row": 0, "cells": {"a": "b"}}]}, "rows[0].row"),
    ("PATCH", "people", {"rows": [{"run": "run 1", "row": 1, "cells": {"a": "b"}}]}, "rows[0].run"),
    ("PATCH", "people", {"rows": [{"run": "run_1", "row": 1, "cells": {"a": 1}}]}, "rows[0].cells"),
    ("PATCH", "people", {"rows": [{"run": "run_1", "row": 1, "cells": {"_lume_row": "1"}}]}, "rows[0].cells"),
    (
        "PATCH",
        "people",
        {"rows": [{"run": "run_1", "row": 1, "cells": {"a": "b"}, "rev": -1}]},
        "rows[0].rev",
    ),
    ("PATCH", "people", {"rows": [{"run": "run_1", "row": 1, "cells": {"a": "b"}}] * 2}, "rows"),
    ("PATCH", "people", {"rows": [{"run": "run_1", "row": 1, "cells": {"a": "b"}, "x": 1}]}, "rows[0]"),
    ("POST", "people/judge", {"limit": 0}, "limit"),
    ("POST", "people/judge", {"to": "orders:v1"}, "to"),
    ("POST", "people/submit", {}, "rev"),
    ("POST", "people/submit", {"rev": 1, "reason": ""}, "reason"),
    ("POST", "people/submit", {"rev": 1, "reason": ["a"]}, "reason"),
    ("POST", "people/suggest", {"column": "_lume_row", "values": [{}]}, "column"),
    ("POST", "people/suggest", {"column": "a", "values": []}, "values"),
    ("POST", "people/suggest", {"column": "a", "values": [{"run": "run_1"}]}, "values[0]"),
    ("POST", "people/suggest", {"column": "a", "reason": 1, "values": [{}]}, "reason"),
]


async def test_bad_requests(wire: Wire) -> None:
    assert (await wire.ask("GET", "/v1/drafts/nobody")).status == 404
    for method, path, body, field in BAD:
        answer = await wire.ask(method, f"/v1/drafts/{path}", json=body)
        assert (answer.status, answer.document["field"]) == (422, field), (method, path, field)


async def test_a_newer_version_judges_again(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    saving = await saved(wire, mend(run, 1, Mail="a@b.org"))
    ((reason,),) = (await judged(wire)).values()
    assert "'Mail', which is not one of its columns" in reason
    await saved(wire, mend(run, 1, saving["rev"], Age="7"))
    assert await judged(wire) == {1: [EMAIL]}
    assert await judged(wire) == {}, "nothing has changed"
    await registered(wire, WITHOUT_RULE)
    assert await judged(wire) == {1: []}


async def test_a_row_that_is_open_again_is_submitted(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    saving = await saved(wire, mend(run, 1, Email="a@b.org"), mend(run, 3, Email="c"))
    assert await judged(wire) == {1: [], 3: [EMAIL]}
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite", timeout=10)) as db:
        # As a look stored it while another run had the rows, which then failed.
        db.execute("UPDATE draft_rows SET reasons = json_array('the row is no longer open')")
        db.commit()
    done = await submitted(wire, saving["rev"])
    assert (done["rows"], len(done["runs"])) == (1, 1)
    (left,) = (await draft(wire))["items"]
    assert (left["row"], left["state"]) == (3, "open"), "judged again, and not accepted"
