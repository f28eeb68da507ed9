"""The SQL of the table for a flow's rows."""

from typing import Literal

from lume_async.models import JsonObject
from lume_local._flow.databases import REJECTS_REQUIRED, REJECTS_TABLE, TableTarget
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._flow.lakes import LakeTable
from lume_local._worker.databases.columns import PostgresTypes, SqliteTypes, Types, parts_of_table

_TYPES: dict[str, Types] = {"postgresql": PostgresTypes(), "sqlite": SqliteTypes()}


def table_ddl(definition: JsonObject, database: Literal["postgresql", "sqlite"]) -> str:
    """Return the `CREATE TABLE` statement for a flow's mapped rows, as `create = true` in its target executes it.

    A flow whose mapped rows go to a file gets a table of its own name. The statement for a table of its rejects
    follows, if there is one.

    Args:
        definition: the flow, as in its file or as `flow_version(...).definition`.
        database: the kind of database.

    Raises:
        FlowError: the flow has a mistake, or a table that is not in a database.
    """
    flow, types = read_definition(dict(definition)), _TYPES[database]
    for part, place in (("mapped", flow.mapped), ("rejects", flow.rejects_table)):
        if isinstance(place, LakeTable):
            raise FlowError(
                f"target.{part}",
                f"is a table of {place.kind}, which {database} does not create: set create = true, and the first run "
                "does",
            )
    target = flow.mapped if isinstance(flow.mapped, TableTarget) else TableTarget("", flow.name, "append", ())
    parts = parts_of_table(
        [(column.name, column.sql_type) for column in flow.columns],
        target.key,
        {column.name for column in flow.columns if column.required},
        types,
    )
    statements = [_statement(target, parts, types)]
    if isinstance(flow.rejects_table, TableTarget):
        columns = parts_of_table(REJECTS_TABLE, (), REJECTS_REQUIRED, types)
        statements.append(_statement(flow.rejects_table, columns, types))
    return "\n".join(statements)


def _statement(target: TableTarget, parts: list[str], types: Types) -> str:
    listed = ",\n".join(f"    {part}" for part in parts)
    return f"CREATE TABLE IF NOT EXISTS {types.spelled(target.table)} (\n{listed}\n);"
