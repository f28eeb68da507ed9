"""The candidates for a target from one sample: matches tried on its rows, then splits and joins.

Pure, except for the `Tester`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from attrs import evolve, frozen

from lume_async._base.words import counted
from lume_async.errors import ConfigurationError
from lume_local._flow.definition import quoted
from lume_local._mapping import lookups
from lume_local._mapping.decisions import ColumnDecision
from lume_local._mapping.evidence import Grade, at_most, worse
from lume_local._mapping.expressions import definition_to_try, filled_in
from lume_local._mapping.match import MOST_CANDIDATES, Match, Matches, reasons
from lume_local._mapping.names import words
from lume_local._mapping.profile import Profile, SourceColumn
from lume_local._mapping.proposal import Choice
from lume_local._mapping.readings import AS_IT_IS, Readings, Tester, TriedColumn, over_column
from lume_local._mapping.rewrite import names_in, over_value
from lume_local._mapping.target import MappingTarget, TargetColumn

_TRIED = 0.2
"""Minimum likelihood of a pair to be tried on the rows."""
_OF_SEVERAL, _SUGGESTED, _ELSE = 0.8, 0.35, 0.1
"""Displayed likelihood of candidates not compared as pairs: made of several columns, suggested, or others."""
_PASSES = 0.98
"""Share of rows that must pass if nothing else supports a suggestion."""
_PASSED = "{:.1%} of the rows pass the target's checks"
_UNLIKE = "no layout of the flow reads it in this way: its values may be written differently"


@frozen
class Suggestion:
    """A program's suggestion: the sources of a target column, and optionally an expression over them."""

    target: str
    sources: list[str]
    sql: str | None = None


class SampleProposal:
    """The candidates for each target column from one sample.

    Attributes:
        target, profile, tester: as given.
        chosen: the candidates in use, by target column.
        doubts: suggestions that can't be judged.
    """

    def __init__(
        self,
        target: MappingTarget,
        profile: Profile,
        tester: Tester,
        suggestions: Sequence[Suggestion],
    ) -> None:
        self.target, self.profile, self.tester = target, profile, tester
        self._matches = Matches(target, profile)
        self._readings = Readings(target, profile, tester)
        pairs = [
            (column, match.source)
            for column, found in zip(target.columns, self._matches.best(), strict=True)
            for match in found
            if match.likely >= _TRIED
        ]
        self._matches.lower(self._readings.find(pairs))
        self.chosen: dict[str, Choice] = {}
        self.candidates: dict[str, list[Choice]] = {}
        self.doubts: list[str] = []
        for column, found in zip(target.columns, self._matches.best(), strict=True):
            self._take(column, found)
        self._combine()
        for suggestion in suggestions:
            self._suggest(suggestion)

    def decide(self, decisions: Mapping[str, ColumnDecision]) -> None:
        """Follow a person's decisions, by target column."""
        for name, decision in decisions.items():
            self._choose(name, decision)

    # -- single columns

    def _take(self, column: TargetColumn, found: Sequence[Match]) -> None:
        if column.sql is not None and not over_column(column.sql):
            known = {one.name.lower(): one.name for one in self.profile.columns}
            read = [known.get(one.lower(), "") for one in names_in(column.sql)]
            self.candidates[column.name] = []
            if read and all(read):
                said = ["the flow reads these columns already"]
                self.chosen[column.name] = Choice(read, column.sql, Grade.CERTAIN, 1.0, said)
                self.candidates[column.name] = [self.chosen[column.name]]
            return
        candidates = [self._candidate(column, match) for match in found]
        self.candidates[column.name] = candidates
        for match, candidate in zip(found, candidates, strict=True):
            if match.is_chosen and candidate.grade.is_used:
                self.chosen[column.name] = candidate

    def _candidate(self, column: TargetColumn, match: Match) -> Choice:
        """Return a match as a choice, with its grade after the trial on rows."""
        source, evidence, doubts = match.source, reasons(column, match), list[str]()
        found, sql = match.grade, column.sql
        read = self._readings.of(column.name, source.name)
        made = Choice([source.name], sql, found, match.likely, evidence)
        if read is not None:
            reading, entries = read.decided, read.entries
            passes = self._passes(column, source, reading.misfits)
            found = at_most(found, self._passes(column, source, reading.at_best))
            if reading.doubts:
                found = worse(found, Grade.MEDIUM)
            evidence += [_PASSED.format(passes), *reading.evidence]
            doubts += [*reading.doubts, *([reading.way.about] if reading.way.about else [])]
            if entries is not None:
                found = worse(found, lookups.worst(entries))
                evidence.append(f"{lookups.share(entries):.1%} of the lookup's values have a counterpart")
                doubts += lookups.doubts(entries)
            plain = reading.way.plain
            if _is_unlike(column, plain):
                found = worse(found, Grade.MEDIUM)
                evidence.append(_UNLIKE)
            is_own = column.sql is not None and plain == over_column(column.sql)
            if not is_own:  # a flow's own expression is kept as written
                sql = None if plain == AS_IT_IS else filled_in(plain, "value")
            made = evolve(
                made,
                sql=sql,
                passes=passes,
                values=read.result.values,
                lookup=entries,
                readings=reading.readings,
                reading=reading.way.key or None,
            )
        # A name alone may identify the column, whatever its values; these remain to be decided.
        if not found.is_used and (match.is_alias or ("enum" in column.definition and match.pair.name.same)):
            found = Grade.MEDIUM
            if read is not None and read.entries is None and (misfits := read.decided.misfits):
                values = counted(source.facts.filled, "value")
                how = "correct the file or the expression"
                doubts.append(f"{misfits:,} of {values} do not pass the target's checks: {how}")
        blank = self.profile.rows - source.facts.filled
        if column.definition.get("required") and source.facts.share < 1 and blank > 0:
            doubts.append(f"{counted(blank, 'row has', 'rows have')} no value, and the target requires one")
        return evolve(made, grade=found, evidence=evidence, doubts=list(dict.fromkeys(doubts)))

    def _passes(self, column: TargetColumn, source: SourceColumn, misfits: int) -> float:
        """Return the share of rows that the target accepts; those without a value only if it requires none."""
        filled = source.facts.filled
        share = 1 - misfits / filled if filled else 1.0
        if column.definition.get("required"):
            share *= source.facts.share
        return share * (source.facts.distinct if column.definition.get("unique") and filled else 1.0)

    # -- several columns, or a part of one

    def _combine(self) -> None:
        """Add columns made of several source columns, or of a part of one, and choose those that pass."""
        by_source = {name: one.sources[0] for name, one in self.chosen.items()}
        columns = {column.name: column for column in self.target.columns if column.sql is None}
        found = {name: one for name, one in combined(self.target, self.profile, by_source) if name in columns}
        wanted = {
            name: (one.sources[0], definition_to_try(columns[name], None, one.sql or ""))
            for name, one in found.items()
        }
        results = self.tester(wanted) if wanted else {}
        for name, one in found.items():
            passes = self._share(results[name])
            candidate = evolve(
                one,
                grade=at_most(one.grade, passes),
                evidence=[*one.evidence, _PASSED.format(passes)],
                passes=passes,
                values=results[name].values,
            )
            self.candidates[name] = [candidate, *self.candidates[name]][:MOST_CANDIDATES]
            if candidate.grade.is_used:
                self.chosen[name] = candidate

    def _share(self, result: TriedColumn) -> float:
        return 1 - result.misfits / max(self.profile.rows, 1)

    # -- suggestions of a program

    def _suggest(self, suggestion: Suggestion) -> None:
        """Judge a suggestion by the same evidence: it is used if nothing else is and its values pass."""
        column = next((one for one in self.target.columns if one.name == suggestion.target), None)
        sources = [one for name in suggestion.sources if (one := self.profile.column(name)) is not None]
        if column is None or len(sources) != len(suggestion.sources):
            what = "no column of the target" if column is None else "a column that the sample does not have"
            self.doubts.append(f"the suggestion for {suggestion.target!r} names {what}")
            return
        # An expression can't tell that a start is no end, so a person decides.
        if len(sources) == 1 and self._matches.pair(column.name, sources[0].name).pair.name.opposed:
            both = f"{column.name!r} and {sources[0].name!r}"
            self.doubts.append(f"the suggestion for {column.name!r} is refused: {both} exclude each other")
            return
        known = [one for one in self.candidates[column.name] if one.sources == suggestion.sources]
        try:
            candidate = (
                evolve(known[0], suggested=True)
                if known and suggestion.sql is None
                else self._of_suggestion(column, suggestion)
            )
        except ConfigurationError as error:
            self.doubts.append(f"the suggestion for {suggestion.target!r} can't be tried: {error}")
            return
        rest = [one for one in self.candidates[column.name] if one.sources != candidate.sources]
        self.candidates[column.name] = [candidate, *rest][:MOST_CANDIDATES]
        if column.name not in self.chosen and candidate.grade.is_used:
            self.chosen[column.name] = candidate

    def _of_suggestion(self, column: TargetColumn, suggestion: Suggestion) -> Choice:
        first = quoted(suggestion.sources[0])
        sql = suggestion.sql or first
        tried = over_value(sql, first) if len(suggestion.sources) == 1 else sql
        result = self.tester({"0": (suggestion.sources[0], definition_to_try(column, None, tried))})["0"]
        passes = self._share(result)
        checks = set(column.checks) - {"required", "unique", "type"}
        can_refuse = bool(checks) or column.definition.get("type", "string") != "string"
        grade = Grade.MEDIUM if passes >= _PASSES and can_refuse else Grade.LOW
        return Choice(
            suggestion.sources,
            suggestion.sql,
            grade,
            _SUGGESTED if grade.is_used else _ELSE,
            ["suggested by the program", _PASSED.format(passes)],
            [] if grade.is_used else ["nothing else speaks for it"],
            passes,
            result.values,
            suggested=True,
        )

    # -- choices of a person

    def _choose(self, name: str, decision: ColumnDecision) -> None:
        """Use a person's decision for a target column, whatever the evidence for others."""
        if decision.is_open:
            self.chosen.pop(name, None)
            return
        proposed = self.chosen.get(name)
        wanted = list(decision.sources or (proposed.sources if proposed is not None else ()))
        given = [one for source in wanted if (one := self.profile.column(source)) is not None]
        if not given or len(given) < len(wanted):  # the columns are in another sample
            return
        self.chosen.pop(name, None)
        column = next(one for one in self.target.columns if one.name == name)
        made = next((one for one in self.candidates[name] if one.sources == wanted), None)
        if len(given) == 1 and not _is_settled(column, made, decision):
            source = given[0]
            pair = column, source
            if not decision.is_of_values or self._readings.of(column.name, source.name) is None:
                self._readings.find([pair], evolve(decision, reading=None, lookup=None))
            if decision.is_of_values:
                self._readings.find([pair], decision)
            made = self._candidate(column, self._matches.pair(name, wanted[0]))
        if made is None:
            return
        self.chosen[name] = made
        rest = [one for one in self.candidates[name] if one.sources != wanted]
        self.candidates[name] = [made, *rest][:MOST_CANDIDATES]


def _is_unlike(column: TargetColumn, way: str) -> bool:
    """Return whether the flow's layouts change the texts of a column in several ways, none of them this one."""
    own = [over_column(one) for one in column.ways]
    is_changed = column.sql is None and bool(own) and all(own) and AS_IT_IS not in own
    return is_changed and way not in own and column.kind == "string" and "enum" not in column.definition


def _is_settled(column: TargetColumn, made: Choice | None, decision: ColumnDecision) -> bool:
    """Return whether a choice needs no further trial; an enumeration's values may still need a lookup."""
    if made is None or made.passes is None or decision.is_of_values:
        return False
    return made.lookup is not None or made.passes == 1 or "enum" not in column.definition


# -- columns made of two, or of a part of one: names of people, and street and number

_OF_FORM = 0.9
"""Share of values that must have the form that a split relies on."""
_TWO_WORDS = re.compile(r"\S+\s+\S+")
_COMMA = re.compile(r"[^,]+,\s*[^,]+")
_STREET = re.compile(r"\D.*\s\d+\s?[a-zA-Z]?(\s?[-/]\s?\d+\s?[a-zA-Z]?)?")
_NUMBER_AT_END = r"\s+(\d+\s?[a-zA-Z]?(\s?[-/]\s?\d+\s?[a-zA-Z]?)?)$"


def combined(
    target: MappingTarget, profile: Profile, chosen: Mapping[str, str]
) -> Iterator[tuple[str, Choice]]:
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
        if made := _made(role, given, used):
            yield name, made


def _made(role: str, given: Mapping[str, SourceColumn], used: Collection[str]) -> Choice | None:
    for join in _JOINS.get(role, ()):
        if all(part in given for part in join):
            columns = [given[part].name for part in join]
            parts = ", ".join(f"nullif(trim({quoted(one)}), '')" for one in columns)
            sql = f"nullif(concat_ws(' ', {parts}), '')"
            shown = " and ".join(map(repr, columns))
            return Choice(columns, sql, Grade.HIGH, _OF_SEVERAL, [f"joined from {shown}"])
    for whole, split in _SPLITS.get(role, ()):
        column = given.get(whole)
        is_shared = whole == "street"  # its number is split off, or kept
        if column is None or (column.name in used and not is_shared):
            continue
        if found := split(role, column):
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


def _person(role: str, column: SourceColumn) -> Choice | None:
    """Return the first or last name from a whole one, split at the comma or the last blank."""
    name = f"trim({quoted(column.name)})"
    commas, two = _form(column, _COMMA), _form(column, _TWO_WORDS)
    if commas >= _OF_FORM:
        part = 2 if role == "first" else 1
        sql = f"nullif(trim(split_part({name}, ',', {part})), '')"
        said = f"{commas:.0%} of the values of {column.name!r} have one comma: the last name is before it"
        return Choice([column.name], sql, Grade.HIGH, _OF_SEVERAL, [said])
    if two < _OF_FORM:
        return None
    pattern = r"\s+\S+$" if role == "first" else r"^.*\s+"
    sql = f"regexp_replace({name}, '{pattern}', '')"
    said = f"{two:.0%} of the values of {column.name!r} are two words: the last one is the last name"
    return Choice([column.name], sql, Grade.HIGH if two == 1 else Grade.MEDIUM, _OF_SEVERAL, [said])


def _house(role: str, column: SourceColumn) -> Choice | None:
    """Return the street or the house number from both in one, with the number at its end."""
    share = _form(column, _STREET)
    if share < _OF_FORM:
        return None
    name = f"trim({quoted(column.name)})"
    if role == "number":
        sql = f"nullif(regexp_extract({name}, '{_NUMBER_AT_END}', 1), '')"
    else:
        sql = f"regexp_replace({name}, '{_NUMBER_AT_END}', '')"
    said = f"{share:.0%} of the values of {column.name!r} end with a house number"
    return Choice([column.name], sql, Grade.HIGH if share > 0.98 else Grade.MEDIUM, _OF_SEVERAL, [said])


def _form(column: SourceColumn, pattern: re.Pattern[str]) -> float:
    """Return the share of a sample of the values that match a pattern."""
    values = [value.strip() for value in column.first]
    return sum(pattern.fullmatch(value) is not None for value in values) / max(len(values), 1)


Split = Callable[[str, SourceColumn], Choice | None]
_JOINS = {"name": [("first", "last")], "street": [("street", "number")], "address": [("street", "number")]}
_SPLITS: dict[str, list[tuple[str, Split]]] = {
    "first": [("name", _person)],
    "last": [("name", _person)],
    "number": [("street", _house), ("address", _house)],
    "street": [("street", _house), ("address", _house)],
}
_PARTS = ("first", "last", "street", "number", "name")
"""A column mapped to one of these may be only a part of the target column, or more than it."""
