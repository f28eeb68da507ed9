"""Other run services, with other promises than Lume's: what the client sends to them, and simulated servers of each.

They are written after real ones, as far as a submission and its run are concerned: the key is an attribute of the run
(like Prefect), it is the name of the run (like Airflow), a label by which runs are found, or there is none.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, unquote, urlsplit

import orjson

from lume_async import Client, RunStatus
from lume_async._wire.answers import decode_object, reread
from lume_async._wire.call import Call, Response
from lume_async._wire.endpoints import Polled, Submitted
from lume_async._wire.service import FOR_EVER, Promises, Service
from lume_async.errors import ApiError, DuplicateRunError, ResponseDecodeError
from lume_async.models import RunRecord, RunRequest
from lume_async.testing import Chance, FakeAnswer, FakeRequest, SimulatedServer
from lume_async.testing._habits import Habits
from lume_async.testing._server import SimulatedRun, hash_of

Find = Callable[[RunRequest, str], Call[Sequence[RunRecord]]]
DROPPED = ("seeds", "data", "layout", "priority", "webhook_url")
STATES = {"SUCCEEDED": "success", "FAILED": "failed", "CANCELLED": "cancelled"}
"""Every other one is "running"."""
STATUSES = {state: RunStatus(status) for status, state in STATES.items()} | {"running": RunStatus("RUNNING")}


def record(raw: Mapping[str, Any]) -> RunRecord:
    """Return a run of the contract; its members have the same names here, but for the state."""
    state = raw.get("state")
    if not isinstance(raw.get("id"), str) or state not in STATUSES:
        raise ResponseDecodeError(f"expected a run, got {raw!r:.60}")
    status = STATUSES[state]
    return RunRecord(raw["id"], status, {**raw, "status": status, "metadata": {"service_status": state}})


def of_service(error: ApiError, problem: Mapping[str, Any]) -> ApiError:
    """Tell the service's own refusals, which have a detail, from a gateway's."""
    error._of_service = "detail" in problem
    return error


class Other:
    """What they have in common; each has a path of its own for runs.

    Attributes:
        runs: the path under which a run is found.
    """

    name: str
    runs: str
    promises: Promises
    find: Find | None = None

    def submit(self, request: RunRequest, idempotency_key: str, /) -> Call[Submitted]:
        raise NotImplementedError

    def run(self, run_id: str, /) -> Call[RunRecord]:
        """Return the request for a run."""
        return self.call(f"GET {self.runs}/{run_id}", lambda answer: self.read(answer), run_id=run_id)

    def status(self, run_id: str, /, *, etag: str | None = None, hold: float = 0.0) -> Call[Polled]:
        """Return the same as a poll: nobody can be held, and nothing has an ETag."""
        return self.call(
            f"GET {self.runs}/{run_id}", lambda answer: Polled(self.read(answer), 0.0), run_id=run_id
        )

    def cancel(self, run_id: str, /) -> Call[RunRecord]:
        """Return the request that ends a run: there is none of its own, so its state is set."""
        return self.call(f"PATCH {self.runs}/{run_id}", self.read, {"state": "cancelled"}, run_id=run_id)

    def health(self) -> Call[Any]:
        """Return a request that anybody may send at any time."""
        return self.call("GET /health", lambda answer: None)

    def read(self, answer: Response) -> RunRecord:
        """Return the run of an answer."""
        return record(decode_object(answer.body))

    def started(self, answer: Response) -> Submitted:
        """Return the run of an answer to a submission."""
        return Submitted(self.read(answer), replayed=answer.status == 200, not_before=0.0)

    def call(
        self, operation: str, decode: Callable[[Response], Any], body: object = None, **more: Any
    ) -> Call[Any]:
        """Return a request of this service."""
        return Call(
            operation,
            operation.partition(" ")[2],
            decode,
            body=None if body is None else orjson.dumps(body),
            **{"service": self.name, "keyed": False, "refusal": of_service, **more},
        )


class Keyed(Other):
    """The key is an attribute of the run: a known one is answered with its run, whatever else is asked for."""

    name = "keyed"
    runs = "/api/flow_runs"

    def __init__(self, kept: float = FOR_EVER) -> None:
        self.promises = Promises(keys=True, kept=kept, lacks=("run_metadata", *DROPPED))
        self.find = self.by_key

    def submit(self, request: RunRequest, idempotency_key: str, /) -> Call[Submitted]:
        body = {"parameters": {"source_path": request.source_path}, "idempotency_key": idempotency_key}
        path = f"/api/deployments/{quote(request.flow_version)}/create_flow_run"
        return self.call(f"POST {path}", self.started, body, submits=request, key=idempotency_key)

    def by_key(self, request: RunRequest, key: str) -> Call[Sequence[RunRecord]]:
        """Return the filter by key."""
        return self.call("POST /api/flow_runs/filter", self.several, {"idempotency_key": {"any_": [key]}})

    def several(self, answer: Response) -> Sequence[RunRecord]:
        """Return the runs of an answer, which is a bare list."""
        try:
            return [record(raw) for raw in orjson.loads(answer.body)]
        except (orjson.JSONDecodeError, AttributeError) as error:
            raise ResponseDecodeError(f"expected a list: {error}") from None


class Labelled(Keyed):
    """The key is only a label: a known one starts another run."""

    name = "labelled"

    def __init__(self) -> None:
        super().__init__()
        self.promises = self.promises._replace(keys=False, kept=None)


class Named(Other):
    """The key is the name of the run: a known one is refused, and the refusal names no run."""

    name = "named"
    runs = "/api/v2/dags/~/dagRuns"
    promises = Promises(
        keys=True,
        kept=FOR_EVER,
        names_runs=True,
        lacks=DROPPED,
        valid_key=re.compile(r"[A-Za-z0-9_.~:+-]{1,250}"),
    )

    def submit(self, request: RunRequest, idempotency_key: str, /) -> Call[Submitted]:
        def refusal(error: ApiError, problem: Mapping[str, Any]) -> ApiError:
            error = of_service(error, problem)
            if error.status_code == 409 and error._of_service:
                return reread(error, DuplicateRunError, run_id=idempotency_key)
            return error

        body = {
            "dag_run_id": idempotency_key,
            "logical_date": None,
            "conf": {"source_path": request.source_path, "run_metadata": request.run_metadata},
        }
        path = f"/api/v2/dags/{quote(request.flow_version)}/dagRuns"
        return self.call(
            f"POST {path}", self.started, body, submits=request, key=idempotency_key, refusal=refusal
        )

    def started(self, answer: Response) -> Submitted:
        return Submitted(self.read(answer), replayed=False, not_before=0.0)


class Keyless(Other):
    """It promises nothing: there is no key, and its list of runs lags behind."""

    name = "keyless"
    runs = "/runs"
    promises = Promises(lacks=("idempotency_key", *DROPPED))

    def submit(self, request: RunRequest, idempotency_key: str, /) -> Call[Submitted]:
        body = {"job": request.flow_version, "source_path": request.source_path}
        return self.call("POST /runs", self.started, body, submits=request, key=idempotency_key)


class OtherServer(SimulatedServer):
    """A server of one of these services.

    Attributes:
        service: what its clients send.
        invalid: the sources whose parameters it takes for not valid.
        taken: the sources that it refuses for a reason of its own, with a 409 as for a known name.
    """

    service: ClassVar[type[Other]]

    def __init__(self, contract: Other, **options: Any) -> None:
        super().__init__(offers=(), **options)
        self.contract: Other = contract
        self.invalid: set[str] = set()
        self.taken: set[str] = set()
        if contract.promises.keys:
            self.offers = frozenset({"idempotency"})  # a gateway may send a submission twice

    @classmethod
    def drawn(cls, chance: Chance) -> "OtherServer":
        kept = chance.pick("keys are kept", [FOR_EVER, 600.0]) if cls.service is Keyed else FOR_EVER
        lasts = chance.random.choice([0.0, 1.0, 8.0, 60.0])
        server = cls(
            Keyed(kept) if cls.service is Keyed else cls.service(),
            lasts=lambda body: lasts * (0.5 + hash_of(body) % 1000 / 1000),
            ends_as=lambda body: "SUCCEEDED" if hash_of(body) % 4 else "FAILED",
            keys_kept=None if kept == FOR_EVER else kept,
            clock=chance.pick("the server's clock is off by", [0.0, 3600.0, -7.5]),
        )
        server._habits = Habits(etags=False)
        return server

    def client(self, *arguments: Any, **options: Any) -> Client:
        """Return a client of this service."""

        class OtherClient(Client):
            _service: ClassVar[Service] = self.contract

        return OtherClient(*arguments, **options)

    def answer(self, request: FakeRequest) -> FakeAnswer:
        now = asyncio.get_running_loop().time()
        path = urlsplit(request.path).path
        self.requests[f"{request.method} {path}"] = self.requests.get(f"{request.method} {path}", 0) + 1
        assert not {"lume-api-key", "Idempotency-Key"} & set(request.headers), (
            "what is Lume's is sent to Lume"
        )
        if path == "/health":
            return self._json(200, {})
        if path.startswith(f"{self.contract.runs}/") and request.method in ("GET", "PATCH"):
            run = self.runs.get(path.rpartition("/")[2])
            if run is None:
                return self._json(404, {"detail": "no such run"})
            if request.method == "PATCH" and run.changes[-1][0] > now:
                run.changes[run.status_at(now)[0] :] = [(now, "CANCELLED")]
            return self._json(200, self._document(run, now))
        if request.method == "POST":
            return self.post(path, request.json(), now)
        return self._json(404, {"detail": "not found"})

    def post(self, path: str, body: dict[str, Any], now: float) -> FakeAnswer:
        raise NotImplementedError

    def begin(self, flow: str, source_path: str, key: str | None = None) -> SimulatedRun:
        """Start a run: whatever came before, as if it were forced."""
        body = {"flow_version": flow, "source_path": source_path, "force_rerun": True}
        return self._start(body, key)

    def known(self, key: str, now: float) -> SimulatedRun | None:
        """Return the run of a key that is still kept."""
        run_id, since = self._keys.get(key, ("", 0.0))
        is_kept = self._keys_kept is None or now - since <= self._keys_kept
        return self.runs.get(run_id) if is_kept else None

    def _document(self, run: SimulatedRun, now: float) -> dict[str, Any]:
        known = self._record(run, now)
        names = ("id", "flow_version", "source_path", "created_at", "finished_at")
        return {**{name: known[name] for name in names}, "state": STATES.get(known["status"], "running")}


class KeyedServer(OtherServer):
    """Like Prefect."""

    service = Keyed

    def post(self, path: str, body: dict[str, Any], now: float) -> FakeAnswer:
        if path == "/api/flow_runs/filter":
            (key,) = body["idempotency_key"]["any_"]
            found = [
                run for run in self.runs.values() if run.key == key
            ]  # also if it would start another one
            return self._json(200, [self._document(run, now) for run in found])
        key, source = body["idempotency_key"], body["parameters"]["source_path"]
        if source in self.invalid:
            return self._json(409, {"detail": "the parameters are not valid"})
        if self.contract.promises.keys and (run := self.known(key, now)) is not None:
            return self._json(200, self._document(run, now))
        return self._json(201, self._document(self.begin(unquote(path.split("/")[3]), source, key), now))


class LabelledServer(KeyedServer):
    """Like a service whose runs have labels."""

    service = Labelled


class NamedServer(OtherServer):
    """Like Airflow."""

    service = Named

    def post(self, path: str, body: dict[str, Any], now: float) -> FakeAnswer:
        assert body["logical_date"] is None
        name, source = body["dag_run_id"], body["conf"]["source_path"]
        if source in self.invalid:
            return self._json(404, {"detail": "no such dag"})
        if self.known(name, now) is not None or source in self.taken:
            return self._json(409, {"detail": "there is such a run"})
        run = self.begin(unquote(path.split("/")[4]), source, name)
        run.body |= body["conf"]
        del self.runs[run.id]
        run.id = name
        self.runs[name], self._keys[name] = run, (name, now)
        return self._json(200, self._document(run, now))


class KeylessServer(OtherServer):
    """Like a service that promises nothing."""

    service = Keyless

    def post(self, path: str, body: dict[str, Any], now: float) -> FakeAnswer:
        run = self.begin(body["job"], body["source_path"])
        return self._json(200, self._document(run, now))
