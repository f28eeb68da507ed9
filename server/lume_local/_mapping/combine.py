"""Target columns made of two source columns, or of a part of one: names of people, and street and number. Pure."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping

from attrs import frozen

from lume_local._flow.definition import quoted
from lume_local._mapping.evidence import Grade
from lume_local._mapping.names import words
from lume_local._mapping.profile import Profile, SourceColumn
from lume_local._mapping.target import MappingTarget

_MOST = 0.9
"""Share of values that must have the form that a split relies on."""
_TWO_WORDS = re.compile(r"\S+\s+\S+")
_COMMA = re.compile(r"[^,]+,\s*[^,]+")
_STREET = re.compile(r"\D.*\s\d+\s?[a-zA-Z]?(\s?[-/]\s?\d+\s?[a-zA-Z]?)?")
_NUMBER_AT_END = r"\s+(\d+\s?[a-zA-Z]?(\s?[-/]\s?\d+\s?[a-zA-Z]?)?)$"


@frozen
class Combined:
    """A target column made of others.

    Attributes:
        sql: the expression over the source columns.
        evidence: the reasons in words, without values.
    """

    target: str
    sources: list[str]
    sql: str
    grade: Grade
    evidence: list[str]


def combined(target: MappingTarget, profile: Profile, chosen: Mapping[str, str]) -> Iterator[Combined]:
    """Yield target columns that can be made only by combining or splitting; `chosen` are those already mapped."""
    named = ((column.name, _role(column.name)) for column in target.columns)
    roles = {name: role for name, role in named if role}
    wanted = set(roles.values())
    given: dict[str, SourceColumn] = {}
    for column in profile.columns:
        if role := _role(column.name):
            given.setdefault(role, column)
    # The target has the house number in its own column, the source does not.
    is_split = "number" in wanted and "number" not in given
    for name, role in roles.items():
        read = _role(chosen[name]) if name in chosen else None
        if name in chosen and read == role and not (role == "street" and is_split):
            continue
        if name in chosen and read not in _PARTS:
            continue
        used = {source for target, source in chosen.items() if roles.get(target) in (None, _role(source))}
        if made := _made(name, role, given, used):
            yield made


def _made(name: str, role: str, given: Mapping[str, SourceColumn], used: Collection[str]) -> Combined | None:
    for join in _JOINS.get(role, ()):
        if all(part in given for part in join):
            columns = [given[part].name for part in join]
            parts = ", ".join(f"nullif(trim({quoted(one)}), '')" for one in columns)
            sql = f"nullif(concat_ws(' ', {parts}), '')"
            shown = " and ".join(map(repr, columns))
            return Combined(name, columns, sql, Grade.HIGH, [f"joined from {shown}"])
    for whole, split in _SPLITS.get(role, ()):
        column = given.get(whole)
        is_shared = whole == "street"  # its number is split off, or kept
        if column is None or (column.name in used and not is_shared):
            continue
        if found := split(name, role, column):
            return found
    return None


def _role(name: str) -> str | None:
    """Return the part of a person's name or an address that a column name means; None for anything else."""
    found = [frozenset(word.concepts) | {word.text} for word in words(name)]
    every = frozenset().union(*found)
    if "street" in every:
        return "street"
    if "number" in every and "house" in every:
        return "number"
    if "name" in every and not every & {"company", "user", "file", "product", "item", "account", "middle"}:
        for part in ("first", "last"):
            if part in every:
                return part
        if every & {"full", "customer", "contact", "person", "employee"} or len(found) == 1:
            return "name"
    return (
        "address" if "address" in every and not every & {"email", "ip", "line"} and len(found) == 1 else None
    )


def _person(target: str, role: str, column: SourceColumn) -> Combined | None:
    """Return the first or last name from a whole one, split at the comma or the last blank."""
    name = f"trim({quoted(column.name)})"
    commas, two = _form(column, _COMMA), _form(column, _TWO_WORDS)
    if commas >= _MOST:
        part = 2 if role == "first" else 1
        sql = f"nullif(trim(split_part({name}, ',', {part})), '')"
        said = f"{commas:.0%} of the values of {column.name!r} have one comma: the last name is before it"
        return Combined(target, [column.name], sql, Grade.HIGH, [said])
    if two < _MOST:
        return None
    pattern = r"\s+\S+$" if role == "first" else r"^.*\s+"
    sql = f"regexp_replace({name}, '{pattern}', '')"
    said = f"{two:.0%} of the values of {column.name!r} are two words: the last one is the last name"
    return Combined(target, [column.name], sql, Grade.HIGH if two == 1 else Grade.MEDIUM, [said])


def _house(target: str, role: str, column: SourceColumn) -> Combined | None:
    """Return the street or the house number from both in one, with the number at its end."""
    share = _form(column, _STREET)
    if share < _MOST:
        return None
    name = f"trim({quoted(column.name)})"
    if role == "number":
        sql = f"nullif(regexp_extract({name}, '{_NUMBER_AT_END}', 1), '')"
    else:
        sql = f"regexp_replace({name}, '{_NUMBER_AT_END}', '')"
    said = f"{share:.0%} of the values of {column.name!r} end with a house number"
    return Combined(target, [column.name], sql, Grade.HIGH if share > 0.98 else Grade.MEDIUM, [said])


def _form(column: SourceColumn, pattern: re.Pattern[str]) -> float:
    """Return the share of a sample of the values that match a pattern."""
    values = [value.strip() for value in column.first]
    return sum(pattern.fullmatch(value) is not None for value in values) / max(len(values), 1)


Split = Callable[[str, str, SourceColumn], Combined | None]
_JOINS = {"name": [("first", "last")], "street": [("street", "number")], "address": [("street", "number")]}
_SPLITS: dict[str, list[tuple[str, Split]]] = {
    "first": [("name", _person)],
    "last": [("name", _person)],
    "number": [("street", _house), ("address", _house)],
    "street": [("street", _house), ("address", _house)],
}
_PARTS = ("first", "last", "street", "number", "name")
"""A column mapped to one of these may be only a part of the target column, or more than it."""
