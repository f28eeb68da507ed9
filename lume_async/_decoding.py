"""JSON into attrs classes, and why it failed, with the place: `reason @ $.path`."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import attrs
import cattrs
from cattrs import Converter, transform_error
from cattrs.gen import make_dict_structure_fn
from cattrs.v import format_exception

from lume_async.errors import ResponseDecodeError

T = TypeVar("T")


def parse_time(value: Any) -> datetime:
    """An RFC 3339 time, always aware; a server that leaves the offset out means UTC."""
    if not isinstance(value, str):
        raise ValueError(f"expected an RFC 3339 time, got {type(value).__name__}")
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _strict_str(value: Any, _type: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    return value


def _strict_int(value: Any, _type: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"expected a whole number, got {type(value).__name__}")
    return value


def _strict_float(value: Any, _type: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"expected a number, got {type(value).__name__}")
    return float(value)


def _strict_bool(value: Any, _type: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {type(value).__name__}")
    return value


@cache
def converter() -> Converter:
    """The one converter: unknown keys are ignored, scalars are never coerced (`str(None)` is no value).

    An optional member that is null is absent: servers that serialize with pydantic send all of theirs.
    """
    made = Converter()

    @made.register_structure_hook_factory(attrs.has)
    def objects_only(cls: type[Any]) -> Callable[[Any, Any], Any]:
        # cattrs asks `"name" in value`: where no field is required, a text or a list would pass as empty.
        from_dict = make_dict_structure_fn(cls, made)
        optional = {one.name for one in attrs.fields(cls) if one.default is not attrs.NOTHING}

        def from_object(value: Any, into: Any) -> Any:
            if not isinstance(value, dict):
                raise ValueError(f"expected an object, got {type(value).__name__}")
            if None in value.values():
                value = {key: item for key, item in value.items() if item is not None or key not in optional}
            return from_dict(value, into)

        return from_object

    made.register_structure_hook(str, _strict_str)
    made.register_structure_hook(int, _strict_int)
    made.register_structure_hook(float, _strict_float)
    made.register_structure_hook(bool, _strict_bool)
    made.register_structure_hook(datetime, lambda value, _type: parse_time(value))
    return made


def _reason(error: BaseException, into: type | None) -> str:
    # Our own hooks say what came; cattrs would only say what was expected.
    return str(error) if isinstance(error, ValueError) else format_exception(error, into)


def structure(raw: Any, into: type[T], *, at: str = "$") -> T:
    """Decode `raw`, which lies at the JSON path `at`.

    Raises:
        ResponseDecodeError: `reason @ $.path`, one per fault.
    """
    try:
        return converter().structure(raw, into)
    except (cattrs.BaseValidationError, ValueError, TypeError, KeyError, AttributeError) as error:
        reasons = transform_error(error, path=at, format_exception=_reason)
    raise ResponseDecodeError("; ".join(reasons), retryable=False)
