"""Definitions as TOML, and expressions over other names."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_local._mapping import toml_text
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
