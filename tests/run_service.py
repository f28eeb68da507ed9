"""A tiny run service in memory: the wire contract v1 with every misbehaviour that a test may ask for.

    async with RunService(statuses=["CREATED", "TRANSFORMING", "SUCCEEDED"]) as service:
        service.lose(reset(), committed=True)          # the next POST starts a run, its answer is lost
        async with Client(service.api_key, base_url=service.url) as client:
            run = await client.run("flow:v1", "a.csv")
    assert len(service.runs) == 1

Every look at a run (or at the change feed) moves it one status on; with `by_hand=True` only `move()` does, and a
`Prefer: wait` is held until then.
"""

import asyncio
import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from loopback import Loopback
from loopback_steps import Connection, Moment, Reply, Request, Step, reply

ALL = ("idempotency", "wait", "changes", "cancel")
ENDED = ("SUCCEEDED", "PARTIAL_FAILED", "FAILED", "CRASHED", "CANCELLED")
Statuses = Sequence[str] | Callable[[dict[str, Any]], Sequence[str]]
"""What a run goes through; a function chooses by the body of its POST."""


@dataclass
class FakeRun:
    id: str
    body: dict[str, Any]
    statuses: Sequence[str]
    created_at: str
    key: str | None = None
    at: int = 0
    looks: int = 0
    """How often it was asked for."""
    finished_at: str | None = None
    moved: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def status(self) -> str:
        return self.statuses[self.at]

    @property
    def etag(self) -> str:
        return f'"{self.id}-{self.at}"'

    @property
    def ended(self) -> bool:
        return self.at == len(self.statuses) - 1 and self.status in ENDED

    def json(self) -> dict[str, Any]:
        reached = self.status in ("SUCCEEDED", "PARTIAL_FAILED")
        place = f"/out/{self.id}" if reached else None
        return {
            "id": self.id,
            "status": self.status,
            "flow_version": self.body["flow_version"],
            "source_path": self.body["source_path"],
            "run_metadata": self.body.get("run_metadata"),
            "force_rerun": self.body.get("force_rerun", False),
            "created_at": self.created_at,
            "started_at": self.created_at if self.at else None,
            "finished_at": self.finished_at,
            "metadata": {
                "target_locations": {"mapped": place, "rejects": place},
                "error_message": "it broke" if self.status in ("FAILED", "CRASHED") else None,
            },
        }


@dataclass
class Held:
    """Waits for a change, N seconds at the most, and then answers."""

    changed: Callable[[], asyncio.Event]
    seconds: float
    answer: Callable[[], Reply]
    moment: Moment = "request"

    async def play(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self.seconds):
                await self.changed().wait()
        except TimeoutError:
            pass
        await self.answer().play(connection)


class RunService(Loopback):
    """The service.

    Args:
        statuses: what each run goes through.
        capabilities: what the service says (and does); `()` is a bare server that knows POST and GET only.
        by_hand: runs move only by `move()`.
        etags: whether runs carry an ETag, and 304 is answered.
        grace: so many first looks at a run are answered with 404.
        rate: requests per second; more are answered with 429. A bucket of `burst` tokens.
        retry_after: the Retry-After of such a 429.
    """

    def __init__(
        self,
        statuses: Statuses = ("CREATED", "TRANSFORMING", "SUCCEEDED"),
        *,
        capabilities: Iterable[str] = ALL,
        api_key: str = "test-key",
        by_hand: bool = False,
        etags: bool = True,
        grace: int = 0,
        rate: float | None = None,
        burst: int = 10,
        retry_after: str | None = None,
        refusing: bool = False,
    ) -> None:
        super().__init__(self._step, refusing=refusing)
        self.capabilities = set(capabilities)
        self.api_key = api_key
        self.runs: dict[str, FakeRun] = {}
        self.submissions: Counter[str | None] = Counter()
        """How often each idempotency key was posted."""
        self.refusals = 0
        """How many requests met the rate limit."""
        self.feed: list[dict[str, Any]] = []
        self._by_key: dict[str, FakeRun] = {}
        self._by_source: defaultdict[tuple[str, str], list[FakeRun]] = defaultdict(list)
        self._statuses = statuses
        self._by_hand = by_hand
        self._etags = etags
        self._grace = grace
        self._rate, self._burst, self._tokens, self._filled_at = rate, burst, float(burst), 0.0
        self._retry_after = retry_after
        self._lost: deque[tuple[Step, bool]] = deque()
        self._faults: deque[Step | None] = deque()
        self._feed_moved = asyncio.Event()
        self._request_ids = itertools.count(1)

    def lose(self, answer: Step, *, committed: bool) -> None:
        """The next POST gets this instead of its answer, after (or before) the run was made."""
        self._lost.append((answer, committed))

    def fault(self, *answers: Step | None) -> None:
        """The next GETs get these instead of their answers; None: the true one."""
        self._faults.extend(answers)

    def add(self, flow_version: str = "flow:v1", source_path: str = "a.csv", **body: Any) -> FakeRun:
        """A run that somebody else submitted."""
        return self._start({"flow_version": flow_version, "source_path": source_path, **body}, None)

    def move(self, run: FakeRun, status: str | None = None) -> None:
        """One status on, or to another one for good."""
        if status is not None:
            run.statuses = [*run.statuses[: run.at + 1], status]
        if run.at + 1 < len(run.statuses):
            run.at += 1
            run.finished_at = now() if run.ended else None
            self._tell(run)

    def _step(self, request: Request) -> Step:
        if not self._has_token():
            self.refusals += 1
            headers = {} if self._retry_after is None else {"Retry-After": self._retry_after}
            return self._problem(429, "rate-limit", headers=headers)
        if request.path != "/healthz" and request.headers.get("lume-api-key") != self.api_key:
            return self._problem(401, "unauthorized")
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["healthz"]:
                return self._json(200, {"status": "ok"})
            case "POST", ["v1", "runs"]:
                return self._submit(request)
            case "POST", ["v1", "runs", run_id, "cancel"] if "cancel" in self.capabilities:
                return self._cancel(run_id)
            case "GET", ["v1", "runs", run_id]:
                return self._next_fault() or self._status(request, run_id)
            case "GET", ["v1", "runs"]:
                return self._next_fault() or self._list(request)
            case "GET", ["v1", "changes"] if "changes" in self.capabilities:
                return self._next_fault() or self._changes(request)
        return self._problem(404, "not-found")

    def _next_fault(self) -> Step | None:
        return self._faults.popleft() if self._faults else None

    def _submit(self, request: Request) -> Step:
        key = request.headers.get("idempotency-key")
        self.submissions[key] += 1
        lost, committed = self._lost.popleft() if self._lost else (None, True)
        answer = self._commit(request.json(), key) if committed else None
        step = lost or answer
        assert step is not None
        return step

    def _commit(self, body: dict[str, Any], key: str | None) -> Reply:
        if key is not None and "idempotency" in self.capabilities:
            known = self._by_key.get(key)
            if known is not None:
                same = known.body == body
                return self._run(200, known) if same else self._problem(422, "idempotency-key-reused")
        if not body.get("force_rerun"):
            holder = self._holder(body)
            if holder is not None:
                kind = "already-processed" if holder.ended else "run-in-progress"
                return self._problem(409, kind, run_id=holder.id)
        run = self._start(body, key)
        return self._run(201, run, headers={"Location": f"/v1/runs/{run.id}"})

    def _holder(self, body: dict[str, Any]) -> FakeRun | None:
        """The run that has processed the source, or is at it."""
        for run in self._by_source[body["flow_version"], body["source_path"]]:
            if not run.ended or run.status in ("SUCCEEDED", "PARTIAL_FAILED"):
                return run
        return None

    def _start(self, body: dict[str, Any], key: str | None) -> FakeRun:
        statuses = self._statuses(body) if callable(self._statuses) else self._statuses
        run = FakeRun(f"run_{len(self.runs) + 1}", body, list(statuses), now(), key)
        run.finished_at = run.created_at if run.ended else None
        self.runs[run.id] = run
        self._by_source[body["flow_version"], body["source_path"]].append(run)
        if key is not None:
            self._by_key[key] = run
        self._tell(run)
        return run

    def _status(self, request: Request, run_id: str) -> Step:
        run = self.runs.get(run_id)
        if run is None:
            return self._problem(404, "run-not-found")
        run.looks += 1
        if run.looks <= self._grace:
            return self._problem(404, "run-not-found")
        if not self._by_hand:
            self.move(run)
        known = request.headers.get("if-none-match") if self._etags else None

        def answer() -> Reply:
            return self._json(304, None, {"ETag": run.etag}) if known == run.etag else self._run(200, run)

        seconds = self._hold(request)
        if seconds is None or known != run.etag or run.ended:
            return answer()
        return Held(lambda: run.moved, seconds, answer)

    def _changes(self, request: Request) -> Step:
        if not self._by_hand and "after" in request.query:
            for run in self.runs.values():
                self.move(run)
        after = int(request.query.get("after", len(self.feed)))

        def answer() -> Reply:
            return self._json(200, {"items": self.feed[after:], "next_cursor": str(len(self.feed))})

        seconds = self._hold(request)
        if seconds is None or len(self.feed) > after or "after" not in request.query:
            return answer()
        return Held(lambda: self._feed_moved, seconds, answer)

    def _list(self, request: Request) -> Reply:
        query = request.query
        wanted = {name: query[name] for name in ("flow_version", "source_path", "status") if name in query}
        found = [
            run.json()
            for run in reversed(self.runs.values())
            if all(run.json()[name] == value for name, value in wanted.items())
        ]
        start, size = int(query.get("cursor", 0)), int(query.get("limit", 100))
        more = start + size < len(found)
        return self._json(
            200,
            {"items": found[start : start + size], "next_cursor": str(start + size) if more else None},
        )

    def _cancel(self, run_id: str) -> Reply:
        run = self.runs.get(run_id)
        if run is None:
            return self._problem(404, "run-not-found")
        if run.ended:
            return self._run(200, run)
        self.move(run, "CANCELLED")
        return self._run(202, run)

    def _tell(self, run: FakeRun) -> None:
        """Wake who waits. Each event serves one change, so that nobody wakes for an old one."""
        self.feed.append({"id": run.id, "status": run.status, "finished_at": run.finished_at})
        run.moved.set()
        self._feed_moved.set()
        run.moved, self._feed_moved = asyncio.Event(), asyncio.Event()

    def _hold(self, request: Request) -> float | None:
        name, _, seconds = request.headers.get("prefer", "").partition("=")
        return float(seconds) if name == "wait" and "wait" in self.capabilities else None

    def _has_token(self) -> bool:
        if self._rate is None:
            return True
        time = asyncio.get_running_loop().time()
        self._tokens = min(self._burst, self._tokens + (time - self._filled_at) * self._rate)
        self._filled_at = time
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _run(self, status: int, run: FakeRun, headers: dict[str, str] | None = None) -> Reply:
        tag = {"ETag": run.etag} if self._etags else {}
        return self._json(status, run.json(), {**tag, **(headers or {})})

    def _problem(
        self, status: int, kind: str, *, headers: dict[str, str] | None = None, **extra: Any
    ) -> Reply:
        body = {"type": f"urn:lume:problem:{kind}", "title": kind, "status": status, "detail": kind, **extra}
        return self._json(status, body, {"Content-Type": "application/problem+json", **(headers or {})})

    def _json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> Reply:
        common = {"X-Request-Id": f"req_{next(self._request_ids)}"}
        if self.capabilities:
            common["Lume-Capabilities"] = ", ".join(c for c in ALL if c in self.capabilities)
        return reply(status, b"" if body is None else body, headers={**common, **(headers or {})})


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
