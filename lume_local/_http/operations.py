"""What each operation of the wire contract does. Knows neither sockets nor aiohttp: `Ask` in, `Answer` out."""

from collections.abc import Callable, Sequence

import anyio

from lume_async.models import RunStatus
from lume_local._flow.source_settings import CONTENT
from lume_local._http import queries, requests, viewer
from lume_local._http.contract import contract_json, contract_yaml
from lume_local._http.documents import change_document, dry_run_document, etag, run_document
from lume_local._http.duplicates import duplicate_problem
from lume_local._http.lookup import exists, flow_note, require_flow, require_run
from lume_local._http.messages import Answer, Ask
from lume_local._http.problems import Problem
from lume_local._http.uploads import Uploads
from lume_local._runs.cursor import Cursor
from lume_local._runs.deliveries.webhook_rules import (
    NotAWebhook,
    WebhookRefused,
    WebhookRules,
    WebhooksOff,
    parse_webhook,
)
from lume_local._runs.dry_run import DryRuns
from lume_local._runs.flow_registry import Flows
from lume_local._runs.health import Health
from lume_local._runs.records import Change, CursorForgotten, Duplicate, KeyReused, NewRun, Run
from lume_local._runs.runner import Runner
from lume_local._runs.sources.contents import CantTell, Contents
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._runs.sources.source_key import with_content
from lume_local._runs.sources.source_name import source_key
from lume_local._runs.store import Store
from lume_local._runs.times import ago_text
from lume_local._runs.waiters import EVERY_RUN, Hub

CAPABILITIES = "idempotency, wait, changes, cancel"
YOUNG, TOGETHER = 1.0, 0.1
"""In the first second of a run its changes follow each other within milliseconds: what a long poll shows may be so
much older than its answer, and then is the end of a small run at once."""


class Api:
    """The operations over one server's state."""

    def __init__(
        self,
        store: Store,
        flows: Flows,
        runner: Runner,
        hub: Hub,
        roots: Roots,
        uploads: Uploads,
        webhooks: WebhookRules,
        health: Health,
        dry_runs: DryRuns,
        contents: Contents,
    ) -> None:
        self._store, self._flows, self._runner, self._hub, self._roots = store, flows, runner, hub, roots
        self._uploads, self._webhooks, self._health = uploads, webhooks, health
        self._dry_runs, self._contents = dry_runs, contents

    async def settled(self) -> None:
        """Wait until everything that answers may show by now outlives a power cut."""
        await self._store.settled()

    async def health(self, ask: Ask) -> Answer:
        """`GET /healthz`."""
        requests.only_known(ask.query, ())
        if reasons := self._health.reasons():
            raise Problem("unavailable", "; ".join(reasons))
        found: dict[str, object] = {"status": "ok", "service": "lume_local", "api": "v1"}
        if waiting := self._health.waiting():
            found["waiting"] = waiting
        if (age := self._health.backup_age()) is not None:
            found["backup_age_seconds"] = round(age)
        return Answer(200, found)

    async def openapi_yaml(self, ask: Ask) -> Answer:
        """`GET /openapi.yaml`."""
        requests.only_known(ask.query, ())
        return Answer(200, contract_yaml(), content_type="application/yaml")

    async def openapi_json(self, ask: Ask) -> Answer:
        """`GET /openapi.json`."""
        requests.only_known(ask.query, ())
        return Answer(200, contract_json())

    async def docs(self, ask: Ask) -> Answer:
        """`GET /docs`, for people: not a part of the contract."""
        requests.only_known(ask.query, ())
        return Answer(200, viewer.page(), content_type="text/html; charset=utf-8")

    async def docs_file(self, ask: Ask) -> Answer:
        """`GET /docs/{file}`: what the page loads."""
        requests.only_known(ask.query, ())
        content, content_type = viewer.file(ask.path["file"])
        return Answer(200, content, content_type=content_type)

    # -- runs

    async def submit(self, ask: Ask) -> Answer:
        """`POST /v1/runs`."""
        requests.only_known(ask.query, ())
        key = requests.idempotency_key(ask.idempotency_keys)
        wanted = requests.submission(ask.body, ask.content_type)
        # All of the body is judged before anything that it names is looked for.
        _check_webhook(wanted.webhook_url, parse_webhook)
        await require_flow(self._flows, wanted.flow_version)
        _check_webhook(wanted.webhook_url, self._webhooks.check)
        note = await flow_note(self._flows, wanted.flow_version)  # may have read a changed version
        located = self._located(wanted)
        if wanted.dry_run:
            return await self._dry_run(wanted, note)
        source_key = await self._source_key(wanted, located)
        new = NewRun(
            flow_version=wanted.flow_version,
            source_path=wanted.source_path,
            source_key=source_key,
            run_metadata=wanted.run_metadata,
            force_rerun=wanted.force_rerun,
            idempotency_key=key,
            fingerprint=wanted.fingerprint(),
            webhook_url=wanted.webhook_url,
            traceparent=requests.traceparent(ask.traceparents),
            note=note,
        )
        try:
            run, is_new = await self._runner.submit(new)
        except Duplicate as duplicate:
            raise await self._duplicate(duplicate, wanted) from None
        except KeyReused:
            raise Problem(
                "idempotency-key-reused",
                "this Idempotency-Key came with another body before: use a new key for a new request",
                field="Idempotency-Key",
            ) from None
        location = {"Location": f"/v1/runs/{run.run_id}"}
        return await self._run_answer(run, 201 if is_new else 200, location)

    async def _dry_run(self, wanted: requests.Submission, note: str | None) -> Answer:
        flow = self._flows.parsed(wanted.flow_version)
        done = await self._dry_runs.do(flow, wanted.source_path, wanted.run_metadata, wanted.limit)
        return Answer(200, dry_run_document(done, [note] if note else []))

    def _located(self, wanted: requests.Submission) -> str:
        """Where the source is. Raises `Problem`."""
        source = self._flows.parsed(wanted.flow_version).source
        try:
            return source_key(source, wanted.source_path, self._roots)
        except PathRefused as error:
            raise Problem("source-not-allowed", f"source_path: {error}", field="source_path") from None

    async def _source_key(self, wanted: requests.Submission, located: str) -> str:
        """What tells the source from others. Raises `Problem`."""
        flow = self._flows.parsed(wanted.flow_version)
        if flow.source.identity == CONTENT:
            try:
                digest = await self._contents.digest(flow, wanted.source_path)
            except CantTell as error:
                kind = "unavailable" if error.may_pass else "not-supported"
                raise Problem(kind, f"source_path: {error}", field="source_path") from None
            located = with_content(located, digest)
        return self._flows.source_key(wanted.flow_version, located)

    async def _duplicate(self, duplicate: Duplicate, wanted: requests.Submission) -> Problem:
        """That a run holds the source, and whether it has read what is there now."""
        is_other = None
        if not duplicate.is_active:
            flow = self._flows.parsed(wanted.flow_version)
            is_other = await self._contents.is_other(duplicate.run_id, flow, wanted.source_path)
        return duplicate_problem(duplicate, wanted, is_other)

    async def _run_answer(self, run: Run, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
        notes = await self._store.notes(run.run_id)
        document = run_document(run, self._runner.progress(run.run_id), notes)
        return Answer(status, document, {"ETag": etag(run), **(headers or {})})

    async def status(self, ask: Ask) -> Answer:
        """`GET /v1/runs/{id}`: at once, or with `Prefer: wait=N` when the run changes."""
        requests.only_known(ask.query, ())
        wait, headers = self._wait_of(ask)
        run = await self._awaited(ask, wait) if wait else await require_run(self._store, ask.path["run_id"])
        if ask.if_none_match and requests.matches(ask.if_none_match, etag(run)):
            return Answer(304, None, {"ETag": etag(run), **headers})
        return await self._run_answer(run, headers=headers)

    def _wait_of(self, ask: Ask) -> tuple[int, dict[str, str]]:
        """For how many seconds the answer may wait for a change, and the headers that say so."""
        wait = requests.wait_seconds(ask.prefer)
        if wait is None or not self._hub.is_open:
            return 0, {}
        return wait, {"Preference-Applied": f"wait={wait}"}

    async def _awaited(self, ask: Ask, wait: int) -> Run:
        """The run once it differs from what the client has, at the latest after so many seconds. Raises `Problem`."""
        run_id, deadline = ask.path["run_id"], anyio.current_time() + wait
        with self._hub.waiter(run_id) as waiter:
            run = first = await require_run(self._store, run_id)
            is_news = bool(ask.if_none_match) and not requests.matches(ask.if_none_match, etag(run))
            # A tag that is out of date has its answer already.
            while not is_news and run.rev == first.rev and not RunStatus(run.status).is_terminal:
                if not await waiter.until(deadline):
                    return run
                run = await self._store.require(run_id)
            if run.created_at > ago_text(YOUNG):
                deadline = min(deadline, anyio.current_time() + TOGETHER)
                while not RunStatus(run.status).is_terminal and await waiter.until(deadline):
                    run = await self._store.require(run_id)
        return run

    async def list(self, ask: Ask) -> Answer:
        """`GET /v1/runs`."""
        wanted = queries.wanted(ask.query)
        query = dict(ask.query)
        limit = requests.whole_number(query, "limit", 50, 1, 1000)
        before = requests.number_cursor(query.get("cursor"), self._store.store_id)
        runs = await self._store.runs(wanted, before, limit + 1)
        more = len(runs) > limit
        items = [run_document(run, self._runner.progress(run.run_id)) for run in runs[:limit]]
        following = f"{self._store.store_id}-{runs[limit - 1].seq}" if more else None
        return Answer(200, {"items": items, "next_cursor": following})

    async def changes(self, ask: Ask) -> Answer:
        """`GET /v1/changes`."""
        requests.only_known(ask.query, ("after", "limit"))
        query = dict(ask.query)
        limit = requests.whole_number(query, "limit", 500, 1, 5000)
        after = requests.feed_cursor(query.get("after"), self._store.store_id)
        wait, headers = self._wait_of(ask)
        if after is None:
            return self._changes_answer([], await self._store.newest(), headers)
        try:
            found, following = await self._changes(after, limit, wait)
        except CursorForgotten:
            raise Problem(
                "invalid-cursor",
                "after: changes that came after this cursor are forgotten: start again without it",
                field="after",
            ) from None
        return self._changes_answer(found, following, headers)

    def _changes_answer(self, found: Sequence[Change], following: Cursor, headers: dict[str, str]) -> Answer:
        items = [change_document(one) for one in found]
        return Answer(200, {"items": items, "next_cursor": following.text(self._store.store_id)}, headers)

    async def _changes(self, after: Cursor, limit: int, wait: int) -> tuple[Sequence[Change], Cursor]:
        """Changes once there is one, at the latest after so many seconds, and the place after them."""
        if not wait:
            return await self._store.changes(after, limit)
        deadline = anyio.current_time() + wait
        with self._hub.waiter(EVERY_RUN) as waiter:
            found, following = await self._store.changes(after, limit)
            while not found and await waiter.until(deadline):
                found, following = await self._store.changes(after, limit)
        return found, following

    async def cancel(self, ask: Ask) -> Answer:
        """`POST /v1/runs/{id}/cancel`."""
        requests.only_known(ask.query, ())
        run = await require_run(self._store, ask.path["run_id"])
        if ask.body.strip() and requests.json_object(ask.body, ask.content_type):
            raise Problem("invalid-field", "a cancel request has no fields: send no body")
        if RunStatus(run.status).is_terminal:
            return await self._run_answer(run)
        return await self._run_answer(await self._runner.cancel(run.run_id), 202)

    # -- uploads

    async def upload(self, ask: Ask) -> Answer:
        """`PUT /v1/uploads/{name}`."""
        requests.only_known(ask.query, ("flow_version",))
        for _, ref in ask.query:
            await require_flow(self._flows, ref)
        if ask.content_range is not None:
            raise Problem("malformed-request", "an upload is sent whole, without Content-Range")
        if requests.is_any(ask.if_none_match) and self._uploads.has(ask.path["name"]):
            raise exists(f"there is an upload {ask.path['name']}")
        assert ask.content is not None
        stored = await self._uploads.receive(ask.path["name"], ask.content.chunks, ask.content.length)
        document = {"source_path": stored.source_path, "bytes": stored.size, "sha256": stored.sha256}
        return Answer(201, document)


def _check_webhook(url: str | None, check: Callable[[str], object]) -> None:
    if url is None:
        return
    try:
        check(url)
    except WebhookRefused as refused:
        kind = {WebhooksOff: "not-supported", NotAWebhook: "invalid-field"}.get(type(refused))
        raise Problem(kind or "webhook-not-allowed", f"webhook_url: {refused}", field="webhook_url") from None
