"""Removes cell values from error messages: those of many runs become equal, and nobody reads data in a chat.

Messages of this server quote data in quotation marks, or list a file's content after a colon or in brackets. The
first clause, before any of these, names the kind of problem. Pure.
"""

import re

_QUOTED = re.compile(r"(?<!\w)(?:(['\"`]).*\1(?!\w)|\u201c.*\u201d|['\"`\u201c].*)", re.DOTALL)
"""From the first mark to the last: a value may contain such marks, and a truncated one lacks the closing mark."""
_END = re.compile(r": |; | \(|\. |=\(|\n")
_NUMBER = re.compile(r"(?<![\w.-])[-+]?\d(?:[\d.,:/+-]*\d)?(?:[eE][-+]?\d+)?(?!\w)")
_LONGEST = 200


def without_values(message: str) -> str:
    """Return the first clause of an error message, with `…` in place of quotations and numbers."""
    text = _QUOTED.sub("…", message)
    text = _END.split(text, maxsplit=1)[0]
    return _NUMBER.sub("…", text)[:_LONGEST].strip()
