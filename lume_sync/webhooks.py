"""Webhooks: the same functions as `lume_async.webhooks`. Verifying and parsing do not block."""

from lume_async.webhooks import (
    LARGEST_BODY,
    SIGNATURE_HEADER,
    Once,
    WebhookEvent,
    aiohttp_handler,
    asgi_app,
    parse,
    verify,
)

__all__ = [
    "LARGEST_BODY",
    "Once",
    "SIGNATURE_HEADER",
    "WebhookEvent",
    "aiohttp_handler",
    "asgi_app",
    "parse",
    "verify",
]
