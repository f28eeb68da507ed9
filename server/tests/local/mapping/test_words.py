"""How names of columns split into words, and which words mean the same."""

import tomllib
from importlib.resources import files

import pytest

from lume_local._mapping.names import context_of, parts, vocabulary, words


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
