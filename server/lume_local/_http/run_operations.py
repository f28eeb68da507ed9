"""The operations on runs and their changes."""

from collections.abc import Sequence
from typing import Any

import anyio
import orjson
from anyio.to_thread import run_sync
from attrs import evolve, frozen

from lume_async.models import RunStatus
from lume_local._flow.definition import LayoutRefused
from lume_local._http import queries, requests
from lume_local._http.documents import change_document, dry_run_document, etag, run_document
from lume_local._http.exchange import Ask, Problem, Reply
from lume_local._http.lookup import needs_approval, one_request_a_key, require_run
from lume_local._runs.deliveries.webhooks import (
    NotAWebhook,
    WebhookRefused,
    WebhookRules,
    WebhooksOff,
    parse_webhook,
)
from lume_local._runs.dry_run import DryRuns
from lume_local._runs.flow_registry import FlowRegistry, UnknownFlow
from lume_local._runs.recovery.old_files import OldFiles
from lume_local._runs.runner import Runner
from lume_local._runs.sources.paths import PathRefused
from lume_local._runs.sources.resolver import CantTell, SeedRefused, SourceResolver
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import (
    Cursor,
    CursorForgotten,
    Duplicate,
    FollowUp,
    NewRun,
    StatusChange,
    StoredRun,
    TooLong,
)
from lume_local._runs.times import ago_text
from lume_local._runs.unusual import mends_others
from lume_local._runs.waiters import TOGETHER, Hub

YOUNG = 1.0
"""In so many first seconds of a run, a long poll waits up to `TOGETHER` seconds for more changes: for a small run it
then returns the end."""
MOST_RECORDS = 1024 * 1024
"""Bytes of runs after which a page of the change feed takes no further change."""


@frozen
class RunsApi:
    _store: SqlStore
    _runner: Runner
    _hub: Hub
    _webhooks: WebhookRules
    _dry_runs: DryRuns
    _resolver: SourceResolver
    _flows: FlowRegistry
    _files: OldFiles

    async def settled(self) -> None:
        """Wait until the current state survives a power cut, so that replies may show it."""
        await self._store.settled()

    async def submit(self, ask: Ask) -> Reply:
        key = requests.idempotency_key(ask.every("Idempotency-Key"))
        if len(ask.body) > requests.LARGE:  # on the event loop it would delay all other requests
            wanted = await run_sync(requests.submission, ask.body, ask.content_type)
        else:
            wanted = requests.submission(ask.body, ask.content_type)
        # The whole body is validated before the objects that it names are looked up.
        webhook_url = None if wanted.webhook_url is None else self._checked_webhook(wanted.webhook_url)
        if wanted.priority and not ask.is_admin:
            raise Problem(
                "forbidden", "priority: this needs a key with the role admin: leave it out", field="priority"
            )
        if mends_others(wanted.run_metadata) and not wanted.dry_run:
            if (earlier := await self._earlier(key, wanted)) is not None:
                return earlier
            await self._refuse_unapproved(wanted)
        try:
            found = await self._resolver.requested(
                wanted.flow_version, wanted.source_path, wanted.seeds, wanted.layout, is_dry=wanted.dry_run
            )
        except (UnknownFlow, PathRefused, SeedRefused, LayoutRefused, CantTell) as error:
            # If the response to an earlier attempt was lost, the objects of its run may be gone since.
            if not wanted.dry_run and (earlier := await self._earlier(key, wanted)) is not None:
                return earlier
            raise _unresolved(error) from None
        beside = FollowUp((found.note,) if found.note else ())
        if wanted.dry_run:
            done = await self._dry_runs.do(
                found.flow,
                wanted.source_path,
                wanted.run_metadata,
                wanted.limit,
                found.seeds,
                wanted.layout,
                by=ask.holder,
            )
            return Reply(200, dry_run_document(done, beside.notes))
        new = NewRun(
            flow_version=wanted.flow_version,
            source_path=wanted.source_path,
            source_key=found.source_key,
            run_metadata=wanted.run_metadata,
            force_rerun=wanted.force_rerun,
            idempotency_key=key,
            fingerprint=wanted.fingerprint(),
            webhook_url=webhook_url,
            traceparent=requests.traceparent(ask.every("traceparent")),
            note=found.note,
            submitted_by=ask.holder,
            priority=wanted.priority,
            seeds=found.seeds,
            layout=wanted.layout,
            alike=found.alike,
        )
        try:
            with one_request_a_key():
                run, is_new = await self._runner.submit(new)
        except Duplicate as duplicate:
            is_other = None
            if not duplicate.is_active:
                is_other = await self._resolver.is_other(duplicate.run_id, found.flow, wanted.source_path)
            raise _duplicate_problem(duplicate, wanted, is_other) from None
        except TooLong as error:
            raise requests.field_problem("source_path", str(error)) from None
        if not is_new or mends_others(new.run_metadata):
            beside = await self._store.attention.of(run.run_id)  # otherwise nobody has named the run yet
        return self._answer(run, beside, 201 if is_new else 200, _location(run))

    async def _earlier(self, key: str | None, wanted: requests.SubmissionBody) -> Reply | None:
        """Return the answer with the run of an earlier attempt at a request; None if there is none."""
        if key is None:
            return None
        with one_request_a_key():
            run = await self._store.submitted(key, wanted.fingerprint())
        return None if run is None else await self._run_answer(run, headers=_location(run))

    async def _refuse_unapproved(self, wanted: requests.SubmissionBody) -> None:
        """Refuse corrected rejects whose flow asks for approval, and remove their upload. Raises `Problem`."""
        newest = await needs_approval(self._flows, wanted.flow_version.partition(":")[0])
        if newest is not None:
            await self._files.remove_refused(wanted.source_path)
            raise Problem(
                "not-supported",
                f"{newest} asks for a second person's approval of corrected rejects: correct the rows in the "
                "console, under Inbox, where somebody else approves them",
            )

    def _checked_webhook(self, url: str) -> str:
        """Return the URL in its usual spelling. Raises `Problem` if it may not be called."""
        try:
            parsed = parse_webhook(url)
            self._webhooks.check(url)
        except WebhookRefused as refused:
            kind = {WebhooksOff: "not-supported", NotAWebhook: "invalid-field"}.get(type(refused))
            raise Problem(
                kind or "webhook-not-allowed", f"webhook_url: {refused}", field="webhook_url"
            ) from None
        return str(parsed)

    async def _run_answer(
        self, run: StoredRun, status: int = 200, headers: dict[str, str] | None = None
    ) -> Reply:
        return self._answer(run, await self._beside(run), status, headers or {})

    async def _beside(self, run: StoredRun) -> FollowUp | None:
        beside = None if run.is_plain else await self._store.attention.of(run.run_id)
        if run.arrival is None or run.finished_at is None or RunStatus(run.status).has_output:
            return beside
        lies_at = (await self._store.arrivals.put_aside([run.run_id])).get(run.run_id)
        return evolve(beside or FollowUp(), arrival={"name": run.arrival, "lies_at": lies_at})

    def _answer(self, run: StoredRun, beside: FollowUp | None, status: int, headers: dict[str, str]) -> Reply:
        document = run_document(run, self._runner.progress(run.run_id), beside)
        return Reply(status, document, {"ETag": etag(run), **headers})

    async def status(self, ask: Ask) -> Reply:
        """Answer `GET /v1/runs/{id}`: immediately, or with `Prefer: wait=N` when the run changes."""
        wait, headers = self._wait_of(ask)
        run = await self._awaited(ask, wait) if wait else await require_run(self._store, ask.path["run_id"])
        if ask.if_none_match and requests.matches(ask.if_none_match, etag(run)):
            return Reply(304, None, {"ETag": etag(run), **headers})
        return await self._run_answer(run, headers=headers)

    def _wait_of(self, ask: Ask) -> tuple[int, dict[str, str]]:
        """Return how many seconds the reply may wait for a change, and the headers that confirm it."""
        wait = requests.wait_seconds(ask.every("Prefer"))
        if wait is None or not self._hub.is_open:
            return 0, {}
        return wait, {"Preference-Applied": f"wait={wait}"}

    async def _awaited(self, ask: Ask, wait: int) -> StoredRun:
        """Return the run once it differs from the client's version, or after so many seconds. Raises `Problem`."""
        run_id, deadline = ask.path["run_id"], anyio.current_time() + wait
        with self._hub.waiter(run_id) as waiter:

            async def later(run: StoredRun) -> StoredRun:
                # A change may be noticed that was already there when the run was read.
                if waiter.run is not None and waiter.run.rev >= run.rev:
                    return waiter.run
                return await self._store.require(run_id)

            run = first = await require_run(self._store, run_id)
            is_news = bool(ask.if_none_match) and not requests.matches(ask.if_none_match, etag(run))
            # An outdated tag gets an immediate reply.
            while not is_news and run.rev == first.rev and not RunStatus(run.status).is_terminal:
                if not await waiter.until(deadline):
                    return run
                run = await later(run)
            if run.created_at > ago_text(YOUNG):
                deadline = min(deadline, anyio.current_time() + TOGETHER)
                while not RunStatus(run.status).is_terminal and await waiter.until(deadline):
                    run = await later(run)
        return run

    async def list(self, ask: Ask) -> Reply:
        wanted = queries.run_filter(ask.query)
        query = dict(ask.query)
        limit = queries.limit_of(query, 50, 1000)
        before = queries.number_cursor(query.get("cursor"), self._store.store_id)
        runs = await self._store.runs(wanted, before, limit + 1)
        more = len(runs) > limit
        items = [run_document(run, self._runner.progress(run.run_id)) for run in runs[:limit]]
        following = f"{self._store.store_id}-{runs[limit - 1].seq}" if more else None
        return Reply(200, {"items": items, "next_cursor": following})

    async def changes(self, ask: Ask) -> Reply:
        query = dict(ask.query)
        limit = queries.limit_of(query, 500, 5000)
        after = queries.feed_cursor(query.get("after"), self._store.store_id)
        with_runs = queries.includes_run(query)
        wait, headers = self._wait_of(ask)
        try:
            found, following = await self._changes(after, limit, wait)
            items = await self._with_runs(found) if with_runs else list(map(change_document, found))
            if after is not None and len(items) < len(found):
                _, following = await self._store.changes(after, len(items))
        except CursorForgotten:
            raise Problem(
                "invalid-cursor",
                "after: changes that came after this cursor are forgotten: start again without it",
                field="after",
            ) from None
        return Reply(200, {"items": items, "next_cursor": following.text(self._store.store_id)}, headers)

    async def _with_runs(self, changes: Sequence[StatusChange]) -> Sequence[dict[str, Any]]:
        """Return the changes, including the run where it has ended; as many as fit into a page, at least one."""
        items: list[dict[str, Any]] = []
        size = 0
        for change in changes:
            item = change_document(change)
            has_ended = RunStatus(change.status).is_terminal
            if has_ended and (run := await self._store.get(change.run_id)) is not None:
                progress = self._runner.progress(run.run_id)
                record = orjson.dumps(run_document(run, progress, await self._beside(run)))
                size += len(record)
                item["run"] = orjson.Fragment(record)
            items.append(item)
            if size > MOST_RECORDS:
                break
        return items

    async def _changes(
        self, after: Cursor | None, limit: int, wait: int
    ) -> tuple[Sequence[StatusChange], Cursor]:
        """Return the changes, once there are any or after so many seconds, and the cursor after them."""
        if after is None:
            return [], await self._store.newest()
        if not wait:
            return await self._store.changes(after, limit)
        deadline = anyio.current_time() + wait
        with self._hub.watchers.watcher() as watcher:
            found, following = await self._store.changes(after, limit)
            has_turn = False
            if 0 < len(found) < limit and not any(RunStatus(one.status).is_terminal for one in found):
                has_turn = await watcher.until(min(deadline, anyio.current_time() + TOGETHER))
                watcher.reads()
                found, following = await self._store.changes(after, limit)
            if found and not has_turn and not watcher.may_respond():
                await watcher.turn(deadline)
                found, following = await self._store.changes(after, limit)
            while not found and await watcher.until(deadline):
                watcher.reads()
                found, following = await self._store.changes(after, limit)
        return found, following

    async def cancel(self, ask: Ask) -> Reply:
        run = await require_run(self._store, ask.path["run_id"])
        if ask.body.strip() and requests.json_object(ask.body, ask.content_type):
            raise Problem("invalid-field", "a cancel request has no fields: send no body")
        if RunStatus(run.status).is_terminal:
            return await self._run_answer(run)
        return await self._run_answer(await self._runner.cancel(run.run_id, ask.holder), 202)

    async def dismiss(self, ask: Ask) -> Reply:
        why = requests.line(requests.known_fields(ask.body, ask.content_type, ("why",)), "why")
        run = await require_run(self._store, ask.path["run_id"])
        if not RunStatus(run.status).is_terminal:
            raise Problem("run-not-ended", "only a run that has ended can be dismissed: cancel it, or wait")
        await self._store.attention.dismiss(run.run_id, why, ask.holder)
        return await self._run_answer(await self._store.require(run.run_id))


def _location(run: StoredRun) -> dict[str, str]:
    return {"Location": f"/v1/runs/{run.run_id}"}


def _unresolved(error: UnknownFlow | PathRefused | SeedRefused | LayoutRefused | CantTell) -> Problem:
    """Return the problem that something can't be used that a submission names."""
    field, kind = "source_path", "source-not-allowed"
    match error:
        case UnknownFlow():
            return Problem("flow-version-not-found", str(error))
        case SeedRefused():
            field, kind = "seeds", kind if error.is_place else "invalid-field"
        case LayoutRefused():
            field, kind = "layout", "invalid-field"
        case CantTell():
            kind = "unavailable" if error.may_pass else "not-supported"
        case PathRefused():
            pass
    return Problem(kind, f"{field}: {error}", field=field)


def _duplicate_problem(
    duplicate: Duplicate, wanted: requests.SubmissionBody, source_changed: bool | None
) -> Problem:
    """Return the problem that another run has the source; `source_changed` is None if unknown."""
    flow, source, run_id = duplicate.flow_version, f"{wanted.source_path!r}", duplicate.run_id
    kind = "run-in-progress" if duplicate.is_active else "already-processed"
    if duplicate.is_active:
        detail = f"{flow} is processing {source} in run {run_id}: wait for that run, or cancel it"
    elif source_changed:
        detail = (
            f"{flow} has processed {source} in run {run_id}, but the source was changed since: pass force_rerun=true "
            'to process what it has now in place of that, or set source.identity = "content" in a new flow version, '
            "for which new content is a new source"
        )
    else:
        detail = (
            f"{flow} has processed {source} in run {run_id}: use its output, or pass force_rerun=true to process "
            "it again"
        )
    return Problem(kind, detail, run_id=run_id, source_changed=source_changed)
