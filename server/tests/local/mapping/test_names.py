"""How alike the names of two columns are."""

import pytest

from lume_local._mapping.names import (
    ALIKE,
    NEAR,
    SAME,
    SHORT,
    SYNONYM,
    NameMatch,
    Names,
    vocabulary,
    words_alike,
)


def match(target: str, source: str, *tables: str, others: tuple[str, ...] = ()) -> NameMatch:
    names = Names([target, *others], [source, *others], tables)
    return names.match(names.targets[0], names.sources[0])


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("email", "email", SAME),
        ("email", "mail", SYNONYM),
        ("amount", "betrag", SYNONYM),
        ("id", "number", NEAR),
        ("description", "desc", SYNONYM),
        ("thermostat", "thermo", SHORT),
        ("manager", "mgr", SYNONYM),
        ("zebrafish", "zbrf", SHORT * 0.8),
        ("colour", "color", SYNONYM),
        ("sprocket", "sproket", None),
        ("date", "name", 0.0),
        ("1", "2", 0.0),
        ("first", "last", 0.0),
        ("created", "updated", 0.0),
    ],
)
def test_two_words(one: str, other: str, alike: float | None) -> None:
    word = vocabulary().word
    found = words_alike(word(one), word(other))
    assert found == words_alike(word(other), word(one))
    if alike is None:
        assert 0.5 < found < ALIKE
    else:
        assert found == alike


@pytest.mark.parametrize(
    ("target", "source"), [("email", "E-Mail"), ("customer_id", "CustomerID"), ("größe", "GROSSE")]
)
def test_spelling_makes_no_difference(target: str, source: str) -> None:
    assert match(target, source).same


def test_a_table_goes_without_saying() -> None:
    apart, inside = match("charge_id", "id"), match("charge_id", "id", "charge")
    assert inside.target > apart.target
    assert inside.target_left < 0.3 < apart.target_left


def test_a_table_goes_without_saying_only_as_a_whole() -> None:
    part, whole = match("project_id", "id", "project_statistics"), match("id", "project_id", "projects_2024")
    assert part.left == 1
    assert part.doubtful == ("project",)
    assert whole.left < 0.3
    assert not whole.doubtful


@pytest.mark.parametrize(
    ("target", "source"),
    [
        ("valid_from", "valid_to"),
        ("temp_c", "temp_f"),
        ("is_active", "is_not_active"),
        ("paid", "unbezahlt"),
        ("address_line_1", "addr_line_2"),
        ("in", "out"),
    ],
)
def test_names_that_exclude_each_other(target: str, source: str) -> None:
    assert match(target, source).opposed
    assert match(source, target).opposed
    assert not match(target, target.upper()).opposed


@pytest.mark.parametrize(
    ("target", "source", "doubtful"),
    [
        ("amount_cents", "amount", ("cent",)),
        ("height_in", "height", ("in",)),  # inches
        ("in_stock", "stock", ()),
        ("order_id", "order_number", ("id",)),
        ("order_id", "Auftragsnummer", ()),  # that is the id
        ("customer_name", "name", ("customer",)),
        ("city_name", "city", ()),
        ("contact_phone", "contact_number", ()),
    ],
)
def test_words_by_which_a_name_may_mean_another_column(
    target: str, source: str, doubtful: tuple[str, ...]
) -> None:
    found = match(target, source)
    assert not found.opposed
    assert found.doubtful == doubtful


def test_what_many_columns_have_says_little() -> None:
    others = tuple(f"order_{part}" for part in ("date", "name", "city", "price", "state"))
    rare, common = match("order_weight", "weight"), match("order_weight", "weight", others=others)
    assert common.target > rare.target


@pytest.mark.parametrize(
    ("target", "source"),
    [
        ("application_fee_amount", "application"),
        ("subscription_id", "subscription_item_id"),
        ("price", "price_usd"),
    ],
)
def test_a_near_namesake_is_not_whole(target: str, source: str) -> None:
    found = match(target, source)
    assert max(found.target_left, found.source_left) > 0.3
    assert found.both < 0.9


def test_numbers_that_differ_are_noticed() -> None:
    assert match("address_line_1", "addr_line_2").digits
    assert not match("address_line_1", "addr_line_1").digits
    assert not match("address_line_1", "address").digits


def test_names_without_letters_are_like_nothing() -> None:
    found = match("id", "§§")
    assert (found.both, found.pairs) == (0.0, ())
