"""Sets of rows of one run, as the bits of an integer: row n, counted from 0, is bit n. Pure.

Python counts, joins and intersects millions of bits in microseconds. Packed, a set takes at most a bit for each row.
"""

import base64
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import compress

_FAST = 1
"""The compression level: bitmaps are all zeros, all ones, or do not compress much better at higher levels."""


def all_rows(count: int) -> int:
    """Return the set of the rows 0 to `count` - 1."""
    return (1 << count) - 1


def row_set(rows: Iterable[int], count: int) -> int:
    """Return the set of these rows, out of `count`."""
    bits = bytearray((count + 7) // 8)
    for row in rows:
        bits[row >> 3] |= 1 << (row & 7)
    return int.from_bytes(bits, "little")


def rows_in(rows: int) -> Iterator[int]:
    """Yield the rows of a set, in order."""
    flags = flags_of(rows, rows.bit_length())
    return compress(range(len(flags)), flags)


def flags_of(rows: int, count: int) -> bytes:
    """Return a byte for each of `count` rows: 1 if the row is in the set, else 0."""
    if not count:
        return b""
    return f"{rows:0{count}b}"[::-1].encode().translate(_DIGITS)


def of_flags(flags: bytes) -> int:
    """Return the set with these `flags_of`."""
    return int(flags.translate(_FLAGS)[::-1], 2) if flags else 0


_DIGITS = bytes.maketrans(b"01", b"\0\1")
_FLAGS = bytes.maketrans(b"\0\1", b"01")


def placed(picked: int, among: int) -> int:
    """Return the rows of `among` at the positions `picked`: position n is its n-th row, from 0."""
    count = among.bit_count()
    if among == all_rows(count):
        return picked & among
    flags = bytearray(flags_of(among, among.bit_length()))
    for row, is_picked in zip(rows_in(among), flags_of(picked & all_rows(count), count), strict=True):
        flags[row] = is_picked
    return of_flags(bytes(flags))


def ranked(rows: int, among: int) -> int:
    """Return the positions of `rows` among the rows of `among`: the inverse of `placed`."""
    if not rows or rows == among:
        return all_rows(rows.bit_count())
    count = among.bit_length()
    return of_flags(bytes(compress(flags_of(rows, count), flags_of(among, count))))


def names_of(rows: Sequence[int], sets: Mapping[str, int], count: int) -> dict[int, list[str]]:
    """Return the names of the sets that each row is in, out of `count`."""
    length = (count + 7) // 8
    bits = {name: having.to_bytes(length, "little") for name, having in sets.items()}
    return {row: [name for name, of in bits.items() if of[row >> 3] >> (row & 7) & 1] for row in rows}


def packed(rows: int) -> bytes:
    return zlib.compress(rows.to_bytes((rows.bit_length() + 7) // 8, "little"), _FAST)


def unpacked(data: bytes) -> int:
    """Return the set of `packed` bytes."""
    return int.from_bytes(zlib.decompress(data), "little")


def as_text(rows: int) -> str:
    return base64.b64encode(packed(rows)).decode()


def of_text(text: str) -> int:
    """Return the set of `as_text`."""
    return unpacked(base64.b64decode(text))
