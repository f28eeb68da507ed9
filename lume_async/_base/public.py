"""`@public`: a class shows the package that it is imported from, not the private file that it lies in."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def public_in(module: str) -> Callable[[T], T]:
    """A decorator that rewrites `__module__`, so that a repr, a pickle and a traceback show that module."""

    def rewrite(thing: T) -> T:
        thing.__module__ = module
        return thing

    return rewrite


public = public_in("lume_async")
"""So that a repr says `lume_async.LumeRun`."""
