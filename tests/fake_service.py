"""A run service without sockets, for `fake_client`: runs end after their time on the fake clock."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from lume_async import Client, LumeRun, Monitor, RunEvent
from lume_async.testing import FakeAnswer, FakeClock, FakeRequest, fake_client, run_json


class Service:
    """Answers requests; `lasts` says how many seconds a run needs, `broken` which ids answer with what.

    Args:
        include: what becomes of `include=run`: "known", "ignored" or "refused".

    Attributes:
        looks: how often each run was looked at.
        created: the ids of submitted runs, in order.
    """

    def __init__(
        self,
        *,
        capabilities: Iterable[str] = (),
        lasts: float = 3.0,
        status: str = "SUCCEEDED",
        include: str = "ignored",
    ) -> None:
        self.clock = FakeClock(0.0)
        self.capabilities = set(capabilities)
        self.lasts = lasts
        self.status = status
        self.include = include
        self.begun: dict[str, float] = {}
        self.ends_as: dict[str, str] = {}
        self.broken: dict[str, FakeAnswer | Exception] = {}
        self.looks: dict[str, int] = {}
        self.created: list[str] = []
        self.sources: dict[str, dict[str, object]] = {}
        self.keys: dict[str, str] = {}
        self.log: list[FakeRequest] = []

    def __call__(self, request: FakeRequest) -> FakeAnswer | Exception:
        self.log.append(request)
        path = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(path.query).items()}
        if path.path == "/healthz":
            return self._answer(200, {})
        if path.path == "/v1/changes":
            return self._changes(query.get("after"), with_runs="include" in query)
        if path.path == "/v1/runs":
            return self._submit(request) if request.method == "POST" else self._list(query)
        return self._look(path.path.rsplit("/", 1)[1])

    def run(self, run_id: str, now: float | None = None) -> dict[str, object]:
        now = self.clock.now() if now is None else now
        begun = self.begun.setdefault(run_id, now)
        ended = now - begun >= self.lasts
        status = self.ends_as.get(run_id, self.status) if ended else "TRANSFORMING"
        metrics = {"rows_read": 10, "rows_mapped": 9, "rows_rejected": 1, "reject_reasons": {"email: bad": 1}}
        return run_json(
            run_id,
            status,
            created_at=_time(begun),
            started_at=_time(begun),
            finished_at=_time(begun + self.lasts) if ended else None,
            metadata={"metrics": metrics} if ended else {},
            **self.sources.get(run_id, {}),
        )

    def _look(self, run_id: str) -> FakeAnswer | Exception:
        self.looks[run_id] = self.looks.get(run_id, 0) + 1
        return self.broken.get(run_id) or self._answer(200, self.run(run_id))

    def _submit(self, request: FakeRequest) -> FakeAnswer | Exception:
        body, key = request.json(), request.headers["Idempotency-Key"]
        if str(body["source_path"]) in self.broken:
            return self.broken[str(body["source_path"])]
        if "idempotency" in self.capabilities and key in self.keys:
            return self._answer(200, self.run(self.keys[key]))
        run_id = f"run_{len(self.created)}"
        self.created.append(run_id)
        self.keys[key] = run_id
        seeds = {name: {"source_path": path} for name, path in (body.get("seeds") or {}).items()}
        self.sources[run_id] = {**body, "seeds": seeds}
        return self._answer(201, self.run(run_id))

    def _list(self, query: dict[str, str]) -> FakeAnswer:
        begin, size = int(query.get("cursor", "0")), int(query.get("limit", "2"))
        found = [run for run in map(self.run, reversed(self.created)) if self._matches(run, query)]
        more = str(begin + size) if begin + size < len(found) else None
        return self._answer(200, {"items": found[begin : begin + size], "next_cursor": more})

    def _matches(self, run: dict[str, object], query: dict[str, str]) -> bool:
        return all(
            run[name] == query[name] for name in ("flow_version", "source_path", "status") if name in query
        )

    def _changes(self, after: str | None, *, with_runs: bool) -> FakeAnswer:
        """Ends since the cursor (a time); where there are none, the answer takes until there is one."""
        if "changes" not in self.capabilities:
            return FakeAnswer(404, {"detail": "no such place"})
        if with_runs and self.include == "refused":
            return self._answer(400, {"detail": "'include' is not a parameter here"})
        now = self.clock.now()
        if after is None:
            return self._answer(200, {"items": [], "next_cursor": repr(now)})
        ends = {run_id: begun + self.lasts for run_id, begun in self.begun.items()}
        coming = [end for end in ends.values() if end > float(after)]
        until = max(now, min([*coming, now + 30.0])) if "wait" in self.capabilities else now
        items: list[dict[str, object]] = [
            {"id": run_id, "status": self.ends_as.get(run_id, self.status), "finished_at": _time(end)}
            for run_id, end in ends.items()
            if float(after) < end <= until
        ]
        if with_runs and self.include == "known":
            items = [item | {"run": self.run(str(item["id"]), until)} for item in items]
        return self._answer(200, {"items": items, "next_cursor": repr(until)}, took=until - now)

    def _answer(self, status: int, body: object, took: float = 0.0) -> FakeAnswer:
        offered = {"Lume-Capabilities": ", ".join(sorted(self.capabilities))}
        return FakeAnswer(status, body, offered, took=took)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(1_700_000_000 + seconds, UTC).isoformat()


def client_of(service: Service) -> Client:
    """A client whose time is the service's."""
    return fake_client(service, clock=service.clock)[0]


async def ends(monitor: Monitor, count: int) -> list[RunEvent[LumeRun]]:
    """The next so many events that are the last of their run."""
    found: list[RunEvent[LumeRun]] = []
    async for event in monitor:
        if event.error is not None or event.run.is_terminal:
            found.append(event)
            if len(found) == count:
                break
    return found


def other_tasks() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
