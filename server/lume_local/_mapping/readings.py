"""Chooses the expression that reads a source column for a target column, by trying them on the sample's rows.

Pure, except for the `Tester`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from attrs import evolve, field, frozen

from lume_async._base.words import counted
from lume_local._flow.definition import quoted
from lume_local._flow.fields import FlowError
from lume_local._flow.table_bounds import folded
from lume_local._mapping import lookups
from lume_local._mapping.decisions import NOTHING, ColumnDecision, check_lookup
from lume_local._mapping.evidence import Grade
from lume_local._mapping.expressions import (
    Decided,
    TriedWay,
    Way,
    chosen,
    decide,
    definition_to_try,
    filled_in,
    kept,
    own_ways,
    preferred,
    ways,
)
from lume_local._mapping.profile import Profile, SourceColumn
from lume_local._mapping.proposal import Before, LookupLine
from lume_local._mapping.rewrite import calls, over_value
from lume_local._mapping.target import Json, MappingTarget, TargetColumn
from lume_local._samples.infer import without

Pair = tuple[TargetColumn, SourceColumn]
AS_IT_IS = "{column}"


@frozen
class TriedColumn:
    """The result of an expression on a sample.

    Attributes:
        misfits: how many rows are rejected for their value.
        refused: for an enumeration, the distinct values that it rejects.
    """

    misfits: int
    values: list[Before] = field(factory=list)
    refused: list[str] = field(factory=list)


class Tester(Protocol):
    """Tries expressions on the rows of a sample."""

    def __call__(
        self, columns: Mapping[str, tuple[str, Mapping[str, Any]]], *, everywhere: bool = False
    ) -> dict[str, TriedColumn]:
        """Try columns, each under any key: a source column, and a definition as in a flow's `[columns.<name>]`.

        Args:
            everywhere: on all rows of the file, not only on those kept.

        Raises:
            ConfigurationError: the flow can't be run.
        """
        ...


@frozen
class PairRead:
    """How a source column is read for a target column, and the result for its rows."""

    decided: Decided
    result: TriedColumn

    @property
    def entries(self) -> list[LookupLine] | None:
        return self.decided.way.entries


class Readings:
    """The expressions that read a sample's columns, by pair of target and source column."""

    def __init__(self, target: MappingTarget, profile: Profile, tester: Tester) -> None:
        self._is_next, self._profile, self._tester = target.base is not None, profile, tester
        self._null = target.null
        self._known: dict[tuple[str, str], PairRead] = {}

    def of(self, target: str, source: str) -> PairRead | None:
        """Return how a pair is read; None if it was not tried."""
        return self._known.get((target, source))

    def find(self, pairs: Iterable[Pair], decision: ColumnDecision = NOTHING) -> dict[tuple[str, str], float]:
        """Try pairs; return the best share of values that pass.

        Args:
            decision: a person's decision about the meaning of the values.

        Raises:
            FlowError: the values can't have that meaning.
        """
        tried = [
            (column, source, several)
            for column, given in (pairs if self._profile.rows else ())
            for source in [evolve(given, nulls=[one for one in given.nulls if one not in self._null])]
            if (several := self._ways(column, source, decision))
        ]
        if decision.is_of_values and not tried:
            raise FlowError("choices", "what the values mean is decided by the expression of the flow alone")
        self._try(tried, decision)
        refused = [
            (column, source, [way])
            for column, source, _ in tried
            if decision.lookup is None and (way := self._of_refused(column, source)) is not None
        ]
        self._try(refused, NOTHING)
        return {
            (column.name, source.name): 1 - read.decided.at_best / max(source.facts.filled, 1)
            for column, source, _ in tried
            for read in [self._known[column.name, source.name]]
        }

    # -- the ways to try

    def _ways(self, column: TargetColumn, source: SourceColumn, decision: ColumnDecision) -> list[Way]:
        """Return the ways to try, a flow's own expression first. An expression that needs a seed isn't tried.

        Only a person's choice replaces an expression over several columns. A new layout may be read by another one.
        """
        own = AS_IT_IS if column.sql is None else over_column(column.sql)
        if not own and not decision.sources:
            return []
        if decision.lookup is not None:
            check_lookup(column.name, decision.lookup, column.definition.get("enum"))
            known = self.of(column.name, source.name)
            proposed = known.entries if known is not None else self._lookup(column, source, is_wanted=True)
            return [
                lookups.way(
                    lookups.corrected(proposed or [], decision.lookup, source.counts), own or AS_IT_IS
                )
            ]
        if column.sql is not None and own:
            found = [] if calls(column.sql, "seed") else own_ways(own)
            is_fixed = self._is_next or not found
            return found if is_fixed else [*found, *(one for one in ways(column, source) if one not in found)]
        found = ways(column, source)
        if (entries := self._lookup(column, source, is_wanted=bool(decision.sources))) is not None:
            return [*filter(_is_of_countries, found), lookups.way(entries, AS_IT_IS)]
        as_it_is = Way(AS_IT_IS)
        return [as_it_is, *found] if self._is_next and as_it_is not in found else found

    def _lookup(
        self, column: TargetColumn, source: SourceColumn, *, is_wanted: bool
    ) -> list[LookupLine] | None:
        members = column.definition.get("enum")
        if not members or not all(isinstance(one, str) for one in members):
            return None
        is_named = not self._is_next and folded(column.name) == folded(source.name)
        return lookups.lookup(source.counts, members, is_wanted=is_wanted or is_named)

    def _of_refused(self, column: TargetColumn, source: SourceColumn) -> Way | None:
        """Return a lookup of the values that an expression does not convert to members of its enumeration.

        A reviewed version gets no doubtful entries: a person decides about these.
        """
        read = self.of(column.name, source.name)
        members = column.definition.get("enum") or []
        if read is None or read.entries is not None or not read.result.refused:
            return None
        if column.sql is None and not _is_of_countries(read.decided.way):
            return None
        if not all(isinstance(one, str) for one in members):
            return None
        counts = {value: source.counts.get(value, 0) for value in read.result.refused[: lookups.MOST]}
        found = [
            one if one.grade in (Grade.CERTAIN, Grade.HIGH) else evolve(one, target=None, grade=Grade.LOW)
            for one in lookups.entries(counts, members)
        ]
        return lookups.way(found, read.decided.way.sql)

    # -- the way in use

    def _try(
        self, tried: Sequence[tuple[TargetColumn, SourceColumn, list[Way]]], decision: ColumnDecision
    ) -> None:
        wanted = {
            f"{n}_{w}": (source.name, self._definition(column, source, way))
            for n, (column, source, several) in enumerate(tried)
            for w, way in enumerate(several)
        }
        results = self._tester(wanted) if wanted else {}
        for n, (column, source, several) in enumerate(tried):
            self._keep(
                column, source, [(way, results[f"{n}_{w}"]) for w, way in enumerate(several)], decision
            )

    def _keep(
        self,
        column: TargetColumn,
        source: SourceColumn,
        tried: list[tuple[Way, TriedColumn]],
        decision: ColumnDecision,
    ) -> None:
        """Decide how the column is read; if the tried rows don't settle it, try all rows."""
        is_unchanged = column.sql is None and "value" in column.ways and tried[0][0].entries is None
        own = tried[0][0] if is_unchanged or (column.sql is not None and over_column(column.sql)) else None
        if own is not None and (is_unchanged or not self._is_next):
            # Other senders' expression: it gives way to one that reads more.
            fresh = ways(column, source)
            others = [result.misfits for way, result in tried if way in fresh]
            is_best = tried[0][1].misfits <= min(others, default=tried[0][1].misfits)
            mine = [own, *own_ways(over_column(column.sql or ""))] if is_best else fresh
            tried = tried if is_unchanged else [one for one in tried if one[0] in mine]
            own = own if is_best else None
        ordered = sorted(tried, key=lambda one: (one[1].misfits, preferred(one[0], column)))
        reading = _decided(
            column, [TriedWay(way, one.misfits) for way, one in ordered], source, own, decision
        )
        if reading.doubts and reading.way.group:
            again = {
                str(n): (source.name, self._definition(column, source, way))
                for n, (way, _) in enumerate(ordered)
                if way.group == reading.way.group
            }
            whole = self._tester(again, everywhere=True)
            several = [TriedWay(ordered[int(n)][0], one.misfits) for n, one in whole.items()]
            reading = _decided(column, several, source, own, decision)
        result = next(result for way, result in tried if way == reading.way)
        self._known[column.name, source.name] = PairRead(reading, result)

    def _definition(self, column: TargetColumn, source: SourceColumn, way: Way) -> Json:
        """Return the column to try, over what the flow's `source.null` leaves of a value."""
        name = quoted(source.name)
        return definition_to_try(column, source, filled_in(way.sql, without(name, self._null)))


def _is_of_countries(way: Way) -> bool:
    return way.sql.startswith("country_code")


def _decided(
    column: TargetColumn,
    tried: Sequence[TriedWay],
    source: SourceColumn,
    own: Way | None,
    decision: ColumnDecision,
) -> Decided:
    if decision.reading is not None:
        found = chosen(tried, decision.reading)
        if found is None:
            raise FlowError("choices", f"{column.name!r}: its values have no reading {decision.reading!r}")
        return found
    found = decide(tried, source.facts.filled) if own is None else kept(tried, own)
    if decision.lookup is not None:
        said = f"a person has decided what {counted(len(decision.lookup), 'value means', 'values mean')}"
        return evolve(found, evidence=[*found.evidence, said])
    return found


def over_column(sql: str) -> str:
    """Return a flow's expression with `{column}` for its only source column; empty if it has several."""
    marked = over_value(sql)
    return marked.replace("{", "{{").replace("}", "}}").replace("\0", "{column}") if "\0" in marked else ""
