"""Rejected rows of all runs: the inbox, the rows, what ends them, by requests to a running server."""

import json
import tomllib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.flows import NOTES, PEOPLE
from local.http.wire.test_contract import golden, shape
from local.wire import Wire

from lume_local._flow.definition import Flow
from lume_local._runs.recovery.old_files import LostRejects
from lume_local._runs.runner import Runner
from lume_local._runs.sources.paths import REPLAY, UPLOAD
from lume_local._runs.sources.resolver import CantTell, SourceResolver
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._runs.store.ledger import Claim
from lume_local._runs.store.records import Duplicate, NewRun, StoredRun

NOT_AN_ADDRESS = "email: is not an email address"
TOO_OLD = "age: is above 150"
WITHOUT_RULE = PEOPLE.replace('"v1"', '"v2"').replace('format = "email"\n', "")
DIRTY = 'id,Email,Age\n1,a@b.org,5\n2,no,6\n3,"c,\n""d",200\n4\n5,x,7\n'


async def registered(wire: Wire, text: str) -> None:
    flow = tomllib.loads(text)
    answer = await wire.ask("PUT", f"/v1/flows/{flow['flow']}/versions/{flow['version']}", json=flow)
    assert answer.status == 201


async def dirty(wire: Wire, home: Path, name: str = "dirty.csv", text: str = DIRTY) -> dict[str, Any]:
    (home / name).write_text(text)
    run = await wire.run("people:v1", name)
    assert run["status"] == "PARTIAL_FAILED"
    return run


async def inbox(wire: Wire) -> dict[str | None, int]:
    """The open rows by reason; all of them under None."""
    document = (await wire.ask("GET", "/v1/inbox")).document
    assert all(flow["account"]["closes"] for flow in document["flows"])
    return {one.get("reason"): one["open"] for one in (*document["flows"], *document["items"])}


async def rows(wire: Wire, **query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        document = (await wire.ask("GET", "/v1/rejects", params={**query, **more})).document
        assert not document["unreadable"]
        found += document["items"]
        cursor = document["next_cursor"]
        if cursor is None:
            return found


async def replayed(wire: Wire, **body: Any) -> dict[str, Any]:
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "people", **body})
    assert answer.status in (200, 201)
    for run in answer.document["runs"]:
        await wire.until(run["id"])
    return answer.document


@pytest.mark.usefixtures("each_state")
async def test_the_answers_are_as_the_golden_files_say(wire: Wire, home: Path) -> None:
    await registered(wire, WITHOUT_RULE)
    run = await dirty(wire, home)
    body = golden("assign") | {"run": run["id"], "rows": [1]}
    found = {"assigned": (await wire.ask("POST", "/v1/rejects/assign", json=body)).document}
    found["inbox"] = (await wire.ask("GET", "/v1/inbox")).document
    assert (await wire.ask("POST", "/v1/rejects/assign", json={"flow": "people"})).status == 200
    page = (await wire.ask("GET", "/v1/rejects")).document
    assert {one.pop("_lume_run") for one in page["items"]} == {run["id"]}
    expected = [{**one} for one in golden("rejected_rows_page")["items"]]
    assert {one.pop("_lume_run") for one in expected} == {"run_00000000000000000000000000000001"}
    assert shape(page["items"]) == shape(expected)
    body = golden("replay_request") | {"since": "2020-01-01T00:00:00Z"}
    found["replay_dry"] = (await wire.ask("POST", "/v1/replays", json=body | {"dry_run": True})).document
    found["replay"] = (await wire.ask("POST", "/v1/replays", json=body)).document
    await wire.until(found["replay"]["runs"][0]["id"])
    found["discarded"] = (await wire.ask("POST", "/v1/rejects/discard", json=golden("discard"))).document
    for name, document in found.items():
        assert shape(document) == shape(golden(name)), name


@pytest.mark.usefixtures("each_state")
async def test_rows_are_replayed_through_a_newer_version(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    assert await inbox(wire) == {
        None: 4,
        NOT_AN_ADDRESS: 3,
        TOO_OLD: 1,
        "malformed line: too few columns": 1,
    }
    await registered(wire, WITHOUT_RULE)
    body = {"flow": "people", "reason": NOT_AN_ADDRESS, "dry_run": True}
    tried = (await wire.ask("POST", "/v1/replays", json=body)).document
    assert (tried["rows"], tried["passed"], tried["rejected_for"]) == (3, 2, {TOO_OLD: 1})
    assert tried["reasons"] == [
        {"reason": NOT_AN_ADDRESS, "rows": 3, "passed": 2},
        {"reason": TOO_OLD, "rows": 1, "passed": 0},
    ]
    assert (await inbox(wire))[None] == 4, "nothing has happened"
    done = await replayed(wire, reason=NOT_AN_ADDRESS)
    assert (done["to"], done["rows"], len(done["runs"])) == ("people:v2", 3, 1)
    assert await inbox(wire) == {None: 2, TOO_OLD: 1, "malformed line: too few columns": 1}
    (old,) = await rows(wire, reason=TOO_OLD)
    assert (old["_lume_run"], old["_lume_reject"], old["_lume_row"]) == (run["id"], 2, 3)
    assert old["_lume_reasons"] == [TOO_OLD], "the reasons that it has now"
    assert old["Email"] == 'c,\n"d'
    assert [one["id"] for one in await rows(wire, state="replayed")] == ["2", "5"]
    again = await replayed(wire, reason=NOT_AN_ADDRESS)
    assert (again["rows"], again["runs"]) == (0, [])


async def test_a_version_whose_file_is_new_replays(wire: Wire, home: Path) -> None:
    """By its name, and as the newest one: no run has named it yet."""
    await dirty(wire, home)
    for number, by in enumerate(({"to": "people:v2"}, {"to": "v3"}, {}), 2):
        text = WITHOUT_RULE.replace('"v2"', f'"v{number}"')
        (home / "flows" / f"people.v{number}.toml").write_text(text)
        (home / "flows" / "broken.toml").write_text("flow =")
        tried = (
            await wire.ask("POST", "/v1/replays", json={"flow": "people", "dry_run": True} | by)
        ).document
        assert (tried["to"], tried["passed"]) == (f"people:v{number}", 2)
    (home / "flows" / "people.v5.toml").write_text(
        text.replace('"v4"', '"v5"').replace("'\"Age\"'", "'nothing('")
    )
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "people"})
    assert (answer.status, answer.kind) == (404, "flow-version-not-found")
    assert "people:v5 has a mistake" in answer.document["detail"]


async def unknown(wire: Wire, flow: str) -> set[str]:
    """What the operations that name a flow say of it."""
    asked = [
        await wire.ask("GET", "/v1/inbox", params={"flow": flow}),
        await wire.ask("GET", "/v1/rejects", params={"flow": flow}),
        await wire.ask("POST", "/v1/replays", json={"flow": flow}),
        await wire.ask("POST", "/v1/rejects/discard", json={"flow": flow, "why": "gone"}),
        await wire.ask("GET", f"/v1/drafts/{flow}"),
    ]
    assert {(answer.status, answer.kind) for answer in asked} == {(404, "flow-version-not-found")}
    return {answer.document["detail"] for answer in asked}


async def test_a_flow_that_does_not_exist_is_not_one_without_rows(wire: Wire, home: Path) -> None:
    assert await unknown(wire, "peopel") == {"there is no flow 'peopel': did you mean 'people'?"}
    (other,) = await unknown(wire, "x")
    assert other.startswith("there is no flow 'x': known are ")
    assert "people" in other
    empty = await wire.ask("GET", "/v1/inbox", params={"flow": "people"})
    assert (empty.status, empty.document["flows"]) == (200, [])
    none = await wire.ask("POST", "/v1/rejects/discard", json={"flow": "people", "why": "gone"})
    assert (none.status, none.document) == (200, {"discarded": 0})


@pytest.mark.parametrize(
    ("is_active", "kind", "words"),
    [
        (True, "run-in-progress", "run run_1 is processing these rows with people:v1: wait for that run"),
        (
            False,
            "already-processed",
            "run run_1 has processed these rows with people:v1: look at what is still",
        ),
    ],
)
async def test_rows_that_another_run_has_are_a_conflict(
    wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch, is_active: bool, kind: str, words: str
) -> None:
    await dirty(wire, home)

    async def taken(self: Runner, new: NewRun, claims: Sequence[Claim] = ()) -> tuple[StoredRun, bool]:
        raise Duplicate("run_1", "people:v1", is_active=is_active)

    monkeypatch.setattr(Runner, "submit", taken)
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "people"})
    assert (answer.status, answer.kind, answer.document["run_id"]) == (409, kind, "run_1")
    assert answer.document["detail"].startswith(words)
    assert (await inbox(wire))[None] == 4, "they are still open"
    assert not list((home / ".lume/uploads").glob(f"{REPLAY}*"))


async def test_rows_of_different_layouts_and_malformed_lines_are_replayed(wire: Wire, home: Path) -> None:
    await dirty(wire, home)
    await dirty(wire, home, "other.csv", "Age,Email,more,id\n9,nobody,x,7\n8,a@b.org,y,8\n")
    loose = WITHOUT_RULE.replace("[columns.id]", "[source]\nnull = ['-']\n[columns.id]")
    await registered(wire, loose.replace("maximum = 150\n", ""))
    done = await replayed(wire)
    assert (done["rows"], len(done["runs"])) == (5, 3)
    assert await inbox(wire) == {None: 1, "malformed line: too few columns": 1}
    assert len(await rows(wire, state="replayed")) == 4


async def test_what_a_replay_says_is_about_the_rejected_rows(wire: Wire, home: Path) -> None:
    """Not about the file that the server gathers, nor about how that differs from the last source."""
    warns = WITHOUT_RULE.replace("[columns.id]", "[source]\non_unknown_columns = 'warn'\n[columns.id]", 1)
    await registered(wire, warns)
    await registered(wire, warns.replace('"v2"', '"v3"').replace('"Email"', '"Mail"'))
    source = "id,Email,Age,more\n1,a@b.org,5,x\n"
    (home / "a.csv").write_text(source)
    first = await wire.run("people:v2", "a.csv")
    assert first["metadata"]["metrics"]["warnings"] == {"column 'more' is not read": 1}
    await dirty(wire, home, "other.csv", "Age,Email,extra,id\n9,nobody,x,7\n8,a@b.org,y,8\n")

    body = {"flow": "people", "to": "people:v3", "dry_run": True}
    (message,) = (await wire.ask("POST", "/v1/replays", json=body)).document["messages"]
    assert message == (
        "the rejected rows have no column 'Mail', which people:v3 reads (columns.email.sql). Found: 'Age', 'Email', "
        "'extra', 'id'. people:v2 reads the columns that they have: replay them through that"
    )
    (replay,) = (await replayed(wire, to="people:v2"))["runs"]
    metrics = (await wire.until(replay["id"]))["metadata"]["metrics"]
    assert metrics["warnings"] == {"column 'extra' of the rejected rows is not read": 1}
    (home / "a.csv").write_text(source.replace("1,", "3,"))
    again = await wire.run("people:v2", "a.csv", force_rerun=True)
    assert again["metadata"]["metrics"]["warnings"] == {}


OF_OBJECTS = WITHOUT_RULE.replace("[columns.id]", '[source]\nformat = "{format}"\n{more}[columns.id]', 1)
XML = 'xml = { records = "rows/row" }\n'


LACKING = {
    "home.city": "the rejected rows have no column ",
    "Email.domain": "the rejected rows have text in 'Email', where the flow reads 'Email.domain'",
}


@pytest.mark.parametrize(
    ("format", "reads"),
    [
        *(("ndjson", "home.city"), ("json", "Email.domain")),
        pytest.param("xml", "home.city", marks=pytest.mark.thorough),
    ],
)
async def test_rows_of_a_table_that_become_objects(wire: Wire, home: Path, format: str, reads: str) -> None:
    """Those of a table that lacks what the version reads stay open; it is no object that may lack a member."""
    await dirty(wire, home)
    text = OF_OBJECTS.format(format=format, more=XML if format == "xml" else "")
    city = f'[columns.city]\nfrom = ["{reads}"]\n[columns.id]'
    await registered(wire, text.replace("[columns.id]", city))
    body = {"flow": "people", "reason": NOT_AN_ADDRESS}
    tried = (await wire.ask("POST", "/v1/replays", json=body | {"dry_run": True})).document
    assert (tried["rows"], tried["passed"]) == (3, 0)
    assert tried["messages"][0].startswith(LACKING[reads])
    assert repr(reads) in tried["messages"][0]
    done = await replayed(wire, reason=NOT_AN_ADDRESS)
    assert [(await wire.until(run["id"]))["status"] for run in done["runs"]] == ["FAILED"]
    assert (await inbox(wire))[None] == 4
    await registered(wire, text.replace('"v2"', '"v3"'))
    done = await replayed(wire, reason=NOT_AN_ADDRESS)
    assert (done["to"], done["rows"], len(done["runs"])) == ("people:v3", 3, 1)
    assert await inbox(wire) == {None: 2, TOO_OLD: 1, "malformed line: too few columns": 1}
    assert [one["id"] for one in await rows(wire, state="replayed")] == ["2", "5"]


async def test_a_row_that_is_mended_is_closed_and_one_left_out_stays_open(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    header = "_lume_row,_lume_line,_lume_reasons,id,Email,Age,_lume_raw\n"
    text = header + '3,,,3,"c@b.org",200,\n2,,,2,no@b.org,6,\n2,,,9,split@b.org,6,\n'
    await wire.ask("PUT", "/v1/uploads/mended.csv", data=text)
    mended = await wire.run("people:v1", "upload://mended.csv", run_metadata={"resubmit_of": run["id"]})
    assert mended["metadata"]["metrics"]["rows_rejected"] == 1
    left = await rows(wire)
    assert [(one["_lume_run"], one["_lume_row"]) for one in left] == [
        (run["id"], 4),
        (run["id"], None),
        (mended["id"], 1),
    ]
    (flow,) = (await wire.ask("GET", "/v1/inbox")).document["flows"]
    assert (flow["account"]["mended"], flow["account"]["added"]) == (2, 1)
    assert len(await rows(wire, state="mended", run=run["id"])) == 2


async def test_runs_on_rejects_name_the_source_that_had_the_rows(wire: Wire, home: Path) -> None:
    await dirty(wire, home)
    await registered(wire, WITHOUT_RULE)
    (first,) = (await replayed(wire, reason=[NOT_AN_ADDRESS, TOO_OLD]))["runs"]
    assert first["run_metadata"]["replay"]["source_path"] == "dirty.csv"
    (again,) = (await replayed(wire, reason=TOO_OLD))["runs"]
    assert again["run_metadata"]["replay"]["source_path"] == "dirty.csv", "rejected by the replay"
    await dirty(wire, home, "other.csv", "id,Email,Age\n7,q@b.org,900\n8,a@b.org,1\n")
    (both,) = (await replayed(wire, reason=TOO_OLD))["runs"]
    (last,) = (await replayed(wire, reason=TOO_OLD))["runs"]
    for run in (both, last):
        assert run["run_metadata"] == {"replay": {"flow": "people", "rows": 2, "reasons": [TOO_OLD]}}


async def test_corrected_rejects_of_a_replay_are_those_of_the_runs_it_has_the_rows_of(
    wire: Wire, home: Path
) -> None:
    first = await dirty(wire, home)
    await dirty(wire, home, "b.csv", "id,Email,Age\n7,q,900\n8,a@b.org,1\n")
    await registered(wire, WITHOUT_RULE)
    done = await replayed(wire, reason=TOO_OLD)
    (replay,) = done["runs"]
    header = "_lume_row,_lume_line,_lume_reasons,id,Email,Age\n"
    await wire.ask("PUT", "/v1/uploads/m.csv", data=header + "2,,,7,q@b.org,90\n")
    await wire.run("people:v1", "upload://m.csv", run_metadata={"resubmit_of": replay["id"]})
    (mended,) = await rows(wire, state="mended")
    assert mended["id"] == "7"
    assert (await rows(wire, reason=TOO_OLD))[0]["_lume_run"] == first["id"]


@pytest.mark.usefixtures("each_state")
@pytest.mark.parametrize("force", [True, False])
async def test_a_source_that_is_read_again_supersedes(wire: Wire, home: Path, force: bool) -> None:
    await dirty(wire, home)
    await registered(wire, WITHOUT_RULE)
    again = await wire.run("people:v1" if force else "people:v2", "dirty.csv", force_rerun=force)
    left = await rows(wire)
    assert {one["_lume_run"] for one in left} == {again["id"]}
    assert len(await rows(wire, state="superseded")) == 4


async def test_a_number_beyond_the_rows_costs_nothing(wire: Wire, home: Path) -> None:
    """Bits up to the largest allowed number would take 128 GiB."""
    run = await dirty(wire, home)
    body = {"run": run["id"], "rows": [2**40 - 1, 1, 2**36], "why": "known"}
    answer = await wire.ask("POST", "/v1/rejects/discard", json=body)
    assert (answer.status, answer.document) == (200, {"discarded": 1})
    assert (await wire.ask("POST", "/v1/rejects/discard", json=body)).document == {"discarded": 0}


async def test_discarding_says_who_and_why_and_needs_a_key_that_may_submit(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    body = {"run": run["id"], "rows": [1, 4], "why": "sent by mistake"}
    answer = await wire.ask("POST", "/v1/rejects/discard", json=body)
    assert answer.document == {"discarded": 2}
    assert (await wire.ask("POST", "/v1/rejects/discard", json=body)).document == {"discarded": 0}
    assert [one["_lume_reject"] for one in await rows(wire)] == [2, 3]
    body = {"flow": "people", "reason": TOO_OLD, "why": "known"}
    assert (await wire.ask("POST", "/v1/rejects/discard", json=body)).document == {"discarded": 1}
    assert await inbox(wire) == {None: 1, NOT_AN_ADDRESS: 1}
    for bad in ({}, {"why": "x"}, {"flow": "people"}, {"flow": "people", "why": "x", "rows": [1]}):
        assert (await wire.ask("POST", "/v1/rejects/discard", json=bad)).kind == "invalid-field"


async def test_rows_whose_rejects_are_gone_are_lost_to_sight(wire: Wire, home: Path) -> None:
    run = await dirty(wire, home)
    Path(run["metadata"]["target_locations"]["rejects"]).unlink()
    page = (await wire.ask("GET", "/v1/rejects")).document
    assert page["items"] == []
    (unreadable,) = page["unreadable"]
    assert (unreadable["rows"], unreadable["kind"]) == (4, "output-gone")
    assert await inbox(wire) == {None: 0}, "they are not open"
    done = await replayed(wire)
    assert done["rows"] == 0
    discard = {"flow": "people", "why": "gone"}
    assert (await wire.ask("POST", "/v1/rejects/discard", json=discard)).document == {"discarded": 4}
    assert (await wire.ask("GET", "/v1/inbox")).document["flows"] == []


@pytest.mark.usefixtures("each_state")
async def test_a_flow_with_lost_rows_stays_in_the_inbox_until_its_source_is_read_again(
    wire: Wire, home: Path
) -> None:
    run = await dirty(wire, home)
    await dirty(wire, home, "other.csv")
    Path(run["metadata"]["target_locations"]["rejects"]).unlink()
    await wire.ask("GET", "/v1/rejects")
    (flow,) = (await wire.ask("GET", "/v1/inbox")).document["flows"]
    assert (flow["open"], flow["account"]["lost"]) == (4, 4)
    discard = {"run": (await wire.ask("GET", "/v1/rejects")).document["items"][0]["_lume_run"], "why": "x"}
    assert (await wire.ask("POST", "/v1/rejects/discard", json=discard)).document == {"discarded": 4}
    for query in ({}, {"flow": "people"}):
        document = (await wire.ask("GET", "/v1/inbox", params=query)).document
        (flow,), items = document["flows"], document["items"]
        account = flow["account"]
        assert (flow["open"], flow["oldest"], items) == (0, None, [])
        assert (account["open"], account["lost"], account["closes"]) == (0, 4, True)
    again = await wire.submit("people:v1", "dirty.csv", force_rerun=True)
    await wire.until(again.document["id"])
    (flow,) = (await wire.ask("GET", "/v1/inbox")).document["flows"]
    assert (flow["open"], flow["account"]["lost"], flow["account"]["superseded"]) == (4, 0, 4)


async def test_rejects_that_are_back_are_open_again(wire: Wire, home: Path, tmp_path: Path) -> None:
    run = await dirty(wire, home)
    rejects = Path(run["metadata"]["target_locations"]["rejects"])
    rejects.rename(away := tmp_path / "away.csv")
    with closing(SqliteStore(home / ".lume/state/runs.sqlite")) as store:
        check = LostRejects(store).check
        assert [await check(), await check()] == [1, 0]
        assert await inbox(wire) == {None: 0}
        away.rename(rejects)
        assert [await check(), await check()] == [1, 0]
        assert (await inbox(wire))[None] == 4
        assert await store.outputs.forget(run["id"], "rejects") == 4  # retention removes it
        assert await store.outputs.forget(run["id"], "rejects") == 0
        assert [await check(), await check()] == [1, 0]
        assert await inbox(wire) == {None: 0}


@pytest.mark.usefixtures("each_state")
async def test_pages_of_rows_continue_where_they_ended(wire: Wire, home: Path) -> None:
    for number in range(3):
        text = "id,Email,Age\n" + "".join(f"{number * 10 + n},bad,{n}\n" for n in range(5)) + "99,a@b.org,1\n"
        await dirty(wire, home, f"{number}.csv", text)
    whole = await rows(wire)
    assert len(whole) == 15
    for limit in (1, 4, 5, 6):
        assert await rows(wire, limit=str(limit)) == whole
    bad = await wire.ask("GET", "/v1/rejects", params={"cursor": "x"})
    assert bad.kind == "invalid-cursor"


async def test_the_source_of_a_replay_is_not_for_others(wire: Wire) -> None:
    name = f"{REPLAY}1.csv"
    assert (await wire.ask("PUT", f"/v1/uploads/{name}", data="a")).kind == "invalid-field"
    assert (await wire.submit("people:v1", f"upload://{name}")).kind == "source-not-allowed"


async def test_a_version_that_would_replace_rows_is_refused(wire: Wire, home: Path) -> None:
    await dirty(wire, home)
    await registered(wire, WITHOUT_RULE + '[target]\nmapped = "all.parquet"\n')
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "people"})
    assert answer.kind == "not-supported"
    assert "would replace the rows there" in answer.document["detail"]
    other = await wire.ask("POST", "/v1/replays", json={"flow": "people", "to": "notes:v1"})
    assert other.kind == "invalid-field"
    for body in ({"flow": "nobody"}, {"flow": "people", "to": "people:v9"}, {"flow": "people", "to": "v9"}):
        assert (await wire.ask("POST", "/v1/replays", json=body)).kind == "flow-version-not-found"


async def test_the_same_key_finds_the_same_replay(wire: Wire, home: Path) -> None:
    await dirty(wire, home)
    await registered(wire, WITHOUT_RULE)
    headers = {"Idempotency-Key": "k"}
    first = await wire.ask("POST", "/v1/replays", json={"flow": "people"}, headers=headers)
    again = await wire.ask("POST", "/v1/replays", json={"flow": "people"}, headers=headers)
    ids = [[run["id"] for run in one.document["runs"]] for one in (first, again)]
    assert ids[0] == ids[1]
    assert again.document["replaying"] == []


async def test_rejects_of_objects_are_replayed_as_they_were(wire: Wire, home: Path) -> None:
    lines = [{"text": "x", "stars": 1}, {"text": "good", "stars": 2}, {"text": "y", "more": [1, {"a": 2.50}]}]
    (home / "notes.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines) + "{broken\n")
    run = await wire.run("notes:v1", "notes.ndjson")
    assert run["metadata"]["metrics"]["rows_rejected"] == 3
    await registered(wire, NOTES.replace('"v1"', '"v2"').replace("minLength = 2", ""))
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "notes"})
    (replay,) = answer.document["runs"]
    done = await wire.until(replay["id"])
    assert done["metadata"]["metrics"]["rows_mapped"] == 2
    (left,) = await rows(wire, flow="notes")
    assert left["_lume_raw"] == "{broken"


@pytest.mark.parametrize(
    ("earlier", "is_found"),
    [({}, True), ({"fingerprint": "other"}, False), ({"idempotency_key": None, "source_key": None}, False)],
    ids=["the same request", "another one with its key", "a run on its source"],
)
async def test_a_file_that_no_run_has_is_removed(
    wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch, earlier: dict[str, Any], is_found: bool
) -> None:
    """Another request was faster: it came after this one had looked for its key, and before it submitted."""
    await registered(wire, WITHOUT_RULE)
    await dirty(wire, home)
    submit = Runner.submit
    uploads, before = home / ".lume/uploads", list[str]()

    async def overtaken(self: Runner, new: NewRun, claims: Sequence[Claim] = ()) -> tuple[StoredRun, bool]:
        (mine,) = uploads.glob(f"{REPLAY}*")
        before.append(mine.name)
        other = evolve(new, source_path="people.csv", source_key=f"/other{len(before)}")
        changes = {name: value or new.source_key for name, value in earlier.items() if name == "source_key"}
        await submit(self, evolve(other, **{**earlier, **changes}))
        return await submit(self, new, claims)

    monkeypatch.setattr(Runner, "submit", overtaken)
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "people"}, headers={"Idempotency-Key": "k"})
    assert (answer.status in (200, 201)) is is_found
    assert before
    assert not [name for name in before if (uploads / name).exists()]


async def test_a_file_whose_content_can_not_be_told_is_removed(
    wire: Wire, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await registered(wire, WITHOUT_RULE + '\n[source]\nidentity = "content"\n')
    await dirty(wire, home)

    async def cant_tell(self: SourceResolver, flow: Flow, source_path: str) -> None:
        assert [one.name for one in (home / ".lume/uploads").glob(f"{REPLAY}*")] == [
            source_path[len(UPLOAD) :]
        ]
        raise CantTell("it is gone")

    monkeypatch.setattr(SourceResolver, "_digest", cant_tell)
    assert (await wire.ask("POST", "/v1/replays", json={"flow": "people"})).status >= 400
    assert not list((home / ".lume/uploads").glob(f"{REPLAY}*"))
