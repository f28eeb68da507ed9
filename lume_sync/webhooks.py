"""Webhooks: the same functions as `lume_async.webhooks`. Verifying and parsing do not block."""

from lume_async.webhooks import *  # noqa: F403
from lume_async.webhooks import __all__ as __all__
