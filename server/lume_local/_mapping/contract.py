"""Data contracts (Open Data Contract Standard, version 3): read as a target, and written from a flow. Pure.

What the standard has no metric for is a quality rule of the engine `lume`, in the terms of a flow.
"""

import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from attrs import evolve, field, frozen

from lume_async._base.elided import elided
from lume_local._flow.databases import TableTarget
from lume_local._flow.definition import BOUNDS, NAME, VERSION, Column, Flow, Rule, quoted, read_definition
from lume_local._flow.fields import FlowError
from lume_local._mapping import target
from lume_local._mapping.target import Json, MappingTarget, TargetColumn, entries

KIND, API, ENGINE = "DataContract", "v3.1.0", "lume"
_LOGICAL: dict[str, Json] = {one: {"type": one} for one in ("string", "integer", "number", "boolean")} | {
    logical: {"type": "string", "format": form}
    for logical, form in (("date", "date"), ("time", "time"), ("timestamp", "date-time"))
}
_WIDTHS = {"i8": "TINYINT", "i16": "SMALLINT", "i32": "INTEGER", "i64": "BIGINT", "i128": "HUGEINT"} | {
    **{"u8": "UTINYINT", "u16": "USMALLINT", "u32": "UINTEGER", "u64": "UBIGINT"},
    **{"f32": "FLOAT", "f64": "DOUBLE"},
}
"""The `format` of numbers. A `physicalType` says less: INTEGER and FLOAT differ from one database to the next."""
_OPERATORS = {"mustBe": "=", "mustNotBe": "<>", "mustBeGreaterThan": ">", "mustBeGreaterOrEqualTo": ">="} | {
    **{"mustBeLessThan": "<", "mustBeLessOrEqualTo": "<="},
    **{"mustBeBetween": "BETWEEN", "mustNotBeBetween": "NOT BETWEEN"},
}
_BROKEN = re.compile(r"SELECT count\(\*\) FROM \{object\} WHERE NOT \((.*)\)", re.IGNORECASE | re.DOTALL)
"""The query for the rows that break a rule. Other queries are in the SQL of a server, and may not run here."""
_READ = re.compile(
    "apiVersion|kind|id|name|version|status|description|schema|properties|quality|physicalName|physicalType|type"
    "|logicalType|logicalTypeOptions|businessName|required|unique|primaryKey|primaryKeyPosition|examples"
    "|relationships|metric|arguments|unit|query|engine|implementation|severity|must.*"
)
"""The keys that are read. A flow does not have what the others say."""
_NOT_RE2 = re.compile(r"\(\?<?[=!]|\\[1-9]")
"""What RE2 lacks of the patterns of the standard: looking around, and back at a group."""


def is_contract(document: Any) -> bool:
    return isinstance(document, dict) and document.get("kind") == KIND


# -- a contract as a target


@frozen
class _Reading:
    """The parts of a flow as they are read; `own` is the definition of one column, `notes` what a flow has not."""

    tables: Json = field(factory=dict)
    own: Json = field(factory=dict)
    notes: list[str] = field(factory=list)

    def add(self, kind: str, rule: Json, default: str, how: Json) -> None:
        """Add one of `rules` or `expect`, with the name of a quality rule, or else the default."""
        taken = {one["name"].lower() for key in ("rules", "expect") for one in self.tables.get(key, ())}
        name = _name(rule) or default
        name += f"_{len(taken) + 1}" if name.lower() in taken else ""
        words = elided(str(rule.get("description") or ""), 400)
        found = {"name": name, "message": words} | how | {"name": name}
        self.tables.setdefault(kind, []).append(_filled(found))

    def check(self, column: str, checks: Json) -> None:
        holder = self.tables.setdefault("checks", {})
        (holder.setdefault("columns", {}).setdefault(column, {}) if column else holder).update(checks)

    def lacks(self, entry: Json, place: str = "", also: Collection[str] = ()) -> None:
        """Note the keys with a value that a flow has not."""
        given = [str(key) for key, value in entry.items() if value not in (None, False, -1, "", [], {})]
        if keys := [f"{place}{key}" for key in given if not (_READ.fullmatch(key) or key in also)]:
            self.notes.append(f"{elided(', '.join(keys), 400)}, which a flow does not have")


def _name(rule: Json) -> str:
    return elided(str(rule.get("name") or rule.get("id") or ""), 100)


def of_contract(
    document: Json, part: str, name: str, version: str | None, shown: str, url_env: str = ""
) -> MappingTarget:
    """Return the target that an object of the contract's `schema` describes. Raises `FlowError`.

    Args:
        part: the name of the object; empty if the contract has only one.
        url_env: the variable with the database of its relationships, which become notes without it.
    """
    if not str(document.get("apiVersion")).startswith("v3."):
        given = elided(str(document.get("apiVersion")), 40)
        raise FlowError(
            "target", f"{shown} has the apiVersion {given}: it must be of version 3, such as {API}"
        )
    chosen, entry = target.chosen_of(_by_name(document, "schema", shown), part, shown, "objects")
    shown, reading, columns = f"{shown}:{chosen}", _Reading(), list[TargetColumn]()
    properties = _by_name(entry, "properties", shown)
    keys = [key for key, one in properties.items() if one.get("primaryKey") is True]
    for key, one in properties.items():
        column = _column(key, one, evolve(reading, own={"unique": keys == [key]}, notes=[]), url_env)
        if column is None:
            reading.notes.append(f"{key}, an object or an array, which a column can't be")
        else:
            columns.append(column)
    if len(keys) > 1:
        row = ", ".join(map(quoted, keys))
        reading.add("expect", {}, "primary_key", {"sql": f"count(*) = count(DISTINCT ({row}))"})
    _read_quality(entry, "", {}, reading)
    reading.lacks(document)
    reading.lacks(entry, f"{chosen}.")
    about = document.get("description")
    words = entry.get("description") or (about.get("purpose") if isinstance(about, dict) else "")
    tables = reading.tables | ({"description": str(words)} if words else {})
    flow = re.sub(r"[^A-Za-z0-9_-]+", "_", chosen).strip("_-")[:64]
    own = str(document.get("version"))
    found = MappingTarget(
        name or (flow if NAME.fullmatch(flow) else "proposal"),
        version or (own if VERSION.fullmatch(own) else "v1"),
        shown,
        str(entry.get("physicalName") or chosen),
        columns,
        notes=[f"left out: {one}" for one in reading.notes],
        tables=tables,
    )
    definitions = {one.name: one.definition for one in target.require_columns(found).columns}
    try:
        read_definition({"flow": found.name, "version": found.version, "columns": definitions, **tables})
    except FlowError as error:
        raise FlowError("target", f"{shown}: {error}") from None
    return found


def _by_name(entry: Json, key: str, shown: str) -> dict[str, Json]:
    found = dict[str, Json]()
    for one in entries(entry, key):
        if (name := str(one.get("name"))) in found:
            raise FlowError("target", f"{shown}: {key} has two elements called {name!r}: rename one of them")
        found[name] = one
    return found


def _column(name: str, entry: Json, reading: _Reading, url_env: str) -> TargetColumn | None:
    """Return the column of a property, with its quality rules; None for an object or array."""
    declared, logical = str(entry.get("physicalType") or ""), str(entry.get("logicalType"))
    physical = target.definition_of(declared)
    if physical.get("format") == "uuid":
        physical = {"type": "string", "sql_type": "UUID"}
    if logical == "array" or (logical == "object" and ("properties" in entry or not physical)):
        return None
    kind = dict(_LOGICAL.get(logical, {}))
    if logical not in (*_LOGICAL, "None", "object"):
        reading.notes.append(f"the logicalType {elided(logical, 100)}")
    if not kind or _fits(kind, physical):
        kind |= physical
    if declared and not (physical and physical.items() <= kind.items()):
        reading.notes.append(f"the physicalType {elided(declared, 100)}")
    given = entry.get("logicalTypeOptions")
    options = dict(given) if isinstance(given, dict) else {}
    form, temporal = str(options.get("format", "")), kind.get("format")
    is_number = kind.get("type") in ("integer", "number")
    if temporal == "date-time" and isinstance(options.get("timezone"), bool):
        kind["sql_type"] = "TIMESTAMPTZ" if options.pop("timezone") else "TIMESTAMP"
    if is_number and form in _WIDTHS:
        kind.setdefault("sql_type", _WIDTHS[form])
    elif form and (is_number or (temporal and not re.match("yyyy-MM-dd|HH", form))):
        reading.notes.append(f"the format {elided(form, 100)}")
    part = {
        f"format{key[0].upper()}{key[1:]}" if temporal and key in BOUNDS else key: options[key]
        for key in options
    }
    if _NOT_RE2.search(str(part.get("pattern"))):
        reading.notes.append(f"the pattern {elided(str(part.pop('pattern')), 200)}")
    part |= {"title": entry.get("businessName"), "description": entry.get("description"), **kind}
    reading.own["unique"] |= entry.get("unique") is True
    reading.own["sql_type"] = kind.get("sql_type")
    required = entry.get("required") is True or entry.get("primaryKey") is True
    for one in entries(entry, "relationships"):
        table, dot, field_name = str(one.get("to")).rpartition(".")
        if dot and "/" not in table:
            reading.notes.extend(target.refer(table, field_name, reading.own, url_env))
        else:
            reading.notes.append(f"the relationship to {elided(str(one.get('to')), 100)}")
    _read_quality(entry, name, part, reading)
    column = target.of_property(
        name, part | {"examples": entry.get("examples")}, required or "required" in part
    )
    assert column is not None
    physical_name = str(entry.get("physicalName") or name)
    options |= {key: part.get(key) for key in ("enum", "pattern")}
    reading.lacks(options, "logicalTypeOptions.", ["format", "multipleOf", *column.definition])
    reading.lacks(entry)
    return evolve(
        column,
        definition=column.definition
        | _filled({**reading.own, "unique": reading.own["unique"] or part.get("unique")}),
        aliases=[] if physical_name == name else [physical_name],
        notes=[*column.notes, *reading.notes],
    )


def _fits(kind: Json, physical: Json) -> bool:
    """Return whether the type of a database is a closer description of a logical one."""
    if kind["type"] == "number":
        return physical.get("type") in ("number", "integer")
    form = physical.get("format")
    if kind.get("format") == "date":  # before version 3.1, also a date with a time
        return form in ("date", "date-time")
    return (physical.get("type"), form) == (kind["type"], kind.get("format"))


def _read_quality(entry: Json, column: str, part: Json, reading: _Reading) -> None:
    """Read the quality rules of a property, or of an object, whose `column` is empty.

    Args:
        part: the property of a JSON Schema, which receives what a column checks itself.
    """
    for rule in entries(entry, "quality"):
        query, own = _BROKEN.fullmatch(str(rule.get("query")).strip()), _own_of(rule)
        kind, is_warning = rule.get("type") or "library", rule.get("severity") in ("warning", "info")
        if own:
            reading.own.update(own.get("column", {}))
            if "checks" in own:
                reading.check(column, own["checks"])
            if "expect" in own:
                reading.add("expect", rule, "expectation", own["expect"])
        elif kind == "sql" and query and rule.get("mustBe") == 0:
            custom = [one.get("value") for one in entries(rule, "customProperties")]
            on_fail = "fail" if custom == ["fail"] else "warn" if is_warning else ""
            reading.add("rules", rule, f"{column}_rule".strip("_"), {"sql": query[1], "on_fail": on_fail})
        elif kind != "library" or not _read_metric(rule, column, part, reading, is_warning=is_warning):
            shown = _name(rule) or rule.get("metric") or rule.get("rule") or rule.get("description")
            how = elided(f"{kind} {rule.get('engine') or ''}".strip(), 100)
            reading.notes.append(f"the quality rule {elided(str(shown), 200)!r} ({how})")
        reading.lacks(rule, "quality.", ["customProperties"])


def _own_of(rule: Json) -> dict[str, Json]:
    """Return the implementation of a quality rule that `contract_of` writes; empty for another one."""
    given = rule.get("implementation")
    if (rule.get("type"), rule.get("engine")) != ("custom", ENGINE) or not isinstance(given, dict):
        return {}
    is_known = given.keys() <= {"column", "checks", "expect"} and all(
        isinstance(one, dict) for one in given.values()
    )
    return given if is_known and given.get("column", {}).keys() <= {"unique", "references"} else {}


def _read_metric(rule: Json, column: str, part: Json, reading: _Reading, *, is_warning: bool) -> bool:
    """Read a rule of the library; return False if a flow can't say it."""
    arguments, metric = rule.get("arguments"), rule.get("metric")
    arguments, unit = arguments if isinstance(arguments, dict) else {}, rule.get("unit") or "rows"
    comparisons = [key for key in _OPERATORS if key in rule]
    how = comparisons[0] if len(comparisons) == 1 else ""
    numbers = rule[how] if isinstance(rule.get(how), list) else [rule.get(how)]
    if len(numbers) != 1 + ("Between" in how) or not all(map(target.is_number, numbers)):
        return False
    is_none = how == "mustBe" and numbers == [0] and unit in ("rows", "percent")
    is_share = unit == "percent" and how == "mustBeLessOrEqualTo"
    if not column:
        sql, names = "", arguments.get("properties")
        if metric == "rowCount" and unit == "rows":
            sql = f"count(*) {_OPERATORS[how]} {' AND '.join(map(repr, numbers))}"
        elif metric == "duplicateValues" and is_none and isinstance(names, list):
            sql = f"count(*) = count(DISTINCT ({', '.join(quoted(str(one)) for one in names)}))"
        if sql:
            reading.add("expect", rule, str(metric), {"sql": sql, "on_fail": "warn" if is_warning else ""})
        return bool(sql)
    if metric == "nullValues" and (is_share or (is_none and is_warning)):
        nulls: Json = {"max": float(Decimal(repr(numbers[0])) / 100)}
        reading.check(column, {"nulls": nulls | ({"on_violation": "tell"} if is_warning else {})})
        return True
    known: dict[str, Json] = {
        "nullValues": {"required": True},
        "duplicateValues": {"unique": True},
        "invalidValues": {"enum": arguments.get("validValues"), "pattern": arguments.get("pattern")},
    }
    own = _filled(known.get(str(metric), {}))
    is_said = all(part.get(key, value) == value for key, value in own.items())
    if not (own and is_none and is_said) or is_warning or _NOT_RE2.search(str(own.get("pattern"))):
        return False
    part |= own
    return True


# -- a flow as a contract


def contract_of(definition: Mapping[str, Any]) -> Json:
    """Return the contract for the mapped rows of a flow version. Raises `FlowError` if the flow has a mistake."""
    flow = read_definition(dict(definition))
    table = flow.mapped if isinstance(flow.mapped, TableTarget) else None
    content = {
        "name": flow.name,
        "logicalType": "object",
        "physicalName": table.table if table else None,
        "physicalType": "table" if table else "file",
        "description": flow.definition.get("description"),
        "properties": [_property(flow, one, table.key if table else ()) for one in flow.columns],
        "quality": [*map(_of_rule, flow.rules), *map(_of_expectation, flow.expect), *_of_checks(flow, "")],
    }
    return {
        "apiVersion": API,
        "kind": KIND,
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:lume:flow:{flow.name}")),
        "name": flow.name,
        "version": flow.version,
        "status": "active",
        "schema": [_filled(content)],
    }


def contract_text(document: Json) -> str:
    """Return a contract as YAML."""
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    return text


def _filled(entry: Json) -> Json:
    return {key: one for key, one in entry.items() if one is not None and one not in ("", [], {})}


def _property(flow: Flow, column: Column, key: Sequence[str]) -> Json:
    written, plain = flow.definition["columns"][column.name], column.sql_type.partition("(")[0]
    logical = {"DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp", "TIMESTAMPTZ": "timestamp"}.get(
        plain, "integer" if plain.endswith(("INT", "INTEGER")) else column.type
    )
    width = next((one for one, name in _WIDTHS.items() if name == plain), None)
    zone = {"timezone": plain == "TIMESTAMPTZ"} if logical == "timestamp" else {}
    form = column.format if logical == "string" else width
    options = {"format": form, **column.lengths, **column.bounds, "pattern": column.pattern, **zone}
    own = {"unique": "ever"} if column.ever else {}
    own |= {"references": written["references"]} if column.references else {}
    values = {"metric": "invalidValues", "arguments": {"validValues": [*column.enum]}, "mustBe": 0}
    found = {
        "name": column.name,
        "businessName": written.get("title"),
        "description": written.get("description"),
        "logicalType": logical,
        "logicalTypeOptions": _filled(options),
        "physicalType": column.sql_type,
        "required": column.required or None,
        "unique": column.unique or None,
        "primaryKey": column.name in key or None,
        "primaryKeyPosition": key.index(column.name) + 1 if column.name in key else None,
        "quality": [
            *([values] if column.enum else []),
            *([_own({"column": own})] if own else []),
            *_of_checks(flow, column.name),
        ],
    }
    return _filled(found)


def _own(implementation: Json, **more: Any) -> Json:
    return _filled({**more, "type": "custom", "engine": ENGINE, "implementation": implementation})


def _of_rule(rule: Rule) -> Json:
    on_fail = [{"property": "onFail", "value": "fail"}] if rule.on_fail == "fail" else []
    found: Json = {"name": rule.name, "description": rule.message, "type": "sql", "customProperties": on_fail}
    found |= {"mustBe": 0, "query": f"SELECT count(*) FROM {{object}} WHERE NOT ({rule.sql})"}  # noqa: S608
    return _filled(found | {"severity": "warning" if rule.on_fail == "warn" else "error"})


def _of_expectation(rule: Rule) -> Json:
    how = {"sql": rule.sql} | ({"on_fail": "warn"} if rule.on_fail == "warn" else {})
    return _own({"expect": how}, name=rule.name, description=rule.message)


def _of_checks(flow: Flow, column: str) -> list[Json]:
    """Return the checks of a column, or of all rows, without sums: those are of a source's file."""
    found = list[Json]()
    for check in flow.checks:
        kind, mode, holder = check["kind"], check["on_violation"], flow.definition["checks"]
        if check["column"] != column or kind == "sum":
            continue
        if kind == "nulls":
            most = {"mustBeLessOrEqualTo": float(Decimal(repr(check["most"])) * 100), "unit": "percent"}
            found.append(
                {"metric": "nullValues", **most, "severity": "warning" if mode == "tell" else "error"}
            )
        else:
            own = (holder["columns"][column] if column else holder)[kind]
            found.append(_own({"checks": {kind: own | {"on_violation": mode}}}))
    return found
