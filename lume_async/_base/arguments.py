"""Checks of arguments: each returns the value, or raises an error that begins with the argument's name. Pure.

`error` is the error class that the caller documents, where there is a choice.
"""

import inspect
import math
import os
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
Error: TypeAlias = type[Exception]

_SURROGATE = re.compile("[\ud800-\udfff]")


def shown(value: object) -> str:
    """Return the value for a message, in at most 60 characters."""
    try:
        return f"{value!r:.60}"
    except ValueError:  # an integer of more than 4,300 digits
        return f"such a large {type(value).__name__}"


def instance(
    value: Any, name: str, kinds: type[T] | tuple[type[T], ...], what: str, error: Error = TypeError
) -> T:
    """Check for an object of these types, which `what` describes."""
    if not isinstance(value, kinds):
        raise error(f"{name} must be {what}, not {type(value).__name__}")
    return value


def flag(value: Any, name: str, error: Error = TypeError) -> bool:
    """Check for True or False; other truthy or falsy values are refused."""
    if not isinstance(value, bool):
        raise error(f"{name} must be True or False, not {shown(value)}")
    return value


def whole(
    value: Any, name: str, least: int = 1, most: int | None = None, *, error: Error = ValueError
) -> int:
    """Check for a whole number in a range."""
    if (
        isinstance(value, int)
        and not isinstance(value, bool)
        and value >= least
        and (most is None or value <= most)
    ):
        return value
    bounds = f"of at least {least:,}" if most is None else f"from {least:,} to {most:,}"
    raise error(f"{name} must be a whole number {bounds}, not {shown(value)}")


def number(value: Any, name: str, least: float, most: float = math.inf) -> float:
    """Check for a finite number in a range. Raises `TypeError`, `ValueError`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    try:
        given = float(value)
    except OverflowError:  # a whole number too large for a float
        given = math.inf
    if math.isfinite(given) and least <= given <= most:
        return given
    bounds = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
    raise ValueError(f"{name} must be a finite number {bounds}, not {shown(value)}")


def check_names(function: str, given: Iterable[str], known: Collection[str], *own: str) -> None:
    """Raise `TypeError` for an unknown option; the message names a similar one. `own` are the other parameters."""
    for name in given:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, [*known, *own], n=1)
            meant = f": did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{meant}")


def text(value: Any, name: str, error: Error = ValueError) -> str:
    """Check for a string that can be encoded."""
    if not isinstance(value, str):
        raise error(f"{name} must be a string, not {type(value).__name__}")
    if _SURROGATE.search(value):
        raise error(f"{name} contains a lone surrogate, which no encoding has: {shown(value)}")
    return value


def line(value: Any, name: str, longest: int = 8192, *, error: Error = ValueError) -> str:
    """Check the value of a header: one line of ASCII. It may be a secret, and is not quoted."""
    if not (
        isinstance(value, str)
        and 1 <= len(value) <= longest
        and value.isascii()
        and value.isprintable()
        and value == value.strip()
    ):
        raise error(f"{name} must be 1 to {longest:,} printable ASCII characters, without blanks around them")
    return value


def path(value: Any, name: str, error: Error = TypeError) -> str:
    """Return a path, as a string that can name a file."""
    found = os.fspath(value) if isinstance(value, (str, os.PathLike)) else None
    if not isinstance(found, str):
        raise error(f"{name} must be a string or a path, not {type(value).__name__}")
    try:
        encoded = os.fsencode(found)  # undecodable bytes in a name become surrogates
    except UnicodeEncodeError:
        encoded = b"\0"
    if not encoded or b"\0" in encoded:  # an empty path would be the current folder
        raise error(f"{name} does not name a file or folder: {shown(found)}")
    return found


def choice(value: Any, name: str, choices: Collection[Any]) -> Any:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {shown(value)}")
    return value


def several(values: Any, name: str, what: str, kinds: Any = Iterable, error: Error = TypeError) -> Any:
    """Check for an iterable; a string is refused, since its letters would be taken for the items."""
    if isinstance(values, (str, bytes)) or not isinstance(values, kinds):
        raise error(f"{name} must be an iterable of {what}, not {type(values).__name__}")
    return values


def function(value: F, name: str, error: Error = TypeError) -> F:
    if not callable(value):
        raise error(f"{name} must be callable, not {type(value).__name__}")
    return value


def plain_function(value: F, name: str) -> F:
    """Check for a function that is called and not awaited."""
    if inspect.iscoroutinefunction(function(value, name)) or isinstance(value, type):
        raise TypeError(f"{name} must be a plain function, neither asynchronous nor a class")
    return value


def validator(check: Callable[..., object], *limits: Any, **options: Any) -> Callable[[Any, Any, Any], None]:
    """Return a check as the validator of an attrs field, whose name is the argument's."""

    def validate(_self: object, attribute: Any, value: Any) -> None:
        check(value, attribute.name, *limits, **options)

    return validate
