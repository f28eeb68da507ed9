"""Rows as a table of pyarrow, polars or pandas; the libraries are arguments, so that importing this is cheap."""

import json
from collections.abc import Iterable
from decimal import Decimal
from importlib import import_module
from typing import Any

from lume_async._base.extras import pip_install
from lume_async.errors import MissingLibraryError, ResponseDecodeError

_LONG = 2**63
_DIGITS = 38
"""The most digits of a decimal number in Arrow and Polars."""


def library(name: str) -> Any:
    """Import the library. Raises `MissingLibraryError`."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
    raise MissingLibraryError(f"{name} is not installed: {pip_install(name)}", name=name)


def to_arrow(pyarrow: Any, rows: list[dict[str, Any]]) -> Any:
    return pyarrow.table(columns(rows))


def check_schema(first: Any, later: Any, batch: int) -> None:
    """Raise `ResponseDecodeError` if a later batch, given by its number, has other columns than the first one."""
    if later.equals(first):
        return
    kinds = [
        {f.name: f"{f.type}{'' if f.nullable else ' not null'}" for f in each} for each in (first, later)
    ]
    what = "the columns are in another order than before"
    for name in {**kinds[0], **kinds[1]}:
        old, new = (kind.get(name, "missing") for kind in kinds)
        if old != new:
            what = f"column {name!r:.60} is {new}, in the batches before it was {old}"
            break
    raise ResponseDecodeError(f"batch {batch:,} of the rows: {what}", retryable=False)


def to_polars(polars: Any, rows: list[dict[str, Any]]) -> Any:
    return polars.DataFrame(columns(rows), strict=False)


def to_pandas(pandas: Any, rows: list[dict[str, Any]]) -> Any:
    """Return a `pandas.DataFrame`; columns of integers or booleans with missing values get nullable types."""
    arrays = {}
    for name, values in columns(rows).items():
        kind = _NULLABLE.get(_kind(values) or object) if None in values else None
        arrays[name] = values if kind is None else pandas.array(values, dtype=kind)
    return pandas.DataFrame(arrays)


_NULLABLE = {int: "Int64", bool: "boolean"}


def columns(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the rows by column, with None where a row lacks the column; each column has one type.

    If a `float` would change some number of a column, all its numbers are `Decimal`. Values without a common table
    type become strings: values of several types, objects, lists of anything but strings, whole numbers of more than
    64 bits, decimal numbers of more than 38 digits.
    """
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _plain([row.get(name) for row in rows]) for name in names}


def _plain(values: list[Any]) -> list[Any]:
    kind = _kind(values)
    if kind is None or kind in (bool, float, str, list):
        return values
    if kind is int and all(value is None or -_LONG <= value < _LONG for value in values):
        return values
    if kind is Decimal:
        decimals = [None if value is None else Decimal(str(value)) for value in values]
        # One decimal type holds them all if the most digits before the point and after it are few enough.
        shapes = [(one.adjusted() + 1, -int(one.as_tuple().exponent)) for one in decimals if one is not None]
        whole, after = (max(0, *sizes) for sizes in zip(*shapes, strict=True))
        is_exact = not any(one is not None and one.is_zero() and one.is_signed() for one in decimals)
        if whole + after <= _DIGITS and is_exact:  # no decimal of Arrow is -0
            return decimals
        return [None if value is None else str(value) for value in decimals]
    return [
        value
        if value is None or isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, default=str)
        for value in values
    ]


def _kind(values: list[Any]) -> type | None:
    """Return the type of the values; `object` for several types, None for no value."""
    kinds = {type(value) for value in values if value is not None}
    if Decimal in kinds and kinds <= {int, float, Decimal}:
        return Decimal
    if kinds == {int, float}:
        return float if all(isinstance(v, float) or v is None or abs(v) < 2**53 for v in values) else object
    if kinds == {list}:
        texts = all(isinstance(item, str) for value in values if value for item in value)
        return list if texts else object
    return kinds.pop() if len(kinds) == 1 else (object if kinds else None)
