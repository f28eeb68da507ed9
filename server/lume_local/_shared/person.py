"""The values by which a person is found in rows, texts and files, to be forgotten. Pure."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any
from xml.sax.saxutils import escape

import orjson
from attrs import field, frozen

LEAST = 4
"""The minimum length of a value to search texts and files for: everybody's have shorter ones."""
_ESCAPED = re.compile(rb"(?:\\u[0-9a-fA-F]{4})+|\\/")
_ALONE = "(?<![0-9A-Za-z_])(?:%s)(?![0-9A-Za-z_])"
_ADDRESS = f"(?<![0-9A-Za-z_][.+-]){_ALONE}(?![.-][0-9A-Za-z])"
"""A longer address is another person's: `mary-ann@example.com`, `ann@example.com.au`."""


@frozen(slots=False)
class Person:
    """The values that a person's rows and texts all have; `encoding` is that of a file, beside the usual ones."""

    values: Sequence[str] = field(repr=False)
    ignore_case: bool = False
    encoding: str = "utf-8"

    def has(self, names: Sequence[Sequence[str]], row: Any) -> bool:
        """Return whether a row has each value in one of its columns, or in a member of that name at any depth."""
        return all(self._has(value, of, row) for value, of in zip(self.values, names, strict=True))

    def _has(self, value: str, names: Sequence[str], row: Any) -> bool:
        if isinstance(row, list):
            return any(self._has(value, names, one) for one in row)
        return isinstance(row, dict) and any(
            (name.lower() in names and isinstance(one, str) and self._key(one) == self._key(value))
            or self._has(value, names, one)
            for name, one in row.items()
        )

    def _key(self, value: str) -> str:
        return value.strip().lower() if self.ignore_case else value

    def pattern(self, value: str) -> str:
        """Return a regular expression of any database for a value in any case, beyond ASCII, too."""
        cases = (sorted({letter, letter.lower(), letter.upper()}) for letter in value.strip())
        letters = ("|".join(map(re.escape, some)) for some in cases)
        return f"^\\s*{''.join(f'({some})' for some in letters)}\\s*$"

    @cached_property
    def _patterns(self) -> list[re.Pattern[str]]:
        how = re.IGNORECASE if self.ignore_case else re.NOFLAG
        words = ("|".join(map(re.escape, _spellings(value.strip()))) for value in self.values)
        return [re.compile(_alone(word), how) for word in words]

    def is_in(self, text: str) -> bool:
        """Return whether a text, which has no columns, has all values, each as a word."""
        return min(map(len, self.values)) >= LEAST and all(one.search(text) for one in self._patterns)

    def without(self, plain: Any) -> Any:
        """Return JSON with `***` for the values in its texts; a number is a count, whatever it is equal to."""
        if isinstance(plain, str):
            for pattern in self._patterns:
                plain = pattern.sub("***", plain)
        if isinstance(plain, dict):
            return {self.without(name): self.without(value) for name, value in plain.items()}
        return [self.without(value) for value in plain] if isinstance(plain, list) else plain

    @cached_property
    def _needles(self) -> list[set[bytes | re.Pattern[bytes]]]:
        found = list[set[bytes | re.Pattern[bytes]]]()
        for value in (value.strip() for value in self.values):
            found.append(set())
            for encoding in {self.encoding, "utf-8", "cp1252", "utf-16-le", "utf-16-be"}:
                for one in {value, value.lower(), value.upper()} if self.ignore_case else {value}:
                    with suppress(UnicodeError):
                        for text in _spellings(one):
                            is_exact = text.isascii() or not self.ignore_case
                            found[-1].add(
                                self._lower(text.encode(encoding)) if is_exact else _any(text, encoding)
                            )
        return found

    def _lower(self, block: bytes) -> bytes:
        return block.lower() if self.ignore_case else block

    def _forms(self, block: bytes) -> list[bytes]:
        """Return a block as it is, and without the escapes of JSON if there are any."""
        forms = [block, _ESCAPED.sub(_letters, block)] if b"\\" in block else [block]
        return list(map(self._lower, forms))

    def are_in(self, line: bytes) -> bool:
        """Return whether a line has all values; most have not, and to parse one takes ten times as long."""
        lines = self._forms(line)
        return all(any(_has(one, line) for one in some for line in lines) for some in self._needles)

    def in_bytes(self, block: bytes) -> set[int]:
        """Return which values, by number, are in a part of a file."""
        blocks = self._forms(block)
        found = (any(_is_word(one, block) for one in some for block in blocks) for some in self._needles)
        return {n for n, is_there in enumerate(found) if is_there}


def _alone(pattern: str) -> str:
    return (_ADDRESS if "@" in pattern else _ALONE) % pattern


def _spellings(value: str) -> set[str]:
    """Return a value as texts, JSON, XML and CSV have it."""
    escaped = json.dumps(value)[1:-1]
    capital = re.sub(r"(?<=\\u)\w{4}", lambda found: found[0].upper(), escaped)
    texts = value, escaped, capital, orjson.dumps(value).decode()[1:-1]
    return {*texts, escape(value), value.replace('"', '""')}


def _letters(found: re.Match[bytes]) -> bytes:
    """Return the letters that JSON has as `\\u00C9`, or the slash that it has as `\\/`, in UTF-8."""
    codes = found[0].replace(b"\\u", b"").decode()
    if codes == "\\/":
        return b"/"
    return bytes.fromhex(codes).decode("utf-16-be", "surrogatepass").encode("utf-8", "surrogatepass")


def _any(text: str, encoding: str) -> re.Pattern[bytes]:
    """Return a pattern for a text whose ASCII letters were made lower; the other ones may have any case."""
    cases = ({letter, letter.lower(), letter.upper()} for letter in text)
    letters = ({re.escape(one.encode(encoding).lower()) for one in some} for some in cases)
    return re.compile(b"".join(b"(?:%s)" % b"|".join(sorted(some)) for some in letters))


def _has(needle: bytes | re.Pattern[bytes], block: bytes) -> bool:
    return needle in block if isinstance(needle, bytes) else needle.search(block) is not None


def _is_word(needle: bytes | re.Pattern[bytes], block: bytes) -> bool:
    # The pattern alone takes 20 times as long.
    inner = (re.escape(needle) if isinstance(needle, bytes) else needle.pattern).decode("latin1")
    return _has(needle, block) and re.search(_alone(inner).encode("latin1"), block) is not None
