"""Characters that no name has, and those that are shown as escapes. Pure."""

import re
from collections.abc import Collection

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""The same (they could drive a terminal), and what turns the direction of writing."""


def control_in(name: str) -> str:
    """The first control character, separator of lines or lone surrogate, as undecodable bytes have; empty if none.

    Everything else can be in the name of a file or a column: macOS writes U+202F into those of screenshots, and
    spreadsheets have U+00A0 in their headers. So `str.isprintable` would refuse too much.
    """
    found = _CONTROL.search(name)
    return found[0] if found else ""


def escaped(text: str, keep: Collection[str] = ()) -> str:
    """The text with what is not seen written as escapes, except what is to be kept."""
    return UNSEEN.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode("ascii"),
        text,
    )
