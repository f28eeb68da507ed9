"""Where a handle that belongs to no client, such as an unpickled one, finds its package's default client.

The `__init__` of each facade fills in its own: a handle lies below the client and must not import it.
"""

from collections.abc import Callable
from typing import Any

find_client: dict[str, Callable[[], Any]] = {}
"""By the name of the package."""
