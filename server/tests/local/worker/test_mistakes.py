"""Mistakes in the SQL of a flow: one short line, and what was most likely meant."""

import pytest
from local.flows import people

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import connect


def mistake(sql: str) -> str:
    with connect() as connection, pytest.raises(FlowError) as refused:
        compile_flow(connection, read_definition(people(columns={"x": {"sql": sql}})))
    return str(refused.value)


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("parse_email(E-Mail)", "E-Mail"),
        ("lower(Kunden-Nr-alt)", "Kunden-Nr-alt"),
        ("lower(First Name)", "First Name"),
        ("trim(Str.Nr)", "Str.Nr"),
    ],
)
def test_a_name_without_its_quotes(sql: str, name: str) -> None:
    said = mistake(sql)
    assert said.endswith(f'names with spaces or signs need double quotes: "{name}"')
    assert len(said) < 250


@pytest.mark.parametrize("sql", ["lower('E-Mail' - \"E-Mail\")", "lower(a or or b)"])
def test_no_name_is_made_up(sql: str) -> None:
    assert "double quotes" not in mistake(sql)


@pytest.mark.parametrize(
    ("called", "meant"),
    [("parse_mail", "parse_email"), ("parse_date", "parse_date_any"), ("to_money", "parse_money")],
)
def test_the_own_cleaners_are_suggested_first(called: str, meant: str) -> None:
    assert f'{called} is not a function; did you mean the cleaner "{meant}"?' in mistake(f'{called}("x")')


@pytest.mark.parametrize("sql", ["nope(", "lower(a", "CASE WHEN a", "a || '"])
def test_no_bracket_is_named_but_those_of_the_flow(sql: str) -> None:
    said = mistake(sql)
    assert "is not an SQL expression: " in said
    assert "]" not in said
    assert '")"' not in said


@pytest.mark.parametrize("sql", ["id, v", "id, v -- both", "1, 2, 3"])
def test_several_expressions_are_not_one(sql: str) -> None:
    assert "must be one expression" in mistake(sql)


def test_what_can_not_be_run_is_named_with_its_column() -> None:
    columns = {"id": {}, "x": {"sql": "regexp_replace(\"a\", '(', '')"}}
    with connect() as connection, pytest.raises(FlowError) as refused:
        compile_flow(connection, read_definition(people(columns=columns)))
    assert str(refused.value).startswith("columns.x.sql: can't be run: ")


def test_other_functions_as_duckdb_suggests_them() -> None:
    assert 'Did you mean "lower"?' in mistake('lowr("x")')


def test_the_overloads_of_a_function_are_not_listed() -> None:
    assert "Candidate" not in mistake('year("x")')
