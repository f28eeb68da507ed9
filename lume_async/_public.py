"""`@public`: a class shows the package that it is imported from, not the private file that it lies in."""

from typing import TypeVar

T = TypeVar("T")


def public(cls: T) -> T:
    """Rewrite `__module__`, so that a repr, a pickle and a traceback say `lume_async.LumeRun`."""
    cls.__module__ = "lume_async"
    return cls
