"""Values as TOML. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def key(name: str) -> str:
    """Return a key, quoted if necessary."""
    return name if _BARE.fullmatch(name) else _basic(name)


def value(given: Any) -> str:
    """Return a value on one line."""
    if isinstance(given, str):
        # A text with quotes is a literal string if possible, so that SQL needs no escapes.
        if '"' not in given or "'''" in given or given.endswith("'") or _CONTROL.search(given):
            return _basic(given)
        return f"'{given}'" if "'" not in given else f"'''{given}'''"
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, Mapping):
        return "{ " + ", ".join(f"{key(name)} = {value(one)}" for name, one in given.items()) + " }"
    if isinstance(given, list | tuple):
        return "[" + ", ".join(map(value, given)) + "]"
    return repr(given)


def entries(table: Mapping[str, Any]) -> Iterator[str]:
    """Yield the entries of a table without its heading; SQL of several lines is an entry of several lines."""
    for name, one in table.items():
        is_long = isinstance(one, str) and "\n" in one and not one.endswith("'")
        if is_long and "'''" not in one and not _CONTROL.search(one.replace("\n", "")):
            yield f"{key(name)} = '''\n{one}'''"
        else:
            yield f"{key(name)} = {value(one)}"


def table(place: str, content: Mapping[str, Any]) -> list[str]:
    return [f"[{place}]", *entries(content)]


def _basic(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
