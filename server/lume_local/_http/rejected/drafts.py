"""The operations on drafts: rejected rows that a person edits, has judged by the flow, and submits as one run."""

from typing import Any

from lume_local._http import queries
from lume_local._http.documents import run_document
from lume_local._http.lookup import runnable_version, unknown_flow
from lume_local._http.messages import Ask, Problem, Reply
from lume_local._http.rejected import draft_requests
from lume_local._http.rejected.refusals import refusals
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.rejected.mends import DraftChanged, Mends, RowStanding
from lume_local._runs.rejected.suggestions import Suggestions
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.drafts import DraftFull, DraftRow, Reject, Room, RowDraft

ROOM = Room(4 * 1024 * 1024, 256 * 1024 * 1024)
MOST_JUDGED = 2000
"""The maximum number of rows that one request has judged."""
KEPT = 30 * 86400.0
"""Seconds after its last change for which a draft is kept."""
_MOST_ELSEWHERE = 1000


class DraftsApi:
    def __init__(self, store: SqlStore, flows: FlowRegistry, mends: Mends, suggestions: Suggestions) -> None:
        self._drafts, self._flows, self._mends, self._suggestions = store.drafts, flows, mends, suggestions

    async def get(self, ask: Ask) -> Reply:
        """Answer `GET /v1/drafts/{flow}`."""
        flow, query = self._flow(ask), dict(ask.query)
        limit = queries.limit_of(query, 1000, draft_requests.MOST_ROWS)
        after = draft_requests.place(query.get("cursor"))
        rows, last = await self._mends.rows(flow, ask.holder, after, limit)
        document = await self._document(flow, ask.holder, await self._drafts.draft(flow, ask.holder))
        document["items"] = [_row(row, standing) for row, standing in rows]
        document["next_cursor"] = None if last is None else draft_requests.cursor(last)
        return Reply(200, document)

    async def change(self, ask: Ask) -> Reply:
        """Answer `PATCH /v1/drafts/{flow}`."""
        flow = self._flow(ask)
        changes = draft_requests.changes(ask.body, ask.content_type)
        try:
            saved = await self._drafts.save(flow, ask.holder, changes, ROOM)
        except DraftFull as error:
            raise _full(error) from None
        document = await self._document(flow, ask.holder, saved.draft)
        document["saved"] = [{**_named(reject), "rev": rev} for reject, rev in saved.revs.items()]
        document["refused"] = [
            {**_named(reject), "rev": 0, "cells": None} if row is None else _row(row)
            for reject, row in saved.refused.items()
        ]
        return Reply(200, document)

    async def drop(self, ask: Ask) -> Reply:
        """Answer `DELETE /v1/drafts/{flow}`."""
        await self._drafts.drop(self._flow(ask), ask.holder, None)
        return Reply(204)

    async def judge(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/judge`."""
        version, limit = draft_requests.judgement(ask.body, ask.content_type, MOST_JUDGED)
        flow = self._flow(ask)
        to = await runnable_version(self._flows, flow, version)
        with refusals(to, "the rows could not be judged"):
            found = await self._mends.judge(flow, ask.holder, to, limit)
        items = [{**_named(one.reject), "rev": one.rev, "reasons": one.reasons} for one in found]
        return Reply(200, {"flow": flow, "to": to.ref, "items": items, "more": len(found) >= limit})

    async def suggest(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/suggest`."""
        body = draft_requests.wish(ask.body, ask.content_type)
        flow = self._flow(ask)
        to = await runnable_version(self._flows, flow, body.to)
        with refusals(to, "the values could not be judged"):
            found = await self._suggestions.find(to, body.column, body.reason, body.examples, ask.holder)
        items = [
            {"repair": one.repair, "values": [{"from": before, "to": after} for before, after in one.values]}
            for one in found
        ]
        return Reply(200, {"flow": flow, "to": to.ref, "items": items})

    async def submit(self, ask: Ask) -> Reply:
        """Answer `POST /v1/drafts/{flow}/submit`."""
        rev, version, reason = draft_requests.submission(ask.body, ask.content_type)
        flow = self._flow(ask)
        to = await runnable_version(self._flows, flow, version)
        try:
            with refusals(to, "the rows could not be gathered"):
                done = await self._mends.submit(flow, ask.holder, rev, to, reason)
        except DraftChanged:
            raise Problem(
                "draft-changed", "the draft has been changed since: look at it, then submit it again"
            ) from None
        document = {"flow": flow, "to": to.ref, "rows": done.rows, "runs": [*map(run_document, done.runs)]}
        return Reply(201 if done.runs else 200, document)

    def _flow(self, ask: Ask) -> str:
        """Return the name of the flow. Raises `Problem`."""
        flow = ask.path["flow"]
        if not self._flows.all(flow):
            raise unknown_flow(self._flows, flow)
        return flow

    async def _document(self, flow: str, owner: str, draft: RowDraft | None) -> dict[str, Any]:
        elsewhere = await self._drafts.elsewhere(flow, owner, _MOST_ELSEWHERE)
        return {
            "flow": flow,
            "rev": 0 if draft is None else draft.rev,
            "rows": 0 if draft is None else draft.rows,
            "bytes": 0 if draft is None else draft.bytes,
            "most_bytes": ROOM.of_owner,
            "changed_at": None if draft is None else draft.changed_at,
            "elsewhere": [{**_named(one.reject), "owner": one.owner, "at": one.at} for one in elsewhere],
        }


def _full(error: DraftFull) -> Problem:
    if error.of_all:
        return Problem(
            "storage-full",
            f"all drafts together may have {error.limit:,} bytes: submit or remove some rows, or ask others to",
        )
    return Problem(
        "too-large", f"your drafts may have {error.limit:,} bytes together: submit or remove some rows first"
    )


def _named(reject: Reject) -> dict[str, Any]:
    return {"run": reject.run_id, "row": reject.row + 1}


def _row(row: DraftRow, standing: RowStanding | None = None) -> dict[str, Any]:
    found = {**_named(row.reject), "cells": row.cells, "rev": row.rev}
    found |= {"judged_by": row.judged_by, "reasons": row.reasons}
    if standing is not None:
        found |= {"state": standing.state, "by": standing.by or None, "at": standing.at or None}
        found["rejected_for"] = standing.reasons
    return found
