"""The job of the worker protocol that sends a message, its answer (see `protocol`), and texts without its address."""

import re
from urllib.parse import unquote

from attrs import field, frozen
from attrs.converters import optional

from lume_async._base.elided import elided


@frozen
class Notify:
    """Send a message to an address of apprise; answered by `Notified`."""

    address: str = field(repr=False)
    title: str
    text: str
    type: str


@frozen
class Notified:
    """Why a message was not accepted, without parts of its address; None if it was accepted."""

    problem: str | None = field(converter=optional(elided))


_PARTS = re.compile(r"[/?&=:@,;#+ ]+")
_LEAST = 3
"""The minimum length of a removed part: a shorter one would be found in any text."""


def without_address(text: str, address: str) -> str:
    """Return the text with `***` in place of an address and each part of it, such as a token, a user or a host."""
    rest = address.partition("://")[2] or address
    raw = [address, rest, *_PARTS.split(rest)]
    for part in sorted({*raw, *map(unquote, raw)}, key=len, reverse=True):
        if len(part) >= _LEAST:
            text = re.sub(re.escape(part), "***", text, flags=re.IGNORECASE)
    return text
