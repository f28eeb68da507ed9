"""What a flow file may say, and where a mistake in it is."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from local.flows import NOTES, PEOPLE, people

from lume_local._flow.definition import Sharding, json_schema, read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._flow.places import MAPPED, REJECTS


def test_a_small_flow_has_sensible_defaults() -> None:
    flow = read_definition(people(columns={"full name": {}}))
    (column,) = flow.columns
    assert (column.sql, column.type, column.sql_type, column.required) == (
        '"full name"',
        "string",
        "VARCHAR",
        False,
    )
    assert (flow.source.format, flow.source.delim, flow.source.uris) == ("csv", ",", ("{source_path}",))
    assert (flow.mapped, flow.rejects, flow.max_ratio, flow.ref) == (MAPPED, REJECTS, None, "people:v1")


def test_rejects_are_written_in_the_format_of_the_source_by_default() -> None:
    assert read_definition(people(source={"format": "ndjson"})).rejects == REJECTS.replace(".csv", ".ndjson")
    flow = read_definition(people(source={"format": "ndjson"}, target={"rejects": "rejects.csv"}))
    assert flow.rejects == "rejects.csv"


def test_the_hash_is_of_what_is_said_not_of_how() -> None:
    one = read_toml('flow = "f"\nversion = "v1"\n[columns.a]\ntype = "integer"\nrequired = true\n')
    other = read_toml('version="v1" # first\nflow="f"\n\n[columns]\na = {required=true, type="integer"}')
    third = read_toml('flow = "f"\nversion = "v1"\n[columns.a]\ntype = "integer"\n')
    assert one.content_hash == other.content_hash != third.content_hash


def test_how_the_work_is_split_is_not_part_of_the_hash() -> None:
    plain, split = people(), people(engine={"shard_bytes": "64M"})

    assert read_definition(plain).content_hash == read_definition(split).content_hash
    assert read_definition(plain).sharding is None
    assert read_definition(split).sharding == Sharding(64 * 1024**2, None)
    assert read_definition(people(engine={"shards": 8})).sharding == Sharding(None, 8)
    assert read_definition(people(engine={"shard_bytes": 70_000})).sharding == Sharding(70_000, None)


MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"flow": ""}, "flow", "is empty"),
    ({"flow": "a/b"}, "flow", "must match"),
    ({"version": 1}, "version", "must be a string"),
    ({"version": ".."}, "version", "must match"),
    ({"colums": {}}, "colums", "did you mean 'columns'"),
    ({"engine": {"url": "dask://host:8786"}}, "engine.url", "belongs to the server"),
    ({"engine": {"shards": 0}}, "engine.shards", "at least 1"),
    ({"engine": {"shard_bytes": "1000"}}, "engine.shard_bytes", "at least 1K"),
    ({"engine": {"shard_bytes": True}}, "engine.shard_bytes", "not a valid size"),
    ({"engine": {"shards": 2, "shard_bytes": "1G"}}, "engine", "remove one of the two"),
    ({"engine": {"shard": 2}}, "engine.shard", "did you mean 'shards'"),
    ({"columns": {}}, "columns", "at least one"),
    ({"columns": {"a": "integer"}}, "columns.a", "must be a table"),
    ({"columns": {"_lume_x": {}}}, "columns._lume_x", "are reserved for the engine"),
    ({"columns": {"RowId": {}}}, "columns.RowId", "choose another name"),
    ({"columns": {"file_row_number": {}}}, "columns.file_row_number", "choose another name"),
    ({"columns": {"a": {}, "A": {}}}, "columns", "appears twice"),
    ({"columns": {"a\n": {}}}, "columns", "control character"),
    ({"columns": {"a": {"type": "int"}}}, "columns.a.type", "did you mean 'integer'"),
    ({"columns": {"a": {"requierd": True}}}, "columns.a.requierd", "did you mean 'required'"),
    ({"columns": {"a": {"required": "yes"}}}, "columns.a.required", "true or false"),
    ({"columns": {"a": {"format": "e-mail"}}}, "columns.a.format", "did you mean 'email'"),
    ({"columns": {"a": {"type": "integer", "format": "date"}}}, "columns.a.format", "for type 'string'"),
    ({"columns": {"a": {"sql": ""}}}, "columns.a.sql", "is empty"),
    ({"columns": {"a": {"sql_type": "DECIMAL(50,2)"}}}, "columns.a.sql_type", "doesn't fit type 'string'"),
    ({"columns": {"a": {"type": "number", "sql_type": "DECIMAL(50,2)"}}}, "columns.a.sql_type", "1 to 38"),
    (
        {"columns": {"a": {"type": "number", "sql_type": "DECIMAL(2,4)"}}},
        "columns.a.sql_type",
        "after the point",
    ),
    ({"columns": {"a": {"sql_type": "TEXT); DROP"}}}, "columns.a.sql_type", "is not a known type"),
    (
        {"columns": {"a": {"format": "date", "sql_type": "VARCHAR"}}},
        "columns.a.sql_type",
        "doesn't fit format",
    ),
    ({"columns": {"a": {"minimum": 3}}}, "columns.a.minimum", "has no meaning for VARCHAR"),
    ({"columns": {"a": {"type": "integer", "minimum": "3"}}}, "columns.a.minimum", "must be a number"),
    ({"columns": {"a": {"type": "integer", "pattern": "x"}}}, "columns.a.pattern", "has no meaning"),
    ({"columns": {"a": {"type": "integer", "maxLength": 3}}}, "columns.a.maxLength", "has no meaning"),
    ({"columns": {"a": {"maxLength": -1}}}, "columns.a.maxLength", "whole number"),
    *(
        (
            {"columns": {"a": {"type": "number", low: least, high: most}}},
            f"columns.a.{low}",
            "no value is within",
        )
        for low, least, high, most in [
            ("minimum", 5, "maximum", 1),
            ("minimum", 1, "exclusiveMaximum", 1),
            ("exclusiveMinimum", 1.5, "exclusiveMaximum", 1.5),
        ]
    ),
    ({"columns": {"a": {"minLength": 5, "maxLength": 2}}}, "columns.a.minLength", "no value is within"),
    ({"columns": {"a": {"format": "date", "minimum": 3}}}, "columns.a.minimum", "ISO string"),
    ({"columns": {"a": {"type": "integer", "maximum": 2**64}}}, "columns.a.maximum", "more than 64 bits"),
    ({"columns": {"a": {"type": "integer", "enum": [1, -(2**63) - 1]}}}, "columns.a.enum", "than 64 bits"),
    ({"rejects": {"max_ratio": 10**400}}, "rejects.max_ratio", "more than 64 bits"),
    ({"columns": {"a": {"enum": []}}}, "columns.a.enum", "1 to 1,000"),
    ({"columns": {"a": {"enum": [["x"]]}}}, "columns.a.enum", "is not a string, a number"),
    ({"columns": {"a": {"type": "integer", "enum": ["1"]}}}, "columns.a.enum", "not of type 'integer'"),
    ({"columns": {"a": {"type": "integer", "enum": [True]}}}, "columns.a.enum", "not of type 'integer'"),
    (
        {"source": {"format": "xlsx"}},
        "source.format",
        "not one of csv, fixed, ndjson, json, xml, parquet, excel",
    ),
    ({"source": {"delim": ";"}}, "source.delim", "is a key of csv: write csv = { delim = … }"),
    ({"source": {"encoding": "cp1252"}}, "source.encoding", "is a key of csv: write csv = { encoding = … }"),
    ({"source": {"format": "excel", "sheet": 2}}, "source.sheet", "write excel = { sheet = … }"),
    ({"source": {"csv": {"delim": "||"}}}, "source.csv.delim", "1 is the most"),
    ({"source": {"csv": {"delim": '"'}}}, "source.csv.delim", "not the quote"),
    ({"source": {"csv": {"quote": "«"}}}, "source.csv.quote", "one ASCII character"),
    ({"source": {"csv": {"quote": " "}}}, "source.csv.quote", "other than a space"),
    ({"source": {"csv": {"escape": "«"}}}, "source.csv.escape", "one ASCII character"),
    ({"source": {"csv": {"escape": ","}}}, "source.csv.escape", "is the delimiter"),
    ({"source": {"csv": {"escape": "\\", "quote": ""}}}, "source.csv.escape", "without a quote"),
    ({"source": {"csv": {"encoding": "undefined"}}}, "source.csv.encoding", "is not an encoding"),
    ({"source": {"excel": {"sheet": "a"}}}, "source.excel", "has no meaning for format 'csv'"),
    ({"source": {"format": "excel", "excel": {"shet": "a"}}}, "source.excel.shet", "did you mean 'sheet'"),
    (
        {"source": {"on_unknown_columns": "drop"}},
        "source.on_unknown_columns",
        "not one of ignore, warn, fail",
    ),
    ({"source": {"null": "NA"}}, "source.null", "must be a list"),
    ({"source": {"null": [" NA"]}}, "source.null", "' NA' is not a string of 1 to 100 characters"),
    ({"source": {"null": [""]}}, "source.null", "an empty value is NULL anyway"),
    ({"source": {"null": [-999]}}, "source.null", "-999 is not a string"),
    ({"source": {"uri": []}}, "source.uri", "a list of 1 to 1,000"),
    ({"source": {"uri": ["a.csv", 1]}}, "source.uri", "1 is not a path"),
    ({"source": {"uri": ["{source}.csv"]}}, "source.uri", "{source} is not a placeholder"),
    ({"source": {"uri": "file:///in/*.csv"}}, "source.uri", "a pattern, and so must be a path"),
    (
        {"source": {"compression": "lzma"}},
        "source.compression",
        "'lzma' is not one of auto, none, gzip, zstd, zip",
    ),
    ({"source": {"max_line_bytes": 0}}, "source.max_line_bytes", "from 1 to 64,000,000"),
    ({"source": {"max_line_bytes": 10**9}}, "source.max_line_bytes", "from 1 to 64,000,000"),
    ({"source": {"csv": {"encoding": "utf-9"}}}, "source.csv.encoding", "is not an encoding"),
    ({"source": {"csv": {"encoding": "idna"}}}, "source.csv.encoding", "is not an encoding"),
    ({"source": {"csv": {"encoding": "rot13"}}}, "source.csv.encoding", "is not an encoding"),
    ({"source": {"format": "ndjson", "csv": {}}}, "source.csv", "has no meaning"),
    ({"source": {"uri": "{run_id}.csv"}}, "source.uri", "not a placeholder"),
    ({"target": {"mapped": "out.xlsx"}}, "target.mapped", "must end with"),
    ({"columns": {f"c{n}": {} for n in range(5001)}}, "columns", "are 5,001: a flow may have up to 5,000"),
    ({"target": {"mapped": "~/out.csv"}}, "target.mapped", "only a shell expands: write the full path"),
    ({"target": {"mapped": "out/.csv"}}, "target.mapped", "ends with .csv, without a name before it"),
    ({"target": {"rejects": ".NDJSON"}}, "target.rejects", "ends with .NDJSON, without a name"),
    ({"target": {"mapped": "s3://b/{flow}/.parquet"}}, "target.mapped", "ends with .parquet, without a name"),
    ({"target": {"mapped": "ftp://b/x.csv"}}, "target.mapped", "must be a path, or a URL"),
    ({"target": {"mapped": "{runid}.csv"}}, "target.mapped", "not a placeholder"),
    ({"target": {"mapped": "x.csv", "rejects": "x.csv"}}, "target.rejects", "same file"),
    ({"target": {"mapped": "a/x.csv", "rejects": "a/./x.csv"}}, "target.rejects", "same file"),
    ({"target": {"mapped": "a//x.csv", "rejects": "a/b/../x.csv"}}, "target.rejects", "same file"),
    (
        {"target": {"mapped": "{flow}.{version}.csv", "rejects": "people.v1.csv"}},
        "target.rejects",
        "same file",
    ),
    ({"target": {"mapped": "/a/x y.csv", "rejects": "file:///a/x%20y.csv"}}, "target.rejects", "same file"),
    ({"rejects": {"max_ratio": 2}}, "rejects.max_ratio", "between 0 and 1"),
    ({"rejects": {"max_ratio": float("nan")}}, "rejects.max_ratio", "finite"),
    ({"rejects": {"approval": "bob"}}, "rejects.approval", "true or false"),
    ({"approval": True}, "approval", "is a key of rejects"),
    ({"rejects": {"max_rate": 0.2}}, "rejects.max_rate", "did you mean 'max_ratio'"),
    ({"rules": {}}, "rules", "[[rules]]"),
    ({"rules": [{"sql": "true"}]}, "rules[0].name", "is missing"),
    ({"rules": [{"name": "r"}]}, "rules[0].sql", "is missing"),
    ({"rules": [{"name": "r", "sql": "true", "on_fail": "stop"}]}, "rules[0].on_fail", "reject, warn, fail"),
    ({"rules": [{"name": "r", "sql": "true"}, {"name": "R", "sql": "true"}]}, "rules", "appears twice"),
]


@pytest.mark.parametrize(("changes", "place", "words"), MISTAKES)
def test_mistakes_are_named_with_their_place(changes: dict[str, Any], place: str, words: str) -> None:
    with pytest.raises(FlowError) as caught:
        read_definition(people(**changes))
    assert caught.value.place == place
    assert words in caught.value.problem


@pytest.mark.parametrize("definition", [None, [], "x", {}, {"flow": "f"}, {"flow": "f", "version": "v"}])
def test_what_is_no_flow_at_all(definition: Any) -> None:
    with pytest.raises(FlowError):
        read_definition(definition)


def test_limits_with_one_value_or_of_times() -> None:
    one = {"a": {"type": "integer", "minimum": 1, "maximum": 1}, "b": {"minLength": 2, "maxLength": 2}}
    times = {"minimum": "2024-01-01T00:00:00+02:00", "maximum": "2023-12-31T23:00:00Z"}  # an hour later
    assert len(read_definition(people(columns={**one, "c": {"format": "date-time", **times}})).columns) == 3


def test_toml_mistakes_have_a_line() -> None:
    with pytest.raises(FlowError, match="line 2"):
        read_toml('flow = "f"\nversion = v1\n')


def test_dates_in_toml_must_be_texts() -> None:
    with pytest.raises(FlowError, match=r"columns\.d\.enum"):
        read_toml('flow = "f"\nversion = "v1"\n[columns.d]\nformat = "date"\nenum = [2024-01-01]\n')


def test_the_schema_is_json_schema() -> None:
    flow = read_toml(PEOPLE)
    schema = json_schema(flow)
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid({"id": 1, "email": "a@b.org", "age": None})
    assert not validator.is_valid({"id": 1, "email": "a@b.org", "age": 151})
    assert not validator.is_valid({"id": None, "email": "a@b.org"})
    assert not validator.is_valid({"id": 1, "email": "a@b.org", "more": 1})
    notes = json_schema(read_toml(NOTES))
    assert notes["properties"]["text"] == {"type": "string", "minLength": 2}


def test_limits_of_dates_are_annotations() -> None:
    flow = read_definition(people(columns={"d": {"format": "date", "minimum": "2020-01-01", "title": "Day"}}))
    assert json_schema(flow)["properties"]["d"] == {
        "type": ["string", "null"],
        "format": "date",
        "formatMinimum": "2020-01-01",
        "title": "Day",
    }
