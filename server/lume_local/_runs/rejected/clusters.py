"""Clusters of values that are probably spellings of one value, by two keys that spellings share. Pure.

The first key is the sorted words of a value, without case, accents and punctuation. The second is the sorted pairs of
neighbouring letters: it also ignores blanks and repeated parts. Both are known from OpenRefine, as fingerprint and
n-gram fingerprint. The place of a digit matters: a value without letters has no key, and one with digits no second.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import NamedTuple

from lume_local._flow.definition import Flow
from lume_local._mapping.rewrite import compared, reads_source

_BETWEEN_DIGITS = re.compile(r"(?<=\d)\0+(?=\d)")


class Cluster(NamedTuple):
    """Spellings of one value, and the value to use: the most frequent one, unless the flow allows another."""

    suggested: str
    is_allowed: bool
    values: list[str]


def fingerprint(value: str) -> str:
    """Return the first key; empty for a value without letters."""
    return " ".join(sorted(set(_plain(value).split())))


def ngram_fingerprint(value: str) -> str:
    """Return the second key; empty for a value without letters or with digits."""
    plain = "".join(_plain(value).split())
    has_digits = any(letter.isdigit() for letter in plain)
    return "" if has_digits else " ".join(sorted({one + other for one, other in pairwise(plain)}))


def _plain(value: str) -> str:
    """Return a value without case, accents and punctuation; any punctuation between digits becomes a point."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", value).casefold())
    if not any(map(str.isalpha, text)):
        return ""
    return _BETWEEN_DIGITS.sub(".", "".join(map(_letter, text))).replace("\0", "")


def _letter(letter: str) -> str:
    if letter.isspace():
        return " "
    # Only these marks are accents: in other scripts, marks are vowels.
    if "\u0300" <= letter <= "\u036f":
        return ""
    return "\0" if unicodedata.category(letter)[0] in "PSC" else letter


def clusters(values: Sequence[str], allowed: Collection[str] = ()) -> list[Cluster]:
    """Return the clusters with a value to change, in the order of their most frequent value.

    Args:
        values: distinct ones, the most frequent first.
        allowed: the values that the flow allows: one that belongs to a cluster is suggested there.
    """
    order = list(dict.fromkeys([*values, *sorted(allowed)]))
    parents, first = list(range(len(order))), dict[tuple[bool, str], int]()

    def root(of: int) -> int:
        while parents[of] != of:
            parents[of] = of = parents[parents[of]]
        return of

    for number, value in enumerate(order):
        for key in ((True, fingerprint(value)), (False, ngram_fingerprint(value))):
            if key[1]:
                parents[root(number)] = root(first.setdefault(key, number))
    groups = defaultdict[int, list[str]](list)
    for number, value in enumerate(order):
        groups[root(number)].append(value)
    found, given = list[Cluster](), set(values)
    for group in groups.values():
        known = [value for value in group if value in allowed]
        cluster = Cluster((known or group)[0], bool(known), [value for value in group if value in given])
        if set(cluster.values) - {cluster.suggested}:
            found.append(cluster)
    return found


def allowed_values(flow: Flow, column: str) -> set[str]:
    """Return the values that the flow names for a column of its source: by `enum`, or in a `CASE`."""
    found = set[str]()
    for reading in flow.layouts or (flow,):
        for one in reading.columns:
            if reads_source(one, column):
                found |= {str(value) for value in one.enum} | compared(one.sql)
    return found
