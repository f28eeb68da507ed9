"""Decodes JSON into attrs classes; errors name the place: `reason @ $.path`.

cattrs is imported on first use: a run and its status are read without it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from lume_async.errors import ResponseDecodeError

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


def parse_time(value: Any) -> datetime:
    """Parse an RFC 3339 time into an aware `datetime`; without an offset it is UTC."""
    if not isinstance(value, str):
        raise ValueError(f"expected an RFC 3339 time, got {type(value).__name__}")
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _strict(kind: type, words: str) -> Callable[[Any, Any], Any]:
    def structured(value: Any, into: Any) -> Any:
        if type(value) is not kind:  # a `bool` is no `int` here
            raise ValueError(f"expected {words}, got {type(value).__name__}")
        return value if into is kind else into(value)  # an enumeration such as `RunStatus`

    return structured


def _strict_float(value: Any, _type: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"expected a number, got {type(value).__name__}")
    return float(value)


@cache
def converter() -> "Converter":
    """Return the shared converter: unknown keys are ignored, scalars are never coerced (`str(None)`).

    A null for an optional member counts as absent: servers that serialize with pydantic send them.
    """
    from cattrs import Converter
    from cattrs.gen import make_dict_structure_fn

    result = Converter()

    @result.register_structure_hook_factory(attrs.has)
    def objects_only(cls: type[Any]) -> Callable[[Any, Any], Any]:
        # cattrs tests `"name" in value`: if no field is required, a string or a list would pass as empty.
        from_dict = make_dict_structure_fn(cls, result)
        optional = {one.name for one in attrs.fields(cls) if one.default is not attrs.NOTHING}

        def from_object(value: Any, into: Any) -> Any:
            if not isinstance(value, dict):
                raise ValueError(f"expected an object, got {type(value).__name__}")
            if None in value.values():
                value = {key: item for key, item in value.items() if item is not None or key not in optional}
            return from_dict(value, into)

        return from_object

    for kind, words in ((str, "a string"), (int, "a whole number"), (bool, "true or false")):
        result.register_structure_hook(kind, _strict(kind, words))
    result.register_structure_hook(float, _strict_float)
    result.register_structure_hook(datetime, lambda value, _type: parse_time(value))
    return result


def reason_of(error: BaseException, into: type | None) -> str:
    """Return the fault of a value in words, for `cattrs.transform_error`."""
    from cattrs.v import format_exception

    # Our hooks name the type that was received; cattrs names only the expected one.
    return str(error) if isinstance(error, ValueError | ArithmeticError) else format_exception(error, into)


def structure(raw: Any, into: type[T], *, at: str = "$") -> T:
    """Decode `raw` at the JSON path `at`. Raises `ResponseDecodeError`: `reason @ $.path`, one per fault."""
    import cattrs

    try:
        return converter().structure(raw, into)
    except (cattrs.BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
        reasons = cattrs.transform_error(error, path=at, format_exception=reason_of)
    raise ResponseDecodeError("; ".join(reasons), retryable=False)
