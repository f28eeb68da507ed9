"""A JSON Schema as a target. Pure."""

from typing import Any

from lume_local._flow.definition import BOUNDS, LENGTHS, TEXT_FORMATS
from lume_local._flow.fields import FlowError
from lume_local._mapping.target import MappingTarget, TargetColumn, require_columns

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
        column = _column(key, _followed(schema, part), key in required)
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


def _column(name: str, part: dict[str, Any], required: bool) -> TargetColumn | None:
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
        examples=[_text(one) for one in examples or [] if isinstance(one, str | int | float | bool)],
        notes=notes,
    )


def _limits(part: dict[str, Any], kind: str | None, form: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if kind in ("integer", "number"):
        found |= {key: part[key] for key in BOUNDS if _is_number(part.get(key))}
    if form in ("date", "date-time", "time"):
        dated = {key: part.get(f"format{key[0].upper()}{key[1:]}") for key in BOUNDS}
        found |= {key: value for key, value in dated.items() if isinstance(value, str)}
    elif kind == "string" and form is None:
        found |= {key: part[key] for key in LENGTHS if isinstance(part.get(key), int)}
        if isinstance(part.get("pattern"), str):
            found["pattern"] = part["pattern"]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind_of(enum: list[Any]) -> str | None:
    if not enum:
        return None
    if all(isinstance(one, bool) for one in enum):
        return "boolean"
    if all(isinstance(one, str) for one in enum):
        return "string"
    return "number" if all(map(_is_number, enum)) else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
