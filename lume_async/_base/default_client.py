"""The default client of a package, in functions that are its methods, and for handles without a client.

A handle, such as an unpickled one, is in a layer below the client and must not import it, so it looks the package up
in `sys.modules`.
"""

import re
import sys
from collections.abc import Callable
from functools import update_wrapper
from inspect import iscoroutinefunction, signature
from typing import Any, Concatenate, ParamSpec, TypeVar

C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")
_EXAMPLE = re.compile(r"^ *(?:>>>|\.\.\.) .*$", re.MULTILINE)


def as_function(method: Callable[Concatenate[C, P], T], client: Callable[[], C]) -> Callable[P, T]:
    """Return a method of a client as a function of its package that calls it on the client that `client` returns.

    The function has the method's signature and docstring; the examples in it call the function.
    """

    def call(*values: P.args, **named: P.kwargs) -> T:
        return method(client(), *values, **named)

    async def awaited(*values: P.args, **named: P.kwargs) -> Any:
        return await method(client(), *values, **named)  # type: ignore[misc]

    made: Any = update_wrapper(awaited if iscoroutinefunction(method) else call, method)
    package, own = client.__module__.partition(".")[0], signature(method)
    made.__module__, made.__qualname__ = client.__module__, made.__name__
    made.__signature__ = own.replace(parameters=[*own.parameters.values()][1:])
    made.__doc__ = _EXAMPLE.sub(lambda line: re.sub(r"\bclient\.", f"{package}.", line[0]), made.__doc__)
    function: Callable[P, T] = made
    return function


def find_client(package: str) -> Callable[[], Any] | None:
    """Return the function that returns the default client of the package; None during interpreter shutdown."""
    return getattr(sys.modules.get(package), "default_client", None)


def forget_client(package: str) -> Any | None:
    """Take the default client away from the package; None if it has none, or was not imported."""
    held = getattr(sys.modules.get(f"{package}._api"), "_default", {})
    return held.pop("client", None)
