"""Unreadable letters: rejects show `�` in their place, which is no correction. Pure.

A file of rejects keeps the bytes of a line that is not valid UTF-8. JSON, Arrow and tables can't, and have `�`; files
written by DuckDB have `\\xff`. Characters that an encoding lacks are escaped: `\\ufffd`. A returned row with such a
mark still lacks the letters.
"""

import codecs
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from lume_local._flow.definition import RESERVED

MALFORMED = "malformed line: "
"""The beginning of the reasons of lines that can't be rows."""
INVALID = "not valid UTF-8"
NOT_UTF8 = f"{MALFORMED}{INVALID}"
"""The reason of lines that can't be decoded."""
STILL_LOST = f"{INVALID}: the letters that could not be read are still missing"
KEPT = "surrogateescape"
"""The error handler by which bytes that aren't UTF-8 pass through strings unchanged."""
KEPT_IF_POSSIBLE = "lume_kept"
"""The same, with a mark where an encoding can't represent them."""
MARK = "\ufffd"
ESCAPES = (r"\x", r"\u", r"\U")
"""The beginnings of the other marks."""


def _kept_or_replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    with suppress(UnicodeError):
        return codecs.lookup_error(KEPT)(error)
    return codecs.replace_errors(error)


codecs.register_error(KEPT_IF_POSSIBLE, _kept_or_replaced)

_ESCAPED = re.compile(r"\\ufffd", re.IGNORECASE)
_MARKED = re.compile(rf"{MARK}|\\x[89a-f][0-9a-f]")
_APART = re.compile(r"[\s,;|:\"'{}\[\]]+")
_BYTES = re.compile("[\udc80-\udcff]")

Identity = tuple[str, str, str]
"""The file of a reject (if there are several), and its row and line number as text, one of them empty."""
RUN, REJECT = f"{RESERVED}run", f"{RESERVED}reject"
NOTED = (f"{RESERVED}file", f"{RESERVED}row", f"{RESERVED}line", RUN, REJECT)
"""What a reject can be identified by; the last two, its run and its number there, if there are several runs."""


def identity_of(value: Any) -> Identity:
    """Return the identity of a row given as an object."""
    found = value if isinstance(value, dict) else {}
    file, row, line = ("" if (one := found.get(name)) is None else str(one) for name in NOTED[:3])
    return as_counted((file, row, line))


def as_counted(identity: Identity) -> Identity:
    """Return the identity without the line of a row, and the fractions that pandas adds to integers beside gaps."""
    file, row, line = identity
    return file, row.removesuffix(".0"), "" if row else line.removesuffix(".0")


def marked_words(texts: Iterable[str]) -> Counter[str]:
    found = Counter[str]()
    for text in texts:
        plain = _ESCAPED.sub(MARK, text)
        if _MARKED.search(plain):
            found.update(word for word in _APART.split(plain) if _MARKED.search(word))
    return found


def genuine_words(original: str) -> Counter[str]:
    """Count the words whose replacement mark was in the source already; none if the text has lost its bytes."""
    if not _BYTES.search(original):
        return Counter()
    words = marked_words([original])
    return Counter({word: count for word, count in words.items() if not _BYTES.search(word)})


@frozen
class LostLetters:
    """The rejects that were rejected for their bytes.

    Attributes:
        known: their genuine marks by identity; None if the rejects of the run can't be read.
    """

    known: Mapping[Identity, Counter[str]] | None = None

    def are_left(self, identity: Identity, reasons: str, texts: Iterable[str]) -> bool:
        """Return whether a returned row still has marks in place of letters.

        Args:
            reasons: its `_lume_reasons`, which decide if its run can't be asked.
        """
        if self.known is not None and any(identity[1:]):
            genuine = self.known.get(identity)
            return genuine is not None and bool(marked_words(texts) - genuine)
        return NOT_UTF8 in reasons and bool(marked_words(texts))
