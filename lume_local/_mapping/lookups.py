"""Values of a source as members of an enumeration: a table that a person edits. Pure."""

import csv
import io
from collections.abc import Mapping, Sequence

from rapidfuzz.distance import Indel

from lume_local._mapping.grades import ORDER, Grade
from lume_local._mapping.proposal import LookupLine
from lume_local._mapping.words import plain, words

MOST = 200
"""Distinct values of which a lookup is made."""
_ALIKE = 0.8


def lookup(values: Mapping[str, int], members: Sequence[str]) -> list[LookupLine] | None:
    """What each value means; None if all are members already, or there are too many to look at."""
    if not values or len(values) > MOST or all(value in members for value in values):
        return None
    found = entries(values, members)
    return found if any(entry.target is not None for entry in found) else None


def entries(values: Mapping[str, int], members: Sequence[str]) -> list[LookupLine]:
    """What each value means."""
    return [LookupLine(value, rows, *_member(value, members, values)) for value, rows in values.items()]


def _member(value: str, members: Sequence[str], values: Mapping[str, int]) -> tuple[str | None, Grade]:
    if value in members:
        return value, Grade.CERTAIN
    folds = {plain(member): member for member in members}
    text = plain(value)
    if text in folds:
        return folds[text], Grade.CERTAIN
    meant = _concepts(value)
    same = [member for member in members if meant and _concepts(member) & meant]
    if len(same) == 1:
        return same[0], Grade.HIGH
    if len(short := _initials(text, members, values)) == 1:
        return short[0], Grade.HIGH
    shared = [member for member in members if _stems(value) & _stems(member)]
    if len(shared) == 1:
        return shared[0], Grade.MEDIUM
    best = max(members, key=lambda member: Indel.normalized_similarity(text, plain(member)))
    if Indel.normalized_similarity(text, plain(best)) >= _ALIKE:
        return best, Grade.MEDIUM
    return None, Grade.LOW


def _initials(text: str, members: Sequence[str], values: Mapping[str, int]) -> list[str]:
    """The members that begin as the value does, or it as they do; unless another value could claim the same."""
    found = []
    for member in members:
        short, long = sorted((text, plain(member)), key=len)
        if not short or not long.startswith(short):
            continue
        others = [plain(other) for other in (*members, *values) if plain(other) not in (text, plain(member))]
        if not any(other.startswith(short) and len(short) < 3 for other in others):
            found.append(member)
    return found


def _concepts(value: str) -> frozenset[str]:
    found = [word.concepts for word in words(value)]
    return frozenset().union(*found) if len(found) == 1 else frozenset()


def _stems(value: str) -> frozenset[str]:
    return frozenset(word.text for word in words(value) if len(word.text) > 2)


def share(found: Sequence[LookupLine]) -> float:
    """The share of rows whose value has a meaning."""
    total = sum(entry.rows for entry in found)
    return sum(entry.rows for entry in found if entry.target is not None) / total if total else 0.0


def worst(found: Sequence[LookupLine]) -> Grade:
    """The grade of the least sure entry that is used."""
    return max((entry.grade for entry in found if entry.target is not None), key=ORDER.index)


def as_sql(found: Sequence[LookupLine], name: str) -> str:
    """The lookup as an expression. What has no counterpart stays as it is, so that the enumeration rejects it."""
    cases = " ".join(
        f"WHEN {_literal(one.source)} THEN {_literal(one.target)}" for one in found if one.target is not None
    )
    return f"CASE trim({name}) {cases} ELSE {name} END"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def seed_text(found: Sequence[LookupLine]) -> str:
    """The seed file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "target", "grade", "rows"])
    for entry in found:
        writer.writerow([entry.source, entry.target or "", entry.grade.value, entry.rows])
    return text.getvalue()
