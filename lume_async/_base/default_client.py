"""Where a handle that belongs to no client, such as an unpickled one, finds its package's default client.

A handle lies below the client and must not import it. It asks the package, which is loaded wherever a part of it is.
"""

import sys
from collections.abc import Callable
from typing import Any


def find_client(package: str) -> Callable[[], Any] | None:
    """The function that returns the default client of the package; None at the end of the interpreter."""
    return getattr(sys.modules.get(package), "default_client", None)
