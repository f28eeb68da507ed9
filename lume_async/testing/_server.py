"""`SimulatedServer`: a run service in memory, after the contract, with any part of what servers can offer."""

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache, partial
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

import orjson
from attrs import define, field, frozen

from lume_async._base import arguments
from lume_async.models import Json
from lume_async.testing._chance import Chance
from lume_async.testing._fakes import FakeAnswer, FakeRequest, run_json
from lume_async.testing._habits import Habits
from lume_async.testing._transfers import SimulatedFiles

OFFERS = ("idempotency", "wait", "changes", "cancel")
"""The capabilities that a simulated server can announce."""
ROUTES = ("list", "health", "changes", "cancel")
"""Routes that a server may lack, also one that it announces."""
WITH_OUTPUT = ("SUCCEEDED", "PARTIAL_FAILED")
MISSING = (404, 405, 501)
"""The answers to what a server lacks."""
FREE = ("FAILED", "CANCELLED")
"""Ends after which another run may have the source."""
EPOCH = 1_700_000_000.0
"""The wall clock at the loop's time 0, in seconds since the epoch."""


@define
class SimulatedRun:
    """A run of a simulated server.

    Attributes:
        id: its ID.
        body: the body of the submission that started it.
        key: the idempotency key of that submission.
        changes: its statuses with the loop's time of each, in seconds; the last one is its end.
    """

    id: str
    body: dict[str, Any]
    key: str | None
    changes: list[tuple[float, str]]

    @property
    def source_path(self) -> str:
        """The source of the run."""
        return str(self.body["source_path"])

    def status_at(self, now: float) -> tuple[int, str]:
        """Return the number of its changes so far, and its status."""
        count = max(1, bisect_right(self.changes, now, key=lambda change: change[0]))
        return count, self.changes[count - 1][1]


@frozen
class HeldAnswer:
    """An answer that is held back: `again` gives the answer or holds on; ask it at `due` at the latest."""

    due: float
    again: Callable[[], "FakeAnswer | HeldAnswer"]


Answer: TypeAlias = "FakeAnswer | HeldAnswer"


@define
class RequestLimit:
    """A limit of requests: `rate` a second in a bucket of `burst`, with the header that tells it or without."""

    rate: float
    burst: float
    tells: bool = True
    left: float = field(init=False)
    at: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.left = self.burst

    def takes(self, now: float) -> bool:
        """Return whether a request is taken now, in seconds of the loop.

        Examples:
            >>> print(RequestLimit(rate=5, burst=1).takes(0.0))
            True
        """
        passed = max(0.0, now - self.at)
        self.left, self.at = min(self.burst, self.left + passed * self.rate), now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class SimulatedServer:
    """A run service in memory, for `simulate`: it has what the client asks for, and the capabilities that you choose.

    Args:
        offers: its capabilities: "idempotency", "wait", "changes" and "cancel"; default: all of them.
        lacks: the routes that it lacks ("list", "health", "changes", "cancel"), and the status with which it answers
            there: 404, 405, 501.
        lasts: the seconds that a run takes, or a function of the body of its submission.
        ends_as: the status in which a run ends, or a function of the body of its submission.
        keys_kept: the seconds for which it keeps idempotency keys; None: it does not announce it, and keeps them.
        limit: the limit of its requests.
        grace: seconds after which a new run is found by its ID.
        include: what becomes of `include=run` in the change feed: "known", "ignored" or "refused".
        clock: its clock minus the true time, in seconds.

    Attributes:
        runs: the runs by ID, in the order of their start.
        requests: the number of requests by method and route, such as `GET /v1/runs/{id}`.
        refused: the number of requests that the limit has refused.
        now: the end of the last simulation, in seconds of the loop; the next one with this server begins there.
        lost: runs that a restart has forgotten.
        files: the uploads, and the outputs of runs on them.

    Examples:
        >>> server = SimulatedServer(offers=["idempotency"], lasts=30)
        >>> async def load() -> None:
        ...     async with Client("key", base_url="http://lume.test") as client:
        ...         await (await client.run("customer_cleaner:v1", "january.csv")).wait()
        >>> simulate(load, server, seed=7)
        >>> assert not server.doubled()
    """

    def __init__(
        self,
        *,
        offers: Iterable[str] = OFFERS,
        lacks: Mapping[str, int] | None = None,
        lasts: float | Callable[[dict[str, Any]], float] = 5.0,
        ends_as: str | Callable[[dict[str, Any]], str] = "SUCCEEDED",
        keys_kept: float | None = 86_400.0,
        limit: RequestLimit | None = None,
        grace: float = 0.0,
        include: str = "known",
        clock: float = 0.0,
    ) -> None:
        self.offers: frozenset[str] = frozenset(arguments.several(offers, "offers", "capabilities"))
        for offer in self.offers:
            arguments.choice(offer, "offers", OFFERS)
        for route, status in (lacks or {}).items():
            arguments.choice(route, "lacks", ROUTES)
            arguments.choice(status, f"lacks[{route!r}]", MISSING)
        arguments.choice(include, "include", ("known", "ignored", "refused"))
        self.now: float = 0.0
        self.runs: dict[str, SimulatedRun] = {}
        self.lost: list[SimulatedRun] = []
        self.files: SimulatedFiles = SimulatedFiles()
        self.requests: dict[str, int] = {}
        self.refused: int = 0
        self.clock: float = clock
        self.lacks: dict[str, int] = dict(lacks or {})
        self._lasts = lasts if callable(lasts) else lambda _: lasts
        self._ends_as = ends_as if callable(ends_as) else lambda _: ends_as
        self._keys_kept = keys_kept
        # Its own bucket: the limit may be a constant of several servers.
        self.limit: RequestLimit | None = limit and RequestLimit(limit.rate, limit.burst, limit.tells)
        self._grace = grace
        self._include = include
        self._keys: dict[str, tuple[str, float]] = {}
        self._by_source: dict[bytes, list[SimulatedRun]] = {}
        self._feed: list[tuple[float, int, str, str]] = []
        self._count = 0
        self._life = 0
        self._headers: dict[str, str] = {}
        self._answers = 0
        self._habits = Habits()
        self.on_run: dict[Callable[[], object], None] = {}
        if self.offers:
            self._headers["Lume-Capabilities"] = ", ".join(sorted(self.offers))
        if "idempotency" in self.offers and keys_kept is not None:
            self._headers["Lume-Idempotency-Expires"] = f"{keys_kept:.0f}"

    @classmethod
    def drawn(cls, chance: Chance) -> "SimulatedServer":
        """Return a server with capabilities, limits and habits that are drawn.

        Examples:
            >>> server = SimulatedServer.drawn(Chance(7))
        """
        random = chance.random
        offers = [name for name in OFFERS if not chance.happens(0.2, f"the server has no {name}")]
        lacks = {
            name: chance.pick(f"{name} is answered", [404, 405, 501])
            for name in ROUTES
            if chance.happens(0.15 if name not in OFFERS else 0.05, f"the server has no route for {name}")
        }
        limit = None
        if chance.happens(0.1, "the server has a limit"):
            limit = RequestLimit(random.choice([1, 5, 20]), random.choice([1, 5, 20]), random.random() < 0.5)
        lasts = random.choice([0.0, 1.0, 8.0, 60.0])
        habits = Habits.drawn(chance)
        server = cls(
            offers=offers,
            lacks=lacks,
            lasts=lambda body: lasts * (0.5 + hash_of(body) % 1000 / 1000),
            ends_as=lambda body: habits.end if hash_of(body) % 4 else "FAILED",
            keys_kept=chance.pick("keys are kept", [86_400.0, None, 600.0]),
            limit=limit,
            grace=chance.pick("a run is found after", [0.0, 2.0]),
            include=chance.pick("include=run is", ["known", "ignored", "refused"]),
            clock=chance.pick("the server's clock is off by", [0.0, 3600.0, -7.5]),
        )
        server._habits = habits
        return server

    def doubled(self) -> dict[str, list[str]]:
        """Return the sources that have several runs of a flow version, with the IDs of those, FAILED ones among them.

        Examples:
            >>> assert SimulatedServer().doubled() == {}
        """
        runs = (alike for alike in self._by_source.values() if len(alike) > 1)
        return {alike[0].source_path: [run.id for run in alike] for alike in runs}

    def restart(self, *, forgets: bool = False) -> None:
        """Restart it: cursors of the change feed end; with `forgets`, all its runs and keys are lost.

        Examples:
            >>> server = SimulatedServer()
            >>> server.restart(forgets=True)
        """
        self._life += 1
        if forgets:
            self.lost += self.runs.values()
            self.runs, self._keys, self._by_source, self._feed = {}, {}, {}, []
            self.files.forget()

    def add(self, flow_version: str = "flow:v1", source_path: str = "a.csv", **body: Json) -> SimulatedRun:
        """Start a run that somebody else submitted; call it in a simulation.

        Examples:
            >>> server = SimulatedServer()
            >>> async def others() -> str:
            ...     return server.add("customer_cleaner:v1", "january.csv").id
            >>> print(simulate(others, server))
            run_0
        """
        return self._start({"flow_version": flow_version, "source_path": source_path, **body}, None)

    def answer(self, request: FakeRequest) -> Answer:
        """Answer a request, or hold it; call it in a simulation.

        Examples:
            >>> async def ask() -> int:
            ...     return SimulatedServer().answer(FakeRequest("GET", "/healthz")).status
            >>> print(simulate(ask))
            200
        """
        now = asyncio.get_running_loop().time()
        url = urlsplit(request.path)
        parts = url.path.strip("/").split("/")
        route = " ".join(
            [request.method, "/".join(["", *parts[:2], *(["{id}"] if parts[2:] else []), *parts[3:]])]
        )
        self.requests[route] = self.requests.get(route, 0) + 1
        if self.limit is not None and not self.limit.takes(now):
            self.refused += 1
            later = {"Retry-After": "1"} if self.limit.tells else {}
            return self._problem(429, "rate-limit", **later)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match request.method, parts:
            case "GET", ["healthz"]:
                return self._missing("health") or self._json(200, {"status": "ok"})
            case "POST", ["v1", "runs"]:
                return self._submit(request, now)
            case "GET", ["v1", "runs"]:
                return self._missing("list") or self._list(query, now)
            case "GET", ["v1", "runs", run_id]:
                return self._look(run_id, request, now + self._hold(request))
            case "POST", ["v1", "runs", run_id, "cancel"] if "cancel" in self.offers:
                return self._missing("cancel") or self._cancel(run_id, now)
            case "GET", ["v1", "changes"] if "changes" in self.offers:
                return self._missing("changes") or self._changes(query, now + self._hold(request))
            case _, ["v1", "uploads", name]:
                return self._of_files(self.files.on_upload(request, name))
            case "GET", ["v1", "runs", run_id, "outputs", ("mapped" | "rejects") as part]:
                return self._output(run_id, now, partial(self.files.on_output, request), part)
            case "GET", ["v1", "runs", run_id, ("mapped" | "rejects") as part]:
                return self._output(run_id, now, partial(self.files.on_rows, request, query), part)
        return self._problem(404, "not-found")

    def part(self, request: FakeRequest) -> None:
        """Take a request that broke off; its body is the part that has arrived.

        Examples:
            >>> SimulatedServer().part(FakeRequest("PUT", "/v1/uploads/a.csv", body=b"a,b"))
        """
        self.files.part(request)

    def _record(self, run: SimulatedRun, now: float) -> dict[str, Any]:
        _, status = run.status_at(now)
        end, last = run.changes[-1]
        rows = dict[str, Any](rows_read=10, rows_mapped=9, rows_rejected=1, reject_reasons={"email: bad": 1})
        started = run.changes[1][0] if len(run.changes) > 1 else None
        return run_json(
            run.id,
            status,
            **{name: run.body.get(name) for name in ("flow_version", "source_path", "run_metadata")},
            force_rerun=run.body.get("force_rerun", False),
            created_at=self._stamp(run.changes[0][0]),
            started_at=self._stamp(started) if started is not None and started <= now else None,
            finished_at=self._stamp(end) if end <= now else None,
            metadata={"metrics": rows} if end <= now and last in WITH_OUTPUT else {},
        )

    def _stamp(self, moment: float) -> str:
        """Return a moment of the loop as text, by this server's clock."""
        return datetime.fromtimestamp(EPOCH + moment + self.clock, UTC).isoformat(
            timespec=self._habits.stamps
        )

    def _submit(self, request: FakeRequest, now: float) -> FakeAnswer:
        body, key = request.json(), request.headers.get("Idempotency-Key")
        if "idempotency" in self.offers and key in self._keys:
            run_id, since = self._keys[key]
            if self._keys_kept is None or now - since <= self._keys_kept:
                same = self.runs[run_id].body == body
                return (
                    self._run(200, self.runs[run_id], now)
                    if same
                    else self._problem(422, "idempotency-key-reused")
                )
        if not body.get("force_rerun"):
            for run in self._by_source.get(source_of(body), ()):
                _, status = run.status_at(now)
                ended = run.changes[-1][0] <= now
                if not ended or status not in FREE:
                    kind = "already-processed" if ended else "run-in-progress"
                    return self._problem(409, kind, run_id=run.id)
        quiet = {"Retry-After": f"{self._habits.asks:g}"} if self._habits.asks else {}
        return self._run(201, self._start(body, key), now, **quiet)

    def _start(self, body: dict[str, Any], key: str | None) -> SimulatedRun:
        now = asyncio.get_running_loop().time()
        lasts = self._lasts(body)
        end = self._ends_as(body)
        if end == "SUCCEEDED" and self.files.has_rejects(str(body["source_path"])):
            end = "PARTIAL_FAILED"
        statuses = ["CREATED", "SYNCING_SOURCE", self._habits.stage, "SYNCING_TARGET", end]
        changes = [(now + lasts * n / (len(statuses) - 1), status) for n, status in enumerate(statuses)]
        run = SimulatedRun(f"run_{self._count}", body, key, changes)
        self._count += 1
        self.runs[run.id] = run
        self._by_source.setdefault(source_of(body), []).append(run)
        if key is not None:
            self._keys[key] = run.id, now
        for n, (at, status) in enumerate(changes):
            insort(self._feed, (at, n, run.id, status))
        for listener in list(self.on_run):
            listener()
        return run

    def _look(self, run_id: str, request: FakeRequest, until: float) -> Answer:
        now = self._now
        run = self.runs.get(run_id)
        if run is None or now - run.changes[0][0] < self._grace:
            return self._problem(404, "run-not-found")
        count, _ = run.status_at(now)
        if request.headers.get("If-None-Match") != f'"{count}"':
            return self._run(200, run, now)
        if until > now and count < len(run.changes):
            return HeldAnswer(min(until, run.changes[count][0]), lambda: self._look(run_id, request, until))
        return FakeAnswer(304, b"", self._with(self._tag(count)))

    def _changes(self, query: dict[str, str], until: float) -> Answer:
        now = self._now
        if "include" in query and self._include == "refused":
            return self._problem(400, "invalid-request")
        after = query.get("after")
        known = bisect_right(self._feed, now, key=lambda change: change[0])
        if after is None:
            return self._json(200, {"items": [], "next_cursor": f"{self._life}.{known}"})
        life, _, first = after.partition(".")
        feed, asked = self._habits.feed, self.requests.get("GET /v1/changes", 0)
        if feed == "forgets" and asked % 7 == 0:
            self._life += 1
        if life != str(self._life) or not first.isdecimal():
            return self._problem(400, "invalid-cursor")
        if feed == "silent":
            first = str(known)
        elif feed == "repeats":
            first = str(max(0, known - 20))
        if known <= int(first) and until > now:
            due = self._feed[known][0] if known < len(self._feed) else until
            return HeldAnswer(min(until, due), lambda: self._changes(query, until))
        last = min(known, int(first) + int(query.get("limit", "500")))
        items = [
            self._change(*change, now, include="include" in query)
            for change in self._feed[int(first) : last]
            if feed != "repeats" or change[1] < len(self.runs[change[2]].changes) - 1
        ]
        return self._json(200, {"items": items, "next_cursor": f"{self._life}.{last}"})

    def _change(
        self, at: float, n: int, run_id: str, status: str, now: float, *, include: bool
    ) -> dict[str, Any]:
        run = self.runs[run_id]
        is_end = n == len(run.changes) - 1
        change = {"id": run_id, "status": status, "finished_at": self._stamp(at) if is_end else None}
        with_run = is_end and include and self._include == "known"
        return change | {"run": self._record(run, now)} if with_run else change

    def _list(self, query: dict[str, str], now: float) -> FakeAnswer:
        names = [name for name in ("flow_version", "source_path", "status") if name in query]
        found = [
            record
            for record in (self._record(run, now) for run in reversed(self.runs.values()))
            if all(record[name] == query[name] for name in names)
        ]
        if not query.get("cursor", "0").isdecimal():
            return self._problem(400, "invalid-cursor")
        if "cursor" in query:  # a run that began meanwhile moves no other to the next page
            last = int(query["cursor"])
            found = [record for record in found if number_of(record) < last]
        page = found[: min(self._habits.page, int(query.get("limit", "100")))]
        more = str(number_of(page[-1])) if len(page) < len(found) else None
        return self._json(200, {"items": page, "next_cursor": more})

    def _cancel(self, run_id: str, now: float) -> FakeAnswer:
        run = self.runs.get(run_id)
        if run is None:
            return self._problem(404, "run-not-found")
        count, _ = run.status_at(now)
        if count == len(run.changes):
            return self._run(200, run, now)
        for n, change in enumerate(run.changes[count:], count):
            del self._feed[bisect_left(self._feed, (change[0], n, run.id, change[1]))]
        run.changes[count:] = [(now, "CANCELLED")]
        insort(self._feed, (now, count, run.id, "CANCELLED"))
        for listener in list(self.on_run):
            listener()
        return self._run(202, run, now)

    def _output(
        self, run_id: str, now: float, answer: Callable[[str, str, str], FakeAnswer], part: str
    ) -> FakeAnswer:
        run = self.runs.get(run_id)
        if run is None:
            return self._problem(404, "run-not-found")
        if run.changes[-1][0] > now:
            return self._problem(409, "run-not-ended")
        if run.changes[-1][1] not in WITH_OUTPUT:
            return self._problem(404, "no-output")
        return self._of_files(answer(run_id, run.source_path, part))

    def _of_files(self, answer: FakeAnswer) -> FakeAnswer:
        body = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
        return FakeAnswer(answer.status, body, {**self._with({}), **answer.headers})

    def _missing(self, route: str) -> FakeAnswer | None:
        return self._problem(self.lacks[route], "not-found") if route in self.lacks else None

    def _hold(self, request: FakeRequest) -> float:
        name, _, seconds = request.headers.get("Prefer", "").partition("=")
        return float(seconds) if name == "wait" and "wait" in self.offers else 0.0

    def _run(self, status: int, run: SimulatedRun, now: float, **headers: str) -> FakeAnswer:
        count, _ = run.status_at(now)
        return self._json(status, self._record(run, now), **self._tag(count), **headers)

    def _tag(self, count: int) -> dict[str, str]:
        return {"ETag": f'"{count}"'} if self._habits.etags else {}

    def _problem(self, status: int, kind: str, run_id: str | None = None, **headers: str) -> FakeAnswer:
        body = {"type": f"urn:lume:problem:{kind}", "title": kind, "status": status, "detail": kind}
        return self._json(status, body | ({"run_id": run_id} if run_id else {}), **headers)

    def _json(self, status: int, body: object, **headers: str) -> FakeAnswer:
        return FakeAnswer(status, orjson.dumps(body), self._with(headers))

    def _with(self, headers: dict[str, str]) -> dict[str, str]:
        self._answers += 1
        every = self._habits.announces
        return {
            "Date": _date(int(EPOCH + self._now + self.clock)),
            **(self._headers if every and self._answers % every == 0 else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()


@lru_cache(1000)
def _date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


def number_of(record: dict[str, Any]) -> int:
    """Return the place of a run among all."""
    return int(record["id"].removeprefix("run_"))


def source_of(body: dict[str, Any]) -> bytes:
    """Return what makes two submissions the same work."""
    return orjson.dumps([body.get(name) for name in ("flow_version", "source_path", "seeds", "layout")])


def hash_of(body: dict[str, Any]) -> int:
    """Return a number that depends on the source only, in every process the same."""
    return sum(n * byte for n, byte in enumerate(str(body["source_path"]).encode(), 17))
