"""The candidates for a target from one sample: matches that are tried on its rows, then splits and joins.

Pure but for the `Tester`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from attrs import evolve, field, frozen

from lume_async.errors import ConfigurationError
from lume_local._flow.definition import quoted
from lume_local._mapping import lookups
from lume_local._mapping.combine import Combined, combined
from lume_local._mapping.expressions import (
    Decided,
    TriedWay,
    Way,
    decide,
    definition_for,
    filled_in,
    preferred,
    ways,
)
from lume_local._mapping.grades import Grade, at_most, worse
from lume_local._mapping.match import Match, Matches
from lume_local._mapping.profile import Profile, SourceColumn
from lume_local._mapping.proposal import Before, Choice, LookupLine
from lume_local._mapping.reasons import reasons
from lume_local._mapping.target import Json, MappingTarget, TargetColumn
from lume_local._mapping.text.rewrite import calls, names_in, over_value

_TRIED = 0.2
"""How likely a pair has to be to be tried on the rows."""
_OF_SEVERAL, _SUGGESTED, _ELSE = 0.8, 0.35, 0.1
"""How likely something is shown to be that was not compared as a pair: made of several columns, or suggested."""
_PASSES = 0.98
"""The share of rows that have to pass if nothing else speaks for a suggestion."""
_MOST = 3


@frozen
class TriedColumn:
    """What became of an expression on the rows of a sample: rows rejected for their value, rows without one."""

    misfits: int
    missing: int
    values: list[Before] = field(factory=list)


class Tester(Protocol):
    """Tries expressions on the rows of a sample."""

    def __call__(
        self, columns: Mapping[str, tuple[str, Mapping[str, Any]]], *, everywhere: bool = False
    ) -> dict[str, TriedColumn]:
        """What becomes of each: by any name, a source column and a definition as `[columns.<name>]` of a flow.

        Args:
            everywhere: on all rows of the file, not only on those that are kept.

        Raises:
            ConfigurationError: the flow can't be run.
        """
        ...


@frozen
class Suggestion:
    """What a program suggests: the sources of a target column, and perhaps an expression over them."""

    target: str
    sources: list[str]
    sql: str | None = None


class SampleProposal:
    """The candidates for each target column from one sample.

    Attributes:
        chosen: of them those that are used, by the names of the target columns.
        doubts: suggestions that can't be judged.
    """

    def __init__(
        self,
        target: MappingTarget,
        profile: Profile,
        tester: Tester,
        suggestions: Sequence[Suggestion] = (),
        choices: Mapping[str, str | None] | None = None,
    ) -> None:
        self._target, self._profile, self._tester = target, profile, tester
        self._matches = Matches(target, profile)
        self._readings: dict[tuple[str, str], tuple[Decided, TriedColumn, list[LookupLine] | None]] = {}
        self._try(self._likely())
        self.chosen: dict[str, Choice] = {}
        self.candidates: dict[str, list[Choice]] = {}
        self.doubts: list[str] = []
        for column, found in zip(target.columns, self._matches.best(), strict=True):
            self._take(column, found)
        self._combine()
        for suggestion in suggestions:
            self._suggest(suggestion)
        for name, source in (choices or {}).items():
            self._choose(name, source)

    # -- single columns

    def _likely(self) -> Iterator[tuple[TargetColumn, SourceColumn]]:
        """The pairs that are worth a trial."""
        for column, found in zip(self._target.columns, self._matches.best(), strict=True):
            yield from ((column, match.source) for match in found if match.likely >= _TRIED)

    def _try(self, pairs: Iterable[tuple[TargetColumn, SourceColumn]]) -> None:
        """Try pairs on the rows, which may change what is likeliest."""
        wanted: dict[str, tuple[str, Json]] = {}
        tried: list[tuple[TargetColumn, SourceColumn, list[LookupLine] | None, list[Way]]] = []
        for column, source in pairs if self._profile.rows else ():
            entries = self._lookup(column, source)
            several = _ways(column, source) if entries is None else [Way("{column}")]
            for w, way in enumerate(several):
                definition = self._definition(column, source, way, entries)
                wanted[f"{len(tried)}_{w}"] = source.name, definition
            if several:
                tried.append((column, source, entries, several))
        results = self._tester(wanted) if wanted else {}
        for n, (column, source, entries, several) in enumerate(tried):
            self._keep(column, source, entries, [(way, results[f"{n}_{w}"]) for w, way in enumerate(several)])
        self._matches.lower(
            {
                (column.name, source.name): 1 - decided.at_best / max(source.facts.filled, 1)
                for column, source, *_ in tried
                for decided, _, _ in [self._readings[column.name, source.name]]
            }
        )

    def _keep(
        self,
        column: TargetColumn,
        source: SourceColumn,
        entries: list[LookupLine] | None,
        tried: list[tuple[Way, TriedColumn]],
    ) -> None:
        """Decide how the column is read; if the rows that were tried don't, all of them are."""
        ordered = sorted(tried, key=lambda one: (one[1].misfits, preferred(one[0], column)))
        reading = decide([TriedWay(way, result.misfits) for way, result in ordered], source.facts.filled)
        if reading.doubts and reading.way.group:
            again = {
                str(n): (source.name, self._definition(column, source, way, None))
                for n, (way, _) in enumerate(ordered)
                if way.group == reading.way.group
            }
            whole = self._tester(again, everywhere=True)
            reading = decide(
                [TriedWay(ordered[int(n)][0], one.misfits) for n, one in whole.items()],
                source.facts.filled,
            )
        result = next(result for way, result in tried if way == reading.way)
        if entries is not None:
            reading = evolve(reading, misfits=result.misfits, at_best=result.misfits)
        self._readings[column.name, source.name] = reading, result, entries

    def _lookup(self, column: TargetColumn, source: SourceColumn) -> list[LookupLine] | None:
        members = column.definition.get("enum")
        if not members or column.sql is not None or not all(isinstance(one, str) for one in members):
            return None
        return lookups.lookup(source.counts, members)

    def _definition(
        self, column: TargetColumn, source: SourceColumn, way: Way, entries: list[LookupLine] | None
    ) -> Json:
        checks = dict(definition_for(column, source))
        checks.pop("unique", None)
        name = quoted(source.name)
        sql = lookups.as_sql(entries, name) if entries is not None else filled_in(way.sql, name)
        return {**checks, "required": True, "sql": sql}

    def _take(self, column: TargetColumn, found: Sequence[Match]) -> None:
        if column.sql is not None and not _over_column(column.sql):
            self.candidates[column.name] = self._as_it_is(names_in(column.sql))
            if self.candidates[column.name]:
                self.chosen[column.name] = self.candidates[column.name][0]
            return
        candidates = [self._candidate(column, match) for match in found]
        self.candidates[column.name] = candidates
        for match, candidate in zip(found, candidates, strict=True):
            if match.is_chosen and candidate.grade.is_used:
                self.chosen[column.name] = candidate

    def _as_it_is(self, read: list[str]) -> list[Choice]:
        """A column of a flow that reads several source columns, which has no aliases: if the sample has them all."""
        if not read or not all(self._profile.column(one) for one in read):
            return []
        return [Choice(read, None, Grade.CERTAIN, 1.0, ["the flow reads these columns already"])]

    def _candidate(self, column: TargetColumn, match: Match) -> Choice:
        source, evidence, doubts = match.source, reasons(column, match), list[str]()
        found = match.grade
        kept = self._readings.get((column.name, source.name))
        passes, values, sql, entries = None, list[Before](), None, None
        if kept is not None:
            reading, result, entries = kept
            passes = self._passes(column, source, reading.misfits)
            found = at_most(found, self._passes(column, source, reading.at_best))
            if reading.doubts:
                found = worse(found, Grade.MEDIUM)
            evidence += [f"{passes:.1%} of the rows pass the target's checks", *reading.evidence]
            doubts += [*reading.doubts, *([reading.way.about] if reading.way.about else [])]
            values = result.values
            sql = None if reading.way.sql == "{column}" else filled_in(reading.way.sql, "value")
            if entries is not None:
                found = worse(found, lookups.worst(entries))
                evidence.append(
                    f"{lookups.share(entries):.1%} of its values have a counterpart in the lookup"
                )
        blank = self._profile.rows - source.facts.filled
        if column.definition.get("required") and source.facts.share < 1 and blank > 0:
            doubts.append(
                f"{blank:,} of {self._profile.rows:,} rows have no value, and the target requires one"
            )
        return Choice(
            [source.name],
            column.sql if column.sql is not None and entries is None else sql,
            found,
            match.likely,
            evidence,
            list(dict.fromkeys(doubts)),
            passes,
            values,
            entries,
        )

    def _passes(self, column: TargetColumn, source: SourceColumn, misfits: int) -> float:
        """The share of rows that the target would take; without a value only where it requires none."""
        filled = source.facts.filled
        share = 1 - misfits / filled if filled else 1.0
        if column.definition.get("required"):
            share *= source.facts.share
        return share * (source.facts.distinct if column.definition.get("unique") and filled else 1.0)

    # -- several columns, or a part of one

    def _combine(self) -> None:
        by_source = {name: one.sources[0] for name, one in self.chosen.items()}
        columns = {column.name: column for column in self._target.columns if column.sql is None}
        found = [one for one in combined(self._target, self._profile, by_source) if one.target in columns]
        wanted = {one.target: (one.sources[0], self._checked(columns[one.target], one.sql)) for one in found}
        results = self._tester(wanted) if wanted else {}
        for one in found:
            self._use(columns[one.target], one, results[one.target])

    def _checked(self, column: TargetColumn, sql: str) -> Json:
        checks = {key: value for key, value in column.checks.items() if key != "unique"}
        return {"type": "string", **checks, "required": True, "sql": sql}

    def _use(self, column: TargetColumn, one: Combined, result: TriedColumn) -> None:
        rows = max(self._profile.rows, 1)
        passes = 1 - result.misfits / rows
        candidate = Choice(
            one.sources,
            one.sql,
            at_most(one.grade, passes),
            _OF_SEVERAL,
            [*one.evidence, f"{passes:.1%} of the rows pass the target's checks"],
            [],
            passes,
            result.values,
        )
        self.candidates[column.name] = [candidate, *self.candidates[column.name]][:_MOST]
        if candidate.grade.is_used:
            self.chosen[column.name] = candidate

    # -- what a program suggests

    def _suggest(self, suggestion: Suggestion) -> None:
        """Judge a suggestion by the same evidence: it is used if nothing else is, and its values pass."""
        column = next((one for one in self._target.columns if one.name == suggestion.target), None)
        sources = [one for name in suggestion.sources if (one := self._profile.column(name)) is not None]
        if column is None or len(sources) != len(suggestion.sources):
            what = "no column of the target" if column is None else "a column that the sample does not have"
            self.doubts.append(f"the suggestion for {suggestion.target!r} names {what}")
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
        self.candidates[column.name] = [candidate, *rest][:_MOST]
        if column.name not in self.chosen and candidate.grade.is_used:
            self.chosen[column.name] = candidate

    def _of_suggestion(self, column: TargetColumn, suggestion: Suggestion) -> Choice:
        first = quoted(suggestion.sources[0])
        sql = suggestion.sql or first
        tried = over_value(sql, first) if len(suggestion.sources) == 1 else sql
        result = self._tester({"0": (suggestion.sources[0], self._checked(column, tried))})["0"]
        passes = 1 - result.misfits / max(self._profile.rows, 1)
        grade = Grade.MEDIUM if passes >= _PASSES and _says_something(column) else Grade.LOW
        return Choice(
            suggestion.sources,
            suggestion.sql,
            grade,
            _SUGGESTED if grade.is_used else _ELSE,
            ["suggested by the program", f"{passes:.1%} of the rows pass the target's checks"],
            [] if grade.is_used else ["nothing else speaks for it"],
            passes,
            result.values,
            suggested=True,
        )

    # -- what a person chooses

    def _choose(self, name: str, source: str | None) -> None:
        """Use this source column for a target column, whatever speaks for another one; None leaves it unmapped."""
        column = next(one for one in self._target.columns if one.name == name)
        given = None if source is None else self._profile.column(source)
        if source is None or given is not None:
            self.chosen.pop(name, None)
        if source is None or given is None:  # the column of another sample
            return
        if (name, source) not in self._readings:
            self._try([(column, given)])
        made = self._candidate(column, self._matches.pair(name, source))
        self.chosen[name] = made
        rest = [one for one in self.candidates[name] if one.sources != [source]]
        self.candidates[name] = [made, *rest][:_MOST]


def _says_something(column: TargetColumn) -> bool:
    """Whether the checks of the target refuse anything."""
    keys = set(column.checks) - {"required", "unique", "type"}
    return bool(keys) or column.definition.get("type", "string") != "string"


def _ways(column: TargetColumn, source: SourceColumn) -> list[Way]:
    """How to read it: by the expression that the flow has, if the target is one. What needs a seed isn't tried."""
    if column.sql is None:
        return ways(column, source)
    over = _over_column(column.sql)
    return [Way(over)] if over and not calls(column.sql, "seed") else []


def _over_column(sql: str) -> str:
    """The expression of a flow with `{column}` in place of its only source column; empty if there are several."""
    marked = over_value(sql)
    return marked.replace("{", "{{").replace("}", "}}").replace("\0", "{column}") if "\0" in marked else ""
