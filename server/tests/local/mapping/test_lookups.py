"""Values of a source as members of an enumeration."""

import csv
import io

import pytest

from lume_local._mapping.lookups import doubts, entries, lookup, seed_text, share, worst


def meant(values: list[str], members: list[str]) -> dict[str, str | None]:
    return {one.source: one.target for one in entries(dict.fromkeys(values, 1), members)}


@pytest.mark.parametrize(
    ("values", "members", "expected"),
    [
        (["Small", "Medium", "Large"], ["S", "M", "L"], ["S", "M", "L"]),
        (["s", "m", "l"], ["S", "M", "L"], ["S", "M", "L"]),
        (["Klein", "M"], ["S", "M"], [None, "M"]),
        (["mannlich", "weiblich"], ["male", "female"], ["male", "female"]),
        (["Männlich", "Weiblich"], ["male", "female"], ["male", "female"]),
        (["ja", "nein"], ["yes", "no"], ["yes", None]),
        (["deliverd"], ["delivered", "open"], ["delivered"]),
        (["in transit"], ["transit", "delivered"], [None]),
        (
            ["Atlantis", "French Guiana", "NLX", "EUR XX", "de"],
            ["AT", "FR", "NL", "EUR", "DE"],
            [*[None] * 4, "DE"],
        ),
        (
            ["DEU", "AUTO", "Austria"],
            ["DE", "AUT", "Australia"],
            [None] * 3,
        ),  # longer, or too short for a typo
        (["Archived", "Active"], ["A", "C"], [None, None]),
        (["ÄB"], ["ab", "AB"], [None]),
        (["M"], ["Medium", "Maxi"], [None]),  # either may be meant
        (["Medium", "Maxi"], ["M", "S"], [None, None]),
        (["inactive", "not active", "actve"], ["active", "closed"], [None, None, "active"]),
        (["female", "Level 12"], ["male", "Level 10"], [None, None]),
    ],
)
def test_what_a_value_means(values: list[str], members: list[str], expected: list[str | None]) -> None:
    assert list(meant(values, members).values()) == expected


def test_a_lookup_is_made_only_where_it_is_needed() -> None:
    assert lookup({"S": 1, "M": 2}, ["S", "M", "L"]) is None
    assert lookup({}, ["S"]) is None
    assert lookup({"x1": 1, "x2": 1}, ["S", "M"]) is None, "nothing has a counterpart"
    assert lookup({f"value {n}": 1 for n in range(201)}, ["S"]) is None


def test_shares_count_rows_and_the_least_sure_entry_decides() -> None:
    found = entries({"Small": 6, "?": 2, "l": 2}, ["S", "L"])
    assert share(found) == 0.8
    assert worst(found) == "high"


def test_what_is_not_certain_is_asked_without_its_values() -> None:
    found = entries({"Small": 6, "huge": 2, "deliverd": 1}, ["S", "delivered"])
    assert [*doubts(found)] == [
        "1 value resembles a member only: check the lookup",
        "no certain member for 1 value, which a run rejects: fill in the lookup",
    ]


def test_the_seed_is_a_csv_file_that_a_person_can_edit() -> None:
    text = seed_text(entries({'a "b", c': 1, "S": 2}, ["S"]))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0] == {"source": 'a "b", c', "target": "", "grade": "low", "rows": "1"}
    assert rows[1]["target"] == "S"
