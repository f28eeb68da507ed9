"""Data contracts (Open Data Contract Standard, version 3): read as a target, and written from a flow. Pure.

What the standard has no metric for is a quality rule of the engine `lume`, in the terms of a flow.
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from reprlib import repr as shortly
from typing import Any

from attrs import evolve, field, frozen

from lume_async._base.elided import elided
from lume_local._flow.definition import BOUNDS, INTEGERS, VERSION, Column, Flow, Rule, quoted, read_definition
from lume_local._flow.fields import FlowError
from lume_local._flow.lakes import DELTA
from lume_local._mapping import target
from lume_local._mapping.rewrite import calls, is_whole
from lume_local._mapping.target import Json, MappingTarget, TargetColumn

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
_BROKEN = re.compile(
    r"SELECT\s+count\(\*\)\s+FROM\s+\$?\{object\}\s+WHERE\s+NOT\s*\((.*)\)\s*;?", re.IGNORECASE | re.DOTALL
)
"""The query for the rows that break a rule. Other queries are in the SQL of a server, and may not run here."""
_NOT_RE2 = re.compile(r"\(\?<?[=!]|\\[1-9]")
"""What RE2 lacks of the patterns of the standard: looking around, and back at a group."""
_UNSAID = {"partitioned": False, "partitionKeyPosition": -1, "criticalDataElement": False}
"""The standard's defaults."""
_UNUSED = ("id", "name", "status", "logicalType", "physicalType", "primaryKeyPosition")
"""Keys without a meaning for a flow, where nothing takes them."""
_WORDS = {str: "a text: put it in quotes", bool: "true or false", dict: "a mapping", list: "a list"}


def _shown(value: Any, limit: int = 100) -> str:
    """Return a value for a message; aliases of YAML may make a short document a very long text."""
    return elided(value if isinstance(value, str) else shortly(value), limit)


def is_contract(document: Any) -> bool:
    return isinstance(document, dict) and (document.get("kind") == KIND or "apiVersion" in document)


# -- a contract as a target


@frozen
class _Part:
    """A mapping of the document, and its place. What nothing takes from it is what a flow does not have."""

    place: str
    left: Json

    def take(self, key: str, kind: type) -> Any:
        """Return a value, an empty one if it is missing. Raises `FlowError` if it is of another kind."""
        value = self.left.pop(key, None)
        if value is not None and not isinstance(value, kind):
            raise FlowError("target", f"{self.place}: {key} must be {_WORDS[kind]}; it is {shortly(value)}")
        return kind() if value is None else value

    def parts(self, key: str) -> list["_Part"]:
        several = [_Part(f"{self.place}: {key}[{n}]", one) for n, one in enumerate(self.take(key, list))]
        if wrong := next((one for one in several if not isinstance(one.left, dict)), None):
            raise FlowError("target", f"{wrong.place} must be a mapping; it is {shortly(wrong.left)}")
        return [evolve(one, left=dict(one.left)) for one in several]

    def named(self, key: str, mark: str) -> dict[str, "_Part"]:
        """Return the parts by their names, which follow the mark in their places."""
        found = dict[str, _Part]()
        for one in self.parts(key):
            if not (name := one.take("name", str)):
                raise FlowError("target", f"{one.place} has no name: give it one")
            if name in found:
                raise FlowError(
                    "target", f"{self.place}: {key} has two elements called {name!r}: rename one of them"
                )
            found[name] = evolve(one, place=f"{self.place}{mark}{name}")
        return found

    def rest(self, prefix: str = "") -> list[str]:
        """Return a note with the keys that are left; none if they have no values."""
        given = [
            f"{prefix}{key}"
            for key, value in self.left.items()
            if key not in _UNUSED and value not in ("", [], {}) and value != _UNSAID.get(key)
        ]
        return [f"{elided(', '.join(given), 400)}, which a flow does not have"] if given else []


def of_contract(
    document: Json, part: str, name: str, version: str | None, shown: str, url_env: str = ""
) -> MappingTarget:
    """Return the target that an object of the contract's `schema` describes. Raises `FlowError`.

    Args:
        part: the name of the object; empty if the contract has only one.
        url_env: the variable with the database of its relationships, which become notes without it.
    """
    top = _Part(shown, dict(document))
    kind, api = top.take("kind", str), top.take("apiVersion", str)
    if kind != KIND:
        raise FlowError(
            "target", f"{shown} has the kind {elided(kind, 40) or 'none'}: a contract is a {KIND}"
        )
    if not api.startswith("v3."):
        given = f"{shown} has the apiVersion {elided(api, 40) or 'none'}"
        raise FlowError("target", f"{given}: it must be of version 3, such as {API}")
    if isinstance(about := top.left.get("description"), str):
        top.left["description"] = {"purpose": about}  # as version 2 has it
    purpose = _Part(shown, dict(top.take("description", dict)))
    own, objects = top.take("version", str), top.named("schema", ":")
    entry = objects[chosen := target.chosen_of(objects, part, shown, "objects")]
    words = entry.take("description", str) or purpose.take("purpose", str)
    table = entry.take("physicalName", str) or chosen
    reading, notes, properties = _Reading(url_env), list[str](), entry.named("properties", ".")
    keys = [key for key, one in properties.items() if one.left.get("primaryKey") is True]
    for key, one in properties.items():
        if (column := reading.column(key, one, is_unique=keys == [key])) is None:
            notes.append(f"{key}, an object or an array, which a column can't be")
        else:
            reading.columns.append(column)
    if len(keys) > 1 and not reading.distinct("primary_key", {}, keys):
        notes.append(f"the primary key of {elided(', '.join(keys), 400)}")
    notes += reading.quality(entry, "", {})
    if own and not VERSION.fullmatch(own):
        notes.append(f"the version {elided(own, 100)}, which a flow can't have")
    notes += [*top.rest(), *purpose.rest("description."), *entry.rest(f"{chosen}.")]
    flow = re.sub(r"[^A-Za-z0-9_-]+", "_", chosen).strip("_-")[:64]
    tables = _filled(reading.tables | {"description": words})
    found = MappingTarget(
        name or flow or "proposal",
        version or (own if VERSION.fullmatch(own) else "v1"),
        entry.place,
        table,
        reading.columns,
        notes=[f"left out: {one}" for one in notes],
        tables=tables,
    )
    definitions = {one.name: one.definition for one in target.require_columns(found).columns}
    try:
        read_definition({"flow": found.name, "version": found.version, "columns": definitions, **tables})
    except FlowError as error:
        raise FlowError("target", f"{entry.place}: {error}") from None
    return found


@frozen
class _Reading:
    """Reads the columns and the quality rules of an object; `tables` are the parts of a flow beside its columns."""

    url_env: str
    columns: list[TargetColumn] = field(factory=list)
    tables: Json = field(factory=dict)

    def column(self, name: str, entry: _Part, *, is_unique: bool) -> TargetColumn | None:
        """Return the column of a property, with its quality rules; None for an object or array."""
        declared, logical = entry.take("physicalType", str), entry.take("logicalType", str)
        physical = target.definition_of(declared)
        is_nested = not entry.left.keys().isdisjoint(("properties", "items"))
        if logical == "array" or is_nested or (logical == "object" and not physical):
            return None
        kind, notes = dict(_LOGICAL.get(logical, {})), list[str]()
        if physical.get("format") == "uuid":
            physical = {"type": "string", "sql_type": "UUID"}
        form, closer = (one.get("format", one.get("type", "")) for one in (kind, physical))
        # A database's type may say more; before version 3.1, a date may have a time.
        if not kind or closer in (form, {"number": "integer", "date": "date-time"}.get(form)):
            kind |= physical
        if declared and not (physical and physical.items() <= kind.items()):
            notes.append(f"the physicalType {elided(declared, 100)}")
        options = _Part(entry.place, dict(entry.take("logicalTypeOptions", dict)))
        part = _limits(options.left, kind, notes)
        if logical not in (*_LOGICAL, "", "object"):
            notes.append(f"the logicalType {elided(logical, 100)}")
        alias, is_key = entry.take("physicalName", str), entry.take("primaryKey", bool)
        part |= _filled(
            {
                "title": entry.take("businessName", str),
                "description": entry.take("description", str),
                "required": entry.take("required", bool) or is_key,
                "unique": entry.take("unique", bool) or is_unique,
            }
        )
        for one in entry.parts("relationships"):
            to = one.left.get("to")
            table, dot, field_name = to.rpartition(".") if isinstance(to, str) else ("", "", "")
            if dot and "/" not in table:
                notes += target.refer(table, field_name, part, self.url_env)
            else:
                notes.append(f"the relationship to {_shown(to)}")
        notes += self.quality(entry, name, part)
        part["examples"] = entry.take("examples", list)
        column = target.of_property(name, part, "required" in part)
        assert column is not None
        definition = dict(column.definition)
        definition |= {key: part[key] for key in ("sql_type", "unique", "references") if key in part}
        options.left.update({key: part.get(key) for key in ("enum", "pattern")})
        for key in ("multipleOf", *definition):
            options.left.pop(key, None)
        notes = [*column.notes, *notes, *options.rest("logicalTypeOptions."), *entry.rest()]
        return evolve(
            column, definition=definition, aliases=[alias] if alias not in ("", name) else [], notes=notes
        )

    def quality(self, entry: _Part, column: str, part: Json) -> list[str]:
        """Read the quality rules of a property, or of an object, whose `column` is empty; return notes.

        Args:
            part: the property of a JSON Schema, which receives what a column checks itself.
        """
        notes = list[str]()
        for rule in entry.parts("quality"):
            kind, engine = rule.take("type", str) or "library", rule.take("engine", str)
            how, old, words = _comparison(rule), rule.take("rule", str), rule.take("description", str)
            metric = rule.take("metric", str) or ("duplicateValues" if old == "duplicateCount" else old)
            name, query = rule.take("name", str) or _shown(rule.left.get("id") or ""), rule.take("query", str)
            own = rule.left.pop("implementation", None)
            said: Json = {"name": name, "message": elided(words, 400)}
            said |= {"on_fail": "warn"} if rule.take("severity", str) in ("warning", "info") else {}
            is_read = False
            if kind == "custom" and engine == ENGINE and isinstance(own, dict):
                is_read = self._own(_Part(rule.place, dict(own)), column, part, said)
            elif kind == "sql" and how == "= 0" and (found := _BROKEN.fullmatch(query.strip())):
                fails = {"property": "onFail", "value": "fail"} in rule.take("customProperties", list)
                sql = re.sub(r"\$?\{property\}", lambda _: quoted(column), found[1]) if column else found[1]
                if is_whole(sql) and not re.search(r"\{\w+\}", sql):
                    default = f"{column}_rule".strip("_")
                    how_to = {"sql": sql} | ({"on_fail": "fail"} if fails else {})
                    is_read = self.add("rules", default, said, how_to)
            elif kind == "library":
                is_read = self._metric(metric, how, rule, column, part, said)
            if not is_read:
                shown = _shown(name or metric or words or query or own, 200)
                notes.append(f"the quality rule {shown!r} ({elided(f'{kind} {engine}'.strip(), 100)})")
            notes += rule.rest("quality.")
        return notes

    def add(self, kind: str, default: str, said: Json, how: Json) -> bool:
        """Add one of `rules` or `expect`, by its own name or the default; return False if it needs a seed."""
        taken = {one["name"].lower() for key in ("rules", "expect") for one in self.tables.get(key, ())}
        name = elided(said.get("name") or default, 100)
        name += f"_{len(taken) + 1}" if name.lower() in taken else ""
        if calls(str(how.get("sql")), "seed"):
            return False
        self.tables.setdefault(kind, []).append(_filled(said | how | {"name": name}))
        return True

    def distinct(self, default: str, said: Json, names: Any) -> bool:
        """Expect that columns are distinct together; return False if these are no columns."""
        known = [one.name for one in self.columns]
        if not isinstance(names, list) or not names or not all(one in known for one in names):
            return False
        row = ", ".join(map(quoted, names))
        return self.add("expect", default, said, {"sql": f"count(*) = count(DISTINCT ({row}))"})

    def _check(self, column: str, kind: str, check: Any) -> bool:
        """Add a check; return False if there is one of its kind."""
        holder = self.tables.setdefault("checks", {})
        holder = holder.setdefault("columns", {}).setdefault(column, {}) if column else holder
        return holder.setdefault(kind, check) is check

    def _own(self, own: _Part, column: str, part: Json, said: Json) -> bool:
        """Read the implementation of a rule as `contract_of` writes it; return False if it is another one."""
        of_column = own.take("column", dict) if column else {}
        checks, expect = own.take("checks", dict), own.take("expect", dict)
        if own.left or not of_column.keys() <= {"unique", "references"}:
            return False
        part |= of_column
        done = [self._check(column, kind, one) for kind, one in checks.items()]
        if expect:
            done.append(self.add("expect", "expectation", said, expect))
        return all(done)

    def _metric(self, metric: str, how: str, rule: _Part, column: str, part: Json, said: Json) -> bool:
        """Read a rule of the library; return False if a flow can't say it."""
        unit, arguments = rule.take("unit", str) or "rows", rule.take("arguments", dict)
        is_none, is_warning = how == "= 0" and unit in ("rows", "percent"), "on_fail" in said
        if not column:
            if metric == "rowCount" and how and unit == "rows":
                return self.add("expect", metric, said, {"sql": f"count(*) {how}"})
            is_key = metric == "duplicateValues" and is_none
            return is_key and self.distinct(metric, said, arguments.get("properties"))
        is_share = unit == "percent" and how.startswith("<= ")
        if metric == "nullValues" and (is_share or (is_none and is_warning)):
            nulls: Json = {"max": float(Decimal(how.rpartition(" ")[2]) / 100)}
            return self._check(column, "nulls", nulls | ({"on_violation": "tell"} if is_warning else {}))
        known: dict[str, Json] = {
            "nullValues": {"required": True},
            "duplicateValues": {"unique": True},
            "invalidValues": {"enum": arguments.get("validValues"), "pattern": arguments.get("pattern")},
        }
        own = _filled(known.get(metric, {}))
        is_said = all(part.get(key, value) == value for key, value in own.items())
        if not (own and is_none and is_said) or is_warning or _lacks_re2(own.get("pattern")):
            return False
        part |= own
        return True


def _limits(options: Json, kind: Json, notes: list[str]) -> Json:
    """Return the property of a JSON Schema with these options and this type, which they may make closer."""
    form, temporal = options.pop("format", None), kind.get("format")
    if temporal == "date-time" and isinstance(options.get("timezone"), bool):
        kind["sql_type"] = "TIMESTAMPTZ" if options.pop("timezone") else "TIMESTAMP"
    is_number = kind.get("type") in ("integer", "number")
    if is_number and _shown(form) in _WIDTHS:
        kind.setdefault("sql_type", _WIDTHS[_shown(form)])
    elif form and (temporal or kind.get("type", "string") != "string" or not isinstance(form, str)):
        is_usual = temporal and re.match("yyyy-MM-dd|HH", _shown(form))
        notes += [] if is_usual else [f"the format {_shown(form)}"]
    for low in ("minimum", "maximum"):  # before version 3.1, a flag says that a limit is exclusive
        strict = f"exclusive{low.capitalize()}"
        if isinstance(options.get(strict), bool) and options.pop(strict) and low in options:
            options[strict] = options.pop(low)
    if _lacks_re2(options.get("pattern")):
        notes.append(f"the pattern {_shown(options.pop('pattern'), 200)}")
    named = {
        f"format{key[0].upper()}{key[1:]}" if temporal and key in BOUNDS else key: key for key in options
    }
    return {name: options[key] for name, key in named.items()} | {"format": form} | kind


def _lacks_re2(pattern: Any) -> bool:
    return isinstance(pattern, str) and _NOT_RE2.search(pattern) is not None


def _comparison(rule: _Part) -> str:
    """Return the comparison of a quality rule as SQL, such as `= 0`; empty if it has none, or several."""
    found = [(sql, rule.left.pop(key)) for key, sql in _OPERATORS.items() if key in rule.left]
    several = [one if isinstance(one, list) else [one] for _, one in found]
    if len(found) != 1 or len(several[0]) != 1 + ("BETWEEN" in found[0][0]):
        return ""
    if not all(map(target.is_number, several[0])):
        return ""
    return f"{found[0][0]} {' AND '.join(repr(int(one) if one == int(one) else one) for one in several[0])}"


# -- a flow as a contract


def contract_of(definition: Mapping[str, Any]) -> Json:
    """Return the contract for the mapped rows of a flow version. Raises `FlowError` if the flow has a mistake."""
    flow = read_definition(dict(definition))
    table = None if isinstance(flow.mapped, str) else flow.mapped
    content = {
        "name": flow.name,
        "logicalType": "object",
        "physicalName": table.table if table and table.kind != DELTA else None,  # that would be an address
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
    return {key: one for key, one in entry.items() if one not in (None, "", [], {}) and one is not False}


def _property(flow: Flow, column: Column, key: Sequence[str]) -> Json:
    written, plain = flow.definition["columns"][column.name], column.sql_type.partition("(")[0]
    shape = plain.removesuffix("TZ").lower()
    logical = "integer" if plain in INTEGERS else shape if shape in _LOGICAL else column.type
    width = next((one for one, name in _WIDTHS.items() if name == plain), None)
    form = column.format if logical == "string" else width
    options = _filled({"format": form, **column.lengths, **column.bounds, "pattern": column.pattern})
    own = {"unique": "ever" if column.ever else None, "references": written.get("references")}
    values = {"metric": "invalidValues", "arguments": {"validValues": [*column.enum]}, "mustBe": 0}
    quality = [values] if column.enum else []
    quality += [_own({"column": _filled(own)})] if any(own.values()) else []
    return _filled(
        {
            "name": column.name,
            "businessName": written.get("title"),
            "description": written.get("description"),
            "logicalType": logical,
            "logicalTypeOptions": options
            | ({"timezone": plain.endswith("TZ")} if shape == "timestamp" else {}),
            "physicalType": column.sql_type,
            "required": column.required,
            "unique": column.unique,
            "primaryKey": column.name in key,
            "primaryKeyPosition": key.index(column.name) + 1 if column.name in key else None,
            "quality": [*quality, *_of_checks(flow, column.name)],
        }
    )


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
