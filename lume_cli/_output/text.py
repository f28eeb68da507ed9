"""Formatting of text, numbers, times and run ids for terminals and scripts. Pure.

Short ids have the first 8 characters after the prefix, or more if two runs would look alike.
"""

import re
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs

from lume_async._base.controls import UNSEEN, escaped
from lume_async._base.words import counted

_UNSEEN_IN_LINES = re.compile(rf"(?!\t|\r?\n){UNSEEN.pattern}")


def visible(text: object) -> str:
    """Return the text on one line, with terminal control characters written as escapes."""
    return escaped(str(text))


def visible_lines(text: str) -> str:
    """Escape as `visible` does, but keep tabs and line ends."""
    return _UNSEEN_IN_LINES.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def plain(value: Any) -> Any:
    """Convert a value that JSON lacks: a model to its fields, a time to ISO 8601."""
    return attrs.asdict(value, recurse=False) if attrs.has(type(value)) else value.isoformat()


def as_json(
    value: Any, *, indent: int | None = None, ascii_only: bool = False, default: Callable[[Any], Any] = plain
) -> str:
    """Strict JSON that also escapes control characters JSON would let through; a `Decimal` is a number."""
    import simplejson  # here: a table needs none of it

    text = simplejson.dumps(value, indent=indent, ensure_ascii=ascii_only, allow_nan=False, default=default)
    return _UNSEEN_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def moment(time: datetime | None) -> str:
    """Return a timestamp in UTC."""
    return "" if time is None else time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def duration(seconds: float) -> str:
    """Return a readable duration: `3.2 s`, `4 min 05 s`, `2 h 07 min`."""
    if seconds < 60:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def age(seconds: float) -> str:
    """Return a rough duration: `12s`, `7m`, `3h`, `12d`."""
    for unit, scale in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= scale:
            return f"{int(seconds // scale)}{unit}"
    return f"{max(int(seconds), 0)}s"


def clock(seconds: float) -> str:
    """Return `0:07`, `12:03` or `1:02:03`."""
    whole = max(int(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def wrapped(text: str, width: int) -> list[str]:
    """Wrap the text at `width` characters; a longer word is not broken, so that it can be copied."""
    return textwrap.wrap(
        text, max(width, 20), subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as aligned lines with two spaces between columns; nothing is truncated."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def filtered(rows: int) -> str:
    """Return the end of a list of counts of rows, for flows with a row filter."""
    return f", {rows:,} filtered" if rows else ""


def warnings(found: Mapping[str, int]) -> list[str]:
    """Return the warnings of a run, with the number of rows if it exceeds one."""
    return [
        visible(one if count == 1 else f"{one} ({counted(count, 'row')})") for one, count in found.items()
    ]


LENGTH = 8
_SHORT = re.compile(r"(?:[a-z]+_)?([A-Za-z0-9]{8,25})")
"""Longer ones are complete: a ULID has 26 characters, a UUID 32."""


def short(run_id: str) -> str:
    """Shorten `run_2f91d0ab55e84c6d…` to `2f91d0ab`; an id that is short or has another form is unchanged."""
    return _cut(run_id, LENGTH)


def shorts(run_ids: Iterable[str]) -> Mapping[str, str]:
    """Return a unique short form of each."""
    ids = list(dict.fromkeys(run_ids))
    found, length = {one: short(one) for one in ids}, LENGTH
    while alike := {name for name, times in Counter(found.values()).items() if times > 1}:
        length += 1
        found |= {one: _cut(one, length) for one in ids if found[one] in alike}
    return found


def may_be_short(text: str) -> bool:
    """Return whether this may stand for a longer id."""
    return _SHORT.fullmatch(text) is not None


def stands_for(text: str, run_id: str) -> bool:
    """Return whether the text is the id, its end, or the beginning of the part after its prefix."""
    given = _SHORT.fullmatch(text)
    if text == run_id or given is None:
        return text == run_id
    return _tail(run_id).startswith(given[1]) or run_id.endswith(given[1])


def _tail(run_id: str) -> str:
    return run_id.rpartition("_")[2]


def _cut(run_id: str, length: int) -> str:
    tail = _tail(run_id)
    return tail[:length] if len(tail) > length and tail.isalnum() else run_id
