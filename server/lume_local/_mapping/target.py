"""The columns of a target, and its descriptions: a JSON Schema, a flow version, a dbt model, types of databases.

Pure, except for PyYAML.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from math import isfinite
from typing import Any

import cattrs
from attrs import evolve, field, frozen

from lume_local._flow.definition import BOUNDS, LENGTHS, TEXT_FORMATS, Column, Flow, read_definition
from lume_local._flow.fields import FlowError
from lume_local._flow.table_bounds import folded
from lume_local._mapping.rewrite import is_null, names_in, over_value

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
        examples: known values, if any.
        aliases: names that sources have used for it.
        sql: its expression in the flow, if any; None for `NULL`, which stands for a column without a source.
        ways: all its expressions in the flow's layouts, over `value`, which alone reads it unchanged.
        notes: requirements of the target that a flow does not check.
    """

    name: str
    definition: Json
    about: str = ""
    examples: list[str] = field(factory=list, repr=False)
    aliases: list[str] = field(factory=list)
    sql: str | None = None
    ways: list[str] = field(factory=list)
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
        null: the words that the flow's `source.null` reads as NULL in all columns.
        tables: further contents of a new flow, such as `rules`.
    """

    name: str
    version: str
    shown: str
    table: str
    columns: list[TargetColumn] = field(repr=False)
    base: Json | None = field(default=None, repr=False)
    notes: list[str] = field(factory=list)
    place: Json | None = None
    tables: Json = field(factory=dict, repr=False)
    null: list[str] = field(factory=list)

    def to_json(self) -> Json:
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
        raise FlowError("target", "; ".join([f"{target.shown} describes no columns", *target.notes[:5]]))
    return target


# -- a JSON Schema

_TYPES = ("string", "integer", "number", "boolean")
_FORMATS = {"date", "date-time", "time", *TEXT_FORMATS}
_IGNORED = frozenset({"multipleOf", "not", "oneOf", "anyOf", "allOf", "if", "contentEncoding"})


def of_schema(schema: Any, name: str, version: str, shown: str) -> MappingTarget:
    """Return the target that a schema of one row describes. Raises `FlowError`."""
    if isinstance(schema, dict) and schema.get("type") == "array" and isinstance(schema.get("items"), dict):
        schema = schema["items"]
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        raise FlowError("target", f"{shown} is not a JSON Schema of an object: it has no properties")
    required = schema.get("required", [])
    required = (
        set(required) if isinstance(required, list) and all(isinstance(r, str) for r in required) else set()
    )
    columns, notes = [], []
    for key, part in properties.items():
        column = of_property(key, _followed(schema, part), key in required)
        if column is None:
            notes.append(f"{key} is an object or a list, which a column can't be: left out")
        else:
            columns.append(column)
    table = str(schema.get("title") or name)
    return require_columns(MappingTarget(name, version, shown, table.partition(":")[0], columns, notes=notes))


def _followed(schema: dict[str, Any], part: Any) -> dict[str, Any]:
    """Return a property, with a reference to another place of the schema resolved. Raises `FlowError`."""
    for _ in range(10):
        if not isinstance(part, dict):
            return {}
        reference = part.get("$ref")
        if not isinstance(reference, str):
            return part
        found: Any = schema
        for step in reference.removeprefix("#").strip("/").split("/"):
            found = found.get(step) if isinstance(found, dict) else None
        if not reference.startswith("#") or not isinstance(found, dict):
            raise FlowError("target", f"{reference!r} is not a part of this schema: put it there")
        part = {**found, **{key: value for key, value in part.items() if key != "$ref"}}
    raise FlowError("target", "has references that lead nowhere")


def of_property(name: str, part: dict[str, Any], required: bool) -> TargetColumn | None:
    """Return the column of a JSON Schema property; None for an object or array."""
    enum = [part["const"]] if "const" in part else part.get("enum")
    enum = [one for one in enum if one is not None] if isinstance(enum, list) else []
    kinds = part.get("type")
    kinds = [one for one in (kinds if isinstance(kinds, list) else [kinds]) if one not in (None, "null")]
    if any(kind in ("object", "array") for kind in kinds) or "properties" in part:
        return None
    kind = kinds[0] if len(kinds) == 1 and kinds[0] in _TYPES else _kind_of(enum)
    found: dict[str, Any] = {"type": kind} if kind else {}
    notes = [f"{key} is not checked" for key in part if key in _IGNORED]
    if isinstance(part.get("format"), str) and kind in (None, "string"):
        if part["format"] in _FORMATS:
            found |= {"type": "string", "format": part["format"]}
        else:
            notes.append(f"the format {part['format']} is not checked")
    if required:
        found["required"] = True
    if enum and kind and all(isinstance(one, str | int | float | bool) for one in enum):
        found["enum"] = enum
    found |= _limits(part, kind, found.get("format"))
    words = {key: part[key] for key in ("title", "description") if isinstance(part.get(key), str)}
    examples = part.get("examples") if isinstance(part.get("examples"), list) else []
    return TargetColumn(
        name,
        words | found,
        about=" ".join(words.values()),
        examples=[
            str(one).lower() if isinstance(one, bool) else str(one)
            for one in examples or []
            if isinstance(one, str | int | float)
        ],
        notes=notes,
    )


def _limits(part: dict[str, Any], kind: str | None, form: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if kind in ("integer", "number"):
        found |= {key: part[key] for key in BOUNDS if is_number(part.get(key))}
    if form in ("date", "date-time", "time"):
        dated = {key: part.get(f"format{key[0].upper()}{key[1:]}") for key in BOUNDS}
        found |= {key: value for key, value in dated.items() if isinstance(value, str)}
    elif kind == "string":
        found |= {key: part[key] for key in LENGTHS if isinstance(part.get(key), int)}
        if isinstance(part.get("pattern"), str):
            found["pattern"] = part["pattern"]
    return found


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _kind_of(enum: list[Any]) -> str | None:
    if not enum:
        return None
    if all(isinstance(one, bool) for one in enum):
        return "boolean"
    if all(isinstance(one, str) for one in enum):
        return "string"
    return "number" if all(map(is_number, enum)) else None


# -- a flow version

_NUMBERED = re.compile(r"(.*?)(\d+)")
_LONGEST = 64
"""Maximum characters of a version, as in `definition.NAME`."""
_WORDS = ("title", "description")


def of_flow(flow: Flow, version: str | None = None) -> MappingTarget:
    """Return the target for the version after this one: names and expressions are those of all its layouts."""
    following = version or next_version(flow.version)
    readings = [one.columns for one in flow.layouts] or [flow.columns]
    columns = [_read_column(flow, several) for several in zip(*readings, strict=True)]
    known = Counter(name for column in columns for name in {*map(folded, column.aliases)})
    # Senders may mean different columns by one name, which then says nothing.
    columns = [
        evolve(column, aliases=[name for name in column.aliases if known[folded(name)] == 1])
        for column in columns
    ]
    target = MappingTarget(flow.name, following, flow.ref, flow.name, columns, base=flow.definition)
    return require_columns(evolve(target, null=list(flow.source.null)))


def as_read(target: MappingTarget, layout: str) -> MappingTarget:
    """Return a flow's target with the names and expressions of one layout; "" if the flow has none."""
    flow = read_definition(target.base)
    found = [(one.columns, one.source.null) for one in flow.layouts if one.name == layout]
    columns, null = found[0] if found else (flow.columns, flow.source.null)
    return evolve(target, columns=[_read_column(flow, [one]) for one in columns], null=list(null))


def _read_column(flow: Flow, readings: Sequence[Column]) -> TargetColumn:
    """Return a column of a flow, as its layouts read it; an expression only if all that have the column share it."""
    column = readings[0]
    written: dict[str, Any] = flow.definition["columns"][column.name]
    several = [list(one.aliases.names) if one.aliases else names_in(one.sql) for one in readings]
    names = [
        name
        for one, names in zip(readings, several, strict=True)
        if len(names) < 2 or one.aliases
        for name in names
    ]
    ways = list(dict.fromkeys(over_value(one.sql, "value") for one in readings if not is_null(one.sql)))
    sql = ways[0] if len(ways) == 1 else None
    return TargetColumn(
        column.name,
        {key: written[key] for key in (*_WORDS, *CHECKS) if key in written} | {"type": column.type},
        about=" ".join(str(written[key]) for key in _WORDS if key in written),
        aliases=list(dict.fromkeys(names)),
        sql=None if sql == "value" else sql,
        ways=ways,
    )


def next_version(version: str) -> str:
    """Return `v4` after `v3`; `2024-2` after `2024`, whose number does not count versions.

    If the name would be too long, the part before the number is shortened.
    """
    found = _NUMBERED.fullmatch(version)
    counts = found is not None and len(found[2]) < 4
    stem, number = (found[1], str(int(found[2]) + 1)) if found and counts else (f"{version}-", "2")
    return stem[: _LONGEST - len(number)] + number


# -- a model of dbt, in its `schema.yml`, with its tests as checks

_REF = re.compile(r"(?:ref|source)\(\s*(?:['\"][^'\"]+['\"]\s*,\s*)?['\"]([^'\"]+)['\"]\s*\)")
_JINJA = re.compile(r"\{\{.*?\}\}")


def of_yaml(text: str, shown: str) -> Any:
    """Return the content of a YAML file, with dates as they are written. Raises `FlowError`."""
    import yaml

    class AsWritten(yaml.SafeLoader):
        """Reads dates as texts, and refuses a second value of a key, which would replace the first."""

        def compose_mapping_node(self, anchor: Any) -> Any:
            # When it is constructed, keys of other mappings may have been merged into it.
            node, seen = super().compose_mapping_node(anchor), set[tuple[str, str]]()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"{key.value!r} is there twice", problem_mark=key.start_mark
                    )
                seen.add((key.tag, key.value))
            return node

    def as_written(loader: Any, node: Any) -> Any:
        return loader.construct_scalar(node)

    AsWritten.add_constructor("tag:yaml.org,2002:timestamp", as_written)
    try:
        return yaml.load(text, AsWritten)  # noqa: S506 - a safe one
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # also a number with too many digits
        said = str(error).replace('"<unicode string>"', shown)
        problem = "its values are nested too deeply" if isinstance(error, RecursionError) else said
        raise FlowError("target", f"{shown} is not YAML: {problem}") from None


def chosen_of(known: Collection[str], wanted: str, shown: str, what: str) -> str:
    """Return the name of the wanted part of a file, or of its only one. Raises `FlowError`."""
    if not known or (wanted and wanted not in known) or (not wanted and len(known) > 1):
        names = ", ".join(list(known)[:20]) or "none"
        raise FlowError("target", f"name one of the {what} of {shown} behind a colon: {names}")
    return wanted or next(iter(known))


def of_dbt(
    document: Any, model: str, name: str, version: str, shown: str, url_env: str = ""
) -> MappingTarget:
    """Return the target that a model describes. Raises `FlowError`.

    Args:
        model: its name; empty if the file has only one.
        url_env: the variable with the database of its `relationships`, which become notes without it.
    """
    models: dict[str, dict[str, Any]] = {}
    for key in ("models", "sources", "seeds", "snapshots"):
        for entry in entries(document, key):
            tables = entries(entry, "tables") if key == "sources" else [entry]
            models |= {str(one["name"]): one for one in tables if "name" in one}
    chosen = chosen_of(models, model, shown, "models")
    columns = [_of_dbt_column(one, url_env) for one in entries(models[chosen], "columns") if "name" in one]
    table = re.sub(r"^(stg|dim|fct|int)_(?:\w+?__)?", "", chosen)
    return require_columns(MappingTarget(name or chosen, version, f"{shown}:{chosen}", table, columns))


def entries(value: Any, key: str) -> list[dict[str, Any]]:
    found = value.get(key) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _of_dbt_column(entry: dict[str, Any], url_env: str) -> TargetColumn:
    """Return the column of an entry in a dbt file; its tests become constraints."""
    words = _JINJA.sub("", str(entry.get("description") or "")).strip()
    found: dict[str, Any] = {"description": words} if words else {}
    found |= definition_of(str(entry.get("data_type") or ""))
    notes = []
    tests = entry.get("data_tests") or entry.get("tests") or []
    for test in tests if isinstance(tests, list) else []:
        kind, details = (test, {}) if isinstance(test, str) else next(iter(test.items()), ("", {}))
        details = details if isinstance(details, dict) else {}
        details = {**details, **(details.get("arguments") or {})}
        match kind.rpartition(".")[2]:
            case "not_null":
                found["required"] = True
            case "unique":
                found["unique"] = True
            case "accepted_values" if isinstance(details.get("values"), list):
                values = [one for one in details["values"] if one is not None]
                is_text = details.get("quote", True) and not all(isinstance(v, bool | int) for v in values)
                found.setdefault("type", "string" if is_text else _type_of(values))
                is_text = is_text or found["type"] == "string"
                found["enum"] = list(map(str, values)) if is_text else values
            case "relationships":
                to = _REF.search(str(details.get("to", "")))
                table = to[1] if to else str(details.get("to"))
                notes += refer(table, str(details.get("field", "id")), found, url_env)
            case other:
                notes.append(f"the test {other} is not checked")
    return TargetColumn(str(entry["name"]), found, about=words, notes=notes)


def refer(table: str, column: str, definition: Json, url_env: str) -> list[str]:
    """Add a reference to a column's definition; without the variable of a database, return it as a note."""
    if not url_env:
        return [f"references = {{ url_env = …, table = {table!r}, column = {column!r} }}"]
    definition["references"] = {"url_env": url_env, "table": table, "column": column}
    return []


def _type_of(values: list[Any]) -> str:
    if values and all(isinstance(one, bool) for one in values):
        return "boolean"
    return "integer" if values and all(isinstance(one, int) for one in values) else "string"


# -- the types of databases

_DECIMAL = re.compile(r"(?:numeric|decimal|number)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
_LENGTH = re.compile(r"(?:character varying|varchar|char|character|nvarchar|text|string)\s*\(\s*(\d+)\s*\)")
_PLAIN: dict[str, dict[str, str]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "decimal": {"type": "number", "sql_type": "DECIMAL(38,9)"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time"},
    "timestamp": {"type": "string", "format": "date-time", "sql_type": "TIMESTAMP"},
    "timestamptz": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "string": {"type": "string"},
}
_NAMES = {
    "integer": "int int2 int4 int8 integer bigint smallint tinyint mediumint serial bigserial int64 int32 hugeint "
    "uint8 uint16 uint32 uint64 utinyint usmallint uinteger ubigint",
    "number": "float float4 float8 float64 real double",
    "decimal": "numeric decimal number bignumeric money",
    "boolean": "bool boolean bit",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp timestamp_ntz datetime timestamp_without_time_zone",
    "timestamptz": "timestamptz timestamp_tz timestamp_ltz timestamp_with_time_zone",
    "uuid": "uuid uniqueidentifier",
    "string": "text varchar char character string nvarchar bpchar citext clob name character_varying",
}
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}


def definition_of(declared: str) -> dict[str, Any]:
    """Return the keys of a flow's column for a type that a database declares; empty if unknown."""
    text = re.sub(r"\s+", " ", declared.strip().lower())
    if found := _DECIMAL.fullmatch(text):
        digits, scale = int(found[1]), int(found[2] or 0)
        if 1 <= digits <= 38 and scale <= digits:
            return {"type": "number", "sql_type": f"DECIMAL({digits},{scale})"}
    if found := _LENGTH.fullmatch(text):
        return {"type": "string", "maxLength": int(found[1])}
    words = re.sub(r"\s*\([^)]*\)", "", text)
    kind = _KINDS.get(words.replace(" ", "_")) or _KINDS.get(words.split(" ")[0])
    return dict(_PLAIN[kind]) if kind else {}
