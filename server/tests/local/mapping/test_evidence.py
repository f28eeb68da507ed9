"""The grade of a pair of columns."""

import pytest

from lume_local._mapping.evidence import ORDER, Grade, Side, at_most, grade, likely, pairings, weights
from lume_local._mapping.profile import facts_of

EMPTY = facts_of([])


def side(table: str, *columns: str, values: dict[str, list[str]] = {}, **kinds: str) -> Side:  # noqa: B006
    facts = [facts_of(values[name]) if name in values else EMPTY for name in columns]
    return Side(table, columns, [kinds.get(name) for name in columns], facts)


def rival(found: list[list[float]], t: int, s: int) -> float:
    beside = [one for n, one in enumerate(found[t]) if n != s]
    return max([*beside, *(row[s] for n, row in enumerate(found) if n != t)], default=0.0)


def graded(target: Side, source: Side) -> dict[tuple[str, str], Grade]:
    pairs = pairings(target, source)
    found = likely(pairs)
    return {
        (one, other): grade(pairs[t][s], found[t][s], rival(found, t, s))
        for t, one in enumerate(target.names)
        for s, other in enumerate(source.names)
    }


def test_equal_names_of_equal_types_are_certain() -> None:
    found = graded(side("a", "id", "email", "city"), side("b", "ID", "E-Mail", "City"))
    assert found["email", "E-Mail"] == Grade.CERTAIN
    assert found["email", "City"] == Grade.LOW


def test_a_column_of_the_same_name_outranks_all_others() -> None:
    same = [str(n * n) for n in range(20)]
    names = ("amount", "amount_cents", "total_amount")
    target = side("a", *names[:2], values=dict.fromkeys(names, same))
    found = graded(target, side("b", *reversed(names), values=dict.fromkeys(names, same)))
    assert {pair: grade for pair, grade in found.items() if grade.is_used} == {
        ("amount", "amount"): Grade.CERTAIN,
        ("amount_cents", "amount_cents"): Grade.CERTAIN,
    }


def test_a_column_of_the_same_name_with_another_type_does_not() -> None:
    target = side("a", "city", "amount", amount="number", city="string")
    source = side("b", "city", "amount", "Betrag", amount="boolean", city="string", Betrag="number")
    found = graded(target, source)
    assert found["amount", "Betrag"].is_used


def test_equal_values_do_not_outweigh_names_that_exclude_each_other() -> None:
    same = {name: ["20", "25", "30"] * 5 for name in ("temp_c", "temp_f", "Temperatur")}
    found = graded(side("a", "temp_c", values=same), side("b", "temp_f", "Temperatur", values=same))
    assert found["temp_c", "temp_f"] == Grade.LOW
    assert found["temp_c", "Temperatur"] == Grade.MEDIUM


def test_names_that_share_a_word_with_one_of_their_own_each_are_namesakes() -> None:
    found = graded(side("a", "city", "bid_price"), side("b", "city", "ask_price"))
    assert found["bid_price", "ask_price"] == Grade.MEDIUM


def test_two_columns_with_one_name_are_rivals() -> None:
    found = graded(side("a", "email", "city"), side("b", "E-Mail", "e_mail", "city"))
    assert found["email", "E-Mail"] in (Grade.MEDIUM, Grade.LOW)


def test_a_type_that_cannot_be_lowers_the_grade() -> None:
    target = side("a", "city", "amount", amount="number", city="string")
    fits = graded(target, side("b", "city", "amount", amount="number", city="string"))
    clashes = graded(target, side("b", "city", "amount", amount="boolean", city="string"))
    order = ORDER.index
    assert order(clashes["amount", "amount"]) > order(fits["amount", "amount"])


@pytest.mark.parametrize(
    ("found", "passes", "expected"),
    [
        (Grade.CERTAIN, 1.0, Grade.CERTAIN),
        (Grade.CERTAIN, 0.97, Grade.HIGH),
        (Grade.CERTAIN, 0.89, Grade.MEDIUM),
        (Grade.CERTAIN, 0.49, Grade.LOW),
        (Grade.MEDIUM, 0.97, Grade.MEDIUM),
        (Grade.LOW, 1.0, Grade.LOW),
    ],
)
def test_rows_that_fail_limit_the_grade(found: Grade, passes: float, expected: Grade) -> None:
    assert at_most(found, passes) == expected


def test_no_evidence_counts_in_the_wrong_direction() -> None:
    from lume_local._mapping.evidence import FEATURES

    against = {"source_left", "digits", "type_clash", "known", "clash"}
    for name, weight in zip(FEATURES, weights()[1], strict=True):
        assert weight <= 0 if name in against else weight >= 0, name
