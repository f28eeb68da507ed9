"""The requests for the rows of a run, and about rejected rows of many, as data. Pure."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote

from attrs import evolve, field, frozen

from lume_async._base import arguments
from lume_async._decoding import structure
from lume_async._wire.answers import decode_object
from lume_async._wire.call import Call, Receiver, Response
from lume_async._wire.endpoints import Filters, Page, object_of, optional_call, path_of, read_page
from lume_async._wire.headers import (
    ACCEPT,
    ACCEPT_ENCODING,
    CONTENT_TYPE,
    ETAG,
    IDEMPOTENCY_KEY,
    NEXT_CURSOR,
    WANT_REPR_DIGEST,
)
from lume_async._wire.inbox_models import Inbox, Replay, UnreadableRows
from lume_async.errors import NotSupportedError, ResponseDecodeError
from lume_async.models import check_run_id, plain_text

Row = dict[str, Any]
"""A row of an output: its columns by their names."""
Part = Literal["mapped", "rejects"]
"""Which rows of a run."""
ARROW = "application/vnd.apache.arrow.stream"
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""The mark at the end of an Arrow stream. Readers don't need it; here it shows that nothing is missing."""
STATE = b"lume_etag"
"""The name under which the schema of Arrow rows has the ETag of a table."""


@frozen
class RowsOf:
    """Rows that are read page by page: of a run's output, or of a flow's table.

    Attributes:
        operation: see `Call`.
        name: what they are, for people.
        has_decimals: whether all numbers with a fraction are `Decimal`, with the digits that were sent.
    """

    operation: str
    path: str
    name: str
    filters: Filters = field(factory=dict)
    run_id: str | None = None
    has_decimals: bool = False


def rows_of_run(run_id: str, part: Part, reason: str | None) -> RowsOf:
    """Return the rows that a run has mapped or rejected."""
    filters = {} if reason is None else {"reason": arguments.text(reason, "reason")}
    name = ", ".join((f"run {run_id}: {part}", *(f"reason={one!r}" for one in filters.values())))
    path = f"/v1/runs/{check_run_id(run_id)}/{part}"
    return RowsOf(f"GET /v1/runs/{{id}}/{part}", path, name, filters, run_id)


def rows_of_flow(flow: str, as_of: datetime | None, source: str | None) -> RowsOf:
    """Return the rows of a flow's table. Raises `ValueError`, `InvalidRequestError`."""
    name, _, version = plain_text(flow, "flow").partition(":")
    filters = {"version": version} if version else {}
    if source is not None:
        filters["source_path"] = plain_text(source, "source")
    if as_of is not None:
        if arguments.instance(as_of, "as_of", datetime, "an aware datetime").tzinfo is None:
            raise ValueError("as_of must be an aware datetime, such as datetime.now(UTC)")
        filters["as_of"] = as_of.isoformat()
    return RowsOf(
        "GET /v1/flows/{flow}/table", f"/v1/flows/{quote(name, safe='')}/table", f"flow {flow}", filters
    )


def rows(of: RowsOf, *, limit: int, cursor: str | None) -> Call[Page[Row]]:
    """Get one page of rows."""

    def decode(answer: Response) -> Page[Row]:
        return rows_page(exact_object(answer.body, Decimal if of.has_decimals else _number))

    path = path_of(of.path, {"limit": str(limit), **of.filters}, cursor=cursor)
    return optional_call(of.operation, decode, path, run_id=of.run_id)


def arrow_rows(of: RowsOf, pyarrow: Any, *, limit: int, cursor: str | None) -> Call[Page[Any]]:
    """Get one page of those rows as Arrow: its items are a `pyarrow.Table`, whose metadata have the ETag, if any."""

    def decode(answer: Response) -> Page[Any]:
        if answer.headers.get(CONTENT_TYPE, "").partition(";")[0].strip().lower() != ARROW:
            raise NotSupportedError("the server does not send rows as Arrow")
        if not answer.body.endswith(_END):
            raise ResponseDecodeError("the Arrow stream is cut off: its end mark is missing")
        try:
            table = pyarrow.ipc.open_stream(answer.body).read_all()
        except (pyarrow.ArrowException, OSError) as error:
            reason = str(error)
        else:
            if of.run_id is None and (etag := answer.headers.get(ETAG)):
                table = table.replace_schema_metadata({STATE: etag})
            return Page(table, answer.headers.get(NEXT_CURSOR))
        raise ResponseDecodeError(f"the Arrow stream can't be read: {reason}", retryable=False)

    call = rows(of, limit=limit, cursor=cursor)
    return evolve(call, headers={ACCEPT: ARROW}, decode=decode)


def output(run_id: str, part: Part, receiver: Receiver) -> Call[None]:
    """Get the file with the rows, as it is."""

    def decode(answer: Response) -> None:
        if answer.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):  # the receiver got nothing
            raise ResponseDecodeError(f"expected a file, got the status {answer.status}")

    return Call(
        operation="GET /v1/runs/{id}/outputs/{output}",
        path=f"/v1/runs/{check_run_id(run_id)}/outputs/{part}",
        # A compressed body would have other ranges.
        headers={ACCEPT: "*/*", ACCEPT_ENCODING: "identity", WANT_REPR_DIGEST: "sha-256=1"},
        decode=decode,
        receiver=receiver,
        run_id=run_id,
        optional=True,
    )


def rows_page(raw: dict[str, Any]) -> Page[Row]:
    """Return a page of rows. Raises `ResponseDecodeError`."""
    items, cursor = read_page(raw)
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise ResponseDecodeError(f"expected an object, got {type(item).__name__} @ $.items[{number}]")
    return Page(items, cursor)


def _number(digits: str) -> float | Decimal:
    value, exact = float(digits), Decimal(digits)
    return value if Decimal(repr(value)) == exact else exact


def exact_object(body: bytes, number: Callable[[str], float | Decimal] = _number) -> dict[str, Any]:
    """Decode an object with all digits of its numbers; orjson turns all but 64-bit integers into floats."""
    try:
        exact = json.loads(body.decode("utf-8-sig"), parse_float=number, parse_constant=_refused)
    except (ValueError, RecursionError):  # Python refuses integers of more than 4,300 digits
        exact = None
    return exact if isinstance(exact, dict) else decode_object(body)


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def inbox(filters: Filters) -> Call[Inbox]:
    """Count the open rows."""
    return optional_call("GET /v1/inbox", object_of(Inbox), path_of("/v1/inbox", filters))


def rejected_rows(
    filters: Filters, on_unreadable: Callable[[UnreadableRows], None], limit: int, cursor: str | None
) -> Call[Page[Row]]:
    """Get one page of rejected rows. `on_unreadable` is called for rows that can't be read."""

    def decode(answer: Response) -> Page[Row]:
        raw = exact_object(answer.body)
        page = rows_page(raw)
        for one in structure(raw.get("unreadable") or [], list[UnreadableRows], at="$.unreadable"):
            on_unreadable(one)
        return page

    path = path_of("/v1/rejects", {**filters, "limit": str(limit)}, cursor=cursor)
    return optional_call("GET /v1/rejects", decode, path)


def act(what: Literal["assign", "discard"], body: Mapping[str, Any]) -> Call[int]:
    """Assign rows, or note that nothing is left to do about them. Idempotent."""

    def decode(answer: Response) -> int:
        return structure(decode_object(answer.body).get(f"{what}ed"), int, at=f"$.{what}ed")

    return optional_call(f"POST /v1/rejects/{what}", decode, body=body)


def replay(body: Mapping[str, Any], idempotency_key: str, patience: float) -> Call[Replay]:
    """Replay rows; gathering them may take `patience` seconds. May be repeated: each row is in one replay only."""

    def decode(answer: Response) -> Replay:
        raw = decode_object(answer.body)
        runs = raw.get("runs") or []
        for number, run in enumerate(runs):
            if not isinstance(run, dict) or not isinstance(run.get("id"), str):
                raise ResponseDecodeError(f"expected a run @ $.runs[{number}]")
        return structure({**raw, "run_ids": [run["id"] for run in runs]}, Replay, at="$")

    key: dict[str, str] = {IDEMPOTENCY_KEY: idempotency_key}
    return optional_call("POST /v1/replays", decode, body=body, headers=key, hold=patience)
