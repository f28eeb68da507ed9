"""Finds characters that no name may have, and escapes those that can't be shown. Pure."""

import re
from collections.abc import Collection

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""The same (they could drive a terminal), and characters that change the direction of writing."""


def control_in(name: str) -> str:
    """Return the first control character, line separator or lone surrogate (an undecodable byte); empty if none.

    Names of files and columns may have any other character: macOS writes U+202F into the names of screenshots, and
    spreadsheets have U+00A0 in their headers. So `str.isprintable` would refuse too much.
    """
    found = _CONTROL.search(name)
    return found[0] if found else ""


def escaped(text: str, keep: Collection[str] = ()) -> str:
    """Escape invisible characters, except those in `keep`."""
    return UNSEEN.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode("ascii"),
        text,
    )
