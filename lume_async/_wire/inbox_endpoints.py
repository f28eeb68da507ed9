"""The requests about rejected rows of many runs, as data. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from lume_async._decoding import structure
from lume_async._wire.answers import decode_object
from lume_async._wire.call import Call, Response
from lume_async._wire.endpoints import JSON_BODY, Filters, Page, path_of
from lume_async._wire.headers import IDEMPOTENCY_KEY
from lume_async._wire.inbox_models import Inbox, Replay, UnreadableRows
from lume_async._wire.row_endpoints import Row, exact_object, rows_page
from lume_async.errors import ResponseDecodeError


def inbox(filters: Filters) -> Call[Inbox]:
    """Count the open rows."""
    return Call(
        operation="GET /v1/inbox",
        path=path_of("/v1/inbox", filters),
        decode=lambda answer: structure(decode_object(answer.body), Inbox, at="$"),
        optional=True,
    )


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

    return Call(
        operation="GET /v1/rejects",
        path=path_of("/v1/rejects", {**filters, "limit": str(limit)}, cursor=cursor),
        decode=decode,
        optional=True,
    )


def discard(body: Mapping[str, Any]) -> Call[int]:
    """Note that nothing is left to do about rows. Idempotent."""
    return Call(
        operation="POST /v1/rejects/discard",
        path="/v1/rejects/discard",
        headers=JSON_BODY,
        body=orjson.dumps(body),
        decode=lambda answer: structure(decode_object(answer.body).get("discarded"), int, at="$.discarded"),
        optional=True,
    )


def replay(body: Mapping[str, Any], idempotency_key: str, patience: float) -> Call[Replay]:
    """Replay rows. It may be repeated: each row is in one replay only.

    Args:
        patience: seconds that gathering the rows may take, on top of the time limit.
    """

    def decode(answer: Response) -> Replay:
        raw = decode_object(answer.body)
        runs = raw.get("runs") or []
        for number, run in enumerate(runs):
            if not isinstance(run, dict) or not isinstance(run.get("id"), str):
                raise ResponseDecodeError(f"expected a run @ $.runs[{number}]")
        return structure({**raw, "run_ids": [run["id"] for run in runs]}, Replay, at="$")

    return Call(
        operation="POST /v1/replays",
        path="/v1/replays",
        headers={**JSON_BODY, IDEMPOTENCY_KEY: idempotency_key},
        body=orjson.dumps(body),
        decode=decode,
        hold=patience,
        optional=True,
    )
