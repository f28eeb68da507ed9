"""Values that nobody should pass, and what an annotation says about them: for tests of every argument of an API."""

import collections.abc
import math
import re
import types
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

ODD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "-1": lambda: -1,
    "0": lambda: 0,
    "0.5": lambda: 0.5,
    "10**400": lambda: 10**400,
    "-10**400": lambda: -(10**400),
    "10**5000": lambda: 10**5000,  # too long for `repr`
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "Decimal": lambda: Decimal(1),
    "''": lambda: "",
    "blank": lambda: " \n",
    "'odd'": lambda: "odd",
    "long": lambda: "x" * 5000,
    "surrogate": lambda: "\ud800",
    "NUL": lambda: "a\x00b",
    "control": lambda: "\x1b[31m\x7f",
    "non-ASCII": lambda: "żółw",
    "bytes": lambda: b"x",
    "long path": lambda: Path("x" * 5000),
    "NUL path": lambda: Path("a\x00b"),
    "list": list,
    "list of int": lambda: [5],
    "list of str": lambda: ["\ud800"],
    "tuple": tuple,
    "dict": dict,
    "dict of int": lambda: {5: object()},
    "set": lambda: {"x"},
    "iterator": lambda: iter([5]),
    "object": object,
    "class": lambda: int,
    "function": lambda: lambda *_: None,
    "timedelta": lambda: timedelta(days=-1),
    "longest timedelta": lambda: timedelta.max,
    "naive datetime": lambda: datetime(2026, 1, 1),
    "first datetime": lambda: datetime.min.replace(tzinfo=UTC),
}
"""Makes each anew: an iterator is used up."""


def fits(value: object, hint: Any) -> bool:
    """Whether the annotation allows the value. Booleans are no numbers here."""
    if isinstance(hint, typing.TypeVar) or hint in (Any, object):
        return True
    if hint is None or hint is type(None):
        return value is None
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return any(value is one or (type(value) is type(one) and value == one) for one in arguments)
    if origin is collections.abc.Callable:
        return callable(value)
    if origin in (collections.abc.Sequence, collections.abc.Collection):
        origin = collections.abc.Iterable  # no harm if another one is accepted
    if origin is not None and issubclass(origin, collections.abc.Iterable):
        return isinstance(value, origin) and _items_fit(value, arguments)
    if hint in (int, float):
        return isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool)
    return isinstance(value, origin or hint)


def _items_fit(value: Any, arguments: tuple[Any, ...]) -> bool:
    if isinstance(value, Iterator) or not arguments:
        return True  # it is not used up here
    if isinstance(value, collections.abc.Mapping):
        return all(fits(key, arguments[0]) and fits(item, arguments[1]) for key, item in value.items())
    return all(fits(item, arguments[0]) for item in value)


def names(message: str, parameter: str) -> bool:
    """Whether the message names the parameter: `run_id`, `run ID`; an item of `hooks` may be `a hook`."""
    word = re.escape(parameter).replace("_", "[_ ]")
    return re.search(rf"\b{word.removesuffix('s')}", message, re.IGNORECASE) is not None
