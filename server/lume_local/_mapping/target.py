"""The columns of a target, however it is described. Pure."""

from typing import Any

import cattrs
from attrs import field, frozen

from lume_local._flow.fields import FlowError

Json = dict[str, Any]

CHECKS = (
    *("type", "format", "sql_type", "required", "unique", "enum", "pattern", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "references"),
)
"""Keys of a flow's column that check its values."""
_TEMPORAL = {"DATE": "date", "TIMESTAMP": "date-time", "TIMESTAMPTZ": "date-time", "TIME": "time"}


@frozen
class TargetColumn:
    """A column of the target.

    Attributes:
        definition: the flow's `[columns.<name>]` without `from` and `sql`. Without a `type`, the source's is used.
        about: its description.
        examples: known values, if any.
        aliases: names that sources have used for it.
        sql: its expression in the flow, if any; None for `NULL`, which stands for a column without a source.
        notes: requirements of the target that a flow does not check.
    """

    name: str
    definition: Json
    about: str = ""
    examples: list[str] = field(factory=list, repr=False)
    aliases: list[str] = field(factory=list)
    sql: str | None = None
    notes: list[str] = field(factory=list)

    @property
    def kind(self) -> str | None:
        """The type in the terms of `evidence`; None if unknown."""
        temporal = _TEMPORAL.get(str(self.definition.get("sql_type", "")).upper())
        if self.definition.get("format") in ("date", "date-time", "time"):
            return str(self.definition["format"])
        return temporal or self.definition.get("type")

    @property
    def checks(self) -> Json:
        """The part of the definition that checks values one by one."""
        return {key: self.definition[key] for key in CHECKS if key in self.definition and key != "references"}


@frozen
class MappingTarget:
    """The columns of a target.

    Attributes:
        name: the name of the flow to write; `version` is its version.
        shown: the name of the target in messages.
        table: the name of the table, which helps to understand the columns' names.
        base: the definition of the flow version before the one to write; None for a new flow.
        notes: requirements of the target that a flow does not check.
        place: for a table, where it is; its columns are read there.
    """

    name: str
    version: str
    shown: str
    table: str
    columns: list[TargetColumn] = field(repr=False)
    base: Json | None = field(default=None, repr=False)
    notes: list[str] = field(factory=list)
    place: Json | None = None

    def to_json(self) -> Json:
        """Return it as JSON, for the worker."""
        found: Json = cattrs.unstructure(self)
        return found

    @classmethod
    def of_json(cls, value: Json) -> "MappingTarget":
        """Return the target from the JSON of `to_json`."""
        return CONVERTER.structure(value, cls)


CONVERTER = cattrs.Converter()
CONVERTER.register_structure_hook_func(lambda kind: kind == Json, lambda value, _: value)
"""Reads targets and proposals from JSON."""


def require_columns(target: MappingTarget) -> MappingTarget:
    """Return the target. Raises `FlowError` if it has no columns."""
    if not target.columns and target.place is None:
        raise FlowError("target", f"{target.shown} describes no columns")
    return target
