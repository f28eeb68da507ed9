"""The cases of `server.benchmarks.mapping` and its `fit`: each pair of tables, in several variants."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from lume_local._mapping.evidence import Side
from lume_local._mapping.profile import facts_of
from server.benchmarks.mapping.pairs import Pair, labels, of_dbt, of_r

_EMPTY = facts_of([])
_MOST = 51
"""Of 256: about a fifth of the source columns is removed, so that their targets must stay unmapped."""
_ENOUGH = 20
"""Rows of a source that are divided between source and target."""


@frozen
class Case:
    """A source and a target. `half` is 0 for tuning, 1 for the report; `kind` is what is known of the target."""

    kind: str
    half: int
    origin: str
    target: Side
    source: Side
    truth: dict[str, str | None]


def cases(folder: Path, r_folder: Path | None) -> Iterator[Case]:
    """All of them. Halves are by origin, so that no source that was tuned on is reported."""
    for pair in of_dbt(folder):
        yield _case(pair, "dbt")
        yield _case(pair, "dbt, a fifth removed", drop=True)
        yield _case(pair, "dbt, a fifth removed, shuffled", drop=True, shuffle=True)
        if len(pair.source.rows) >= _ENOUGH:
            yield _case(pair, "dbt, target samples", drop=True, samples=True)
    for pair in of_r(r_folder) if r_folder is not None else ():
        for drop in (False, True):
            yield _case(pair, "r", drop=drop)
            yield _case(pair, "r, target samples", drop=drop, samples=True)
    for language in ("de", "fr", "es", "pt"):
        yield _labels(folder, language)


def half_of(origin: str) -> int:
    return hashlib.sha256(origin.encode()).digest()[0] % 2


def _lot(*parts: str) -> int:
    return hashlib.sha256("|".join(parts).encode()).digest()[0]


def _case(pair: Pair, kind: str, *, drop: bool = False, shuffle: bool = False, samples: bool = False) -> Case:
    given, wanted = pair.source, pair.target
    kept = [
        n
        for n, name in enumerate(given.names)
        if not (drop and _lot("drop", pair.origin, given.table, name) < _MOST)
    ]
    if shuffle:
        kept.sort(key=lambda n: _lot("order", pair.origin, given.table, given.names[n]))
    mine = given.rows[::2] if samples and not wanted.rows else given.rows
    facts = [facts_of([row[n] for row in mine]) if mine else _EMPTY for n in kept]
    places = {name: n for n, name in enumerate(given.names)}
    theirs = [_EMPTY] * len(wanted.names)
    if samples and wanted.rows:
        theirs = [facts_of([row[n] for row in wanted.rows]) for n in range(len(wanted.names))]
    elif samples:
        theirs = [
            _EMPTY if source is None else facts_of([row[places[source]] for row in given.rows[1::2]])
            for source in pair.truth.values()
        ]
    names = [given.names[n] for n in kept]
    return Case(
        kind,
        half_of(pair.origin),
        pair.origin,
        Side(
            wanted.table,
            wanted.names,
            [kind or fact.kind for kind, fact in zip(wanted.types, theirs, strict=True)],
            theirs,
            wanted.about,
        ),
        Side(given.table, names, [given.types[n] or f.kind for n, f in zip(kept, facts, strict=True)], facts),
        {target: source if source in names else None for target, source in pair.truth.items()},
    )


def _labels(folder: Path, language: str) -> Case:
    """Names of fields, and their labels in another language: nothing was tuned on these."""
    english, theirs = labels(folder, "en"), labels(folder, language)
    pairs = {name: theirs[name] for name in english if name in theirs and theirs[name] != english[name]}
    counts: dict[str, int] = {}
    for label in pairs.values():
        counts[label] = counts.get(label, 0) + 1
    pairs = {name: label for name, label in pairs.items() if counts[label] == 1}
    order = sorted(pairs.values(), key=lambda label: _lot("order", language, label))
    return Case(
        f"labels in {language}",
        1,
        f"labels {language}",
        Side("", list(pairs), [None] * len(pairs), [_EMPTY] * len(pairs)),
        Side("", order, [None] * len(order), [_EMPTY] * len(order)),
        dict(pairs),
    )
