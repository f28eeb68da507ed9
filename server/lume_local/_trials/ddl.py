"""The SQL of the table for a flow's rows."""

from typing import Any, Literal

from attrs import asdict

from lume_async.models import JsonObject
from lume_local._flow.databases import DATABASE, REJECTS_REQUIRED, REJECTS_TABLE, TableTarget
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.databases.columns import TYPES, create_table
from lume_local._worker.databases.database import Load


def table_ddl(definition: JsonObject, database: Literal["postgresql", "sqlite", "duckdb"]) -> str:
    """Return the `CREATE TABLE` statement for a flow's mapped rows, as `create = true` in its target executes it.

    A flow whose mapped rows go to a file gets a table of its own name. With history, the statement for its index
    follows; then the statement for a table of its rejects, if there is one.

    Args:
        definition: the flow, as in its file or as `flow_version(...).definition`.
        database: the kind of database.

    Raises:
        FlowError: the flow has a mistake, or a table that is not in a database.
    """
    flow = read_definition(dict(definition))
    for part, place in (("mapped", flow.mapped), ("rejects", flow.rejects_table)):
        if isinstance(place, TableTarget) and place.kind != DATABASE:
            raise FlowError(
                f"target.{part}",
                f"is a table of {place.kind}, which {database} does not create: set create = true, and the first run "
                "does",
            )
    target = flow.mapped if isinstance(flow.mapped, TableTarget) else TableTarget("", flow.name, "append", ())
    columns = [[column.name, column.sql_type] for column in flow.columns]
    loads = [_load(target, columns, [column.name for column in flow.columns if column.required])]
    if flow.rejects_table:
        loads.append(_load(flow.rejects_table, list(map(list, REJECTS_TABLE)), list(REJECTS_REQUIRED)))
    types = TYPES[database]
    return "\n".join(f"{one};" for load in loads for one in create_table(load, types, by_lines=True))


def _load(target: TableTarget, columns: list[list[str]], required: list[str]) -> Load:
    about: dict[str, Any] = asdict(target) | {
        "key": list(target.key),
        "columns": columns,
        "required": required,
    }
    return Load(**about, run_id="", flow="", source_path="")
