"""What a source is to become: the columns of a target, wherever they are described. Pure."""

from typing import Any

import cattrs
from attrs import field, frozen

from lume_local._flow.fields import FlowError

Json = dict[str, Any]

CHECKS = (
    *("type", "format", "sql_type", "required", "unique", "enum", "pattern", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "references"),
)
"""Keys of a flow's column by which its values are judged."""
_TEMPORAL = {"DATE": "date", "TIMESTAMP": "date-time", "TIMESTAMPTZ": "date-time", "TIME": "time"}


@frozen
class TargetColumn:
    """A column of the target.

    Attributes:
        definition: as `[columns.<name>]` of a flow, without what it is read from. Without a `type`, it is the
            source's.
        about: its description.
        examples: values that it has, if any are known.
        aliases: what sources have called it.
        sql: its expression, if a flow has it already; none for `NULL`, which stands for a column without a source.
        notes: what the target asks for that a flow does not check.
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
        """Its type as `evidence` compares it; None if it is unknown."""
        temporal = _TEMPORAL.get(str(self.definition.get("sql_type", "")).upper())
        if self.definition.get("format") in ("date", "date-time", "time"):
            return str(self.definition["format"])
        return temporal or self.definition.get("type")

    @property
    def checks(self) -> Json:
        """The part of the definition by which values are judged one by one."""
        return {key: self.definition[key] for key in CHECKS if key in self.definition and key != "references"}


@frozen
class MappingTarget:
    """The columns of a target.

    Attributes:
        name: of the flow that is to be written; `version` is its version.
        shown: what messages call the target.
        table: what the columns belong to, by which their names are understood.
        base: the definition of the flow version whose next one is to be written; None for a new flow.
        notes: what the target asks for that a flow does not check.
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
        """As JSON, for the worker."""
        found: Json = cattrs.unstructure(self)
        return found

    @classmethod
    def of_json(cls, value: Json) -> "MappingTarget":
        """The target in JSON that `to_json` has made."""
        return _CONVERTER.structure(value, cls)


_CONVERTER = cattrs.Converter()
_CONVERTER.register_structure_hook_func(lambda kind: kind == Json, lambda value, _: value)


def require_columns(target: MappingTarget) -> MappingTarget:
    """The target. Raises `FlowError` if it has no columns."""
    if not target.columns and target.place is None:
        raise FlowError("target", f"{target.shown} describes no columns")
    return target
