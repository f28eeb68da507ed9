"""How names of columns split into words, which words mean the same, and how alike two names are."""

import tomllib
from importlib.resources import files

import pytest

from lume_local._mapping.names import (
    ALIKE,
    NEAR,
    SAME,
    SHORT,
    SYNONYM,
    NameMatch,
    Names,
    context_of,
    parts,
    vocabulary,
    words,
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
    assert inside.both > apart.both
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
    assert common.both > rare.both


def test_names_without_letters_are_like_nothing() -> None:
    found = match("id", "§§")
    assert (found.both, found.pairs) == (0.0, ())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("customerID", ["customer", "id"]),
        ("customer_id2", ["customer", "id", "2"]),
        ("HTTPStatus", ["http", "status"]),
        ("  Größe (cm) ", ["grosse", "cm"]),
        ("E-Mail", ["email"]),
        ("eMail-Adresse", ["email", "adresse"]),
        ("Kd.-Nr.", ["kd", "nr"]),
        ("\uff21\uff22\uff23", ["abc"]),
        ("", []),
        ("---", []),
    ],
)
def test_a_name_shows_its_words(name: str, expected: list[str]) -> None:
    assert parts(name) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Rechnungsdatum", ["invoice", "date"]),
        ("Kundennummer", ["customer", "number"]),
        ("Geburtsdatum", ["birth", "date"]),
        ("dob", ["birth", "date"]),
        ("PLZ", ["postal", "code"]),
        ("postcode", ["postal", "code"]),
        ("Strasse", ["street"]),
        ("Straße", ["street"]),
        ("fecha_nacimiento", ["date", "birth"]),
        ("Prénom", ["first", "name"]),
        ("quantidade", ["quantity"]),
        ("datecreated", ["date", "create"]),
        ("addresses", ["address"]),
        ("qty", ["quantity"]),
        ("qté", ["quantity"]),
        ("qtd", ["quantity"]),
        ("apellidos", ["last", "name"]),
        ("Energie (kWh)", ["energie", "kilowatthour"]),
        ("Preis in €", ["price", "into", "eur"]),
        ("temp_c", ["temperature", "celsius"]),
        ("Order No", ["order", "number"]),
    ],
)
def test_words_have_meanings_in_five_languages(name: str, expected: list[str]) -> None:
    assert [min(word.concepts, default=word.text) for word in words(name)] == expected


@pytest.mark.parametrize(
    ("name", "context", "expected"),
    [
        ("flightlevel", [], ["flightlevel"]),
        ("flightlevel", ["flight_no", "level"], ["flight", "level"]),
        ("status", ["sta", "tus"], ["status"]),  # a known word stays whole
        ("abcd", ["ab", "cd"], ["abcd"]),  # too short to be sure
        ("x" * 500, ["xxx"], ["x" * 500]),
    ],
)
def test_a_compound_splits_by_what_other_names_show(
    name: str, context: list[str], expected: list[str]
) -> None:
    assert [word.text for word in words(name, context_of(context))] == expected


def test_every_short_form_leads_to_known_words() -> None:
    known = vocabulary()
    for short, meant in known.short.items():
        assert short == "".join(parts(short)), "it is found in the form that names are brought into"
        assert meant, short


def test_the_list_says_where_it_comes_from() -> None:
    text = files("lume_local._mapping").joinpath("words.toml").read_text("utf-8")
    assert "Written by hand for this project" in text
    for word in vocabulary().concepts:
        assert parts(word) == [word], "a word is one, in lower case and without accents"


def test_groups_and_last_words_name_concepts() -> None:
    found = tomllib.loads(files("lume_local._mapping").joinpath("words.toml").read_text("utf-8"))
    named = " ".join([*found["opposites"], *found["kinds"], *found["last"].values()])
    assert {*named.split(), *found["negations"].split()} <= set(found["concepts"])
