"""Bounds strings that quote data, so that messages stay readable and lists of runs small. Pure.

Called where messages are created: by `LumeError`, and in the server by `Problem`, `FlowError`, the worker protocol,
the recorder of a run's end, and `Run`.
"""

import re
from typing import Any

from lume_async._base.controls import escaped

LIMIT = 500
"""The maximum length of a text that quotes data, in characters."""
_GAP = re.compile(r" … \([\d,]{1,20} characters\) … ")


def elided(text: str, limit: int = LIMIT) -> str:
    """Shorten the text to `limit` characters: control characters are escaped, the middle of a long text is omitted.

    The original length replaces the omitted part. The result is stable: a second call changes nothing, and a longer
    text that contains the result is cut at the same place, so that it still has the length of the data.
    """
    if len(text) <= limit:
        seen = _seen(text)
        if len(seen) <= limit:
            return seen
    cut = _GAP.search(text) if len(text) <= 4 * limit else None
    gap = cut[0] if cut else f" … ({len(text):,} characters) … "
    before, behind = (text[: cut.start()], text[cut.end() :]) if cut else (text, text)
    tail = (limit - len(gap)) // 3  # the end often gives the remedy, the beginning the subject
    head = limit - len(gap) - tail
    return _seen(before[:head])[:head] + gap + _seen(behind[-tail:])[-tail:]


def _seen(text: str) -> str:
    return escaped(text, keep="\n")


def bounded(value: Any) -> Any:
    """Elide all strings and member names in JSON; integers of members with the same short name are added."""
    if isinstance(value, str):
        return elided(value)
    if isinstance(value, list):
        return [bounded(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, item in value.items():
        short, item = elided(name), bounded(item)
        same = found.get(short)
        found[short] = same + item if isinstance(same, int) and isinstance(item, int) else item
    return found
