"""By which expressions a source column may become a target column. Pure.

Which of them is used is decided by trying them on the rows of the sample, in the engine: see `Way`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import field, frozen

from lume_local._mapping.profile import SourceColumn
from lume_local._mapping.target import TargetColumn
from lume_local._samples.guess import Guess

_TRIMMED = "nullif(trim({column}), '')"
_ORDERS = (("dmy", "the day first"), ("mdy", "the month first"))
_MARKS = ((".", "a decimal point"), (",", "a decimal comma"))
_FEW = 0.02
"""The share of values that may contradict what all the others show."""


@frozen
class Way:
    """One way to read a column.

    Attributes:
        sql: the expression, with `{column}` in it; `{column}` alone reads the column as it is.
        group: ways of one group differ in what an ambiguous value means; empty if there is no such choice.
        choice: which of them this is, in words; empty for the one that makes no choice and rejects such values.
        about: what to check.
    """

    sql: str
    group: str = ""
    choice: str = ""
    about: str = ""


@frozen
class TriedWay:
    """How many of the filled rows a way can't read, or the target's checks refuse."""

    way: Way
    misfits: int


@frozen
class Decided:
    """The way that is used.

    Attributes:
        misfits: how many rows it can't read.
        at_best: how many that would be, once a person has decided what no row decides.
        evidence: what decided; `doubts` is what nothing decided.
    """

    way: Way
    misfits: int
    at_best: int
    evidence: list[str] = field(factory=list)
    doubts: list[str] = field(factory=list)


def ways(target: TargetColumn, source: SourceColumn) -> list[Way]:
    """The ways to try, the simplest first."""
    kind = target.kind or source.kind
    found = [Way(_TRIMMED if source.padded else "{column}")]
    if target.definition.get("format") == "email":
        found.append(Way("parse_email({column})"))
    elif kind == "date" or (kind == "date-time" and source.kind == "date"):
        found += _choices("parse_date_any({column}{choice})", "date", _ORDERS)
    elif kind in ("integer", "number"):
        found += _choices("parse_money({column}{choice})", "number", _MARKS)
        if any("parse_percent" in guess.sql for guess in source.guesses):
            found += _choices("parse_percent({column}{choice})", "percent", _MARKS)
    elif kind == "boolean":
        found.append(Way("parse_bool({column})"))
    elif kind in ("string", None):
        found += _cleaned(target, source.guesses)
    return found


def _choices(sql: str, group: str, choices: Sequence[tuple[str, str]]) -> Iterator[Way]:
    yield Way(sql.replace("{choice}", ""), group)
    for argument, words in choices:
        yield Way(sql.replace("{choice}", f", '{argument}'"), group, words)


def _cleaned(target: TargetColumn, guesses: Sequence[Guess]) -> Iterator[Way]:
    """Cleaners of texts that the target's checks ask for, or that its name asks for."""
    is_code = any(word in target.name.lower() for word in ("country", "land", "pays", "pais"))
    for guess in guesses:
        if guess.sql.startswith("country_code") and (is_code or "enum" in target.definition):
            yield Way("country_code({column})")
        elif guess.sql.startswith("parse_phone") and "phone" in target.name.lower():
            yield Way(guess.sql, about=guess.about)
        elif guess.sql.startswith("parse_email"):
            yield Way("parse_email({column})")


def preferred(way: Way, target: TargetColumn) -> int:
    """Of ways that read as much, the lower one is used: codes of countries are wanted even where names would do."""
    length = target.definition.get("maxLength") or target.definition.get("pattern")
    return 0 if way.sql.startswith(("country_code", "parse_phone")) and not length else 1


def decide(tried: Sequence[TriedWay], filled: int) -> Decided:
    """The way with the fewest misfits; between day and month, or point and comma, only what the rows decide.

    A way without a choice reads what has one meaning, and nothing else. So what it reads and the better choice does
    not contradicts that choice.
    """
    least = min(tried, key=lambda one: one.misfits)
    several = [one for one in tried if least.way.group and one.way.group == least.way.group]
    if not several:
        return Decided(least.way, least.misfits, least.misfits)
    open_ = next(one for one in several if not one.way.choice)
    first, second = sorted((one for one in several if one.way.choice), key=lambda one: one.misfits)
    apart = second.misfits - first.misfits
    if apart and first.misfits <= filled * _FEW:
        said = f"{apart:,} of {filled:,} values can only be read with {first.way.choice}"
        return Decided(first.way, first.misfits, first.misfits, [said])
    if open_.misfits == first.misfits:  # no value can mean two things
        return Decided(open_.way, open_.misfits, open_.misfits)
    if apart or open_.misfits < first.misfits:
        doubt = (
            f"up to {second.misfits:,} values contradict {second.way.choice}, and {first.misfits:,} contradict "
            f"{first.way.choice}: decide, or correct the file"
        )
    else:
        words = " or ".join(sorted((first.way.choice, second.way.choice)))
        doubt = f"no value decides between {words}: {open_.misfits:,} rows are rejected until you do"
    return Decided(open_.way, open_.misfits, min(open_.misfits, first.misfits), [], [doubt])


def filled_in(sql: str, name: str) -> str:
    """An expression with a name, or `value`, in place of `{column}`. Guesses have doubled braces in other names."""
    return sql.format(column=name)


def definition_for(target: TargetColumn, source: SourceColumn | None) -> Mapping[str, Any]:
    """The target's checks; if it has no type, that of the source."""
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
