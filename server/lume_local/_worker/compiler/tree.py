"""Walks the tree that DuckDB's parser makes of an expression, in ways that suit all versions. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from duckdb import DuckDBPyConnection

from lume_local._worker.sql import row_of

LAMBDA_TAKERS = ("list_", "array_", "apply", "filter", "reduce")
"""Prefixes of functions in which `x -> …` is a lambda; elsewhere the arrow is JSON's."""


def parsed(connection: DuckDBPyConnection, statement: str) -> dict[str, Any]:
    """Return the tree of a statement, or its `error`."""
    tree: dict[str, Any] = json.loads(row_of(connection, "SELECT json_serialize_sql(?)", [statement])[0])
    return tree


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
