"""Reads the limit behind a refusal from `Retry-After`, `RateLimit` and `RateLimit-Policy`. Pure.

The fields are defined in draft-ietf-httpapi-ratelimit-headers-11 (May 2026); the older three (`RateLimit-Limit`, …)
and the `X-` ones have no common meaning, and are not read.
"""

import math
import re
from collections.abc import Mapping

from attrs import frozen

from lume_async._wire.answers import retry_after
from lume_async._wire.headers import RATE_LIMIT, RATE_LIMIT_POLICY

LONGEST = 2_000
"""The maximum number of characters to read from a field."""

_STRING = r'"(?:[^"\\]|\\.)*"'
_ITEM = re.compile(rf"({_STRING})((?:\s*;\s*[a-z][a-z0-9_.*-]*(?:=(?:{_STRING}|[^\s;,\"]*))?)*)\s*(?:,|$)")
_NUMBER = re.compile(r";\s*([a-z][a-z0-9_.*-]*)=(\d{1,15})(?![^\s;,])")


@frozen
class Refusal:
    """The content of a 429 or 503.

    Attributes:
        wait: seconds after which it is worth trying again; None if not given.
        rate: requests a second that the exhausted quota allows; None if not given.
    """

    wait: float | None = None
    rate: float | None = None


def refusal_in(headers: Mapping[str, str], wall: float = math.nan) -> Refusal:
    """Read the headers of a 429 or 503; malformed ones are ignored.

    Args:
        wall: seconds since the epoch, for a `Retry-After` date where the answer has no `Date`.
    """
    wait, limits = retry_after(headers, wall), headers.get(RATE_LIMIT)
    if limits is None:
        return Refusal(wait)
    exhausted = {name: numbers for name, _, numbers in _items(limits) if numbers.get("r") == 0}
    rates = [
        numbers["q"] / numbers["w"]
        for name, text, numbers in _items(headers.get(RATE_LIMIT_POLICY) or "")
        if name in exhausted and numbers.get("q") and numbers.get("w") and _counts_requests(text)
    ]
    if wait is None:  # else it takes precedence (section 7)
        wait = max((float(numbers["t"]) for numbers in exhausted.values() if "t" in numbers), default=None)
    return Refusal(wait, min(rates, default=None))


def _counts_requests(parameters: str) -> bool:
    return "qu=" not in parameters or 'qu="requests"' in parameters


def _items(text: str) -> list[tuple[str, str, dict[str, int]]]:
    """Parse a list of structured fields (RFC 9651): each string with its parameters, and the whole numbers."""
    return [
        (name, rest, {key: int(number) for key, number in _NUMBER.findall(rest)})
        for name, rest in _ITEM.findall(text[:LONGEST])
    ]
