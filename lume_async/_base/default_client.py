"""Where a handle that belongs to no client, such as an unpickled one, finds its package's default client.

The package's `__init__` fills the slot in: the handle lies below the client and must not import it.
"""

from collections.abc import Callable
from typing import Any

find_client: Callable[[], Any] | None = None
