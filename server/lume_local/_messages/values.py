"""Takes cell values out of error messages, so that those of many runs are the same, and nobody reads data in a chat.

The messages of this server quote data in quotation marks, or after a colon, or in brackets, where they list what a
file has. What comes before, the first clause, says what kind of problem it is. Pure.
"""

import re

_QUOTED = re.compile(r"(?<!\w)(?:(['\"`]).*\1(?!\w)|\u201c.*\u201d|['\"`\u201c].*)", re.DOTALL)
"""From the first mark to the last one: a value may have such marks inside, and one that was cut off has no end."""
_END = re.compile(r": |; | \(|\. |=\(|\n")
_NUMBER = re.compile(r"(?<![\w.-])[-+]?\d(?:[\d.,:/+-]*\d)?(?:[eE][-+]?\d+)?(?!\w)")
_LONGEST = 200


def without_values(message: str) -> str:
    """The first clause of an error message, with `…` in place of quotations and of numbers."""
    text = _QUOTED.sub("…", message)
    text = _END.split(text, maxsplit=1)[0]
    return _NUMBER.sub("…", text)[:_LONGEST].strip()
