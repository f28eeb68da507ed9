"""Turns `seed('countries', "Code", 'name')` in an expression into a column of a row looked up in a seed file.

Each different key of each seed is computed once per row, as `_lume_key<n>`, and joined to the seed's table. Keys are
unique, so a row finds one row or none.
"""

from collections.abc import Iterator
from typing import Any

from attrs import define, field
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import Seed
from lume_local._flow.fields import FlowError
from lume_local._worker.compiler.tree import classed, node_sql, parsed, text_of


@define
class Lookup:
    """A key of a seed, and the columns read from the row that it finds."""

    number: int
    seed: str
    key: str
    columns: dict[str, str] = field(factory=dict)
    """Their names in the expressions, by their names in the seed file."""

    @property
    def key_name(self) -> str:
        """The name of a struct with the key; NULL if the key can't be evaluated."""
        return f"_lume_key{self.number}"


class Lookups:
    """The lookups of one flow."""

    def __init__(self, connection: DuckDBPyConnection, seeds: tuple[Seed, ...]) -> None:
        self._connection = connection
        self._seeds = {seed.name: seed for seed in seeds}
        self.all: list[Lookup] = []

    def replace(self, place: str, tree: dict[str, Any]) -> tuple[list[Lookup], set[str]]:
        """Replace the calls in a tree with columns; return its lookups and the names of these columns."""
        used: list[Lookup] = []
        names: set[str] = set()
        for node, in_lambda in list(_calls(tree, False)):
            if in_lambda:
                raise FlowError(place, "calls seed for each item of a list: it is for a value of the row")
            lookup, column = self._lookup(place, node)
            name = lookup.columns.setdefault(column, f"_lume_seed{lookup.number}_{len(lookup.columns)}")
            column_ref = parsed(self._connection, f"SELECT {name}")["statements"][0]["node"]["select_list"][0]
            node.clear()
            node.update(column_ref)
            names.add(name)
            used.append(lookup)
        return used, names

    def _lookup(self, place: str, node: dict[str, Any]) -> tuple[Lookup, str]:
        arguments = list(classed(node))
        seed, column = (text_of(arguments[n]) if len(arguments) == 3 else None for n in (0, 2))
        if seed is None or column is None:
            raise FlowError(
                place, "seed takes a seed, a key and a column: seed('countries', \"Code\", 'name')"
            )
        if seed not in self._seeds:
            known = ", ".join(self._seeds) or "none"
            raise FlowError(place, f"there is no seed {seed!r}: write [seeds.{seed}]. Known here: {known}")
        if next(_calls(arguments[1], False), None) is not None:
            raise FlowError(
                place, "the key of a seed can't come from a seed: give it a column in the seed file"
            )
        key = node_sql(self._connection, arguments[1])
        for lookup in self.all:
            if (lookup.seed, lookup.key) == (seed, key):
                return lookup, column
        self.all.append(Lookup(len(self.all), seed, key))
        return self.all[-1], column


def _calls(node: dict[str, Any], in_lambda: bool) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the outermost calls of seed, and whether each is within a lambda."""
    if node.get("class") == "FUNCTION" and node["function_name"].lower() == "seed":
        yield node, in_lambda
        return
    for child in classed(node):
        yield from _calls(child, in_lambda or child["class"] == "LAMBDA")
