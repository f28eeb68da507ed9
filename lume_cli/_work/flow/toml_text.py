"""TOML for what `tomllib` has read: one key a line, tables inline. Pure."""

import json
from collections.abc import Mapping
from typing import Any


def dumps(table: Mapping[str, Any]) -> str:
    """The text of a table."""
    return "".join(f"{basic(key)} = {_value(value)}\n" for key, value in table.items())


def basic(text: str) -> str:
    """A TOML basic string: JSON's escapes are valid TOML, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case str():
            return basic(value)
        case bool():
            return str(value).lower()
        case Mapping():
            return "{" + ", ".join(f"{basic(key)} = {_value(one)}" for key, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case int() | float():
            return repr(value)
        case _:  # dates and times
            return str(value.isoformat())
