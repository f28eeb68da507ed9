"""The operations on flow versions."""

from typing import Any
from urllib.parse import unquote

from lume_local._flow.definition import json_schema, read_definition
from lume_local._flow.fields import FlowError
from lume_local._http import queries, requests
from lume_local._http.documents import flow_document, flow_item
from lume_local._http.lookup import exists, require_flow
from lume_local._http.messages import Ask, Problem, Reply
from lume_local._runs.flow_registry import FlowConflict, FlowRegistry
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.records import StoredFlow


class FlowsApi:
    def __init__(self, store: SqlStore, flows: FlowRegistry) -> None:
        self._store, self._flows = store, flows

    async def page(self, ask: Ask) -> Reply:
        query = dict(ask.query)
        limit = queries.limit_of(query, 100, 1000)
        known = self._flows.all(query.get("flow"))
        start = 0 if "cursor" not in query else self._after(query["cursor"], known)
        page = known[start : start + limit]
        runs = await self._store.runs_of([flow.ref for flow in page])
        items = [flow_item(flow, self._flows.parsed(flow.ref), runs.get(flow.ref, 0)) for flow in page]
        more = start + limit < len(known)
        following = f"{self._store.store_id}-{page[-1].ref}" if more else None
        return Reply(200, {"items": items, "next_cursor": following})

    def _after(self, cursor: str, known: list[StoredFlow]) -> int:
        """Return the index after the flow version that the cursor names. Raises `Problem`."""
        head, _, ref = unquote(cursor).partition("-")
        places = {flow.ref: place for place, flow in enumerate(known)}
        if head != self._store.store_id or ref not in places:
            raise queries.invalid_cursor("cursor")
        return places[ref] + 1

    async def put(self, ask: Ask) -> Reply:
        ref = _ref(ask)
        if requests.is_any(ask.if_none_match) and self._flows.is_known(ref):
            raise exists(f"there is a flow version {ref}")
        try:
            flow = read_definition(requests.json_object(ask.body, ask.content_type))
            if flow.ref != ref:
                raise FlowError("flow", f"the body describes {flow.ref}, the path {ref}: make them agree")
            is_new = await self._flows.register(flow, by=ask.holder)
        except FlowError as error:
            raise Problem("invalid-flow", str(error), field=error.place) from None
        except FlowConflict:
            raise Problem(
                "flow-version-exists",
                f"{ref} exists with other content, and a version never changes: raise its version",
            ) from None
        return await self._answer(ref, 201 if is_new else 200)

    async def get(self, ask: Ask) -> Reply:
        answer = await self._answer(_ref(ask))
        if ask.if_none_match and requests.matches(ask.if_none_match, answer.headers["ETag"]):
            return Reply(304, None, answer.headers)
        return answer

    async def _answer(self, ref: str, status: int = 200) -> Reply:
        flow = await require_flow(self._flows.require(ref))
        document: dict[str, Any] = flow_document(flow)
        return Reply(status, document, {"ETag": f'"{flow.content_hash}"'})

    async def schema(self, ask: Ask) -> Reply:
        await require_flow(self._flows.require(_ref(ask)))
        schema = json_schema(self._flows.parsed(_ref(ask)))
        return Reply(200, schema, content_type="application/schema+json")


def _ref(ask: Ask) -> str:
    return f"{ask.path['flow']}:{ask.path['version']}"
