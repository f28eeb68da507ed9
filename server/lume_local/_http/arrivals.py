"""Arrivals: the watched places and the state of their files."""

from collections.abc import Sequence
from heapq import nsmallest

import anyio

from lume_local._arrivals.arrivals import Arrivals
from lume_local._arrivals.watcher import View
from lume_local._http import queries
from lume_local._http.messages import Ask, Problem, Reply
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.times import ago_text
from lume_local._shared.protocol import Json

STATES = ("waiting", "submitted", "refused")


class ArrivalsApi:
    """The operation for arrivals."""

    def __init__(self, arrivals: Arrivals, store: SqlStore) -> None:
        self._arrivals, self._store = arrivals, store

    async def page(self, ask: Ask) -> Reply:
        """Answer `GET /v1/arrivals`: all arrivals, and the files of the requested ones."""
        query = dict(ask.query)
        limit = queries.limit_of(query, 100, 1000)
        name, state = query.get("name"), query.get("state")
        if state is not None and state not in STATES:
            raise queries.parameter_problem("state", f"must be one of {', '.join(STATES)}")
        # Read before the views, which may already come from a corrected file.
        problem = self._arrivals.problem or None
        views = [watcher.view() for watcher in self._arrivals.watchers]
        wanted = [view for view in views if name in (None, view.arrival.name)]
        if name is not None and not wanted:
            known = ", ".join(view.arrival.name for view in views)
            raise Problem(
                "invalid-query",
                f"name: there is no arrival {name!r}: known are {known or 'none'}",
                field="name",
            )
        files: list[Json] = []
        for one, found in (
            ("waiting", self._waiting),
            ("refused", self._refused),
            ("submitted", self._submitted),
        ):
            if state in (None, one):
                files += await found(wanted, limit)
        documents = [await self._document(view) for view in views]
        return Reply(200, {"problem": problem, "arrivals": documents, "files": files})

    async def _document(self, view: View) -> Json:
        arrival = view.arrival
        submitted, refused = await self._store.arrivals.counts(arrival.name)
        return {
            "name": arrival.name,
            "flow": arrival.flow,
            "uri": arrival.uri,
            "watched": view.watched or None,
            "trouble": view.trouble or None,
            "waiting": len(view.waiting),
            "submitted": submitted,
            "refused": refused,
        }

    async def _waiting(self, views: Sequence[View], limit: int) -> list[Json]:
        """Return the waiting files, those that have waited longest first."""
        now = anyio.current_time()
        every = ((view.arrival.name, one) for view in views for one in view.waiting)
        return [
            _file(name, one.entry.path, "waiting", ago_text(now - one.since), one.why, one.run_id)
            for name, one in nsmallest(limit, every, key=lambda each: each[1].since)
        ]

    async def _refused(self, views: Sequence[View], limit: int) -> list[Json]:
        found = [
            one for view in views for one in await self._store.arrivals.refused(view.arrival.name, limit)
        ]
        found.sort(key=lambda one: one.at, reverse=True)
        return [_file(one.arrival, one.path, "refused", one.at, one.why) for one in found[:limit]]

    async def _submitted(self, views: Sequence[View], limit: int) -> list[Json]:
        """Return the submitted files, newest runs first."""
        names = [view.arrival.name for view in views]
        return [
            _file(
                *(str(run.arrival), run.source_path, "submitted", run.created_at),
                *(run.error_message, run.run_id),
            )
            | {"status": run.status}
            for run in await self._store.newest_arrived(names, limit)
        ]


def _file(arrival: str, path: str, state: str, at: str, why: str | None, run_id: str | None = None) -> Json:
    return {
        "arrival": arrival,
        "path": path,
        "state": state,
        "at": at,
        "why": why or None,
        "run_id": run_id,
        "status": None,
    }
