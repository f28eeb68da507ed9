"""A Python class for the mapped rows of a flow version, from its JSON Schema. Used by `flow model`. Pure."""

import keyword
import re
from collections.abc import Mapping
from typing import Any

import click

KINDS = ("attrs", "dataclass", "typed-dict")
_TYPES = {"string": "str", "integer": "int", "number": "Decimal", "boolean": "bool"}
_TIMES = {"date": "date", "date-time": "datetime", "time": "time"}
_BEGINS = {
    "attrs": ("from attrs import frozen\n", "@frozen\n", ""),
    "dataclass": ("from dataclasses import dataclass\n", "@dataclass(frozen=True)\n", ""),
    "typed-dict": ("from typing import TypedDict\n", "", "(TypedDict)"),
}


def model(schema: Mapping[str, Any], kind: str, name: str | None) -> str:
    """Return the text of a module with the class, for `LumeRun.mapped(as_=…)`. Raises `click.ClickException`.

    `kind` is one of `KINDS`; without a `name`, the class has the flow's, without its version.
    """
    title = str(schema.get("title", "Row"))
    name = name or "".join(part.capitalize() for part in re.split(r"\W|_", title.partition(":")[0])) or "Row"
    fields = {column: _annotation(found) for column, found in schema.get("properties", {}).items()}
    for word in (name, *fields):
        if not word.isidentifier() or keyword.iskeyword(word):
            raise click.ClickException(
                f"{word!r} can't be a name in Python: rename it in the flow, or write the class by hand"
            )
    importing, decorator, base = _BEGINS[kind]
    used = " ".join(fields.values())
    times = [each for each in sorted(_TIMES.values()) if re.search(rf"\b{each}\b", used)]
    imports = [importing]
    if times:
        imports.append(f"from datetime import {', '.join(times)}\n")
    if "Decimal" in used:
        imports.append("from decimal import Decimal\n")
    standard = sorted(line for line in imports if "attrs" not in line)
    others = [line for line in imports if "attrs" in line]
    head = "".join(standard) + ("\n" if standard and others else "") + "".join(others)
    lines = "".join(f"    {column}: {annotation}\n" for column, annotation in fields.items())
    doc = f'    """A mapped row of {title}."""\n\n'
    return f"{head}\n\n{decorator}class {name}{base}:\n{doc}{lines}"


def _annotation(column: Mapping[str, Any]) -> str:
    kinds = column.get("type", "string")
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    found = [
        _TIMES.get(str(column.get("format")), "str") if kind == "string" else _TYPES[kind]
        for kind in kinds
        if kind != "null"
    ]
    return " | ".join([*found, *(["None"] if "null" in kinds else [])])
