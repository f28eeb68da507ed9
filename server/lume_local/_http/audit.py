"""`GET /v1/audit`: who did what, for the server's administrators."""

from lume_local._http import queries
from lume_local._http.documents import act_document
from lume_local._http.messages import Ask, Reply
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.audit import ACTS, ActFilter


class AuditApi:
    def __init__(self, store: SqlStore) -> None:
        self._store = store

    async def page(self, ask: Ask) -> Reply:
        """Return a page of acts, newest first."""
        query = dict(ask.query)
        what, limit = query.get("what"), queries.limit_of(query, 100, 1000)
        if what is not None and what not in ACTS:
            raise queries.parameter_problem("what", f"must be one of {', '.join(ACTS)}")
        wanted = ActFilter(query.get("by"), what, queries.since_of(query))
        before = queries.number_cursor(query.get("cursor"), self._store.store_id)
        found = await self._store.audit.acts(wanted, before, limit + 1)
        more = len(found) > limit
        items = [act_document(noted) for noted in found[:limit]]
        following = f"{self._store.store_id}-{found[limit - 1].seq}" if more else None
        return Reply(200, {"items": items, "next_cursor": following})
