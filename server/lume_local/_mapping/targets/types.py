"""Converts types of databases to a flow's. Pure."""

import re
from typing import Any

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
    "integer": "int int2 int4 int8 integer bigint smallint tinyint mediumint serial bigserial int64 int32 hugeint",
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
