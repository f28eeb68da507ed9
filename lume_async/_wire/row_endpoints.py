"""The requests for the rows of a run, as data. Pure."""

import json
from decimal import Decimal
from typing import Any, Literal

from lume_async._wire.answers import decode_object
from lume_async._wire.call import Call, Receiver, Response
from lume_async._wire.endpoints import Page, path_of, read_page
from lume_async._wire.headers import ACCEPT, ACCEPT_ENCODING, WANT_REPR_DIGEST
from lume_async.errors import ResponseDecodeError
from lume_async.models import check_run_id

Row = dict[str, Any]
"""A row of an output: its columns by their names."""
Part = Literal["mapped", "rejects"]
"""Which rows of a run."""


def rows(run_id: str, part: Part, *, reason: str | None, limit: int, cursor: str | None) -> Call[Page[Row]]:
    """One page of the rows that a run has mapped or rejected."""
    path = f"/v1/runs/{check_run_id(run_id)}/{part}"
    return Call(
        operation=f"GET /v1/runs/{{id}}/{part}",
        path=path_of(path, {"limit": str(limit)}, reason=reason, cursor=cursor),
        decode=_rows,
        run_id=run_id,
        optional=True,
    )


def output(run_id: str, part: Part, receiver: Receiver) -> Call[None]:
    """The file with the rows, as it is."""
    return Call(
        operation="GET /v1/runs/{id}/outputs/{output}",
        path=f"/v1/runs/{check_run_id(run_id)}/outputs/{part}",
        # A compressed body would have other ranges.
        headers={ACCEPT: "*/*", ACCEPT_ENCODING: "identity", WANT_REPR_DIGEST: "sha-256=1"},
        decode=lambda answer: None,
        receiver=receiver,
        run_id=run_id,
        optional=True,
    )


def _rows(answer: Response) -> Page[Row]:
    items, cursor = read_page(exact_object(answer.body))
    for number, item in enumerate(items):
        if not isinstance(item, dict):
            raise ResponseDecodeError(f"expected an object, got {type(item).__name__} @ $.items[{number}]")
    return Page(items, cursor)


def exact_object(body: bytes) -> dict[str, Any]:
    """The object, with all digits of its numbers; orjson would turn them into floats, except 64-bit integers."""
    try:
        exact = json.loads(body.decode("utf-8-sig"), parse_float=_number, parse_constant=_refused)
    except (ValueError, RecursionError):  # Python refuses integers of more than 4,300 digits
        exact = None
    return exact if isinstance(exact, dict) else decode_object(body)


def _number(digits: str) -> float | Decimal:
    value, exact = float(digits), Decimal(digits)
    return value if Decimal(repr(value)) == exact else exact


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
