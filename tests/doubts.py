"""A submission whose process was killed before it knew of a run, and the server that has received it, or has not."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from email.utils import formatdate
from pathlib import Path

import orjson
from fake_service import Service

from lume_async import LumeRun, Outcome, RunRequest
from lume_async._batch.journal import Journal
from lume_async.testing import FakeAnswer, FakeRequest, fake_client

REQUEST = RunRequest("f:v1", "s0", {"n": 0}, force_rerun=True)
KEEPS = {"Lume-Idempotency-Expires": "3600"}
DAY = 86_400.0


class Server:
    """The service with a clock of its own in `Date`, more or fewer abilities, and a memory for keys that ends.

    Attributes:
        ahead: how many seconds its clock is ahead of the true time.
        busy: whether it refuses whatever has no key that it knows, as the newest run is still under way.
        holds: whether it refuses a source that a run has processed, without `force_rerun`.
        full: for how many more submissions it has no room.
        before: gives another answer in place of its own, or None.
    """

    def __init__(
        self, *, idempotency: bool = False, headers: dict[str, str] | None = None, ahead: float = 0.0
    ) -> None:
        self.service = Service(capabilities=["idempotency"] if idempotency else [])
        self.clock = self.service.clock
        self.headers = headers or {}
        self.ahead = ahead
        self.dated = True
        self.listing: FakeAnswer | Exception | None = None
        self.busy = self.holds = False
        self.full = 0
        self.before: Callable[[FakeRequest], FakeAnswer | Exception | None] = lambda request: None

    @property
    def created(self) -> list[str]:
        return self.service.created

    @property
    def paths(self) -> list[str]:
        return [f"{request.method} {request.path.partition('?')[0]}" for request in self.service.log]

    def forget_keys(self) -> None:
        self.service.keys.clear()

    @property
    def known_keys(self) -> dict[str, str]:
        return self.service.keys if "idempotency" in self.service.capabilities else {}

    def _refuses(self, request: FakeRequest) -> bool:
        held = self.holds and bool(self.created) and not request.json()["force_rerun"]
        return (self.busy or held) and request.headers["Idempotency-Key"] not in self.known_keys

    def _in_progress(self) -> FakeAnswer:
        """A 409 that names the newest run."""
        kind = "urn:lume:problem:run-in-progress"
        offered = {"Lume-Capabilities": ", ".join(self.service.capabilities)}
        return FakeAnswer(409, {"type": kind, "status": 409, "run_id": self.created[-1]}, offered)

    def _answer(self, request: FakeRequest) -> FakeAnswer | Exception:
        if (answer := self.before(request)) is not None:
            return answer
        submits = request.method == "POST"
        answer = self.listing if not submits and request.path.startswith("/v1/runs?") else None
        if self.full and submits:
            self.full -= 1
            answer = FakeAnswer(503, {}, {"Retry-After": "1"})
        elif submits and self._refuses(request):
            answer = self._in_progress()
        if answer is None:
            return self.service(request)
        self.service.log.append(request)
        return answer

    def __call__(self, request: FakeRequest) -> FakeAnswer | Exception:
        answer = self._answer(request)
        if isinstance(answer, Exception):
            return answer
        now = 1_700_000_000 + self.clock.now() + self.ahead
        date = {"Date": formatdate(int(now), usegmt=True)} if self.dated else {}
        body = _shifted(answer.body, self.ahead)
        return FakeAnswer(answer.status, body, {**answer.headers, **date, **self.headers}, answer.took)


def _shifted(body: object, ahead: float) -> object:
    """The times of a run, or of all runs of a list, by that clock."""
    if isinstance(body, dict) and "items" in body:
        return {**body, "items": [_shifted(item, ahead) for item in body["items"]]}
    if isinstance(body, dict) and body.get("created_at"):
        created = datetime.fromisoformat(body["created_at"]) + timedelta(seconds=ahead)
        return {**body, "created_at": created.isoformat()}
    return body


def commit(server: Server, request: RunRequest = REQUEST, key: str = "the-key") -> None:
    """What the killed process has sent arrives, and its answer does not."""
    body = {
        "flow_version": request.flow_version,
        "source_path": request.source_path,
        "run_metadata": request.run_metadata,
        "force_rerun": request.force_rerun,
        "seeds": request.seeds,
        "layout": request.layout,
    }
    server.service(FakeRequest("POST", "/v1/runs", {"Idempotency-Key": key}, orjson.dumps(body)))
    server.service.log.clear()


def killed(path: Path, at: float, *, by_server: bool = False, request: RunRequest = REQUEST) -> None:
    journal = Journal.open(path)
    journal.sending(0, request, "the-key", at, by_server=by_server)
    journal.close()


async def resumed(
    server: Server, path: Path, request: RunRequest = REQUEST, **options: object
) -> Outcome[LumeRun]:
    client, _ = fake_client(server, clock=server.clock)
    outcomes: AsyncIterator[Outcome[LumeRun]] = client.run_many([request], journal=path, **options)  # type: ignore[arg-type]
    (outcome,) = [outcome async for outcome in outcomes]
    return outcome
