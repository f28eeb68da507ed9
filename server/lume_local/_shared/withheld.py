"""Removes the parts of a secret address from a text. Pure."""

import re
from urllib.parse import unquote

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
