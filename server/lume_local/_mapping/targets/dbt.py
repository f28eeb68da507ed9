"""A model in a dbt `schema.yml` as a target, with its tests as checks. Pure, except for PyYAML."""

import re
from typing import Any

from lume_local._flow.fields import FlowError
from lume_local._mapping.target import MappingTarget, TargetColumn, require_columns
from lume_local._mapping.targets.types import definition_of

_REF = re.compile(r"(?:ref|source)\(\s*(?:['\"][^'\"]+['\"]\s*,\s*)?['\"]([^'\"]+)['\"]\s*\)")
_JINJA = re.compile(r"\{\{.*?\}\}")


def of_dbt(text: str, model: str, name: str, version: str, shown: str, url_env: str = "") -> MappingTarget:
    """Return the target that a model describes. Raises `FlowError`.

    Args:
        model: its name; empty if the file has only one.
        url_env: the variable with the database of its `relationships`, which become notes without it.
    """
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FlowError("target", f"{shown} is not YAML: {error}") from None
    models: dict[str, dict[str, Any]] = {}
    for key in ("models", "sources", "seeds", "snapshots"):
        for entry in _entries(document, key):
            tables = _entries(entry, "tables") if key == "sources" else [entry]
            models |= {str(one["name"]): one for one in tables if "name" in one}
    if not models or (model and model not in models) or (not model and len(models) > 1):
        listed = ", ".join(list(models)[:20]) or "none"
        raise FlowError("target", f"name one of the models of {shown} behind a colon: {listed}")
    chosen = model or next(iter(models))
    columns = [_column(one, url_env) for one in _entries(models[chosen], "columns") if "name" in one]
    table = re.sub(r"^(stg|dim|fct|int)_(?:\w+?__)?", "", chosen)
    return require_columns(MappingTarget(name or chosen, version, f"{shown}:{chosen}", table, columns))


def _entries(value: Any, key: str) -> list[dict[str, Any]]:
    found = value.get(key) if isinstance(value, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _column(entry: dict[str, Any], url_env: str) -> TargetColumn:
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
                found["enum"] = [str(one) for one in values] if is_text else values
                found.setdefault("type", _type_of(found["enum"]))
            case "relationships":
                to = _REF.search(str(details.get("to", "")))
                table, column = to[1] if to else str(details.get("to")), str(details.get("field", "id"))
                if url_env:
                    found["references"] = {"url_env": url_env, "table": table, "column": column}
                else:
                    notes.append(f"references = {{ url_env = …, table = {table!r}, column = {column!r} }}")
            case other:
                notes.append(f"the test {other} is not checked")
    if (
        "enum" in found
        and found.get("type") == "string"
        and not all(isinstance(v, str) for v in found["enum"])
    ):
        found["enum"] = [str(one) for one in found["enum"]]
    return TargetColumn(str(entry["name"]), found, about=words, notes=notes)


def _type_of(values: list[Any]) -> str:
    if values and all(isinstance(one, bool) for one in values):
        return "boolean"
    return "integer" if values and all(isinstance(one, int) for one in values) else "string"
