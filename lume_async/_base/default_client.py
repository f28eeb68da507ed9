"""How a handle without a client, such as an unpickled one, finds the default client of its package.

A handle is in a layer below the client and must not import it, so it looks the package up in `sys.modules`.
"""

import sys
from collections.abc import Callable
from typing import Any


def find_client(package: str) -> Callable[[], Any] | None:
    """Return the function that returns the default client of the package; None during interpreter shutdown."""
    return getattr(sys.modules.get(package), "default_client", None)


def forget_client(package: str) -> Any | None:
    """Take the default client away from the package; None if it has none, or was not imported."""
    held = getattr(sys.modules.get(f"{package}._api"), "_default", {})
    return held.pop("client", None)
