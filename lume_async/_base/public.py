"""`@public`: makes a class show its public package, not its private module."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def public_in(module: str) -> Callable[[T], T]:
    """Return a decorator that sets `__module__`, which reprs, pickles and tracebacks show."""

    def rewrite(thing: T) -> T:
        thing.__module__ = module
        return thing

    return rewrite


public = public_in("lume_async")
"""The class shows itself as `lume_async.LumeRun`, for example."""
