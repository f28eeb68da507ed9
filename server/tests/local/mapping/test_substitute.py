"""Edits of rejected rows as a rule of the next version: the same results as the edits, whatever the expression is."""

import tomllib
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._mapping.flow_text import file_text
from lume_local._mapping.substitute import with_rule

FLOW = """
flow = "people"
version = "v1"
[columns.country]
from = ["Land", "Country"]
sql = "upper(trim(value))"
[columns.code]
sql = '''upper(land) || "Land" || 'Land' || coalesce("Other", '')'''
[columns.other]
sql = '"Other"'
[columns.note]
"""
LAYOUTS = """
flow = "people"
version = "v1"
columns.country.enum = ["Germany"]
columns.note.sql = "'a constant'"
columns.code.sql = '"Land"'
[layouts.a.columns]
country = '"Staat"'
[layouts.b.columns]
country = { from = ["staat"], sql = "trim(value)" }
[layouts.c.columns]
country = '"Stadt"'
"""
VALUES = st.text("ab'\"; ", min_size=1, max_size=3)
CHANGES = st.dictionaries(VALUES, st.none() | VALUES, min_size=1, max_size=4)


def flow(text: str = FLOW) -> dict[str, Any]:
    return tomllib.loads(text)


def value_of(definition: dict[str, Any], column: str, land: str | None) -> Any:
    """What a version makes of a value of its source, by DuckDB."""
    sql = definition["columns"][column]["sql"]
    # In an expression over aliases, both of these stand for the value of whichever column is there.
    query = f'SELECT {sql} FROM (SELECT $1::VARCHAR AS "Land", $1 AS value, $1 AS country, \'o\' AS "Other")'
    return duckdb.execute(query, [land]).fetchall()[0][0]


@given(CHANGES, CHANGES, VALUES, st.sampled_from(["country", "code"]))
def test_a_rule_gives_what_the_edits_have_given(
    first: dict[str, str | None], later: dict[str, str | None], value: str, column: str
) -> None:
    one = with_rule(flow(), "v2", "Land", first)
    two = with_rule(one, "v3", "LAND", later)
    assert value_of(one, column, value) == value_of(flow(), column, first.get(value, value))
    both = {**first, **later}
    assert value_of(two, column, value) == value_of(flow(), column, both.get(value, value)), (
        "edits of raw rows"
    )
    assert value_of(two, column, None) is None
    assert two["columns"][column]["sql"].count("CASE") == one["columns"][column]["sql"].count("CASE")
    assert (two["columns"]["other"], two["version"]) == (flow()["columns"]["other"], "v3")
    assert tomllib.loads(file_text("a rule", two)) == two, "the text of the flow file"


def test_the_rule_is_in_every_layout_that_reads_the_column() -> None:
    found = with_rule(flow(LAYOUTS), "v2", "Staat", {"Germny": "Germany"})
    text = "(CASE {0} WHEN 'Germny' THEN 'Germany' ELSE {0} END)"
    assert found["layouts"]["a"]["columns"]["country"] == text.format('"Staat"')
    assert found["layouts"]["b"]["columns"]["country"]["sql"] == f"trim({text.format('value')})"
    assert found["layouts"]["c"] == flow(LAYOUTS)["layouts"]["c"]
    assert found["columns"] == flow(LAYOUTS)["columns"]
    assert with_rule(flow(LAYOUTS), "v2", "land", {"a": None})["layouts"] == flow(LAYOUTS)["layouts"]
    assert tomllib.loads(file_text("a rule", found)) == found
    assert read_definition(found).version == "v2"


def test_a_column_without_an_expression_gets_one() -> None:
    found = with_rule(flow(), "v2", "note", {"x": "y"})["columns"]["note"]
    assert found == {"sql": "(CASE \"note\" WHEN 'x' THEN 'y' ELSE \"note\" END)"}
    with pytest.raises(FlowError, match="no column of people:v1 reads 'Nothing'"):
        with_rule(flow(), "v2", "Nothing", {"x": "y"})
