"""Reads a line of NDJSON strictly with Python's parser, and converts it so that DuckDB gets the same values. Pure."""

import json
import re
from decimal import Decimal
from typing import Any, NoReturn

from lume_local._flow.definition import RESERVED
from lume_local._worker.sources.intake import APART, NOT_JSON
from lume_local._worker.sources.mending.lost_letters import (
    KEPT,
    STILL_LOST,
    LostLetters,
    as_counted,
    identity_of,
)

_EXACT = re.compile(r"-?(?!0\.0000)(?:(?:0|[1-9][0-9]{0,2})\.[0-9]{1,11}|[1-9][0-9]{3,8}\.[0-9]{1,5})")
"""Fractions that a double preserves, having at most 15 digits. Whole numbers are always preserved."""
FILLED_IN = " (clear _lume_raw to use the columns that are filled in)"
OWN = f"{RESERVED}raw".encode()
"""The key in a line that holds a malformed text."""
_SPACE = re.compile(r"[ \t]*")
_LONGEST_INTEGER = 4000
"""Digits. Python refuses to convert much longer strings to numbers."""


class NotARow(ValueError):
    """A line that is not a row: the reason, and its bytes."""

    def __init__(self, why: str, raw: bytes) -> None:
        super().__init__(why)
        self.why, self.raw = why, raw


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these members, as a parser's hook. Raises `NotARow`."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotARow("repeats a key", b"")
    return found


class _Reader:
    """Python's parser without its liberties; `changed` is set if a number became a string."""

    def __init__(self) -> None:
        self.changed = False
        self.decoder = json.JSONDecoder(
            object_pairs_hook=without_repeats,
            parse_float=self._fraction,
            parse_int=self._whole,
            parse_constant=self._constant,
        )

    def _whole(self, digits: str) -> Any:
        if len(digits) < _LONGEST_INTEGER:
            return int(digits)
        self.changed = True
        return digits

    def _fraction(self, digits: str) -> Any:
        if _EXACT.fullmatch(digits):
            return float(digits)
        self.changed = True
        number = Decimal(digits)
        if "e" not in digits.lower() or abs(number.adjusted()) > 400:
            return digits
        plain = format(number, "f")
        return plain if "." in plain else f"{plain}.0"

    def _constant(self, name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")


def strict_line(line: str, lost: LostLetters | None = None) -> bytes:
    """Return the line for DuckDB, followed by `APART` and the original if they differ. Raises `NotARow`.

    Args:
        lost: which rows of resubmitted rejects lack letters.
    """
    reader = _Reader()
    try:
        value = reader.decoder.decode(line)
        if not isinstance(value, dict):
            raise NotARow(NOT_JSON, b"")
        if any(key.startswith(RESERVED) for key in value):
            return _unwrapped(line, value, lost or LostLetters())
        exact = json.dumps(value, ensure_ascii=False).encode()
        return exact + APART + line.encode() if reader.changed else line.encode()
    except NotARow as error:
        raise NotARow(error.why, error.raw or line.encode()) from None
    except (ValueError, RecursionError, ArithmeticError):  # UnicodeEncodeError: half of a surrogate pair
        raise NotARow(NOT_JSON, line.encode()) from None


def _unwrapped(line: str, value: dict[str, Any], lost: LostLetters) -> bytes:
    """Return the malformed text in a line of a resubmitted rejects file, or the object without Lume's own keys."""
    raw = value.get(f"{RESERVED}raw")
    is_raw = isinstance(raw, str) and bool(raw)
    members = _without_own_keys(line)
    inner = str(raw) if is_raw else members
    reasons = str(value.get(f"{RESERVED}reasons"))
    if lost.are_left(as_counted(identity_of(value)), reasons, {inner, members}):
        raise NotARow(STILL_LOST, inner.encode())
    # In a corrected object, line ends can only be between its parts.
    one_line = inner.replace("\r", " ").replace("\n", " ")
    try:
        read = strict_line(one_line)
    except NotARow as error:
        is_filled_in = is_raw and any(one for key, one in value.items() if not key.startswith(RESERVED))
        raise NotARow(error.why + (FILLED_IN if is_filled_in else ""), inner.encode()) from None
    return read if APART in read else read + APART + one_line.encode()


def _without_own_keys(line: str) -> str:
    """Return the object's members as they are written, without Lume's own keys."""
    decoder, members = json.JSONDecoder(), []
    at = _after_space(line, line.index("{") + 1)
    while line[at] != "}":
        key, end = decoder.raw_decode(line, at)
        _, end = decoder.raw_decode(line, _after_space(line, _after_space(line, end) + 1))
        if not key.startswith(RESERVED):
            members.append(line[at:end])
        end = _after_space(line, end)
        at = _after_space(line, end + 1) if line[end] == "," else end
    return "{" + ", ".join(members) + "}"


def _after_space(line: str, at: int) -> int:
    match = _SPACE.match(line, at)
    assert match is not None
    return match.end()


_KEYS_ONLY = json.JSONDecoder(object_pairs_hook=without_repeats, parse_float=len, parse_int=len)


def repeats_a_key(line: str) -> bool:
    """Return whether an object of the line, even a nested one, repeats a key; True if that can't be determined."""
    try:
        _KEYS_ONLY.decode(line)
    except (ValueError, RecursionError):
        return True
    return False


def raw_in(line: bytes) -> bytes:
    """Return the malformed text in a line of a rejects file, or its columns, with the original bytes."""
    try:
        value = json.loads(line.decode("utf-8", KEPT))
    except (ValueError, RecursionError):
        return line
    raw = value.get(f"{RESERVED}raw") if isinstance(value, dict) else None
    if not isinstance(raw, str):
        return line
    columns = {key: one for key, one in value.items() if not key.startswith(RESERVED)}
    return (raw or json.dumps(columns, ensure_ascii=False)).encode("utf-8", KEPT)
