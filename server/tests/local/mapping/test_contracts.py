"""Data contracts: a document of the standard as a target, a flow as such a document, and the way there and back."""

import json
from pathlib import Path
from typing import Any

import pytest
from depth import examples
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft201909Validator
from local.flows import PEOPLE

from lume_local._flow.definition import RESERVED, Flow, read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._mapping.contract import contract_of, contract_text, is_contract, of_contract
from lume_local._mapping.target import MappingTarget, of_yaml
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect

Json = dict[str, Any]
HERE = Path(__file__).parent / "odcs"
SCHEMA = Draft201909Validator(json.loads((HERE / "odcs-json-schema-v3.1.0.json").read_text()))


def contract(*properties: Json, **more: Any) -> Json:
    head = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "x", "version": "1.0.0", "status": "active"}
    return head | {"schema": [{"name": "orders", "properties": list(properties), **more}]}


def read(document: Json, **more: Any) -> MappingTarget:
    SCHEMA.validate(document)
    return of_contract(document, "", "", None, "a.odcs.yaml", **more)


def flow_of(target: MappingTarget) -> Flow:
    """The flow of a target, with columns of the same names as its sources. DuckDB takes it."""
    columns = {one.name: one.definition for one in target.columns}
    flow = read_definition(
        {"flow": target.name, "version": target.version, "columns": columns, **target.tables}
    )
    with connect() as connection:
        compile_flow(connection, flow)
    return flow


# -- a contract as a target

TYPES: list[tuple[Json, Json]] = [
    ({"logicalType": "integer"}, {"type": "integer"}),
    ({"logicalType": "integer", "logicalTypeOptions": {"format": "i16", "minimum": 1}},
     {"type": "integer", "sql_type": "SMALLINT", "minimum": 1}),
    ({"logicalType": "number", "physicalType": "numeric(12,2)"}, {"type": "number", "sql_type": "DECIMAL(12,2)"}),
    ({"logicalType": "number", "physicalType": "int4"}, {"type": "integer"}),
    ({"logicalType": "string", "physicalType": "varchar(18)"}, {"type": "string", "maxLength": 18}),
    ({"logicalType": "string", "logicalTypeOptions": {"format": "email", "maxLength": 9, "pattern": "^a"}},
     {"type": "string", "format": "email", "maxLength": 9, "pattern": "^a"}),
    ({"logicalType": "string", "physicalType": "UUID"}, {"type": "string", "sql_type": "UUID"}),
    ({"logicalType": "date", "logicalTypeOptions": {"format": "yyyy-MM-dd", "minimum": "2020-01-01"}},
     {"type": "string", "format": "date", "minimum": "2020-01-01"}),
    ({"logicalType": "date", "physicalType": "timestamp"},
     {"type": "string", "format": "date-time", "sql_type": "TIMESTAMP"}),
    ({"logicalType": "timestamp", "logicalTypeOptions": {"timezone": False}},
     {"type": "string", "format": "date-time", "sql_type": "TIMESTAMP"}),
    ({"logicalType": "timestamp"}, {"type": "string", "format": "date-time"}),
    ({"logicalType": "time"}, {"type": "string", "format": "time"}),
    ({"logicalType": "boolean", "physicalType": "bit"}, {"type": "boolean"}),
    ({"logicalType": "object", "physicalType": "Name"}, {"type": "string"}),
    ({"physicalType": "bigint"}, {"type": "integer"}),
    ({"physicalType": "hstore"}, {}),
    ({"primaryKey": True, "logicalType": "string"}, {"type": "string", "required": True, "unique": True}),
    ({"unique": True, "required": True, "businessName": "A", "description": "B"},
     {"title": "A", "description": "B", "required": True, "unique": True}),
]  # fmt: skip


@pytest.mark.parametrize(("part", "definition"), TYPES, ids=lambda one: json.dumps(one)[:60])
def test_a_property_is_a_column(part: Json, definition: Json) -> None:
    found = read(contract({"name": "x", **part}))
    notes = ["the physicalType hstore"] if part.get("physicalType") == "hstore" else []
    assert (found.columns[0].definition, found.columns[0].notes) == (definition, notes)
    flow_of(found)


X = {"name": "x", "logicalType": "integer"}
QUALITY: list[tuple[Json, Json, Json]] = [
    ({"metric": "nullValues", "mustBe": 0}, {"required": True}, {}),
    ({"metric": "duplicateValues", "mustBe": 0}, {"unique": True}, {}),
    ({"metric": "invalidValues", "arguments": {"validValues": [1, 2, None]}, "mustBe": 0}, {"enum": [1, 2]}, {}),
    ({"metric": "nullValues", "mustBeLessOrEqualTo": 7, "unit": "percent"}, {},
     {"checks": {"columns": {"x": {"nulls": {"max": 0.07}}}}}),
    ({"metric": "nullValues", "mustBe": 0, "severity": "warning"}, {},
     {"checks": {"columns": {"x": {"nulls": {"max": 0.0, "on_violation": "tell"}}}}}),
    ({"type": "sql", "query": "SELECT count(*) FROM {object} WHERE NOT (x > 1)", "mustBe": 0}, {},
     {"rules": [{"name": "x_rule", "sql": "x > 1"}]}),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "definition", "tables"), QUALITY, ids=lambda one: json.dumps(one)[:60])
def test_a_quality_rule_is_a_check(rule: Json, definition: Json, tables: Json) -> None:
    found = read(contract(X | {"quality": [rule]}))
    assert found.columns[0].definition == {"type": "integer", **definition}
    assert (found.tables, found.columns[0].notes, found.notes) == (tables, [], [])
    flow_of(found)


def test_quality_rules_of_an_object_are_expectations_whose_names_differ() -> None:
    several = [
        {"metric": "rowCount", "mustBeGreaterThan": 5},
        {"metric": "rowCount", "mustBeBetween": [0, 7], "severity": "info"},
        {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["x", "y"]}},
    ]
    keys: list[Json] = [X | {"primaryKey": True}, {"name": "y", "primaryKey": True}]
    found = read(contract(*keys, quality=several))
    assert [(one["name"], one["sql"]) for one in found.tables["expect"]] == [
        ("primary_key", 'count(*) = count(DISTINCT ("x", "y"))'),
        ("rowCount", "count(*) > 5"),
        ("rowCount_3", "count(*) BETWEEN 0 AND 7"),
        ("duplicateValues", 'count(*) = count(DISTINCT ("x", "y"))'),
    ]
    flow_of(found)


OWN = {"type": "custom", "name": "c", "engine": "lume"}
NOTES: list[tuple[Json, list[str]]] = [
    ({"quality": [{"type": "text", "description": "by eye"}]}, ["the quality rule 'by eye' (text)"]),
    ({"quality": [{"type": "sql", "name": "q", "query": "SELECT 1 FROM t", "mustBe": 0}]},
     ["the quality rule 'q' (sql)"]),
    ({"quality": [{"type": "custom", "name": "c", "engine": "soda", "implementation": "a"}]},
     ["the quality rule 'c' (custom soda)"]),
    ({"quality": [OWN | {"implementation": {"column": {"type": "integer"}}}]},
     ["the quality rule 'c' (custom lume)"]),
    ({"quality": [OWN | {"implementation": {"checks": {"nulls": {"max": 0}}, "y": 1}}]},
     ["the quality rule 'c' (custom lume)"]),
    ({"quality": [{"metric": "nullValues", "mustBe": "no"}]}, ["the quality rule 'nullValues' (library)"]),
    ({"quality": [{"metric": "nullValues", "mustBeLessThan": 9}]}, ["the quality rule 'nullValues' (library)"]),
    ({"quality": [{"metric": "missingValues", "mustBe": 0, "arguments": {"missingValues": ["", "N/A"]}}]},
     ["the quality rule 'missingValues' (library)"]),
    ({"quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "^1"}}]},
     ["logicalTypeOptions.pattern, which a flow does not have"]),
    ({"quality": [{"metric": "nullValues", "mustBe": 0, "unit": "cells", "dimension": "accuracy"}]},
     ["the quality rule 'nullValues' (library)", "quality.dimension, which a flow does not have"]),
    ({"classification": "secret", "tags": ["a"], "partitioned": False, "partitionKeyPosition": -1},
     ["classification, tags, which a flow does not have"]),
    ({"logicalTypeOptions": {"multipleOf": 5}}, ["multipleOf is not checked"]),
    ({"relationships": [{"to": "/schema/people/properties/id"}]},
     ["the relationship to /schema/people/properties/id"]),
    ({"physicalType": "text"}, ["the physicalType text"]),
    ({"logicalType": "date", "logicalTypeOptions": {"format": "dd.MM.yyyy"}}, ["the format dd.MM.yyyy"]),
    ({"logicalType": "time", "logicalTypeOptions": {"timezone": True, "defaultTimezone": "UTC"}},
     ["logicalTypeOptions.timezone, logicalTypeOptions.defaultTimezone, which a flow does not have"]),
    ({"logicalType": "integer", "logicalTypeOptions": {"format": "u128"}}, ["the format u128"]),
    ({"relationships": [{"to": "people.id"}]}, ["references = { url_env = …, table = 'people', column = 'id' }"]),
    ({"logicalType": "string", "logicalTypeOptions": {"pattern": "^(?!a)"}}, ["the pattern ^(?!a)"]),
    ({"quality": [{"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "(a)\\1"}}]},
     ["the quality rule 'invalidValues' (library)"]),
    ({"logicalType": "object", "physicalType": "text", "quality": [
        {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": [[1]]}}
    ]}, ["logicalTypeOptions.enum, which a flow does not have"]),
]  # fmt: skip


@pytest.mark.parametrize(("part", "notes"), NOTES, ids=lambda one: json.dumps(one)[:60])
def test_what_a_flow_cannot_say_is_a_note(part: Json, notes: list[str]) -> None:
    found = read(contract(X | part))
    (column,) = found.columns
    assert column.notes == notes
    assert not found.tables


def test_what_concerns_no_column_is_a_note_of_the_target() -> None:
    document = contract(X, {"name": "deep", "logicalType": "array"}, tags=["a"]) | {"domain": "seller"}
    document["servers"] = [
        {"server": "main", "type": "postgres", "host": "h", "port": 1} | {"database": "d", "schema": "s"}
    ]
    assert read(document).notes == [
        "left out: deep, an object or an array, which a column can't be",
        "left out: domain, servers, which a flow does not have",
        "left out: orders.tags, which a flow does not have",
    ]


def test_limits_before_version_3_1_may_be_exclusive_by_a_flag() -> None:
    options = {"minimum": 1, "exclusiveMinimum": True, "maximum": 5, "exclusiveMaximum": False}
    document = contract(X | {"logicalTypeOptions": options}) | {"apiVersion": "v3.0.2"}
    (column,) = of_contract(document, "", "", None, "a").columns
    assert column.definition == {"type": "integer", "exclusiveMinimum": 1, "maximum": 5}
    assert column.notes == []


@pytest.mark.parametrize("form", [["i8"], 8, {}, "i8"])
def test_what_the_standard_would_refuse_is_a_note(form: Any) -> None:
    part = {"name": "x", "logicalType": "money", "logicalTypeOptions": {"format": form, "minimum": "a"}}
    (column,) = of_contract(contract(part), "", "", None, "a").columns
    assert column.notes[-2:] == [
        "the logicalType money",
        "logicalTypeOptions.minimum, which a flow does not have",
    ]


def test_two_comparisons_are_not_read_as_one() -> None:
    both = {"metric": "nullValues", "mustBeGreaterThan": 0, "mustBeLessThan": 9}
    (column,) = of_contract(contract(X | {"quality": [both]}), "", "", None, "a").columns
    assert column.notes == ["the quality rule 'nullValues' (library)"]


@pytest.mark.parametrize("pattern", ["(?=a)", "(?!a)", "(?<=a)", "(?<!a)", r"(a)\1"])
def test_patterns_that_become_notes_are_those_that_duckdb_refuses(pattern: str) -> None:
    flow = read_definition({"flow": "f", "version": "v1", "columns": {"a": {"pattern": pattern}}})
    with connect() as connection, pytest.raises(FlowError, match="pattern"):
        compile_flow(connection, flow)
    part = {"name": "x", "logicalType": "string", "logicalTypeOptions": {"pattern": pattern}}
    assert "pattern" not in read(contract(part)).columns[0].definition


def test_a_relationship_is_a_reference_with_the_variable_of_its_database() -> None:
    (column,) = read(contract(X | {"relationships": [{"to": "people.id"}]}), url_env="SHOP_URL").columns
    assert column.definition["references"] == {"url_env": "SHOP_URL", "table": "people", "column": "id"}


TWICE = [{"name": "a", "properties": [X]}, {"name": "b", "properties": [X]}]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (contract(X) | {"apiVersion": "v2.2.2"}, "a.yaml has the apiVersion v2.2.2: it must be of version 3"),
        (contract(X) | {"schema": TWICE}, "name one of the objects of a.yaml behind a colon: a, b"),
        (contract(X) | {"schema": []}, "behind a colon: none"),
        (contract(X) | {"schema": [TWICE[0], TWICE[0]]}, "two elements called 'a'"),
        (contract(X, X), "a.yaml:orders: properties has two elements called 'x'"),
        (contract(X, {"name": "X"}), "a.yaml:orders: columns: 'X' appears twice"),
        (contract({"name": "x", "logicalType": "array"}), "describes no columns"),
        (contract(X | {"logicalTypeOptions": {"minimum": 2, "maximum": 1}}), "columns.x.minimum: no value is within"),
        (contract({**X, "quality": [
            {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["a"]}}
        ]}), "columns.x.enum: 'a' is not of type 'integer'$"),
        (contract({"name": "x", "logicalType": "string", "quality": [
            {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["a", 1]}}
        ]}), "columns.x.enum: 1 is not of type 'string': put it in quotes$"),
        (contract(X, quality=[{"type": "custom", "engine": "lume", "implementation": {"expect": {"name": 1}}}]),
         r"expect\[0\]"),
    ],
)  # fmt: skip
def test_a_contract_that_describes_no_target_is_refused(document: Json, words: str) -> None:
    with pytest.raises(FlowError, match=words):
        of_contract(document, "", "", None, "a.yaml")


HEAD = "apiVersion: v3.0.2\nkind: DataContract\nversion: 1.0.0\nschema:\n- name: orders\n  properties:\n"
MISTAKES: list[tuple[str, str]] = [
    ("  - {logicalType: string}", r"a.yaml:orders: properties\[0\] has no name: give it one"),
    ("  - name: no", r"properties\[0\]: name must be a text: put it in quotes; it is False"),
    ("  - total", r"properties\[0\] must be a mapping; it is 'total'"),
    ("    total: {logicalType: string}", "properties must be a list; it is {'total'"),
    ("  - {name: a, required: 'yes'}", "a.yaml:orders.a: required must be true or false; it is 'yes'"),
    ("  - {name: a, quality: {metric: nullValues}}", "a.yaml:orders.a: quality must be a list"),
    (
        "  - {name: a, quality: [be good]}",
        r"a.yaml:orders.a: quality\[0\] must be a mapping; it is 'be good'",
    ),
    ("  - {name: a, logicalTypeOptions: [1]}", "a.yaml:orders.a: logicalTypeOptions must be a mapping"),
    ("  - {name: a, logicalType: array}", "describes no columns; left out: a, an object or an array"),
    (
        "  - name: a\n    unique: true\n    unique: false",
        "'unique' is there twice\n  in a.yaml, line 9, column 5",
    ),
    ("  - [", "a.yaml is not YAML: (.|\n)*in a.yaml, line 7"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES, ids=lambda one: one[:40])
def test_a_mistake_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(FlowError, match=words):
        of_contract(of_yaml(HEAD + text, "a.yaml"), "", "", None, "a.yaml")


def test_a_key_that_replaces_a_merged_one_is_no_second_one() -> None:
    text = "base: &base {x: 1, y: 2}\ndeep: {er: {est: &a {<<: *base, x: 5}}}\nc: {<<: *a, z: 1}\nd: {1: a, '1': b}"
    found = of_yaml(text, "a.yaml")
    assert found["deep"] == {"er": {"est": {"x": 5, "y": 2}}}
    assert found["d"] == {1: "a", "1": "b"}


def test_aliases_that_multiply_do_not_fill_the_memory() -> None:
    lines = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 10)]
    text = "\n".join(["apiVersion: v3.1.0", "kind: DataContract", "x0: &x0 [a]", *lines, "schema:"])
    entry = (
        "[{name: o, properties: [{name: a, logicalTypeOptions: {format: *x9, pattern: *x9}, quality: [%s]}]}]"
    )
    rule = "{type: custom, engine: soda, implementation: *x9}"
    (column,) = of_contract(of_yaml(f"{text} {entry % rule}", "a.yaml"), "", "", None, "a.yaml").columns
    assert [note.partition(" [")[0].partition(" '[")[0] for note in column.notes] == [
        "the format",
        "the quality rule",
        "logicalTypeOptions.pattern, which a flow does not have",
    ]
    assert max(map(len, column.notes)) < 300


def test_a_document_of_another_kind_is_refused() -> None:
    document = contract(X)
    del document["kind"]
    assert is_contract(document)
    with pytest.raises(FlowError, match="has the kind none: a contract is a DataContract"):
        of_contract(document, "", "", None, "a.yaml")


BREAKS = {"type": "sql", "name": "r", "mustBe": 0}
LEFT_OUT: list[tuple[Json, list[str]]] = [
    ({"relationships": [{"from": ["orders.x"], "to": ["a.x"]}], "businessName": "B"},
     ["orders.relationships, orders.businessName, which a flow does not have"]),
    ({"quality": [BREAKS | {"query": "SELECT count(*) FROM {object} WHERE NOT (x > 1) AND (x < 9)"}]},
     ["the quality rule 'r' (sql)"]),
    ({"quality": [BREAKS | {"query": "SELECT count(*) FROM {object} WHERE NOT (seed('s', x) = 'a')"}]},
     ["the quality rule 'r' (sql)"]),
    ({"quality": [BREAKS | {"query": "SELECT count(*) FROM {object} WHERE NOT (x IN (SELECT y FROM {object}))"}]},
     ["the quality rule 'r' (sql)"]),
    ({"quality": [{"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["x", "deep"]}}]},
     ["the quality rule 'duplicateValues' (library)"]),
    ({"quality": [{"type": "custom", "engine": "lume", "implementation": {"column": {"unique": "ever"}}}]},
     ["""the quality rule "{'column': {'unique': 'ever'}}" (custom lume)"""]),
    ({"quality": [{"metric": "rowCount", "mustBe": float("inf")}]}, ["the quality rule 'rowCount' (library)"]),
]  # fmt: skip


@pytest.mark.parametrize(("part", "notes"), LEFT_OUT, ids=lambda one: json.dumps(one)[:60])
def test_what_a_flow_cannot_say_of_an_object_is_a_note(part: Json, notes: list[str]) -> None:
    found = of_contract(contract(X, **part), "", "", None, "a.yaml")
    assert sorted(found.notes) == sorted(f"left out: {one}" for one in notes)
    assert not found.tables
    flow_of(found)


def test_the_parts_of_a_contract_are_named_or_used() -> None:
    shares = [{"metric": "nullValues", "mustBeLessOrEqualTo": share, "unit": "percent"} for share in (5, 1)]
    condition = "SELECT COUNT(*)\nFROM ${object}\nWHERE NOT (${property} > 1);\n"
    rules = [*shares, {"type": "sql", "mustBe": 0, "query": condition}]
    keys: list[Json] = [
        {"name": "a b", "primaryKey": True, "quality": rules, "nullable": False},
        {"name": "l", "items": {}},
    ]
    document = contract(*keys, quality=[{"rule": "rowCount", "mustBeBetween": [1, 10]}])
    document |= {"version": "1.0+2", "description": {"purpose": "p", "usage": "u"}}
    found = of_contract(document, "", "", None, "a.yaml")
    assert (found.version, found.tables["description"]) == ("v1", "p")
    assert found.notes == [
        "left out: l, an object or an array, which a column can't be",
        "left out: the version 1.0+2, which a flow can't have",
        "left out: description.usage, which a flow does not have",
    ]
    assert found.columns[0].notes == [
        "the quality rule 'nullValues' (library)",
        "nullable, which a flow does not have",
    ]
    assert found.tables["checks"] == {"columns": {"a b": {"nulls": {"max": 0.05}}}}
    assert found.tables["rules"] == [{"name": "a b_rule", "sql": '"a b" > 1'}]
    assert found.tables["expect"] == [{"name": "rowCount", "sql": "count(*) BETWEEN 1 AND 10"}]


@pytest.mark.parametrize("path", sorted(HERE.glob("*.odcs.yaml")), ids=lambda path: path.name)
def test_the_examples_of_the_standard_are_read(path: Path) -> None:
    document = of_yaml(path.read_text(), path.name)
    assert is_contract(document)
    objects = [one["name"] for one in document.get("schema", []) if "properties" in one]
    for name in objects:
        if path.name == "all-schema-types.odcs.yaml" and name != "tbl":  # only of arrays
            with pytest.raises(FlowError, match="describes no columns"):
                of_contract(document, name, "", None, path.name)
            continue
        target = of_contract(document, name, "", None, path.name)
        flow_of(target)
        known = {one.name for one in target.columns}
        for entry in next(one for one in document["schema"] if one["name"] == name)["properties"]:
            assert entry["name"] in known or any(entry["name"] in note for note in target.notes)
    if not objects:
        with pytest.raises(FlowError, match=r"behind a colon: none|describes no columns"):
            of_contract(document, "", "", None, path.name)


# -- a flow as a contract, and back


def round_trip(definition: Json) -> tuple[Flow, Flow, MappingTarget]:
    text = contract_text(contract_of(definition))
    assert text == contract_text(contract_of(definition))
    document = of_yaml(text, "a.odcs.yaml")
    SCHEMA.validate(document)
    assert document == contract_of(definition)
    target = of_contract(document, "", "", None, "a.odcs.yaml")
    columns = {one.name: one.definition for one in target.columns}
    again = {"flow": target.name, "version": target.version, "columns": columns, **target.tables}
    return read_definition(definition), read_definition(again), target


def kept(flow: Flow) -> Any:
    """What a contract keeps of a flow: how a column is read is not in it, nor its type where `sql_type` says it."""
    columns = []
    for one in flow.columns:
        form = None if one.sql_type[:4] in ("DATE", "TIME") else one.format
        limits = {key: str(value) for key, value in (one.bounds | one.lengths).items()}
        whole = (one.name, form, one.sql_type, one.required, one.unique, one.ever, one.enum, one.pattern)
        columns.append((*whole, limits, one.references))
    checks = [one for one in flow.checks if one["kind"] != "sum"]
    order = sorted(map(repr, checks))
    return flow.name, flow.version, columns, flow.rules, flow.expect, order


LOST: list[tuple[Json, list[str]]] = [
    ({"columns": {"a": {"from": ["A"], "sql": "trim(value)"}}}, []),
    ({"columns": {"a": {}}, "rejects": {"max_ratio": 0.1}}, []),
    ({"columns": {"a": {}}, "layouts": {"l": {"columns": {"a": '"b"'}}}}, []),
    ({"columns": {"a": {"type": "integer"}}, "checks": {"columns": {"a": {"sum": {"equals": 5}}}}}, []),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "notes"), LOST, ids=lambda one: json.dumps(one)[:60])
def test_what_a_contract_does_not_keep(parts: Json, notes: list[str]) -> None:
    given, again, target = round_trip({"flow": "f", "version": "v1", **parts})
    assert kept(again) == kept(given)
    assert target.columns[0].notes == notes


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ({"url_env": "SHOP_URL", "table": "shop.orders"}, "shop.orders"),
        ({"iceberg": "shop.orders", "catalog": "SHOP_URL"}, "shop.orders"),
        ({"delta": "s3://lake/SHOP_URL"}, None),
    ],
)
def test_a_table_and_its_key_are_named(place: Json, name: str | None) -> None:
    mapped = {**place, "mode": "upsert", "key": ["a", "b"]}
    columns = {"a": {"required": True}, "b": {"required": True}, "c": {}}
    document = contract_of({"flow": "f", "version": "v1", "target": {"mapped": mapped}, "columns": columns})
    (entry,) = document["schema"]
    assert (entry.get("physicalName"), entry["physicalType"]) == (name, "table")
    assert [one.get("primaryKeyPosition") for one in entry["properties"]] == [1, 2, None]
    assert "SHOP_URL" not in json.dumps(document), "where a server has its database is its own"
    SCHEMA.validate(document)


def test_a_flow_of_everything_comes_back() -> None:
    reference = {"url_env": "SHOP_URL", "table": "public.people", "column": "no"}
    given, again, target = round_trip(
        {
            "flow": "orders",
            "version": "2024-1",
            "description": "All\norders.",
            "columns": {
                "id": {"type": "integer", "required": True, "unique": "ever", "references": reference},
                "Größe": {"title": "Size", "description": "of it", "enum": ["S", "no", "2020-01-01", "1"]},
                "day": {"format": "date", "minimum": "2020-01-01"},
            },
            "rules": [
                {"name": "r", "sql": "id > (1)", "message": "is small"},
                {"name": "w", "sql": "id < 9", "on_fail": "warn"},
                {"name": "f", "sql": "day IS NULL\nOR id <> 5", "on_fail": "fail"},
            ],
            "expect": [{"name": "e", "sql": "rows_read > 3", "on_fail": "warn", "message": "few"}],
            "checks": {
                "on_violation": "tell",
                "rows": {"min": 1, "on_violation": "fail"},
                "columns": {
                    "id": {"nulls": {"max": 0.07}, "distinct": {"min": 1}},
                    "day": {"newest": {"within": "3d"}},
                },
            },
        }
    )
    assert kept(again) == kept(given)
    assert target.tables["description"] == "All\norders."
    assert [one.notes for one in target.columns] == [[], [], []]
    assert target.notes == []
    assert contract_of(again.definition) == contract_of(given.definition)


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=12)
FLAGS: Json = {"required": st.booleans(), "unique": st.sampled_from([False, True, "ever"])}
NUMBERS = {"type": st.sampled_from(["integer", "number"]), "minimum": st.integers(-100, 0)}
COLUMN = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("integer")},
        optional={
            "sql_type": st.sampled_from(["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT"]),
            "minimum": st.integers(-100, 0),
            "exclusiveMaximum": st.integers(1, 100),
            "enum": st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3, unique=True),
            **FLAGS,
        },
    ),
    st.fixed_dictionaries(
        {"type": st.just("number")},
        optional={
            "sql_type": st.sampled_from(["FLOAT", "DOUBLE", "DECIMAL(12,2)", "DECIMAL(38,0)"]),
            "maximum": st.floats(1, 1e300),
            "exclusiveMinimum": st.floats(-1e6, 0),
            **FLAGS,
        },
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "format": st.sampled_from(["email", "uuid", "uri", "ipv4"]),
            "minLength": st.integers(0, 3),
            "maxLength": st.integers(3, 99),
            "pattern": st.sampled_from(["^a", "[0-9]{5}$", "'\"\\d"]),
            "enum": st.lists(TEXT, min_size=1, max_size=3, unique=True),
            "title": TEXT,
            "description": TEXT,
            **FLAGS,
        },
    ),
    st.fixed_dictionaries(
        {"format": st.sampled_from(["date", "date-time"])},
        optional={"maximum": st.just("2020-01-01"), **FLAGS},
    ),
    st.sampled_from(
        [
            *({"sql_type": "UUID"}, {"sql_type": "TIMESTAMPTZ"}, {"sql_type": "DATE"}),
            *({"type": "boolean"}, {"format": "time"}, {"format": "date-time", "sql_type": "TIMESTAMP"}),
        ]
    ),
)
NAME = TEXT.filter(lambda name: name.strip() and not name.lower().startswith(RESERVED))
RULE = {"name": NAME, "sql": st.sampled_from(["1 = 1", "true OR (false)", "'a' < 'b'"])}
WORDS = {"message": TEXT.filter(str.strip)}


@st.composite
def flows(draw: st.DrawFn) -> Json:
    names = draw(st.lists(NAME, min_size=1, max_size=5, unique_by=str.lower))
    names = [one for one in names if one.lower() not in ("rowid", "file_row_number")] or ["a"]
    several = draw(
        st.lists(
            st.fixed_dictionaries(RULE, optional=WORDS), max_size=4, unique_by=lambda one: one["name"].lower()
        )
    )
    modes = [draw(st.sampled_from([{}, {"on_fail": "warn"}, {"on_fail": "fail"}])) for _ in several]
    cut = draw(st.integers(0, len(several)))
    rules = [rule | mode for rule, mode in zip(several, modes, strict=True)]
    found: Json = {"flow": "f", "version": draw(st.sampled_from(["v1", "2024", "1.0.0", "1e3"]))}
    found |= {"columns": {name: draw(COLUMN) for name in names}, "rules": rules[:cut], "expect": rules[cut:]}
    if draw(st.booleans()):
        share = draw(st.integers(0, 10_000)) / 10_000
        found["checks"] = {"rows": {"min": 1}, "columns": {names[0]: {"nulls": {"max": share}}}}
    return found


@given(flows())
@examples(200)
def test_every_flow_comes_back(definition: Json) -> None:
    given, again, target = round_trip(definition)
    assert kept(again) == kept(given)
    assert (target.notes, [one.notes for one in target.columns if one.notes]) == ([], [])


def test_the_flow_of_the_other_tests_comes_back() -> None:
    given, again, _ = round_trip(read_toml(PEOPLE).definition)
    assert kept(again) == kept(given)


NAUGHTY = [
    *("[" * 1500, "a: " + "9" * 5000, "a: \x01", "a: !!python/object:os.system x", "a: [", "{a"),
]


@pytest.mark.parametrize("text", NAUGHTY, ids=lambda one: one[:20])
def test_what_is_not_yaml_is_refused(text: str) -> None:
    with pytest.raises(FlowError, match=r"a\.yaml is not YAML"):
        of_yaml(text, "a.yaml")


def test_yaml_is_read_as_it_is_written() -> None:
    assert of_yaml("a: 2022-13-45\nb: 2024-01-01 10:00:00\nc: [1, x]", "a.yaml") == {
        **{"a": "2022-13-45", "b": "2024-01-01 10:00:00", "c": [1, "x"]},
    }
    circle = of_yaml(
        "&a {apiVersion: v3.1.0, kind: DataContract, schema: [*a], properties: [*a, {name: b}], name: a}",
        "a.yaml",
    )
    assert json.dumps(of_contract(circle, "", "", None, "a.yaml").to_json())


KEYS = sorted({key for entry in SCHEMA.schema["$defs"].values() for key in entry.get("properties", ())})
WORDS_OF_FLOWS = [
    "lume",
    "sql",
    "custom",
    "library",
    "nullValues",
    "i8",
    "percent",
    "checks",
    "expect",
    "column",
]
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(WORDS_OF_FLOWS),
    lambda one: (
        st.lists(one, max_size=3)
        | st.dictionaries(st.sampled_from([*KEYS, *WORDS_OF_FLOWS]), one, max_size=6)
    ),
    max_leaves=25,
)


@given(JUNK, JUNK, JUNK)
@examples(300)
def test_junk_is_read_or_refused(one: Any, other: Any, third: Any) -> None:
    entry = {
        "name": "o",
        "properties": [X | (one if isinstance(one, dict) else {}), other],
        "quality": [third],
    }
    entry["properties"][0]["quality"] = [third, {"metric": "nullValues", "mustBe": other}]
    document = contract() | {"schema": [entry]}
    try:
        target = of_contract(document, "", "", None, "a.yaml")
    except FlowError:
        return
    assert json.dumps(target.to_json())
