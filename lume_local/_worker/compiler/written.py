"""A part of a parser's tree as SQL again."""

import json
from typing import Any

from duckdb import DuckDBPyConnection


def written(connection: DuckDBPyConnection, node: dict[str, Any]) -> str:
    """The text of one node of a tree, in brackets: DuckDB writes only whole statements."""
    row = connection.execute("SELECT json_serialize_sql('SELECT 1')").fetchone()
    assert row is not None
    tree = json.loads(row[0])
    tree["statements"][0]["node"]["select_list"] = [node]
    row = connection.execute("SELECT json_deserialize_sql(CAST(? AS JSON))", [json.dumps(tree)]).fetchone()
    assert row is not None
    return f"({str(row[0]).removeprefix('SELECT ')})"
