"""Lookups of source values as members of an enumeration, which a person can edit. Pure."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from rapidfuzz.distance import Indel

from lume_async._base.words import counted
from lume_local._mapping.evidence import ORDER, Grade
from lume_local._mapping.expressions import Way
from lume_local._mapping.names import are_opposed, plain, words
from lume_local._mapping.proposal import LookupLine
from lume_local._mapping.rewrite import literal
from lume_local._mapping.target import Json

MOST = 200
"""Maximum distinct values of a lookup."""
_ALIKE, _SHORT = 0.88, 5
"""Similarity of a misspelled value; letters that both must have, as codes differ in single ones."""
_LETTERS = frozenset(
    "small medium large male female yes no true false mannlich weiblich homme femme ja nein".split()  # noqa: SIM905
)
"""Words that their first letter stands for. No other value means a member that it begins with or contains."""


def lookup(
    values: Mapping[str, int], members: Sequence[str], *, is_wanted: bool = False
) -> list[LookupLine] | None:
    """Return the member for each value; None if all are members already, or there are too many values.

    Also None if no value has a counterpart, unless a person wants to assign them.
    """
    if not values or len(values) > MOST or all(value in members for value in values):
        return None
    found = entries(values, members)
    return found if is_wanted or any(entry.target is not None for entry in found) else None


def entries(values: Mapping[str, int], members: Sequence[str]) -> list[LookupLine]:
    """Return the member for each value, as lines of a lookup."""
    return [LookupLine(value, rows, *_member(value, members, values)) for value, rows in values.items()]


def _member(value: str, members: Sequence[str], values: Mapping[str, int]) -> tuple[str | None, Grade]:
    """Return the member that a value certainly means, or misspells, and how certain it is."""
    if value in members:
        return value, Grade.CERTAIN
    text = plain(value)
    if len(same := [member for member in members if plain(member) == text]) == 1:
        return same[0], Grade.CERTAIN
    meant = _concepts(value)
    same = [member for member in members if meant and _concepts(member) & meant]
    if len(same) == 1 or len(same := _initials(text, members, values)) == 1:
        return same[0], Grade.HIGH
    best = max(members, key=lambda member: Indel.normalized_similarity(text, plain(member)))
    other = plain(best)
    is_part = min(len(text), len(other)) < _SHORT or text in other or other in text
    if not is_part and Indel.normalized_similarity(text, other) >= _ALIKE and not are_opposed(value, best):
        return best, Grade.MEDIUM
    return None, Grade.LOW


def _initials(text: str, members: Sequence[str], values: Mapping[str, int]) -> list[str]:
    """Return members that stand for the value by their letter or the reverse, unless another one has it, too."""
    found = []
    for member in members:
        short, long = sorted((text, plain(member)), key=len)
        if len(short) != 1 or long not in _LETTERS or long[0] != short:
            continue
        others = [plain(other) for other in (*members, *values) if plain(other) not in (text, plain(member))]
        if not any(other.startswith(short) for other in others):
            found.append(member)
    return found


def _concepts(value: str) -> frozenset[str]:
    found = [word.concepts for word in words(value)]
    return frozenset().union(*found) if len(found) == 1 else frozenset()


def share(found: Sequence[LookupLine]) -> float:
    """Return the share of rows whose value has a member."""
    total = sum(entry.rows for entry in found)
    return sum(entry.rows for entry in found if entry.target is not None) / total if total else 0.0


def corrected(
    found: Sequence[LookupLine], given: Mapping[str, str | None], values: Mapping[str, int]
) -> list[LookupLine]:
    """Return the lookup with a person's decisions; `values` has the number of rows by value."""
    known = {entry.source: entry for entry in found}
    for value, target in given.items():
        known[value] = LookupLine(value, values.get(value, 0), target, Grade.CERTAIN)
    return list(known.values())


def worst(found: Sequence[LookupLine]) -> Grade:
    """Return the grade of the least certain entry in use; `CERTAIN` if there is none."""
    used = (entry.grade for entry in found if entry.target is not None)
    return max(used, key=ORDER.index, default=Grade.CERTAIN)


def doubts(found: Sequence[LookupLine]) -> Iterator[str]:
    """Yield what a person has to decide about a lookup, without its values."""
    if likely := sum(entry.grade is Grade.MEDIUM and entry.target is not None for entry in found):
        yield f"{counted(likely, 'value resembles', 'values resemble')} a member only: check the lookup"
    if left := sum(entry.target is None for entry in found):
        yield f"no certain member for {counted(left, 'value')}, which a run rejects: fill in the lookup"


def way(found: list[LookupLine], other: str) -> Way:
    """Return the lookup as a way to read a column; another expression over `{column}` reads values that it lacks."""
    text = as_sql(found, "\0", "\1").replace("{", "{{").replace("}", "}}")
    return Way(text.replace("\0", "{column}").replace("\1", other), entries=found, other=other)


def as_sql(found: Sequence[LookupLine], name: str, other: str) -> str:
    """Return the lookup as an expression; `other` reads values without a member, for the enumeration to check."""
    cases = " ".join(
        f"WHEN {literal(one.source)} THEN {literal(one.target)}" for one in found if one.target is not None
    )
    return f"CASE trim({name}) {cases} ELSE {other} END" if cases else other


def looked_up(
    found: Sequence[LookupLine],
    other: str,
    name: str,
    seeds: dict[str, str] | None,
    known: Collection[str] = (),
) -> str:
    """Return the expression over `value` that looks it up.

    Args:
        other: reads values without a member.
        seeds: receives its file; None writes the lookup into the expression.
        known: the names of the flow's seeds, whose files are kept.
    """
    if seeds is None:
        return as_sql(found, "value", other)
    seed = re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60].lstrip("_-") or "values"
    while seed in known or f"seeds/{seed}.csv" in seeds:
        seed += "_"
    seeds[f"seeds/{seed}.csv"] = seed_text(found)
    return f"coalesce(seed('{seed}', trim(value), 'target'), {other})"


def seed_tables(seeds: Iterable[str]) -> Json:
    """Return the flow's `[seeds]` for the paths of seed files."""
    names = {path.rpartition("/")[2].removesuffix(".csv"): path for path in seeds}
    return {name: {"path": path, "key": "source"} for name, path in names.items()}


def seed_text(found: Sequence[LookupLine]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "target", "grade", "rows"])
    for entry in found:
        writer.writerow([entry.source, entry.target or "", entry.grade.value, entry.rows])
    return text.getvalue()
