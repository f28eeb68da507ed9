"""Values that are spellings of one value: their keys, their clusters, and the request for them."""

import tomllib
from pathlib import Path

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
COUNTS = st.dictionaries(TEXTS.filter(bool), st.integers(1, 9), max_size=12)
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


@given(COUNTS, st.sets(TEXTS, max_size=3))
def test_values_are_in_one_cluster_at_most_and_the_order_has_no_effect(
    values: dict[str, int], allowed: set[str]
) -> None:
    found = clusters(values, allowed)
    spellings = [value for one in found for value in one.values]
    assert len(set(spellings)) == len(spellings)
    assert clusters(dict(reversed(values.items())), sorted(allowed)) == found
    for one in found:
        assert one.values.items() <= values.items()
        assert one.is_allowed == (one.suggested in allowed)
        assert one.values.keys() - {one.suggested}
        if not one.is_allowed:
            assert values[one.suggested] == max(one.values.values())
            assert not one.values.keys() & allowed
    apart = {value: values[value] for value in values if value not in spellings}
    assert clusters(apart) == [], "values with a common key are never apart"


def test_an_allowed_value_is_suggested_or_else_the_most_frequent_one() -> None:
    values = {"GERMANY": 5, "germany ": 2, "Fr ance": 1, "France": 3, "new york": 1, "York, New": 4, "15": 9}
    assert clusters(values, ["Germany", "France"]) == [
        Cluster("Germany", True, {"GERMANY": 5, "germany ": 2}),
        Cluster("York, New", False, {"York, New": 4, "new york": 1}),
        Cluster("France", True, {"France": 3, "Fr ance": 1}),
    ]


def test_two_keys_join_what_one_leaves_apart() -> None:
    (found,) = clusters({"New York": 1, "york new": 2, "NewYork": 3})
    assert found.suggested == "NewYork"
    assert len(found.values) == 3


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
    one = {"value": "a", "rows": 1}
    for values in (
        [],
        [one] * 4001,
        [one, one],
        [{"value": "", "rows": 1}],
        [{"value": "a", "rows": 0}],
        [1],
    ):
        body = {"column": "Country", "values": values}
        refused = await wire.ask("POST", "/v1/drafts/countries/clusters", json=body)
        assert (refused.status, refused.document["field"].partition("[")[0]) == (422, "values"), values
