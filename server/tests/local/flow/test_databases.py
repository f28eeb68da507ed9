"""What a flow version may say of databases."""

from typing import Any

import pytest
from local.flows import people

from lume_local._flow.databases import DatabaseQuery, QueryRefused, TableTarget, with_parameter
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError

QUERY = "SELECT id FROM people WHERE batch = :source_path"
SOURCE = {"format": "sql", "url_env": "WAREHOUSE_URL", "query": QUERY}
TABLE = {"url_env": "WAREHOUSE_URL", "table": "clean", "mode": "append"}
ID = {"type": "integer", "required": True, "unique": True}


@pytest.mark.parametrize(
    ("query", "sent", "has_parameter"),
    [
        ("SELECT :source_path", "SELECT $1", True),
        ("SELECT 1 ;\n", "SELECT 1 ", False),
        ("a=:source_path OR b=:source_path", "a=$1 OR b=$1", True),
        ("SELECT ':source_path', \":source_path\", `:source_path`", None, False),
        ("SELECT 'it''s :x;', E'a\\':x', \"a\"\":x\"", None, False),
        ("SELECT 1 -- :x; '\nFROM t", None, False),
        ("SELECT 1 /* :x /* ; */ ' */ FROM t", "SELECT 1   FROM t", False),
        ("SELECT $$:x;$$, $a$ $$ :x $a$", None, False),
        ("SELECT id::text, a[1:2], '100%'", None, False),
        ("SELECT named(x := 1)", None, False),
    ],
)
def test_the_parameter_is_found_and_nothing_else_changed(
    query: str, sent: str | None, has_parameter: bool
) -> None:
    assert with_parameter(query, "$1") == (query if sent is None else sent, has_parameter)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT :batch", ":batch is not a parameter"),
        ("SELECT 1; DROP TABLE x", "more than one statement"),
        ("SELECT 'a", "is not closed"),
        ("SELECT $a$ b", "is not closed"),
        ("SELECT /* /* */", "is not closed"),
    ],
)
def test_a_query_that_can_not_be_sent(query: str, words: str) -> None:
    with pytest.raises(QueryRefused, match=words):
        with_parameter(query, "$1")
    with pytest.raises(FlowError, match=r"source\.query: "):
        read_definition(people(source=SOURCE | {"query": query}))


def test_a_query_and_a_table() -> None:
    table = TABLE | {"mode": "upsert", "key": ["id"]}
    flow = read_definition(people(source=SOURCE, target={"mapped": table}, columns={"id": ID}))
    assert flow.source.query == DatabaseQuery("WAREHOUSE_URL", QUERY)
    assert flow.mapped == TableTarget("WAREHOUSE_URL", "clean", "upsert", ("id",))
    assert flow.rejects.endswith("/rejects.csv")


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ({"url_env": None}, "source.url_env"),
        ({"url_env": "postgresql://u:secret@h/db"}, "source.url_env"),
        ({"query": None}, "source.query"),
        ({"uri": "x"}, "source.uri"),
        ({"csv": {}}, "source.csv"),
        ({"compression": "gzip"}, "source.compression"),
        ({"format": "csv"}, "source.query"),
    ],
)
def test_a_mistake_in_a_query_source(source: dict[str, Any], place: str) -> None:
    changed = {key: value for key, value in (SOURCE | source).items() if value is not None}
    with pytest.raises(FlowError) as caught:
        read_definition(people(source=changed))
    assert caught.value.place in (place, "source.url_env")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"url_env": "sqlite:///secret.db"}, "target.mapped.url_env"),
        ({"table": None}, "target.mapped.table"),
        ({"table": "a; DROP"}, "target.mapped.table"),
        ({"table": "a.b.c"}, "target.mapped.table"),
        ({"mode": None}, "target.mapped.mode"),
        ({"mode": "replace"}, "target.mapped.mode"),
        ({"key": ["id"]}, "target.mapped.key"),
        ({"mode": "upsert"}, "target.mapped.key"),
        ({"mode": "upsert", "key": ["other"]}, "target.mapped.key"),
        ({"mode": "upsert", "key": ["note"]}, "target.mapped.key"),
        ({"mode": "upsert", "key": ["must"]}, "target.mapped.key"),
        ({"dsn": "x"}, "target.mapped.dsn"),
    ],
)
def test_a_mistake_in_a_table(table: dict[str, Any], place: str) -> None:
    changed = {key: value for key, value in (TABLE | table).items() if value is not None}
    columns = {
        "id": ID,
        "note": {"type": "string", "unique": True},
        "must": {"type": "string", "required": True},
    }
    with pytest.raises(FlowError) as caught:
        read_definition(people(target={"mapped": changed}, columns=columns))
    assert caught.value.place == place
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "columns", "place"),
    [
        ({"history": "scd1"}, {}, "target.mapped.history"),
        ({"history": "scd2", "mode": "append", "key": None}, {}, "target.mapped.history"),
        ({"history": "scd2"}, {"Valid_From": {}}, "columns.Valid_From"),
        ({"history": "scd2"}, {"current": {}}, "columns.current"),
        ({}, {"valid_to": {}}, None),
        ({"history": "scd2"}, {"valid": {}}, None),
    ],
)
def test_history(table: dict[str, Any], columns: dict[str, Any], place: str | None) -> None:
    given = TABLE | {"mode": "upsert", "key": ["id"]} | table
    mapped = {key: value for key, value in given.items() if value is not None}
    definition = people(target={"mapped": mapped}, columns={"id": ID, **columns})
    if place is None:
        flow = read_definition(definition)
        assert isinstance(flow.mapped, TableTarget)
        assert flow.mapped.history == table.get("history", "")
        return
    with pytest.raises(FlowError) as caught:
        read_definition(definition)
    assert caught.value.place == place
