"""Mends that a second person approves before they are published."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from local import servers
from local.flows import PEOPLE
from local.http.access.test_keys import entry
from local.http.rejects.test_drafts import EMAIL, draft, judged, mend, saved
from local.http.rejects.test_rejected import DIRTY, inbox, registered
from local.http.wire.test_contract import golden, shape
from local.wire import Answer, Wire

import lume_async
import lume_local
from lume_local._runs.sources.paths import REPLAY
from lume_local._runs.sql.sql_store import SqlStore

APPROVED = PEOPLE.replace('version = "v1"', 'version = "v2"') + "\n[rejects]\napproval = true\n"
REVIEW, SUBMIT = "/v1/drafts/people/review", "/v1/drafts/people/submit"


class People:
    """The server's own key, and keys of three people: `eve` may only read."""

    own: Wire
    ann: Wire
    bob: Wire
    eve: Wire
    url: str
    rev: int
    run: dict[str, Any]

    async def submit(self, **fields: Any) -> Answer:
        return await self.ann.ask("POST", SUBMIT, json={"rev": self.rev, **fields})

    async def review(self, wire: Wire, **fields: Any) -> Answer:
        body = {"owner": "ann", "rev": self.rev, "approve": True, **fields}
        return await wire.ask("POST", REVIEW, json=body)

    async def edit(self, row: int, **cells: str) -> None:
        self.rev = (await saved(self.ann, mend(self.run, row, **cells)))["rev"]
        await judged(self.ann)

    async def submission(self, wire: Wire) -> dict[str, Any]:
        (found,) = (await draft(wire))["submissions"]
        return dict(found)

    async def mends(self) -> list[dict[str, Any]]:
        items = (await self.own.ask("GET", "/v1/runs")).document["items"]
        return [run for run in items if "mend" in (run["run_metadata"] or {})]


@pytest.fixture
async def people(home: Path, each_state: str) -> AsyncIterator[People]:
    people = People()
    keys = home / "keys.toml"
    keys.write_text(entry("ann", "submit") + entry("bob", "submit") + entry("eve", "read"))
    (home / "dirty.csv").write_text(DIRTY)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            lume_local.serve(home / "flows", home / ".lume", [home], keys=keys, max_active=1)
        )
        people.url = server.base_url
        for name, key in (("own", server.api_key), ("ann", "ann"), ("bob", "bob"), ("eve", "eve")):
            wire = Wire(server.base_url, key)
            await stack.enter_async_context(wire.session)
            setattr(people, name, wire)
        people.run = await people.own.run("people:v1", "dirty.csv")
        await registered(people.own, APPROVED)
        await people.edit(1, Email="two@b.org")
        yield people


async def test_rows_wait_until_another_person_approves_them(people: People) -> None:
    answer = await people.submit(reason=EMAIL)
    assert (answer.status, answer.document) == (202, golden("draft_waiting") | {"to": "people:v2"})
    assert (await people.submit(reason=EMAIL)).status == 202
    assert await people.mends() == []
    assert (await inbox(people.own))[None] == 4, "nothing has happened"
    waiting = await people.submission(people.bob)
    assert waiting == await people.submission(people.ann)
    assert {name: waiting[name] for name in ("owner", "rev", "to", "rows", "state", "reviewer")} == {
        **{"owner": "ann", "rev": 1, "to": "people:v2", "rows": 1, "state": "waiting", "reviewer": ""}
    }
    (flow,) = (await people.eve.ask("GET", "/v1/inbox")).document["flows"]
    assert flow["submissions"] == [waiting]
    async with lume_async.Client("eve", base_url=people.url) as client:
        (one,) = (await client.inbox()).flows[0].submissions
    assert (one.owner, one.rev, one.to, one.rows, one.reason) == ("ann", 1, "people:v2", 1, EMAIL)
    theirs = (await people.bob.ask("GET", "/v1/drafts/people", params={"owner": "ann"})).document
    assert [item["cells"] for item in theirs["items"]] == [{"Email": "two@b.org"}]
    answer = await people.review(people.bob, **golden("draft_review") | {"rev": people.rev})
    assert answer.status == 201, answer.document
    assert shape(answer.document) == shape(golden("draft_submitted"))
    (run,) = answer.document["runs"]
    assert (await people.own.until(run["id"]))["status"] == "SUCCEEDED"
    assert (run["submitted_by"], run["flow_version"]) == ("ann", "people:v2")
    again = await people.review(people.bob)
    assert [run["id"] for run in again.document["runs"]] == [run["id"]]
    assert len(await people.mends()) == 1
    assert (await inbox(people.own))[None] == 3
    assert (await people.submission(people.ann))["state"] == "approved"
    assert (await draft(people.bob))["submissions"] == []
    (act,) = (await people.own.ask("GET", "/v1/audit", params={"what": "approve"})).document["items"]
    assert (act["by"], act["subject"]) == ("bob", "people")
    assert act["detail"] == {"edited_by": "ann", "rows": 1, "to": "people:v2", "comment": ""}


@pytest.mark.parametrize(
    ("who", "status", "words"),
    [
        ("own", 201, ""),
        ("bob", 201, ""),
        ("ann", 403, "these edits are your own"),
        ("eve", 403, "has the role read"),
    ],
)
async def test_who_may_approve_and_send_back(people: People, who: str, status: int, words: str) -> None:
    await people.submit()
    answer = await people.review(getattr(people, who), approve=False, comment="whose address is it?")
    assert answer.status == (200 if status == 201 else status)
    if status == 201:
        (back,) = (await draft(people.ann))["submissions"]
        assert (back["state"], back["comment"]) == ("sent_back", "whose address is it?")
        assert (await draft(people.ann))["items"][0]["cells"] == {"Email": "two@b.org"}
        assert (await people.review(people.bob)).status == 404, "it does not wait any more"
        (act,) = (await people.own.ask("GET", "/v1/audit", params={"what": "send_back"})).document["items"]
        assert act["detail"]["comment"] == "whose address is it?"
        assert (await people.submit()).status == 202
    answer = await people.review(getattr(people, who))
    assert answer.status == status
    assert words in answer.document.get("detail", "")
    assert len(await people.mends()) == (status == 201)


async def test_what_makes_a_submission_void(people: People) -> None:
    assert (await people.review(people.bob)).status == 404, "nothing waits"
    answer = await people.bob.ask("GET", "/v1/drafts/people", params={"owner": "ann"})
    assert (answer.status, "wait for approval" in answer.document["detail"]) == (404, True)
    await people.submit()
    assert (await people.review(people.bob, approve=False)).status == 422, "a comment says why"
    assert (await people.review(people.bob, rev=7)).kind == "draft-changed"
    before = people.rev
    await people.edit(3, Email="five@b.org")
    answer = await people.review(people.bob, rev=before)
    assert (answer.status, "have been changed since" in answer.document["detail"]) == (404, True)
    assert (await people.submit(to="v1")).status == 422, "an older version needs no approval"
    assert (await people.submit()).document["rows"] == 2
    await registered(people.own, APPROVED.replace('"v2"', '"v3"'))
    answer = await people.review(people.bob)
    assert (answer.kind, "people:v3 is newer" in answer.document["detail"]) == ("draft-changed", True)
    assert await people.mends() == []


async def test_a_change_while_it_is_approved_makes_it_void(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, before = SqlStore.create, people.rev
    await people.submit()

    async def changed(store: SqlStore, *given: Any) -> Any:
        if given[0].approval is not None:
            await people.edit(3, Email="five@b.org")
        return await create(store, *given)

    monkeypatch.setattr(SqlStore, "create", changed)
    assert (await people.review(people.bob, rev=before)).kind == "draft-changed"
    assert await people.mends() == []


async def test_other_doors_are_closed_and_unchanged_rows_pass(people: People, home: Path) -> None:
    (home / "mended.csv").write_text("_lume_row,id,Email,Age\n2,2,two@b.org,6\n")
    for version in ("v1", "v2"):
        body = {
            "flow_version": f"people:{version}",
            "source_path": "mended.csv",
            "run_metadata": {"resubmit_of": people.run["id"], "replay": {}},
        }
        answer = await people.ann.ask("POST", "/v1/runs", json=body)
        assert answer.kind == "not-supported"
        assert "people:v2 asks for a second person's approval" in answer.document["detail"]
        assert (await people.ann.ask("POST", "/v1/runs", json=body | {"dry_run": True})).status == 200
    async with lume_async.Client("ann", base_url=people.url) as client:
        with pytest.raises(lume_async.LumeError, match="where somebody else approves them"):
            await client.attach(people.run["id"]).resubmit(home / "mended.csv")
    assert not list((home / ".lume/uploads").iterdir()), "nobody needs the refused file"
    replay = await people.ann.ask("POST", "/v1/replays", json={"flow": "people"})
    assert replay.status == 201
    for run in replay.document["runs"]:
        await people.own.until(run["id"])


async def test_a_refused_request_gets_its_answer_again_and_removes_only_its_own_upload(
    people: People, home: Path
) -> None:
    content = b"_lume_row,id,Email,Age\n2,2,two@b.org,6\n"

    async def resubmit(name: str, key: str) -> Answer:
        body = {
            "flow_version": "people:v1",
            "source_path": f"upload://{name}",
            "run_metadata": {"resubmit_of": people.run["id"]},
        }
        return await people.ann.ask("POST", "/v1/runs", json=body, headers={"Idempotency-Key": key})

    async def upload(name: str) -> Path:
        assert (await people.ann.ask("PUT", f"/v1/uploads/{name}", data=content)).status in (200, 201)
        return home / ".lume/uploads" / name

    refused = await upload("refused.csv")
    first, again = [await resubmit("refused.csv", "k1") for _ in range(2)]
    assert (first.kind, refused.exists()) == ("not-supported", False)
    assert (again.status, again.document["detail"]) == (first.status, first.document["detail"])
    of_a_run, of_a_flow = await upload("read.csv"), await upload("seed.csv")
    await people.own.run("people:v1", "upload://read.csv")
    seeds = '\n[seeds.known]\nkey = "id"\npath = "upload://seed.csv"\n'
    await registered(people.own, PEOPLE.replace('"people"', '"seeded"') + seeds)
    for name in ("read.csv", "seed.csv", f"{REPLAY}1.csv", "../flows/people.v1.toml"):
        assert (await resubmit(name, name.replace("/", "-"))).kind == "not-supported"
    assert of_a_run.exists()
    assert of_a_flow.exists()
    assert (home / "flows/people.v1.toml").exists()


async def test_a_run_from_before_the_rule_is_found_by_its_key(home: Path) -> None:
    (home / "dirty.csv").write_text(DIRTY)
    (home / "mended.csv").write_text("_lume_row,id,Email,Age\n2,2,two@b.org,6\n")
    async with servers.serve(home) as wire:
        run = await wire.run("people:v1", "dirty.csv")
        asked: dict[str, Any] = {
            "json": {
                "flow_version": "people:v1",
                "source_path": "mended.csv",
                "run_metadata": {"resubmit_of": run["id"]},
            },
            "headers": {"Idempotency-Key": "k"},
        }
        first = await wire.ask("POST", "/v1/runs", **asked)
        await registered(wire, APPROVED)
        again = await wire.ask("POST", "/v1/runs", **asked)
        assert (first.status, again.status, again.document["id"]) == (201, 200, first.document["id"])


async def test_nobody_else_could_approve(home: Path) -> None:
    (home / "dirty.csv").write_text(DIRTY)
    async with servers.serve(home) as wire:
        run = await wire.run("people:v1", "dirty.csv")
        await registered(wire, APPROVED)
        rev = (await saved(wire, mend(run, 1, Email="two@b.org")))["rev"]
        await judged(wire)
        answer = await wire.ask("POST", SUBMIT, json={"rev": rev})
        assert (answer.kind, "lume key new" in answer.document["detail"]) == ("not-supported", True)


async def test_a_failure_between_approval_and_run_leaves_neither(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.submit()
    with monkeypatch.context() as patch:

        async def fails(*_: Any) -> None:
            raise OSError("the disk is broken")

        patch.setattr(SqlStore, "_insert", fails)
        assert (await people.review(people.bob)).status >= 500
    assert (await people.submission(people.bob))["state"] == "waiting"
    assert (await people.own.ask("GET", "/v1/audit", params={"what": "approve"})).document["items"] == []
    assert (await people.review(people.bob)).status == 201
    assert len(await people.mends()) == 1


KILLED = """
import os, signal
from lume_local._runs.sql.sql_store import SqlStore

insert = SqlStore._insert

async def killed(store, new, *given):
    if new.approval is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return await insert(store, new, *given)

SqlStore._insert = killed
"""
"""Kills the server once the approval is written, before its run is."""


@pytest.mark.parametrize("between", [True, False])
async def test_a_killed_server_starts_exactly_one_run(
    home: Path, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    keys = home / "keys.toml"
    keys.write_text(entry("ann", "submit"))
    (home / "dirty.csv").write_text(DIRTY)
    body = {"owner": "ann", "rev": 1, "approve": True}
    if between:
        monkeypatch.setattr(servers, "SCRIPT", KILLED + servers.SCRIPT)
    first: dict[str, Any] = {}
    async with servers.process(home, keys=str(keys)) as (server, own):
        run = await own.run("people:v1", "dirty.csv")
        await registered(own, APPROVED)
        as_ann = {"lume-api-key": "ann"}
        await saved(own, mend(run, 1, Email="two@b.org"), **as_ann)
        await own.ask("POST", "/v1/drafts/people/judge", json={}, headers=as_ann)
        assert (await own.ask("POST", SUBMIT, json={"rev": 1}, headers=as_ann)).status == 202
        if between:
            with pytest.raises(aiohttp.ClientError):
                await own.ask("POST", REVIEW, json=body)
        else:
            (first,) = (await own.ask("POST", REVIEW, json=body)).document["runs"]
            await own.until(first["id"])
            server.kill()
        await server.wait()
    async with servers.serve(home, keys=keys) as own:
        assert len((await draft(own))["submissions"]) == between, "it still waits, or it was approved"
        (again,) = (await own.ask("POST", REVIEW, json=body)).document["runs"]
        assert again["id"] == first.get("id", again["id"])
        assert (await own.until(again["id"]))["status"] == "SUCCEEDED"
        items = (await own.ask("GET", "/v1/runs", params={"flow": "people"})).document["items"]
        assert len(items) == 2
        acts = (await own.ask("GET", "/v1/audit", params={"what": "approve"})).document["items"]
        assert len(acts) == 1


async def test_a_comment_is_forgotten(people: People) -> None:
    await people.submit()
    comment = "is two@b.org hers?"
    assert (await people.review(people.bob, approve=False, comment=comment)).status == 200
    body = {"match": {"Email": "two@b.org"}, "dry_run": False}
    while body.get("cursor", "") is not None:
        answer = await people.own.ask("POST", "/v1/forget", json=body)
        assert answer.status == 200, answer.document
        body["cursor"] = answer.document["next_cursor"]
    (back,) = (await draft(people.ann))["submissions"]
    assert back["state"] == "sent_back"
    assert "two@b.org" not in back["comment"]
    acts = (await people.own.ask("GET", "/v1/audit", params={"what": "send_back"})).document["items"]
    assert "two@b.org" not in str(acts)
