"""Walks the tree that DuckDB's parser makes of an expression, in ways that suit all versions, and looks up seeds.

`seed('countries', "Code", 'name')` becomes a column of a row looked up in a seed file. Each different key of each
seed is computed once per row, as `_lume_key<n>`, and joined to the seed's table. Keys are unique, so a row finds one
row or none.
"""

import json
from collections.abc import Iterator
from typing import Any

from attrs import define, field
from duckdb import DuckDBPyConnection

from lume_local._flow.definition import Seed
from lume_local._flow.fields import FlowError
from lume_local._worker.sql import row_of

LAMBDA_TAKERS = ("list_", "array_", "apply", "filter", "reduce")
"""Prefixes of functions in which `x -> …` is a lambda; elsewhere the arrow is JSON's."""


def parsed(connection: DuckDBPyConnection, statement: str) -> dict[str, Any]:
    """Return the tree of a statement, or its `error`."""
    tree: dict[str, Any] = json.loads(trees(connection, [statement])[0])
    return tree


def trees(connection: DuckDBPyConnection, statements: list[str]) -> list[str]:
    query = "SELECT list_transform(?::VARCHAR[], lambda one: json_serialize_sql(one))"
    found: list[str] = row_of(connection, query, [statements])[0]
    return found


def children(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the nearest dicts below a node."""
    below = node.values() if isinstance(node, dict) else node
    for value in below:
        if isinstance(value, dict):
            yield value
        elif isinstance(value, list):
            yield from children(value)


def refs(node: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the names of the columns that an expression reads, each with its qualifiers."""
    if node.get("class") == "COLUMN_REF":
        yield node["column_names"]
    for child in children(node):
        yield from refs(child)


def rename_ref(node: dict[str, Any], old: str, new: str) -> bool:
    """Let an expression read column `new` instead of `old`, unless a lambda binds it; return whether it did."""
    if node.get("class") == "COLUMN_REF":
        found = [name.lower() for name in node["column_names"]] == [old]
        if found:
            node["column_names"] = [new]
        return found
    takes_lambda = node.get("class") == "FUNCTION" and node["function_name"].lower().startswith(LAMBDA_TAKERS)
    found = False
    for child in classed(node):
        bound = list(refs(child["lhs"])) if takes_lambda and child["class"] == "LAMBDA" else []
        binds = [old] in bound or [new] in bound
        found = (not binds and rename_ref(child, old, new)) or found
    return found


def classed(node: Any) -> Iterator[dict[str, Any]]:
    """Yield the nearest expression nodes below a node."""
    for child in children(node):
        if "class" in child:
            yield child
        else:
            yield from classed(child)


def is_text(node: dict[str, Any]) -> bool:
    """Return whether a constant is a string or NULL."""
    if "literal" in node:  # DuckDB 2
        return node["literal"].get("kind") in ("STRING", "NULL_LITERAL")
    value = node.get("value", {})
    return value.get("is_null") is True or value.get("type", {}).get("id") == "VARCHAR"


def text_of(node: dict[str, Any]) -> str | None:
    """Return the string of a constant; None for anything else."""
    if node["class"] != "CONSTANT" or not is_text(node):
        return None
    value = node["literal"].get("text") if "literal" in node else node["value"].get("value")
    return value if isinstance(value, str) else None


def node_sql(connection: DuckDBPyConnection, node: dict[str, Any]) -> str:
    """Return the SQL of one node of a tree, in parentheses: DuckDB writes only whole statements."""
    tree = parsed(connection, "SELECT 1")
    tree["statements"][0]["node"]["select_list"] = [node]
    (sql,) = row_of(connection, "SELECT json_deserialize_sql(CAST(? AS JSON))", [json.dumps(tree)])
    return f"({sql.removeprefix('SELECT ')})"


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
