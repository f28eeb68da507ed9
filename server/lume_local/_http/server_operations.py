"""The operations on the server itself: its health and state, its audit, its arrivals."""

import os
import socket
from collections.abc import Sequence
from heapq import nsmallest
from typing import TYPE_CHECKING

import anyio
from attrs import asdict, field, frozen

from lume_async._base.version import __version__
from lume_async.errors import ConfigurationError
from lume_local._http import contract, queries, requests
from lume_local._http.documents import error_of
from lume_local._http.exchange import Ask, Problem, Reply
from lume_local._http.lookup import require_flow
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.forget import Forgetter, Search
from lume_local._runs.health import Health
from lume_local._runs.runner import Runner
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.arrived import aside_of
from lume_local._runs.store.audit import ACTS, MOVE, RETRY, Act, ActFilter
from lume_local._runs.store.records import WaitingServer
from lume_local._runs.times import ago_text, now_text
from lume_local._runs.workers.worker import WorkerDied
from lume_local._shared.protocol import Json

if TYPE_CHECKING:
    from lume_local._arrivals.arrivals import Arrivals
    from lume_local._arrivals.watcher import Watcher

_MOST_COLUMNS, _LONGEST = 10, 1000
"""The maximum number of columns by which a person is found, and of characters of a value."""
STATES = ("waiting", "submitted", "refused")
"""The states of arrived files."""


@frozen
class ServerApi:
    _store: SqlStore
    _runner: Runner
    _health: Health
    _started_at: str = field(factory=now_text)

    async def health(self, ask: Ask) -> Reply:
        if reasons := self._health.reasons():
            raise Problem("unavailable", "; ".join(reasons))
        found: dict[str, object] = {"status": "ok", "service": "lume_local", "api": "v1"}
        if waiting := self._health.waiting():
            found["waiting"] = waiting
        if (age := self._health.backup_age()) is not None:
            found["backup_age_seconds"] = round(age)
        return Reply(200, found)

    async def live(self, ask: Ask) -> Reply:
        """Answer `GET /livez`: the process responds. Nothing else is checked, as a restart would fix nothing else."""
        return Reply(200, {"status": "ok"})

    async def ready(self, ask: Ask) -> Reply:
        """Answer `GET /readyz`: whether the server accepts work."""
        reasons = self._health.reasons()
        if self._runner.is_ending:
            reasons.append("the server is ending: it begins no more runs")
        if reasons:
            raise Problem("unavailable", "; ".join(reasons))
        return Reply(200, {"status": "ok"})

    async def server(self, ask: Ask) -> Reply:
        """Answer `GET /v1/server`."""
        this = WaitingServer(socket.gethostname(), os.getpid(), self._started_at)
        servers = [
            {
                "host": one.host,
                "pid": one.pid,
                "started_at": one.since,
                "is_ending": one is this and self._runner.is_ending,
                "is_waiting": one is not this,
            }
            for one in (this, *await self._store.standbys())
        ]
        document = {
            "version": __version__,
            "contract_version": contract.number(),
            "capabilities": contract.CAPABILITIES.split(", "),
            "state": {"kind": self._store.kind, "form": self._store.form},
            "servers": servers,
            "runs": {"waiting": await self._store.waiting(), "active": len(self._runner.workers())},
        }
        return Reply(200, document)

    async def audit(self, ask: Ask) -> Reply:
        """Answer `GET /v1/audit`: a page of acts, newest first."""
        query = dict(ask.query)
        what, limit = query.get("what"), queries.limit_of(query, 100, 1000)
        if what is not None and what not in ACTS:
            raise queries.parameter_problem("what", f"must be one of {', '.join(ACTS)}")
        wanted = ActFilter(query.get("by"), what, queries.since_of(query))
        before = queries.number_cursor(query.get("cursor"), self._store.store_id)
        found = await self._store.audit.acts(wanted, before, limit + 1)
        more = len(found) > limit
        items = [{"at": noted.at, **asdict(noted.act)} for noted in found[:limit]]
        following = f"{self._store.store_id}-{found[limit - 1].seq}" if more else None
        return Reply(200, {"items": items, "next_cursor": following})


@frozen
class ForgetApi:
    _forgetter: Forgetter
    _store: SqlStore

    async def forget(self, ask: Ask) -> Reply:
        """Answer `POST /v1/forget`: a part of the work, which goes on with the next cursor."""
        names = ("match", "ignore_case", "dry_run", "tables", "cursor")
        fields = {"dry_run": True} | requests.known_fields(ask.body, ask.content_type, names)
        ignores, cursor = requests.flag(fields, "ignore_case"), fields.get("cursor")
        given = fields.get("match")
        match: Json = given if isinstance(given, dict) else {}
        if not 0 < len(match) <= _MOST_COLUMNS or not all(map(_is_value, match.values())):
            words = f"must be 1 to {_MOST_COLUMNS} columns, each with a text of up to {_LONGEST:,} characters"
            raise requests.field_problem("match", words)
        dry_run, tables = (requests.flag(fields, name) for name in ("dry_run", "tables"))
        search = Search(match, ignores, dry_run, ask.holder, tables)
        after = queries.number_cursor(None if cursor is None else str(cursor), self._store.store_id)
        try:
            after = await self._forgetter.part(search, after or 0)
        except WorkerDied as error:
            raise Problem("unavailable", f"not everything was searched: {error}; send it again") from None
        counts = {name: search.counts[name] for name in ("outputs", "rejects", "texts")}
        following = None if after is None else f"{self._store.store_id}-{after}"
        found = {"tables": dict(search.rows), "uploads": sorted(search.uploads), "left": search.left}
        return Reply(200, counts | found | {"backups": search.backups, "next_cursor": following})


def _is_value(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= _LONGEST


class ArrivalsApi:
    def __init__(self, arrivals: "Arrivals | None", store: SqlStore, flows: FlowRegistry) -> None:
        self._arrivals, self._store, self._flows = arrivals, store, flows

    async def page(self, ask: Ask) -> Reply:
        """Answer `GET /v1/arrivals`: all arrivals, and the files of the requested ones."""
        query = dict(ask.query)
        limit = queries.limit_of(query, 100, 1000)
        name, state = query.get("name"), query.get("state")
        if state is not None and state not in STATES:
            raise queries.parameter_problem("state", f"must be one of {', '.join(STATES)}")
        # Read before the watchers, which may already be those from a corrected file.
        problem = None if self._arrivals is None else self._arrivals.problem or None
        watchers = self._watchers
        wanted = [watcher for watcher in watchers if name in (None, watcher.arrival.name)]
        if name is not None and not wanted:
            known = ", ".join(watcher.arrival.name for watcher in watchers)
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
        documents = [await self._arrival(watcher) for watcher in watchers]
        return Reply(200, {"problem": problem, "arrivals": documents, "files": files})

    async def change(self, ask: Ask) -> Reply:
        """Answer `PATCH /v1/arrivals/{name}`: its next files are for another version of its flow."""
        fields, name = requests.known_fields(ask.body, ask.content_type, ("version",)), ask.path["name"]
        version = requests.optional_line(fields, "version")
        flow = next((one.arrival.flow for one in self._watchers if one.arrival.name == name), None)
        if flow is None or self._arrivals is None:
            raise Problem("not-found", f"there is no arrival {name!r}")
        if "version" not in fields:
            raise requests.field_problem(
                "version", "is missing: a version of its flow, or null for the newest"
            )
        flow = flow.partition(":")[0]
        if version is not None:
            flow = (await require_flow(self._flows.require(f"{flow}:{version}"))).ref
        try:
            await self._arrivals.use(name, flow)
        except (ConfigurationError, KeyError) as error:  # a person may have changed the file meanwhile
            raise Problem("not-supported", f"arrival {name}: {error}") from None
        await self._store.audit.note(Act(ask.holder, MOVE, name, {"flow": flow}))
        (watcher,) = (one for one in self._watchers if one.arrival.name == name)
        return Reply(200, await self._arrival(watcher))

    async def retry(self, ask: Ask) -> Reply:
        """Answer `POST /v1/arrivals/{name}/retry`: take its failed files again, all or those of some paths."""
        fields = requests.known_fields(ask.body, ask.content_type, ("paths", "cursor"))
        name = ask.path["name"]
        paths, after = fields.get("paths") or [], fields.get("cursor") or ""
        is_list = isinstance(paths, list) and all(isinstance(one, str) for one in paths)
        if not is_list or len(paths) > 1000 or not isinstance(after, str):
            raise requests.field_problem(
                "paths", "must be an array of up to 1,000 strings, and cursor a string"
            )
        watcher = next((one for one in self._watchers if one.arrival.name == name), None)
        if watcher is None:
            raise requests.field_problem("name", f"there is no arrival {name!r}")
        taken, following = await watcher.retry(paths, after)
        if taken:
            await self._store.audit.note(Act(ask.holder, RETRY, name, {"files": len(taken)}))
        items = [
            _file(name, path, "waiting" if why else "submitted", now_text(), why, run_id)
            for path, run_id, why in taken
        ]
        return Reply(200, {"items": items, "next_cursor": following})

    @property
    def _watchers(self) -> "list[Watcher]":
        return [] if self._arrivals is None else self._arrivals.watchers

    async def _arrival(self, watcher: "Watcher") -> Json:
        arrival = watcher.arrival
        submitted, refused = await self._store.arrivals.counts(arrival.name)
        return {
            "name": arrival.name,
            "flow": arrival.flow,
            "uri": arrival.uri,
            "watched": watcher.watched or None,
            "trouble": watcher.trouble or None,
            "waiting": len(watcher.waiting),
            "submitted": submitted,
            "refused": refused,
        }

    async def _waiting(self, watchers: "Sequence[Watcher]", limit: int) -> list[Json]:
        """Return the waiting files, oldest first."""
        now = anyio.current_time()
        every = ((watcher.arrival.name, one) for watcher in watchers for one in watcher.waiting)
        return [
            _file(name, one.entry.path, "waiting", ago_text(now - one.since), one.why, one.run_id)
            for name, one in nsmallest(limit, every, key=lambda each: each[1].since)
        ]

    async def _refused(self, watchers: "Sequence[Watcher]", limit: int) -> list[Json]:
        found = [
            one
            for watcher in watchers
            for one in await self._store.arrivals.refused(watcher.arrival.name, limit)
        ]
        found.sort(key=lambda one: one.at, reverse=True)
        return [
            _file(one.arrival, one.path, "refused", one.at, one.why) | {"lies_at": aside_of(one.seen) or None}
            for one in found[:limit]
        ]

    async def _submitted(self, watchers: "Sequence[Watcher]", limit: int) -> list[Json]:
        """Return the submitted files, newest runs first."""
        names = [watcher.arrival.name for watcher in watchers]
        runs = await self._store.newest_arrived(names, limit)
        lies_at = await self._store.arrivals.put_aside([run.run_id for run in runs])
        return [
            _file(
                *(str(run.arrival), run.source_path, "submitted", run.created_at),
                *(error_of(run, lies_at.get(run.run_id)), run.run_id),
            )
            | {"status": run.status, "lies_at": lies_at.get(run.run_id)}
            for run in runs
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
        "lies_at": None,
    }
