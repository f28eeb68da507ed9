"""Values that are spellings of one value: their keys, their clusters, and the request for them."""

import tomllib
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local.http.rejects.test_rejected import registered
from local.http.wire.test_contract import golden, shape
from local.wire import Wire

from lume_local._flow.definition import read_definition
from lume_local._runs.rejected.clusters import (
    Cluster,
    allowed_values,
    clusters,
    fingerprint,
    ngram_fingerprint,
)

TEXTS = st.text("aAbBéÉßÅ19 .,-_'\u0301\t", max_size=12)
VALUES = st.lists(TEXTS.filter(bool), max_size=12, unique=True)
COUNTRIES = """
flow = "countries"
version = "v1"
[source]
format = "csv"
[columns.country]
from = ["Country", "Land"]
enum = ["Germany", "France"]
[columns.code]
sql = '''CASE trim("Kind") WHEN 'a''b' THEN 'x' ELSE "Kind" END'''
"""
LAYOUTS = """
flow = "countries"
version = "v2"
columns.country.enum = ["Germany"]
[layouts.a.columns]
country = '"Staat"'
"""


@pytest.mark.parametrize(
    ("values", "key"),
    [
        (("Müller, Jörg", " jorg  MULLER", "MÜLLER / JÖRG"), "jorg muller"),
        (("Straße 1.5", "STRASSE 1,5"), "1.5 strasse"),
        (("A-1", "a1"), "a1"),
        (("दिल्ली", " दिल्ली."), fingerprint("दिल्ली")),
    ],
)
def test_spellings_have_one_fingerprint(values: tuple[str, ...], key: str) -> None:
    assert {fingerprint(value) for value in values} == {key}


def test_words_that_differ_have_different_keys() -> None:
    different = ("Straße 1.5", "Straße 15", "दिल्ली", "दल्ली", "A1", "A 1", "anna", "anne")
    assert len({fingerprint(one) for one in different}) == len(different)
    assert ngram_fingerprint("New York") == ngram_fingerprint("newyork") == "ew ne or rk wy yo"
    assert ngram_fingerprint("route 1") == ngram_fingerprint("1.5") == fingerprint("1.5") == ""
    assert fingerprint("  -/. ") == fingerprint("") == ""


@given(TEXTS)
def test_a_fingerprint_ignores_what_does_not_matter(text: str) -> None:
    key = fingerprint(text)
    assert fingerprint(key) == key
    words = text.split()
    assert fingerprint(" ".join([*reversed(words), *words])) == key
    assert fingerprint(text.upper()) == fingerprint(f"\t{text.lower()}  ") == key
    compact = "".join(words)
    assert ngram_fingerprint(text.swapcase()) == ngram_fingerprint(compact) == ngram_fingerprint(text)


@given(VALUES, st.sets(TEXTS, max_size=3), st.randoms())
def test_values_are_in_one_cluster_at_most_and_never_apart(
    values: list[str], allowed: set[str], random: Random
) -> None:
    found = clusters(values, allowed)
    spellings = [value for one in found for value in one.values]
    assert len(set(spellings)) == len(spellings)
    for one in found:
        assert one.values == [value for value in values if value in one.values]
        assert one.is_allowed == (one.suggested in allowed)
        assert one.is_allowed or one.suggested == one.values[0]
        assert set(one.values) - {one.suggested}
    assert clusters([value for value in values if value not in spellings]) == []
    shuffled = random.sample(values, len(values))
    groups = {frozenset(one.values) for one in found}
    assert {frozenset(one.values) for one in clusters(shuffled, allowed)} == groups, "whatever the order"


def test_an_allowed_value_is_suggested_or_else_the_most_frequent_one() -> None:
    values = ["15", "GERMANY", "York, New", "France", "germany ", "Fr ance", "new york"]
    assert clusters(values, ["Germany", "France"]) == [
        Cluster("Germany", True, ["GERMANY", "germany "]),
        Cluster("York, New", False, ["York, New", "new york"]),
        Cluster("France", True, ["France", "Fr ance"]),
    ]


def test_two_keys_join_what_one_leaves_apart() -> None:
    values = ["NewYork", "york new", "New York"]
    assert clusters(values) == [Cluster("NewYork", False, values)]


def test_the_flow_names_the_allowed_values_of_a_column_of_its_source() -> None:
    flow = read_definition(tomllib.loads(COUNTRIES))
    assert allowed_values(flow, "LAND") == {"Germany", "France"}
    assert allowed_values(flow, "kind") == {"a'b"}
    assert allowed_values(flow, "Note") == set()
    assert allowed_values(read_definition(tomllib.loads(LAYOUTS)), "Staat") == {"Germany"}


async def test_clusters_are_requested_by_column(wire: Wire, home: Path) -> None:
    await registered(wire, COUNTRIES)
    answer = await wire.ask("POST", "/v1/drafts/countries/clusters", json=golden("draft_cluster"))
    assert answer.document == golden("draft_clustered") | {"flow": "countries", "to": "countries:v1"}
    assert shape(answer.document) == shape(golden("draft_clustered"))
    for values in ([], ["a"] * 4001, [""], ["a" * 101], [1], "a"):
        body = {"column": "Country", "values": values}
        refused = await wire.ask("POST", "/v1/drafts/countries/clusters", json=body)
        assert (refused.status, refused.document["field"]) == (422, "values"), values[:1]
