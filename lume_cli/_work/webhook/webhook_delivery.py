"""One webhook delivery: verified by the library's handler, kept byte for byte, formatted for people and scripts."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from attrs import frozen

from lume_async import webhooks
from lume_cli._output.text import moment

DELIVERY_HEADER = "X-Lume-Delivery"
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@frozen
class ReceivedDelivery:
    """A request, and the handler's verdict.

    Attributes:
        at: when it arrived.
        id: the server's delivery id, the same for each attempt; None if missing.
        body: the raw body, as far as it was read.
        status: the handler's response status: 204, or a rejection.
        event: the event; None if rejected, since it can't be trusted.
        reason: why it was rejected.
    """

    at: datetime
    id: str | None
    body: bytes
    status: int
    event: webhooks.WebhookEvent | None
    reason: str | None


async def receive(request: web.Request, secrets: Sequence[bytes]) -> ReceivedDelivery:
    """Read and verify a request as a user's own receiver would: with `webhooks.asgi_app`."""
    at, body, events, statuses = datetime.now(UTC), bytearray(), list[webhooks.WebhookEvent](), list[int]()

    async def next_part() -> dict[str, Any]:
        try:
            part = await request.content.readany()
        except Exception:  # the sender is gone, or does not speak HTTP
            return {"type": "http.disconnect"}
        body.extend(part)
        return {"type": "http.request", "body": part, "more_body": not request.content.at_eof()}

    async def answer(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(name.lower(), value) for name, value in request.raw_headers]
    scope = {"type": "http", "method": request.method, "headers": headers}
    await webhooks.asgi_app(events.append, secrets)(scope, next_part, answer)
    given = request.headers.get(DELIVERY_HEADER, "")
    return ReceivedDelivery(
        at=at,
        id=given if _ID.fullmatch(given) else None,
        body=bytes(body),
        status=statuses[0],
        event=events[0] if events else None,
        reason=None if events else _reason(statuses[0], request, bytes(body), secrets),
    )


def _reason(status: int, request: web.Request, body: bytes, secrets: Sequence[bytes]) -> str:
    """Return the reason for a rejection; the sender only sees the status."""
    match status:
        case 405:
            return f"method {request.method}; deliveries are POST requests"
        case 413:
            return f"the body is larger than {webhooks.LARGEST_BODY:,} bytes"
        case 415:
            return "the body is compressed"
    try:
        webhooks.verify(body, request.headers, secrets)
        webhooks.parse(body)
    except Exception as error:
        return str(error)
    return "the body was cut off"


def to_dict(delivery: ReceivedDelivery, answered: int, problem: str | None) -> dict[str, Any]:
    """Return the delivery as JSON."""
    event = delivery.event
    return {
        "received_at": delivery.at.isoformat(),
        "delivery_id": delivery.id,
        "verified": event is not None,
        "reason": delivery.reason or problem,
        "status_code": answered,
        "run_id": event.run_id if event else None,
        "status": str(event.status) if event else None,
        "event": event.raw if event else None,
    }


def line(delivery: ReceivedDelivery, answered: int, problem: str | None) -> str:
    """Return the delivery as a line for people."""
    event = delivery.event
    if event is None:
        verdict = f"rejected with {answered}: {delivery.reason}"
    elif problem is not None:
        verdict = f"verified, answered {answered}: {problem}"
    else:
        verdict = "verified" if answered == delivery.status else f"verified, answered {answered}"
    run, status = (event.run_id, str(event.status)) if event else ("-", "-")
    return "  ".join((moment(delivery.at), delivery.id or "-", run, status, verdict))
