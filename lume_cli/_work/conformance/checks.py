"""The requirements of the wire contract, by capability: a function each, named after it."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import datetime
from email.utils import parsedate_to_datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from lume_async import RunStatus
from lume_cli._work.conformance.kit import FLOW, MISSING, Exchange, Kit, NotOffered

_AT_ONCE = 8
_SKEW = 60.0
"""Seconds between `created_at` and `Date`: the client finds the run of a lost response by both."""
_ARROW, _END = "application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff\0\0\0\0"


async def core_runs(kit: Kit) -> None:
    """Check what a run is from its submission to its end."""
    async with kit.check("core.submit", "answer a submission with 201, Location and the run as it was sent"):
        given: dict[str, Any] = {"source_path": await kit.new_source()}
        given["run_metadata"] = {"Zürich": [1, {"a": None}], "☃": '\\"'}
        sent = await kit.submit(**given, force_rerun=True)
        path = f"/v1/runs/{sent.run(201, **given, force_rerun=True)['id']}"
        sent.must(sent.headers.get("Location", "").endswith(path), f"Location is not {path}")
        (await kit.ask("GET", path)).run(200, id=path.rpartition("/")[2], **given)
    async with kit.check("core.end", "end a run, with finished_at and metadata that account for its rows"):
        run = (ended := await kit.ended()).run(200)
        of_run, counts = run["metadata"]["run"], run["metadata"]["metrics"]
        is_same = (of_run["run_id"], of_run["status"]) == (run["id"], run["status"])
        ended.must(run["finished_at"] and is_same, "finished_at is missing, or metadata.run is another")
        rows = counts["rows_mapped"] + counts["rows_rejected"] + counts.get("rows_filtered", 0)
        ended.must(counts["rows_read"] == rows, f"{rows} of {counts['rows_read']} rows are accounted for")
        ended.must(run["metadata"]["target_locations"]["mapped"], "target_locations.mapped is missing")
    async with kit.check("core.clock", "send Date, by the clock of created_at"):
        created = (sent := await kit.submit()).run(201)["created_at"]
        apart = datetime.fromisoformat(created.upper()) - parsedate_to_datetime(sent.headers["Date"])
        sent.must(abs(apart.total_seconds()) <= _SKEW, f"they are {apart} apart")


async def core_duplicates(kit: Kit) -> None:
    """Check that a source is processed once, unless a rerun is forced."""
    async with kit.check("core.duplicate", "refuse a source that was processed: 409 with its run's ID"):
        run = (await kit.ended()).run(200)
        again = await kit.submit(run["source_path"])
        named = again.problem(409, kind=":already-processed")["run_id"]
        again.must(named == run["id"], f"run_id is {named!r}, not {run['id']}")
    async with kit.check("core.at_once", "start one run of a source that comes several times at once"):
        source = await kit.new_source()
        sent = await asyncio.gather(*(kit.submit(source) for _ in range(_AT_ONCE)))
        ids = {one.run(201)["id"] if one.status == 201 else one.problem(409)["run_id"] for one in sent}
        begun = sum(one.status == 201 for one in sent)
        sent[0].must(begun == 1 == len(ids), f"{begun} runs were started, {len(ids)} are named")
    async with kit.check("core.force", "start another run of a processed source with force_rerun"):
        run = (await kit.ended()).run(200)
        await kit.end(forced := await kit.submit(run["source_path"], force_rerun=True))
        forced.must(forced.run(201, force_rerun=True)["id"] != run["id"], "it is the same run")
        (await kit.ask("GET", f"/v1/runs/{run['id']}")).run(200, finished_at=run["finished_at"])


async def core_refusals(kit: Kit) -> None:
    """Check that requests are refused that nothing can be done with."""
    async with kit.check("core.unknown", "answer for an unknown run or flow version with 404"):
        (await kit.ask("GET", f"/v1/runs/run_{uuid4().hex}")).problem(404, kind=":run-not-found")
        sent = await kit.submit(flow_version=f"none-{uuid4().hex}:v1")
        sent.problem(404, kind=":flow-version-not-found")
    async with kit.check("core.bodies", "refuse a wrong body with 400 or 422, and name its field"):
        (await kit.ask("POST", "/v1/runs", b"{", Content_Type="application/json")).problem(400, 422)
        for field, value in (("source_path", 5), ("run_metadata", "text"), ("force_rerun", "text")):
            (await kit.submit(None, None, **{field: value})).problem(400, 422, names=field)
        for field, other in (("source_path", "flow_version"), ("flow_version", "source_path")):
            (await kit.ask("POST", "/v1/runs", {other: "none:v1"})).problem(400, 422, names=field)


async def keys(kit: Kit) -> None:
    """Check that a key is needed; a server without keys is given none."""
    if kit.key is None:
        raise NotOffered("no API key was given")
    for check, key, text in (("missing", None, "without a key"), ("wrong", uuid4().hex, "with a wrong key")):
        async with kit.check(f"keys.{check}", f"refuse requests {text} with 401"):
            (await kit.ask("GET", (await kit.ended()).path, key=key)).problem(401)
            (await kit.ask("POST", "/v1/runs", {}, key=key)).problem(401)


async def reading(kit: Kit) -> None:
    """Check what makes reading cheap."""
    path, tag = (ended := await kit.ended()).path, ended.headers.get("ETag")
    async with kit.check("reading.health", "answer GET /healthz with 200, also without a key"):
        (await kit.ask("GET", "/healthz", key=None)).offered().expect(200)
    async with kit.check("reading.head", "answer HEAD as GET"):
        head = (await kit.ask("HEAD", path)).offered().expect(200)
        head.must(head.headers.get("ETag") == tag, "it has another ETag")
    async with kit.check("reading.etag", "answer If-None-Match with 304 only if the run has not changed"):
        if tag is None:
            raise NotOffered("the run has no ETag")
        (await kit.ask("GET", path, If_None_Match=tag)).expect(304)
        (await kit.ask("GET", path, If_None_Match='"another"')).run(200)
        status = (begun := await kit.submit()).run(201)["status"]
        if (ended := await kit.end(begun)).run(200)["status"] != status:
            old = begun.headers.get("ETag", '"none"')
            (await kit.ask("GET", ended.path, If_None_Match=old)).run(200)


async def idempotency(kit: Kit) -> None:
    """Check that a submission can be repeated with its key."""
    kit.announces("idempotency")
    async with kit.check("idempotency.replay", "answer a known key with its run, also after its end"):
        given = await kit.new_source(), f'"{uuid4().hex}{"~!" * 100}"'
        run = (await kit.submit(*given)).run(201)
        await kit.end(await kit.submit(*given))
        (await kit.submit(*given)).run(200, id=run["id"])
    async with kit.check("idempotency.other_body", "refuse a known key with another body: 400 or 422"):
        given = await kit.new_source(), uuid4().hex
        (await kit.submit(*given)).run(201)
        (await kit.submit(*given, run_metadata={"other": True})).problem(400, 422)
    async with kit.check("idempotency.at_once", "start one run of a key that comes several times at once"):
        given = await kit.new_source(), uuid4().hex
        sent = await asyncio.gather(*(kit.submit(*given, force_rerun=True) for _ in range(_AT_ONCE)))
        ids = {one.run(200, 201)["id"] for one in sent}
        ids.add((last := await kit.submit(*given, force_rerun=True)).run(200)["id"])
        last.must(len(ids) == 1, f"{len(ids)} were started")
    async with kit.check("idempotency.expires", "send for how many seconds keys are kept, if not for ever"):
        for one in kit.log:
            kept = one.headers.get("Lume-Idempotency-Expires", "1")
            one.must(kept.isdigit() and int(kept) > 0, f"Lume-Idempotency-Expires is {kept!r}")


async def wait(kit: Kit) -> None:
    """Check that requests are held until there is something new."""
    kit.announces("wait")
    async with kit.check("wait.run", "hold a request with Prefer: wait=N for a change, or N seconds"):
        run = (asked := await kit.submit()).run(201)
        while not RunStatus(run["status"]).is_terminal:
            tag = asked.headers["ETag"]
            asked = await kit.ask("GET", f"/v1/runs/{run['id']}", If_None_Match=tag, Prefer="wait=2")
            _held(asked.expect(200, 304), 1.5, is_news=asked.status == 200 and asked.headers["ETag"] != tag)
            run = run if asked.status == 304 else asked.run(200, id=run["id"])
    async with kit.check("wait.changes", "hold a request for changes in the same way"):
        kit.announces("changes")
        asked = await kit.ask("GET", f"/v1/changes?after={await _cursor(kit)}", Prefer="wait=1")
        _held(asked, 0.5, is_news=asked.items())


async def changes(kit: Kit) -> None:
    """Check that the change feed is complete."""
    kit.announces("changes")
    async with kit.check("changes.all", "give all changes of a run in order, each once, for any limit"):
        cursor = await _cursor(kit)
        run = (await kit.end(await kit.submit())).run(200)
        seen, again = [await _changes(kit, cursor, run["id"], limit) for limit in (100, 1)]
        ends = [RunStatus(status).is_terminal for status in seen]
        is_right = ends[-1] and sum(ends) == 1 and again == seen
        kit.log[-1].must(is_right, f"they are {seen}, and with limit=1 {again}")
    async with kit.check("changes.runs", "give the run with its end for include=run"):
        cursor = await _cursor(kit)
        run = (await kit.end(await kit.submit())).run(200)
        await _changes(kit, cursor, run["id"], 100)
        asked = (await kit.ask("GET", f"/v1/changes?after={cursor}&include=run")).offered(400, 422)
        given = [item["run"] for item in asked.items() if item["id"] == run["id"] and "run" in item]
        if not given:
            raise NotOffered("include=run is ignored")
        asked.run(of=given[-1], **{name: run[name] for name in ("id", "status", "finished_at")})
    async with kit.check("changes.unknown", "refuse an unknown cursor with 400 or 410"):
        (await kit.ask("GET", "/v1/changes?after=no-such-cursor")).problem(400, 410)


async def cancel(kit: Kit) -> None:
    """Check that runs can be stopped."""
    kit.announces("cancel")
    async with kit.check("cancel.stops", "cancel a run, also repeatedly, and free its source"):
        run = (begun := await kit.submit()).run(201)
        for _ in range(2):
            (await kit.ask("POST", f"/v1/runs/{run['id']}/cancel")).run(200, 202, id=run["id"])
        if (await kit.end(begun)).run(200)["status"] == "CANCELLED":
            (await kit.submit(run["source_path"])).run(201)
    async with kit.check("cancel.ended", "answer for an ended run with 200, and leave it as it is"):
        run = (ended := await kit.ended()).run(200)
        (await kit.ask("POST", f"{ended.path}/cancel")).run(200, id=run["id"], status=run["status"])
    async with kit.check("cancel.unknown", "answer for an unknown run with 404"):
        (await kit.ask("POST", f"/v1/runs/run_{uuid4().hex}/cancel")).problem(404)


async def list_(kit: Kit) -> None:
    """Check the list of runs, in which the client finds the runs of lost responses."""
    (await kit.ask("GET", "/v1/runs?limit=1")).offered()
    async with kit.check("list.at_once", "list a run as soon as it was submitted, with its fields"):
        run = (await kit.submit(run_metadata={"word": uuid4().hex})).run(201)
        page = await kit.ask("GET", f"/v1/runs?source_path={quote(run['source_path'], '')}")
        (only,) = page.items()
        page.run(of=only, **{name: run[name] for name in ("id", "run_metadata", "force_rerun", "created_at")})
    async with kit.check("list.pages", "list runs in pages of any limit, newest first, each once"):
        run = (await kit.ended()).run(200)
        newest = (await kit.submit(run["source_path"], force_rerun=True)).run(201)
        pages = [await kit.items("/v1/runs", limit, source_path=run["source_path"]) for limit in (100, 1)]
        whole, single = [[item["id"] for item in items] for items in pages]
        is_right = (whole[0], whole[-1]) == (newest["id"], run["id"]) and whole == single
        kit.log[-1].must(is_right, f"they are {whole}, and with limit=1 {single}")
    async with kit.check("list.filters", "select by flow version, source and status"):
        run = (await kit.ended()).run(200)
        for name, other in {"flow_version": "none:v1", "source_path": "none", "status": "CANCELLED"}.items():
            query: dict[str, Any] = {"source_path": run["source_path"], name: run[name]}
            found = [item[name] for item in await kit.items("/v1/runs", **query)]
            kit.log[-1].must(set(found) == {run[name]}, f"{name}={run[name]} selects {set(found)}")
            query[name] = other
            found = [item[name] for item in await kit.items("/v1/runs", **query)]
            kit.log[-1].must(not found, f"{name}={other} selects {set(found)}")
    async with kit.check("list.refuses", "refuse a wrong limit and an unknown cursor with 400 or 422"):
        (await kit.ask("GET", "/v1/runs?limit=0")).problem(400, 422, names="limit")
        (await kit.ask("GET", "/v1/runs?cursor=no-such-cursor")).problem(400, 422)


async def uploads(kit: Kit) -> None:
    """Check that files arrive whole."""
    path, content = f"/v1/uploads/{uuid4().hex}", uuid4().bytes * 100
    (await kit.ask("PUT", f"{path}-1", content)).offered()
    async with kit.check("uploads.file", "store a file: 201 with source_path, size and SHA-256"):
        _stored(await kit.ask("PUT", f"{path}-2", content, Repr_Digest=_digest(content)), content)
    async with kit.check("uploads.digest", "refuse a file with another Repr-Digest, and keep nothing"):
        (await kit.ask("PUT", f"{path}-3", content[1:], Repr_Digest=_digest(content))).problem(400, 409, 422)
        asked = await kit.ask("GET", f"{path}-3")
        asked.must(asked.status in MISSING or not asked.json(200)["complete"], "the file is there")
    async with kit.check("uploads.names", "refuse names that lead elsewhere"):
        for name in ("..%2F..%2Fetc", ".hidden", "a%00b"):
            sent = await kit.ask("PUT", f"/v1/uploads/{name}", content)
            sent.must(400 <= sent.status < 500, f"{name} is answered with {sent.status}")
    async with kit.check("uploads.resume", "tell how much of an upload has arrived, and take the rest"):
        begun = await kit.ask("PUT", f"{path}-4", content[:700], Upload_Complete="?0")
        if begun.status == 201 and "Upload-Complete" not in begun.headers:
            raise NotOffered("Upload-Complete is ignored")
        asked = await kit.ask("HEAD", begun.expect(204).path)
        state = asked.headers.get("Upload-Offset"), asked.headers.get("Upload-Complete")
        asked.must(state == ("700", "?0"), f"Upload-Offset and Upload-Complete are {state}")
        rest = {"Content_Type": "application/partial-upload", "Upload_Complete": "?1"}
        wrong = await kit.ask("PATCH", begun.path, content[900:], Upload_Offset="900", **rest)
        wrong.expect(409).must(wrong.headers.get("Upload-Offset") == "700", "Upload-Offset is not 700")
        _stored(await kit.ask("PATCH", begun.path, content[700:], Upload_Offset="700", **rest), content)


async def rows(kit: Kit) -> None:
    """Check the outputs of a run."""
    path = (ended := await kit.ended()).path
    (await kit.ask("GET", f"{path}/mapped?limit=1")).offered()
    counts = ended.run(200)["metadata"]["metrics"]
    async with kit.check("rows.mapped", "give all mapped rows, page by page"):
        count = len(await kit.items(f"{path}/mapped", 4))
        kit.log[-1].must(count == counts["rows_mapped"], f"{count} of {counts['rows_mapped']} rows are there")
    async with kit.check("rows.rejects", "give all rejected rows with their reasons, also by reason"):
        for reason, count in {"": counts["rows_rejected"], **counts["reject_reasons"]}.items():
            found = await kit.items(f"{path}/rejects", 4, **({"reason": reason} if reason else {}))
            reasons = ["\n".join(row["_lume_reasons"]) for row in found]
            is_right = len(reasons) == count and all(text and reason in text for text in reasons)
            kit.log[-1].must(is_right, f"expected {count} rows with {reason or 'reasons'}: {reasons}")
    async with kit.check("rows.arrow", "send the mapped rows as an Arrow stream, with its end mark"):
        asked = (await kit.ask("GET", f"{path}/mapped", Accept=_ARROW)).offered(406).expect(200)
        if asked.headers.get("Content-Type", "").startswith("application/json"):
            raise NotOffered(f"Accept: {_ARROW} is ignored")
        asked.must(asked.body.endswith(_END), "the end mark is missing")
    async with kit.check("rows.file", "send the file of mapped rows, also in parts, with its SHA-256"):
        whole = (await kit.ask("GET", f"{path}/outputs/mapped")).offered().expect(200)
        digest = _digest(whole.body)
        whole.must(digest in whole.headers.get("Repr-Digest", digest), "Repr-Digest is another")
        tag = whole.headers["ETag"]
        rest = (await kit.ask("GET", whole.path, Range="bytes=3-", If_Range=tag)).expect(206)
        rest.must(rest.body == whole.body[3:], "it is not the rest from byte 3")
        (await kit.ask("GET", whole.path, If_None_Match=tag)).expect(304)


async def flows(kit: Kit) -> None:
    """Check that flow versions are registered for good."""
    path, name = await kit.register(), f"{FLOW['flow']}:{FLOW['version']}"
    async with kit.check("flows.fixed", "register the same content again; refuse other content with 409"):
        (await kit.ask("PUT", path, FLOW)).json(200)
        (await kit.ask("PUT", path, FLOW | {"columns": {"id": {"type": "string"}}})).problem(409)
    async with kit.check("flows.read", "give a version, its schema, and the versions of its flow"):
        listed = [item["flow_version"] for item in await kit.items("/v1/flows", flow=FLOW["flow"])]
        kit.log[-1].must(name in listed, f"{name} is not in the list")
        asked = await kit.ask("GET", path)
        asked.must(asked.json(200)["flow_version"] == name, f"it is not {name}")
        (await kit.ask("GET", f"{path}/schema")).json(200)["properties"]["id"]
        (await kit.ask("GET", f"{path}-none")).problem(404)


async def dryrun(kit: Kit) -> None:
    """Check that nothing is left of a dry run."""
    tried = await kit.submit(source := await kit.new_source(), dry_run=True, limit=1)
    tried.offered(400, 422)
    async with kit.check("dryrun.nothing", "map a source without a trace: rows in the response, no run"):
        run = tried.json(200)
        few = all(len(run["rows"][name]) <= 1 for name in ("mapped", "rejects"))
        tried.must(few, "there are more than `limit` rows")
        (await kit.ask("GET", f"/v1/runs/{run['id']}")).problem(404)
        (await kit.submit(source)).run(201)


async def table(kit: Kit) -> None:
    """Check the current rows of a flow."""
    run = (await kit.ended()).run(200)
    path = f"/v1/flows/{_flow(run)}/table"
    (await kit.ask("GET", f"{path}?limit=1")).offered()
    async with kit.check("table.rows", "give the rows of a source once, also after it was processed again"):
        for _ in range(2):
            count = len(await kit.items(path, 4, source_path=run["source_path"]))
            rows = run["metadata"]["metrics"]["rows_mapped"]
            kit.log[-1].must(count == rows, f"it has {count} rows of {rows}")
            await kit.end(await kit.submit(run["source_path"], force_rerun=True))


async def assign(kit: Kit) -> None:
    """Check that rejected rows are given to people."""
    (await kit.ask("GET", "/v1/rejects?limit=1")).offered()
    async with kit.check("assign.rows", "give the rejected rows of a run to a person, and list them as such"):
        run, name = (await kit.end(await kit.submit())).run(200), f"conformance-{uuid4().hex}"
        sent = await kit.ask("POST", "/v1/rejects/assign", {"run": run["id"], "assignee": name})
        rows = run["metadata"]["metrics"]["rows_rejected"]
        count = sent.offered().json(200)["assigned"]
        sent.must(count == rows, f"{count} of {rows} rows were assigned")
        count = len(await kit.items("/v1/rejects", 4, assignee=name))
        kit.log[-1].must(count == rows, f"{count} of {rows} rows are listed")


async def clusters(kit: Kit) -> None:
    """Check the spellings of values."""
    values = ["North Sea", "north  sea", "NORTH SEA ", uuid4().hex]
    path = f"/v1/drafts/{_flow((await kit.ended()).run(200))}/clusters"
    sent = (await kit.ask("POST", path, {"column": "id", "values": values})).offered()
    async with kit.check("clusters.spellings", "bring together values that differ in case and blanks only"):
        found = [set(one["values"]) for one in sent.json(200)["items"]]
        sent.must(found == [set(values[:3])], f"the clusters are {found}")


async def approval(kit: Kit) -> None:
    """Check that nobody approves their own edits of rejected rows."""
    run = (await kit.ended()).run(200)
    answer = {"owner": run.get("submitted_by") or "nobody", "rev": 1, "approve": True}
    sent = (await kit.ask("POST", f"/v1/drafts/{_flow(run)}/review", answer)).offered()
    async with kit.check("approval.own", "refuse with 403 that people approve their own edits"):
        sent.problem(403, kind=":forbidden")


async def forget(kit: Kit) -> None:
    """Check what deletes a person's rows. Nothing is deleted, nor counted, as that reads all outputs."""
    async with kit.check("forget.nobody", "refuse to forget without a value, and name the field"):
        (await kit.ask("POST", "/v1/forget", {"match": {}})).offered(403).problem(400, 422, names="match")


async def arrivals(kit: Kit) -> None:
    """Check that failed files are taken again."""
    async with kit.check("arrivals.unknown", "refuse to take the files of an unknown arrival again"):
        sent = await kit.ask("POST", f"/v1/arrivals/none-{uuid4().hex}/retry", {})
        sent.offered(403).problem(400, 422, names="name")


async def responses(kit: Kit) -> None:
    """Check what all responses so far have in common."""
    # A framework may answer for a route that is missing.
    answered = [one for one in kit.log if one.status and one.status not in MISSING]
    async with kit.check("responses.headers", "send X-Request-Id, and the same Lume-Capabilities always"):
        offered = answered[0].headers.get("Lume-Capabilities")
        for one in answered:
            one.must(one.headers.get("X-Request-Id"), "X-Request-Id is missing")
            here = one.headers.get("Lume-Capabilities")
            one.must(here == offered, f"Lume-Capabilities is {here!r}, and was {offered!r}")
    async with kit.check("responses.problems", "send errors as application/problem+json, of a known kind"):
        for one in answered:
            if one.status >= 400 and one.method != "HEAD":
                found = one.problem(one.status)
                one.must(found.get("status") == one.status, f"status is {found.get('status')}")
                is_ours = str(found.get("type")).startswith("urn:lume:problem:")
                one.must(is_ours, f"type is {found.get('type')!r}")
                kind = one.headers.get("Content-Type", "")
                one.must(kind.startswith("application/problem+json"), f"Content-Type is {kind!r}")
    async with kit.check("responses.secret", "repeat the key in no response"):
        for one in kit.log:
            texts = one.body.decode("latin-1"), *map(str, one.headers.values())
            one.must(not kit.key or not any(kit.key in text for text in texts), "it repeats the key")
    async with kit.check("responses.limits", "send Retry-After or RateLimit with 429"):
        if not (refused := [one for one in answered if one.status == 429]):
            raise NotOffered("no request was refused with 429")
        for one in refused:
            one.must("Retry-After" in one.headers or "RateLimit" in one.headers, "it has neither")


def _flow(run: dict[str, Any]) -> str:
    return quote(run["flow_version"].partition(":")[0], "")


def _digest(content: bytes) -> str:
    return f"sha-256=:{b64encode(sha256(content).digest()).decode()}:"


def _held(exchange: Exchange, seconds: float, *, is_news: object) -> None:
    exchange.must("wait" in exchange.headers.get("Preference-Applied", ""), "Preference-Applied is missing")
    exchange.must(is_news or exchange.seconds > seconds, f"no change, after {exchange.seconds:.2f} s")


def _stored(exchange: Exchange, content: bytes) -> None:
    found, right = exchange.json(201), (len(content), sha256(content).hexdigest())
    is_right = (found["bytes"], found["sha256"]) == right and found["source_path"]
    exchange.must(is_right, "bytes, sha256 or source_path is wrong")


async def _cursor(kit: Kit) -> str:
    asked = await kit.ask("GET", "/v1/changes")
    asked.must(not asked.items(), "there are changes, without a cursor")
    return quote(asked.json(200)["next_cursor"], "")


async def _changes(kit: Kit, cursor: str, run_id: str, limit: int) -> list[str]:
    """Return the statuses of an ended run after a cursor. The feed may lag, so its end is waited for."""
    found = list[str]()
    while True:
        asked = await kit.ask("GET", f"/v1/changes?after={cursor}&limit={limit}")
        items, cursor = asked.items(limit), quote(asked.json(200)["next_cursor"], "")
        found += [item["status"] for item in items if item["id"] == run_id]
        if not items:
            if any(RunStatus(status).is_terminal for status in found):
                return found
            await asyncio.sleep(0.1)


CHECKS: list[Callable[[Kit], Awaitable[None]]] = [
    *(core_runs, core_duplicates, core_refusals, keys, reading, idempotency, wait, changes, cancel, list_),
    *(uploads, rows, flows, dryrun, table, assign, clusters, approval, forget, arrivals, responses),
]
"""The last one looks at the responses of all others."""
