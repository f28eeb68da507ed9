"""The requests of the wire contract, as data: what to send, and how to decode the response. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeAlias, TypeVar
from urllib.parse import urlencode

import orjson
from attrs import define, frozen

from lume_async._base.public import public
from lume_async._decoding import structure
from lume_async._wire.answers import decode_object, reread, retry_after, run_record
from lume_async._wire.call import Call, Response
from lume_async._wire.headers import (
    CONTENT_TYPE,
    ETAG,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    PREFER,
)
from lume_async._wire.retry import floor
from lume_async.errors import ApiError, DuplicateRunError, NotSupportedError, ResponseDecodeError
from lume_async.models import RunRecord, RunRequest, check_run_id, is_run_id, status_of

T = TypeVar("T")

Filters: TypeAlias = Mapping[str, str | list[str]]
"""Parameters of a query by their names; a list occurs several times."""

JSON_BODY: Mapping[str, str] = {CONTENT_TYPE: "application/json"}
LONGEST_HOLD = 30.0
"""The longest `Prefer: wait` of the client, in seconds: proxies close connections that are idle for a minute."""


@frozen
class Submitted:
    """The response to a submission: the run, and whether it is the replayed response to an earlier attempt.

    Attributes:
        not_before: seconds the server asked us to wait before the next poll.
    """

    record: RunRecord
    replayed: bool
    not_before: float


@public
@frozen
class Page(Generic[T]):
    """A page of a list: its `items`, and the `cursor` from which the list goes on; None at its end."""

    items: list[T]
    cursor: str | None


@frozen
class Change:
    """One entry of the change feed; `run` is the run's record, if it was requested and the run has ended."""

    id: str
    status: str
    finished_at: str | None = None
    run: Any = None

    @property
    def is_end(self) -> bool:
        return bool(self.finished_at) or (bool(self.status) and status_of(self.status).is_terminal)

    @property
    def end(self) -> RunRecord | None:
        """The record of the ended run; None if the feed has not given one that can be used."""
        try:
            record = run_record(self.run, run_id=self.id)
        except ResponseDecodeError:
            return None
        return record if record.is_terminal else None


@define(eq=False)
class Polled:
    """The response to a poll of a run.

    Attributes:
        record: the run; None if it has not changed since the ETag in the request.
        not_before: seconds the server asked us to wait before the next poll (it may do so with a 200).
    """

    record: RunRecord | None
    not_before: float


def submit(request: RunRequest, idempotency_key: str) -> Call[Submitted]:
    """Start a run; the idempotency key must be the same for every attempt."""

    def decode(answer: Response) -> Submitted:
        record = _run(answer)
        check_taken(request, record)
        return Submitted(record, replayed=answer.status == 200, not_before=floor(retry_after(answer.headers)))

    return Call(
        operation="POST /v1/runs",
        path="/v1/runs",
        headers={**JSON_BODY, IDEMPOTENCY_KEY: idempotency_key},
        body=orjson.dumps(submission(request)),
        decode=decode,
        submits=request,
        key=idempotency_key,
        refusal=duplicate,
    )


def duplicate(error: ApiError, problem: Mapping[str, Any]) -> ApiError:
    """Read a 409 to a submission, which names the run that holds the source."""
    if error.status_code != 409:
        return error
    run_id, changed = problem.get("run_id"), problem.get("source_changed")
    run_id = run_id if is_run_id(run_id) else None
    changed = changed if isinstance(changed, bool) else None
    return reread(error, DuplicateRunError, run_id=run_id, source_changed=changed)


def check_taken(request: RunRequest, record: RunRecord) -> None:
    """Raise `NotSupportedError` if the server has ignored the seeds or the layout of a request."""
    if request.seeds and not record.raw.get("seeds"):
        raise NotSupportedError(
            f"the server does not take seeds for one run: it has ignored them in run {record.id}"
        )
    if request.layout and not record.raw.get("layout"):
        raise NotSupportedError(f"the server takes no layout: it has ignored it in run {record.id}")


def submission(request: RunRequest) -> dict[str, Any]:
    """Return the body of a submission; fields with their default are omitted, but for `force_rerun`."""
    # No loop over the fields, which takes three times as long: resuming a batch does this for every item.
    body: dict[str, Any] = {
        "flow_version": request.flow_version,
        "source_path": request.source_path,
        "force_rerun": request.force_rerun,
    }
    if request.run_metadata is not None:
        body["run_metadata"] = request.run_metadata
    if request.webhook_url is not None:
        body["webhook_url"] = request.webhook_url
    if request.priority:
        body["priority"] = request.priority
    if request.seeds:
        body["seeds"] = request.seeds
    if request.layout is not None:
        body["layout"] = request.layout
    return body


def run(run_id: str) -> Call[RunRecord]:
    return Call(
        operation="GET /v1/runs/{id}",
        path=f"/v1/runs/{check_run_id(run_id)}",
        decode=lambda answer: _run(answer, run_id),
        run_id=run_id,
    )


def status(run_id: str, *, etag: str | None = None, hold: float = 0.0) -> Call[Polled]:
    """Poll a run; with the ETag of the known state, the response for an unchanged run has no body."""

    def decode(answer: Response) -> Polled:
        record = None if answer.status == 304 else _run(answer, run_id)
        return Polled(record, not_before=floor(retry_after(answer.headers)))

    headers: dict[str, str] = {}
    if etag:
        headers[IF_NONE_MATCH] = etag
    if hold:
        headers[PREFER] = f"wait={hold:.0f}"
    return Call(
        operation="GET /v1/runs/{id}",
        path=f"/v1/runs/{check_run_id(run_id)}",
        headers=headers,
        decode=decode,
        run_id=run_id,
        hold=hold,
    )


def cancel(run_id: str) -> Call[RunRecord]:
    """Ask the server to stop a run. Idempotent: an ended run is returned as it is."""
    path = f"/v1/runs/{check_run_id(run_id)}/cancel"
    return optional_call("POST /v1/runs/{id}/cancel", _run, path, run_id=run_id)


def health() -> Call[None]:
    """Check that the server is up, and read its capabilities. Needs no API key."""
    return Call(operation="GET /healthz", path="/healthz", decode=lambda answer: None, keyed=False)


def runs(filters: Filters, cursor: str | None) -> Call[Page[RunRecord]]:
    """Get one page of the runs that match, newest first."""

    def decode(answer: Response) -> Page[RunRecord]:
        items, cursor = page_of(answer)
        return Page([run_record(raw, at=f"$.items[{n}]") for n, raw in enumerate(items)], cursor)

    return optional_call("GET /v1/runs", decode, path_of("/v1/runs", filters, cursor=cursor))


def changes(after: str | None, *, hold: float = 0.0, with_runs: bool = False) -> Call[Page[Change]]:
    """Get all status changes after the cursor, oldest first; without a cursor, only the current cursor."""

    def decode(answer: Response) -> Page[Change]:
        page = list_of(Change)(answer)
        if page.cursor is None:
            raise ResponseDecodeError("expected a cursor @ $.next_cursor")
        return page

    return Call(
        operation="GET /v1/changes",
        path=path_of("/v1/changes", {"include": "run"} if with_runs else {}, after=after),
        headers={PREFER: f"wait={hold:.0f}"} if hold else {},
        decode=decode,
        hold=hold,
    )


def optional_call(
    operation: str,
    decode: Callable[[Response], T],
    path: str | None = None,
    *,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] = {},
    run_id: str | None = None,
    hold: float = 0.0,
) -> Call[T]:
    """Return the request of an operation that servers may lack, with the `body` as JSON; see `Call`.

    The path is only needed if the operation has IDs or a query.
    """
    return Call(
        operation=operation,
        path=operation.partition(" ")[2] if path is None else path,
        decode=decode,
        headers=headers if body is None else {**JSON_BODY, **headers},
        body=None if body is None else orjson.dumps(body),
        run_id=run_id,
        hold=hold,
        optional=True,
    )


def path_of(path: str, filters: Filters, **optional: str | None) -> str:
    """Return the path with its query; parameters that are None are omitted."""
    query = dict(filters) | {name: value for name, value in optional.items() if value is not None}
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def page_of(answer: Response) -> tuple[list[Any], str | None]:
    """Return the items of a page, and the cursor of the next one."""
    return read_page(decode_object(answer.body))


def list_of(kind: type[T]) -> Callable[[Response], Page[T]]:
    """Return the decoder for a page of such items."""

    def decode(answer: Response) -> Page[T]:
        items, cursor = page_of(answer)
        return Page(structure(items, list[kind], at="$.items"), cursor)  # type: ignore[valid-type]

    return decode


def items_of(kind: type[T]) -> Callable[[Response], list[T]]:
    """Return the decoder for a list of such items that has one page."""
    return lambda answer: list_of(kind)(answer).items


def object_of(kind: type[T]) -> Callable[[Response], T]:
    """Return the decoder for such an object."""
    return lambda answer: structure(decode_object(answer.body), kind)


def read_page(raw: dict[str, Any]) -> tuple[list[Any], str | None]:
    """Return the same, from a decoded body. Raises `ResponseDecodeError`."""
    items, cursor = raw.get("items"), raw.get("next_cursor")
    if not isinstance(items, list):
        raise ResponseDecodeError(f"expected a list, got {type(items).__name__} @ $.items")
    if not (cursor is None or isinstance(cursor, str)):
        raise ResponseDecodeError(f"expected a string, got {type(cursor).__name__} @ $.next_cursor")
    return items, cursor


def _run(answer: Response, run_id: str | None = None) -> RunRecord:
    return run_record(decode_object(answer.body), etag=answer.headers.get(ETAG), run_id=run_id)
