"""Definitions as TOML, and expressions over other names."""

import tomllib
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from lume_local._flow.definition import read_definition, read_toml
from lume_local._flow.fields import FlowError
from lume_local._mapping import toml_text
from lume_local._mapping.flow_text import file_text
from lume_local._mapping.rewrite import calls, names_in, over_value, reads_value, renamed, words_in

PLAIN = st.characters(codec="utf-8")
SCALARS = st.one_of(
    st.text(PLAIN),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(st.text(PLAIN), below, max_size=3)),
)


@given(st.dictionaries(st.text(PLAIN, min_size=0), VALUES, max_size=4))
def test_whatever_is_written_is_read_again(table: dict[str, Any]) -> None:
    text = "\n".join(toml_text.table("t", table)) + "\n"
    assert tomllib.loads(text) == {"t": table}


SQL = st.text(st.sampled_from("ab '\"\n\r\t\\#=ü"), min_size=1).map(lambda text: f"x{text}")
NAMES = (
    st.text(PLAIN.filter(str.isprintable), min_size=1).filter(str.strip).map(lambda name: f"c{name}"[:100])
)
COLUMNS = st.fixed_dictionaries(
    {},
    optional={
        "sql": SQL,
        "type": st.just("string"),
        "enum": st.lists(st.text(PLAIN), min_size=1, max_size=2),
        "required": st.booleans(),
        "from": st.lists(SQL.map(lambda name: " ".join(name.split())), min_size=1, max_size=1),
    },
)
LAYOUTS = st.fixed_dictionaries(
    {
        "source": st.fixed_dictionaries(
            {}, optional={"csv": st.just({"delim": ";"}), "encoding": st.just("cp1252")}
        )
    },
    optional={"columns": st.fixed_dictionaries({}, optional={"a": st.one_of(SQL, st.just({"sql": "x\ny"}))})},
)
DEFINITIONS = st.fixed_dictionaries(
    {
        "flow": st.just("f"),
        "version": st.just("v1.2"),
        "columns": st.dictionaries(NAMES, COLUMNS, max_size=3).map(lambda more: {**more, "a": {}}),
    },
    optional={
        "description": st.one_of(SQL, st.just("")),
        "rules": st.lists(st.fixed_dictionaries({"name": st.uuids().map(str), "sql": SQL}), max_size=2),
        "rejects": st.fixed_dictionaries(
            {}, optional={"max_ratio": st.floats(0, 1), "approval": st.booleans()}
        ),
        "seeds": st.dictionaries(
            st.sampled_from(["s", "t"]), st.just({"path": "a b.csv", "key": "k"}), max_size=2
        ),
        "layouts": st.dictionaries(st.sampled_from(["one", "t-2"]), LAYOUTS, min_size=1),
        "source": st.just({}),
    },
)


@given(DEFINITIONS)
def test_a_definition_is_registered_again_from_its_flow_file(definition: dict[str, Any]) -> None:
    """Also one of a generated program, with SQL of several lines and names that need quotes."""
    try:
        flow = read_definition(definition)
    except FlowError:
        reject()
    again = read_toml(file_text("head\nof it", definition))
    assert (again.definition, again.content_hash) == (definition, flow.content_hash)


def test_sql_of_several_lines_keeps_them() -> None:
    definition = {"flow": "f", "version": "v1", "columns": {"a": {"sql": "coalesce(\n  \"x\",\n  'y')\n"}}}
    assert "sql = '''\ncoalesce(\n  \"x\",\n  'y')\n'''" in file_text("head", definition)
    assert tomllib.loads(file_text("head", definition)) == definition


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("lower(trim(value))", "lower(trim(X))"),
        ("VALUE", "X"),
        ('lower("E-Mail")', "lower(X)"),
        ("""'value' || value""", "'value' || X"),
        ('''"a" || "b"''', '''"a" || "b"'''),
        ("""coalesce("a", "a")""", "coalesce(X, X)"),
        (""""a" || value""", """"a" || X"""),
        ("""'it''s "quoted"' || value""", """'it''s "quoted"' || X"""),
        ("values + value_2", "values + value_2"),
        ('''"say ""hi"""''', "X"),
        ("email", "X"),
        ("lower(trim(E_Mail)) || 'email'", "lower(trim(X)) || 'email'"),
        ("date(date)::date", "date(X)::date"),
        ("DATE '2024-01-01'", "DATE '2024-01-01'"),
        ("a || b", "a || b"),
    ],
)
def test_the_source_column_of_an_expression(sql: str, expected: str) -> None:
    assert over_value(sql, "X") == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [("seed('a', value, 'b')", True), ("coalesce(SEED ('a', x, 'b'))", True), ("'seed(' || seed", False)],
)
def test_calls_in_an_expression(sql: str, expected: bool) -> None:
    assert calls(sql, "seed") == expected


def test_names_in_an_expression() -> None:
    assert names_in('"a" || \'no "name"\' || "b ""c"" d" || "a"') == ["a", 'b "c" d']
    assert names_in("trim(a) || b || a") == ["a", "b"]
    assert names_in("trim(value)") == []
    assert reads_value("trim(value)")
    assert not reads_value("""'value' || "value" """)
    assert renamed('"Land" || "Ort"', {"Land": "country"}) == '"country" || "Ort"'
    assert words_in("""CASE WHEN trim(a) = 'b' THEN "c" ELSE d::date END""") == ["a", "d"]
    assert words_in("CAST(e AS integer) + 1") == ["e"]
