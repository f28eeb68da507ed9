"""The expressions that may convert a source column to a target column. Pure.

The engine chooses among them by trying them on the rows of the sample; see `Way`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import evolve, field, frozen

from lume_async._base.words import counted, listed
from lume_local._mapping.profile import SourceColumn
from lume_local._mapping.proposal import LookupLine, Meaning
from lume_local._mapping.rewrite import last_text
from lume_local._mapping.target import Json, TargetColumn
from lume_local._samples.infer import without

_TRIMMED = "nullif(trim({column}), '')"
_ORDERS = (("dmy", "the day first"), ("mdy", "the month first"))
_MARKS = ((".", "a decimal point"), (",", "a decimal comma"))
_CHOICES = (
    ("parse_date_any({column}{choice})", "date", _ORDERS),
    ("parse_money({column}{choice})", "number", _MARKS),
    ("parse_percent({column}{choice})", "percent", _MARKS),
)
_DATES, _MONEY, _PERCENT = _CHOICES
"""Cleaners of ambiguous values: the expression, the group of the ways, and the possible meanings."""
_CODE = re.compile("[A-Z]{2}")
"""The form of a country's code: whether the members are such codes is seen in the trial."""
_FEW = 0.02
"""Share of values that may contradict all the others."""


@frozen
class Way:
    """One way to read a column.

    Attributes:
        sql: the expression, with `{column}` in it; `{column}` alone reads the column unchanged.
        group: ways of one group differ in the meaning of ambiguous values; empty if there is no such choice.
        choice: this way's meaning in words; empty for the way that makes no choice and rejects such values.
        about: what to check.
        key: the key of this `Meaning`; empty for none.
        entries: a lookup that `sql` consists of; `other` reads the values that it lacks.
    """

    sql: str
    group: str = ""
    choice: str = ""
    about: str = ""
    key: str = ""
    entries: list[LookupLine] | None = None
    other: str = ""

    @property
    def plain(self) -> str:
        """The expression without the lookup."""
        return self.other or self.sql


@frozen
class TriedWay:
    """A way, and how many filled rows it can't read or the target's checks refuse."""

    way: Way
    misfits: int


@frozen
class Decided:
    """The way in use.

    Attributes:
        misfits: how many rows it can't read.
        at_best: the same number once a person has decided the open questions.
        evidence: how the rows decided; `doubts` lists the open questions.
        readings: the possible meanings, if some values are ambiguous.
    """

    way: Way
    misfits: int
    at_best: int
    evidence: list[str] = field(factory=list)
    doubts: list[str] = field(factory=list)
    readings: list[Meaning] = field(factory=list)


def ways(target: TargetColumn, source: SourceColumn) -> list[Way]:
    """Return the ways to try, the simplest first."""
    kind = target.kind or source.kind
    found = _ways(target, source, kind)
    if not source.nulls or (kind in ("string", None) and "format" not in target.definition):
        return found
    about = f"{listed(source.nulls)} is read as NULL: remove nullif if not"
    column = without("{column}", source.nulls)
    return [evolve(way, sql=way.sql.replace("{column}", column), about=about) for way in found]


def _ways(target: TargetColumn, source: SourceColumn, kind: str | None) -> list[Way]:
    found = [Way(_TRIMMED if source.padded else "{column}")]
    if target.definition.get("format") == "email":
        found.append(Way("parse_email({column})"))
    elif kind == "date" or (kind == "date-time" and source.kind == "date"):
        found += _choices(*_DATES)
    elif kind in ("integer", "number"):
        found += _choices(*_MONEY)
        if any("parse_percent" in guess.sql for guess in source.guesses):
            found += _choices(*_PERCENT)
    elif kind == "boolean":
        found.append(Way("parse_bool({column})"))
    elif kind in ("string", None):
        # Cleaners of strings that the target's checks or its name ask for.
        is_code = any(word in target.name.lower() for word in ("country", "land", "pays", "pais"))
        named = any(guess.sql.startswith("country_code") for guess in source.guesses)
        members = target.definition.get("enum", ())
        if (named and (is_code or members)) or (members and all(map(_CODE.fullmatch, map(str, members)))):
            found.append(Way("country_code({column})"))
        for guess in source.guesses:
            if guess.sql.startswith("parse_phone") and "phone" in target.name.lower():
                found.append(Way(guess.sql, about=guess.about))
            elif guess.sql.startswith("parse_email"):
                found.append(Way("parse_email({column})"))
    return found


def _choices(sql: str, group: str, choices: Sequence[tuple[str, str]]) -> Iterator[Way]:
    yield Way(sql.replace("{choice}", ""), group)
    for argument, words in choices:
        yield Way(sql.replace("{choice}", f", '{argument}'"), group, words, key=argument)


def own_ways(sql: str) -> list[Way]:
    """Return a column's own expression as the first way; others only if they give values another meaning."""
    for cleaner in _CHOICES:
        if (found := last_text(sql, cleaner[0].partition("(")[0])) is not None:
            before, own, behind = found
            several = list(_choices(f"{before}{{choice}}{behind}", *cleaner[1:]))
            if any(way.key == own for way in several):
                return sorted(several, key=lambda way: way.key != own)
        elif sql == cleaner[0].replace("{choice}", ""):
            return list(_choices(*cleaner))
    return [Way(sql)]


def preferred(way: Way, target: TargetColumn) -> int:
    """Return the rank of equally good ways, lowest first: country codes are preferred even where names would do."""
    length = target.definition.get("maxLength") or target.definition.get("pattern")
    return 0 if way.sql.startswith(("country_code", "parse_phone")) and not length else 1


def decide(tried: Sequence[TriedWay], filled: int) -> Decided:
    """Return the way with the fewest misfits; for day or month, point or comma, only what the rows prove.

    A way without a choice reads unambiguous values only. So a value that it reads, but the better choice does not,
    contradicts that choice.
    """
    least = min(tried, key=lambda one: one.misfits)
    several = _alike(tried, least.way)
    if not several:
        return Decided(least.way, least.misfits, least.misfits)
    open_ = next(one for one in several if not one.way.choice)
    first, second = sorted((one for one in several if one.way.choice), key=lambda one: one.misfits)
    is_ambiguous = open_.misfits != first.misfits  # else no value is ambiguous
    undecided = Decided(
        open_.way,
        open_.misfits,
        min(open_.misfits, first.misfits),
        readings=_readings(several) if is_ambiguous else [],
    )
    apart = second.misfits - first.misfits
    if apart and first.misfits <= filled * _FEW:
        said = f"{apart:,} of {counted(filled, 'value')} can only be read with {first.way.choice}"
        return evolve(undecided, way=first.way, misfits=first.misfits, at_best=first.misfits, evidence=[said])
    if not is_ambiguous:
        return undecided
    if apart or open_.misfits < first.misfits:
        doubt = (
            f"up to {counted(second.misfits, 'value contradicts', 'values contradict')} "
            f"{second.way.choice}, and up to {first.misfits:,} {first.way.choice}: choose one, or correct the file"
        )
    else:
        rows = counted(open_.misfits, "row is", "rows are")
        doubt = f"{_undecided(first, second)}: {rows} rejected until you do"
    return evolve(undecided, doubts=[doubt])


def kept(tried: Sequence[TriedWay], own: Way) -> Decided:
    """Return the way that the flow already uses; another possible meaning is only a doubt."""
    mine = next(one for one in tried if one.way == own)
    several = _alike(tried, own)
    least = min((one for one in several if one.way.choice), key=lambda one: one.misfits, default=mine)
    if least.misfits >= mine.misfits:
        found = Decided(own, mine.misfits, mine.misfits, readings=_readings(several) if own.key else [])
        others = [one for one in several if one.way.choice and one is not mine]
        is_ambiguous = any(not one.way.choice and one.misfits > mine.misfits for one in several)
        if own.choice and is_ambiguous and all(one.misfits == mine.misfits for one in others):
            return evolve(
                found, doubts=[f"{_undecided(mine, *others)}: the flow reads them with {own.choice}"]
            )
        return found
    best = [one.way.choice for one in several if one.way.choice and one.misfits == least.misfits]
    more = mine.misfits - least.misfits
    doubt = f"{counted(more, 'more row')} can be read with {' or '.join(best)}"
    return Decided(own, mine.misfits, least.misfits, [], [doubt], _readings(several))


def _undecided(*several: TriedWay) -> str:
    return f"no value decides between {' and '.join(sorted(one.way.choice for one in several))}"


def chosen(tried: Sequence[TriedWay], key: str) -> Decided | None:
    """Return the way that a person has chosen by its key; None if there is none."""
    for one in tried:
        if one.way.key == key:
            said = f"a person has decided for {one.way.choice}"
            return Decided(one.way, one.misfits, one.misfits, [said], [], _readings(_alike(tried, one.way)))
    return None


def _alike(tried: Sequence[TriedWay], way: Way) -> list[TriedWay]:
    """Return the ways of this one's group, itself included; none without a group."""
    return [one for one in tried if way.group and one.way.group == way.group]


def _readings(tried: Sequence[TriedWay]) -> list[Meaning]:
    found = [Meaning(one.way.key, one.way.choice, one.misfits) for one in tried if one.way.key]
    return sorted(found, key=lambda one: one.key)


def filled_in(sql: str, name: str) -> str:
    """Return an expression with a name, or `value`, for `{column}`. Guesses have doubled braces in other names."""
    return sql.format(column=name)


def definition_to_try(target: TargetColumn, source: SourceColumn | None, sql: str) -> Json:
    """Return the definition with which an expression is tried. A sample doesn't show whether values are unique."""
    checks = {key: one for key, one in definition_for(target, source).items() if key != "unique"}
    return {"type": "string", **checks, "required": True, "sql": sql}


def definition_for(target: TargetColumn, source: SourceColumn | None) -> Mapping[str, Any]:
    """Return the target's checks, with the type of the source if the target has none."""
    checks = target.checks
    if "type" in checks or source is None:
        return checks
    if checks.get("enum"):
        return checks | {"type": "string"}
    for guess in source.guesses[:1]:
        kind, form, sql_type = guess.kind
        found = {"type": kind, "format": form, "sql_type": sql_type}
        return checks | {key: value for key, value in found.items() if value is not None}
    return checks | {"type": "string"}
