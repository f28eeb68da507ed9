"""Text that quotes data, bounded: a message stays readable and a list of runs loadable, whatever a file holds. Pure.

Every maker of messages has its choke point, which calls this: `LumeError`, and in the server `Problem`, `FlowError`,
the worker protocol, the recorder of a run's end, and `Run`, by which the runs of older servers are cut, too.
"""

import re
from typing import Any

LIMIT = 500
"""Characters of a text that quotes data."""
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for the end of a line, direction overrides, lone surrogates."""
_GAP = re.compile(r" … \([\d,]{1,20} characters\) … ")


def elided(text: str, limit: int = LIMIT) -> str:
    """The text in at most `limit` characters: control characters as escapes, the middle of a long one left out.

    What is left out is replaced by the true length. The result is stable: cutting it again changes nothing, and a
    longer text that it has become a part of is cut at the same place, so that the length stays that of the data.
    """
    if len(text) <= limit:
        seen = _seen(text)
        if len(seen) <= limit:
            return seen
    cut = _GAP.search(text) if len(text) <= 4 * limit else None
    gap = cut[0] if cut else f" … ({len(text):,} characters) … "
    before, behind = (text[: cut.start()], text[cut.end() :]) if cut else (text, text)
    tail = (limit - len(gap)) // 3  # the end often says what to do, the beginning what it is about
    head = limit - len(gap) - tail
    return _seen(before[:head])[:head] + gap + _seen(behind[-tail:])[-tail:]


def _seen(text: str) -> str:
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def bounded(value: Any) -> Any:
    """JSON with each of its texts elided, names of members included; counts of members that become one are added."""
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
