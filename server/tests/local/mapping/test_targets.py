"""Descriptions of targets: a JSON Schema, a dbt model, a flow version, the types of databases."""

import json
from typing import Any

import pytest
from local.flows import PEOPLE

from lume_local._flow.definition import json_schema, read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._mapping.target import (
    MappingTarget,
    TargetColumn,
    definition_of,
    next_version,
    of_dbt,
    of_flow,
    of_schema,
    of_yaml,
)


def schema(**properties: Any) -> MappingTarget:
    return of_schema({"type": "object", "properties": properties}, "f", "v1", "a.json")


@pytest.mark.parametrize(
    ("part", "definition"),
    [
        ({"type": "integer", "minimum": 1}, {"type": "integer", "minimum": 1}),
        ({"type": ["string", "null"], "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "format": "date", "formatMinimum": "2020-01-01"}, {"minimum": "2020-01-01"}),
        ({"type": "string", "maxLength": 5, "pattern": "^a"}, {"maxLength": 5, "pattern": "^a"}),
        ({"enum": ["S", "M", None]}, {"type": "string", "enum": ["S", "M"]}),
        ({"const": 1, "type": "integer"}, {"enum": [1]}),
        ({"format": "email"}, {"type": "string", "format": "email"}),
        ({"type": "string", "format": "hostname"}, {"type": "string"}),
        ({"type": "string", "title": "A", "description": "B"}, {"title": "A", "description": "B"}),
        ({}, {}),
    ],
    ids=json.dumps,
)
def test_a_property_of_a_schema(part: dict[str, Any], definition: dict[str, Any]) -> None:
    (column,) = schema(x=part).columns
    assert definition.items() <= column.definition.items()
    checked = {"type": "string", **column.definition}
    read_definition({"flow": "f", "version": "v1", "columns": {"x": checked}})


def test_what_a_flow_cannot_check_is_said() -> None:
    found = schema(a={"type": "string", "format": "hostname"}, b={"type": "integer", "multipleOf": 5})
    assert [column.notes for column in found.columns] == [
        ["the format hostname is not checked"],
        ["multipleOf is not checked"],
    ]
    nested = schema(a={"type": "object", "properties": {}}, b={"type": "array"}, c={"type": "string"})
    assert [column.name for column in nested.columns] == ["c"]
    assert len(nested.notes) == 2


def test_references_within_a_schema_are_followed() -> None:
    whole = {
        "properties": {"a": {"$ref": "#/$defs/mail"}, "b": {"$ref": "#/$defs/other"}},
        "$defs": {"mail": {"type": "string", "format": "email"}, "other": {"$ref": "#/$defs/mail"}},
    }
    assert [one.definition["format"] for one in of_schema(whole, "f", "v1", "x").columns] == ["email"] * 2
    whole["$defs"]["mail"] = {"$ref": "#/$defs/other"}
    with pytest.raises(FlowError, match="lead nowhere"):
        of_schema(whole, "f", "v1", "x")
    with pytest.raises(FlowError, match="not a part of this schema"):
        of_schema({"properties": {"a": {"$ref": "https://example.org/a.json"}}}, "f", "v1", "x")


@pytest.mark.parametrize("given", [{}, {"properties": {}}, {"properties": []}, [], "x", None])
def test_what_is_no_schema_of_rows_is_refused(given: Any) -> None:
    with pytest.raises(FlowError, match=r"has no properties|describes no columns"):
        of_schema(given, "f", "v1", "a.json")


def test_the_schema_of_a_flow_is_a_target_with_its_checks() -> None:
    flow = read_toml(PEOPLE)
    columns = {one.name: one.definition for one in of_schema(json_schema(flow), "f", "v1", "x").columns}
    assert columns["age"] == {"type": "integer", "minimum": 0, "maximum": 150}
    assert columns["email"] == {"type": "string", "format": "email", "required": True}


DBT = """
version: 2
models:
  - name: stg_shop__orders
    columns:
      - name: order_id
        data_type: bigint
        description: "Key. {{ doc('key') }}"
        tests: [unique, not_null]
      - name: status
        data_tests:
          - accepted_values: {values: [open, closed]}
      - name: size
        tests:
          - accepted_values: {arguments: {values: [1, 2], quote: false}}
      - name: customer_id
        tests:
          - relationships: {to: "ref('customers')", field: id}
          - dbt_utils.at_least_one
  - name: other
    columns: [{name: a}]
"""


def test_the_tests_of_a_dbt_model_become_checks() -> None:
    target = of_dbt(of_yaml(DBT, "schema.yml"), "stg_shop__orders", "", "v1", "schema.yml", "WAREHOUSE_URL")
    columns = {one.name: one for one in target.columns}
    assert (target.name, target.table) == ("stg_shop__orders", "orders")
    assert columns["order_id"].definition == {
        **{"description": "Key.", "type": "integer", "unique": True, "required": True},
    }
    assert columns["status"].definition == {"enum": ["open", "closed"], "type": "string"}
    assert columns["size"].definition == {"enum": [1, 2], "type": "integer"}
    reference = {"url_env": "WAREHOUSE_URL", "table": "customers", "column": "id"}
    assert columns["customer_id"].definition == {"references": reference}
    assert columns["customer_id"].notes == ["the test at_least_one is not checked"]


@pytest.mark.parametrize(
    ("text", "model", "words"),
    [
        (DBT, "", "name one of the models"),
        (DBT, "none", "stg_shop__orders, other"),
        ("a: [", "", "is not YAML"),
        ("- 1", "", "name one of the models"),
        ("models: [{name: a}]", "", "describes no columns"),
    ],
)
def test_a_dbt_file_that_describes_no_target_is_refused(text: str, model: str, words: str) -> None:
    with pytest.raises(FlowError, match=words):
        of_dbt(of_yaml(text, "schema.yml"), model, "f", "v1", "schema.yml")


@pytest.mark.parametrize(
    ("declared", "definition"),
    [
        ("bigint", {"type": "integer"}),
        ("NUMERIC(12, 2)", {"type": "number", "sql_type": "DECIMAL(12,2)"}),
        ("numeric(50,2)", {"type": "number", "sql_type": "DECIMAL(38,9)"}),
        ("character varying(20)", {"type": "string", "maxLength": 20}),
        (
            "timestamp(3) without time zone",
            {"type": "string", "format": "date-time", "sql_type": "TIMESTAMP"},
        ),
        ("timestamp with time zone", {"type": "string", "format": "date-time"}),
        ("double precision", {"type": "number"}),
        ("date", {"type": "string", "format": "date"}),
        ("uuid", {"type": "string", "format": "uuid"}),
        ("jsonb", {}),
        ("", {}),
    ],
)
def test_types_of_databases(declared: str, definition: dict[str, Any]) -> None:
    found = definition_of(declared)
    assert found == definition
    read_definition({"flow": "f", "version": "v1", "columns": {"x": found}})


@pytest.mark.parametrize(
    ("version", "following"),
    [
        ("v3", "v4"),
        ("v9", "v10"),
        ("7", "8"),
        ("2024", "2024-2"),
        ("2024-2", "2024-3"),
        ("final", "final-2"),
        ("a" * 64, "a" * 63 + "2"),
        ("a" * 63 + "9", "a" * 62 + "10"),
        ("a" * 62 + "-9", "a" * 62 + "10"),
    ],
)
def test_the_version_after(version: str, following: str) -> None:
    assert next_version(version) == following


def test_a_flow_version_names_what_sources_have_called_its_columns() -> None:
    definition = {
        "flow": "f",
        "version": "v1",
        "columns": {
            "a": {"from": ["A", "Alpha"], "sql": "trim(value)"},
            "b": {"sql": 'lower("Bee")'},
            "c": {"sql": '"x" || "y"'},
            "d": {},
        },
    }
    target = of_flow(read_definition(definition))
    assert target.version == "v2"
    assert [column.aliases for column in target.columns] == [["A", "a", "Alpha"], ["Bee"], [], ["d"]]


def test_a_target_survives_its_way_to_the_worker() -> None:
    column = TargetColumn("a", {"enum": [1, "x", None], "references": {"table": "t"}}, examples=["1"])
    target = MappingTarget("f", "v1", "x", "t", [column], base={"columns": {"a": {}}}, place={"table": "t"})
    assert MappingTarget.of_json(json.loads(json.dumps(target.to_json()))) == target
