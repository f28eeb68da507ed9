"""What the values of columns show, and how alike they are."""

import pytest

from lume_local._mapping.profile import compare, facts_of


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "+3"], "integer"),
        (["1", "2.5", ".5", "1e9"], "number"),
        (["true", "False"], "boolean"),
        (["2024-01-31", "31.12.2024"], "date"),
        (["2024-01-31 10:00:00"], "date-time"),
        (["1", "x"], "string"),
        (["", "  "], None),
        ([], None),
    ],
)
def test_the_kind_of_values(values: list[str], kind: str | None) -> None:
    assert facts_of(values).kind == kind


def test_empty_values_are_none() -> None:
    found = facts_of(["a", "", " ", "a"])
    assert (found.filled, found.share, found.distinct) == (2, 0.5, 0.5)


def test_equal_columns_are_alike_and_numbers_are_equal_in_any_spelling() -> None:
    same = compare(facts_of(["1.0", "2", "3"]), facts_of(["1", "2.00", "3e0"]))
    assert (same.overlap, same.spread, same.clash) == (1.0, 1.0, False)


def test_other_values_of_the_same_distribution_are_alike() -> None:
    odd, even = [str(n) for n in range(1, 1000, 2)], [str(n) for n in range(0, 1000, 2)]
    found = compare(facts_of(odd), facts_of(even))
    assert found.overlap == 0.0
    assert found.spread > 0.95
    far = compare(facts_of(odd), facts_of([str(100 * n) for n in range(500)]))
    assert far.spread < 0.2


@pytest.mark.parametrize(("one", "other"), [(["1", "2"], ["a", "b"]), (["true"], ["2024-01-01"])])
def test_values_of_other_kinds_clash(one: list[str], other: list[str]) -> None:
    assert compare(facts_of(one), facts_of(other)).clash


def test_without_values_nothing_is_known() -> None:
    assert not compare(facts_of([]), facts_of(["1"])).known
