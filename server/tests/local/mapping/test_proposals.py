"""Whole proposals: of samples in files, tried in DuckDB."""

import gzip
import json
import sqlite3
import tomllib
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local.flows import people
from local.loads.table_run import ENV, Database
from local.mapping.proposals import chosen, for_columns, proposed, sources

from lume_async._base.controls import control_in
from lume_local._flow.definition import read_definition
from lume_local._mapping.target import MappingTarget, of_dbt, of_flow, of_schema, of_yaml
from lume_local._shared.protocol import Propose, Refused
from lume_local._worker.samples import proposing
from lume_local._worker.samples.proposing import described, make_proposal

Json = dict[str, Any]

DATE = {"type": "string", "format": "date"}
MAIL = {"type": "string", "format": "email"}
TEXT = {"type": "string"}
KUNDEN = """Kd.-Nr.;Vorname;Nachname;E-Mail;Geburtsdatum;Umsatz;PLZ;Ort;Land;Größe;Newsletter
1001;Anna;Müller;anna@example.org;13.02.1990;1.234,56;01067;Dresden;Deutschland;Small;ja
1002;Bernd;Schmidt;bernd@example.org;03.04.1985;99,00;80331;München;Germany;Large;nein
1003;Cem;Öz;cem@example.org;28.12.2000;12.000,00;10115;Berlin;DE;Medium;ja
1004;Dora;Klein;dora@example.org;05.05.1977;5,5;20095;Hamburg;Österreich;Small;nein
"""
CUSTOMERS = {
    "customer_id": {"type": "integer"},
    "name": TEXT,
    "email": MAIL,
    "birth_date": DATE,
    "revenue": {"type": "number"},
    "postal_code": {"type": "string", "pattern": "^[0-9]{5}$"},
    "city": TEXT,
    "country_code": {"type": "string", "maxLength": 2},
    "size": {"type": "string", "enum": ["S", "M", "L"]},
    "newsletter": {"type": "boolean"},
    "loyalty_points": {"type": "integer"},
}


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Json:
    return for_columns(tmp_path_factory.mktemp("customers"), KUNDEN, **CUSTOMERS)


def test_a_file_in_another_language_is_mapped_with_cleaners(customers: Json) -> None:
    found = customers
    assert sources(found) == {
        "customer_id": ["Kd.-Nr."],
        "name": ["Vorname", "Nachname"],
        "email": ["E-Mail"],
        "birth_date": ["Geburtsdatum"],
        "revenue": ["Umsatz"],
        "postal_code": ["PLZ"],
        "city": ["Ort"],
        "country_code": ["Land"],
        "size": ["Größe"],
        "newsletter": ["Newsletter"],
    }
    assert found["unmapped"] == ["loyalty_points"]
    assert found["definition"]["columns"]["loyalty_points"]["sql"] == "NULL"
    columns = chosen(found)
    assert columns["revenue"]["sql"] == "parse_money(value, ',')"
    assert columns["postal_code"]["sql"] is None, "01067 stays a text"
    assert columns["country_code"]["values"][0] == {"before": "Deutschland", "after": "DE"}
    assert {one["grade"] for one in columns.values()} <= {"certain", "high"}
    (seed,) = found["seeds"].values()
    assert seed.splitlines()[1] == "Small,S,high,2"


def test_the_file_is_the_definition_and_no_value_is_in_its_comments(customers: Json) -> None:
    found = customers
    assert tomllib.loads(found["toml"]) == found["definition"]
    read_definition(found["definition"])
    comments = "\n".join(line for line in found["toml"].splitlines() if line.startswith("#"))
    evidence = json.dumps([[one["evidence"], one["doubts"]] for one in chosen(found).values()])
    for line in KUNDEN.splitlines()[1:]:
        for value in line.split(";"):
            assert len(value) < 4 or (value not in comments and value not in evidence)


@pytest.mark.thorough
def test_the_same_input_gives_the_same_proposal(tmp_path: Path, customers: Json) -> None:
    assert for_columns(tmp_path, KUNDEN, **CUSTOMERS) == customers


def test_values_that_fail_the_checks_lower_the_grade(tmp_path: Path) -> None:
    rows = [f"{n},a{n}@example.org" for n in range(90)] + [f"{n},broken" for n in range(30)]
    email = chosen(for_columns(tmp_path, "id,email\n" + "\n".join(rows) + "\n", email=MAIL))["email"]
    assert (email["grade"], email["passes"]) == ("medium", 0.75)
    rows = ["1,broken", "2,worse", "3,a@example.org"]
    found = for_columns(tmp_path, "id,email\n" + "\n".join(rows) + "\n", email=MAIL)
    assert found["unmapped"] == ["email"]
    assert found["columns"][0]["candidates"][0]["grade"] == "low"


ORDERS: dict[str, tuple[Json, list[str], str | None, bool]] = {
    "birth_date": (DATE, ["03/04/2024", "04/13/2024"], "parse_date_any(value, 'mdy')", False),
    "due_date": (DATE, ["03/04/2024", "05/06/2024"], "parse_date_any(value)", True),
    "order_date": (DATE, ["3 April 2024", "2024-05-01"], "parse_date_any(value)", False),
    "ship_date": (DATE, ["2024-04-03", "2024-05-01"], None, False),
    "amount": ({"type": "number"}, ["1,234", "2,345.50"], "parse_money(value, '.')", False),
    "price": ({"type": "number"}, ["1.234", "2.345"], None, False),  # decimals, as the engine reads them
    "tax": ({"type": "number"}, ["1,234", "2,345"], "parse_money(value)", True),
}


def test_the_order_of_dates_and_the_decimal_mark(tmp_path: Path) -> None:
    rows = zip(*(values for _, values, *_ in ORDERS.values()), strict=True)
    text = "".join(f"{';'.join(row)}\n" for row in [tuple(ORDERS), *rows])
    found = chosen(for_columns(tmp_path, text, **{name: one for name, (one, *_) in ORDERS.items()}))
    assert {name: (one["sql"], bool(one["doubts"])) for name, one in found.items()} == {
        name: (sql, is_open) for name, (_, _, sql, is_open) in ORDERS.items()
    }


def test_all_rows_decide_if_those_that_were_looked_at_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposing, "ROWS", 10)
    rows = ["03/04/2024"] * 95
    rows[33] = "28/04/2024"  # each tenth row is looked at
    text = "id,birth_date\n" + "".join(f"{n},{one}\n" for n, one in enumerate(rows))
    found = chosen(for_columns(tmp_path, text, birth_date=DATE))["birth_date"]
    assert (found["sql"], found["doubts"]) == ("parse_date_any(value, 'dmy')", [])


def test_rows_of_the_whole_file_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposing, "ROWS", 100)
    days = [date(2024, 1, 1) + timedelta(n) for n in range(1000)]
    text = "id,size\n" + "".join(f"{n},{'S' if n < 500 else 'Large'}\n" for n, _ in enumerate(days))
    found = for_columns(tmp_path, text, size={"type": "string", "enum": ["S", "L"]})
    assert [one["source"] for one in chosen(found)["size"]["lookup"]] == ["S", "Large"]
    assert found["samples"][0]["rows"] == 100


@pytest.mark.parametrize(
    ("header", "row", "properties", "expected"),
    [
        (
            *("first_name,last_name", "Ann,Lee"),
            {"full_name": TEXT},
            {"full_name": ("Ann Lee", ["first_name", "last_name"])},
        ),
        (
            *("name", '"Lee, Ann"'),
            {"first_name": TEXT, "last_name": TEXT},
            {"first_name": ("Ann", ["name"]), "last_name": ("Lee", ["name"])},
        ),
        (
            *("Straße", "Am Markt 12 b"),
            {"street": TEXT, "house_number": TEXT},
            {"street": ("Am Markt", ["Straße"]), "house_number": ("12 b", ["Straße"])},
        ),
        (
            *("street,house_number", "Main Road,12b"),
            {"address": TEXT},
            {"address": ("Main Road 12b", ["street", "house_number"])},
        ),
    ],
)
def test_splits_and_joins(
    tmp_path: Path, header: str, row: str, properties: Any, expected: dict[str, tuple[str, list[str]]]
) -> None:
    found = for_columns(tmp_path, f"id,{header}\n" + f"1,{row}\n" * 3, **properties)
    made = {name: (one["values"][0]["after"], one["sources"]) for name, one in chosen(found).items()}
    assert made == expected
    used = [source for one in expected.values() for source in one[1]]
    said = any("is read by" in doubt for doubt in found["doubts"])
    assert said == (len(used) != len(set(used))), "that a column is used twice is said"


def test_names_that_mean_another_column_are_no_aliases(tmp_path: Path) -> None:
    """The flow must know what `name` is: the column of the source, or its own."""
    properties = {"customer_name": TEXT, "name": MAIL}
    path = tmp_path / "a.csv"
    path.write_text("name,Mail\nAnn,a@example.org\nBo,b@example.org\n")
    target = of_schema({"title": "customer", "properties": properties}, "c", "v1", "the schema")
    found = proposed(target, path, choices={"customer_name": "name", "name": "Mail"})
    assert sources(found) == {"customer_name": ["name"], "name": ["Mail"]}
    assert found["definition"]["columns"]["name"].get("from") is None


STATUS = {"type": "string", "enum": ["active", "closed"]}


def test_an_enumeration_of_the_same_name_is_mapped(tmp_path: Path) -> None:
    """The name says what it is; what its values mean is for a person to fill in."""
    text = "id,Status\n1,Active\n2,y2\n3,z3\n"
    found = for_columns(tmp_path, text, id={"type": "integer"}, status=STATUS)
    column = chosen(found)["status"]
    assert (column["sources"], column["grade"]) == (["Status"], "medium")
    (doubt,) = column["doubts"]
    assert doubt == "no certain member for 2 values, which a run rejects: fill in the lookup"
    (seed,) = found["seeds"].values()
    assert seed.splitlines()[1:] == ["Active,active,certain,1", "y2,,low,1", "z3,,low,1"]
    other = for_columns(tmp_path, text.replace("Status", "kind"), id={"type": "integer"}, status=STATUS)
    assert other["unmapped"] == ["status"]


CODES = {"type": "string", "enum": ["DE", "AT", "FR", "GB", "US", "NL"]}
OTHER = ["French Guiana", "US Virgin Islands", "Atlantis", "NLX"]
"""Neither names nor codes of these countries, whatever they begin with or contain."""


def test_the_cleaner_reads_names_of_countries_for_their_codes(tmp_path: Path) -> None:
    names = ["Germany", "Austria", "the Netherlands", "U.K.", "FR"]
    found = for_columns(tmp_path, "a\n" + "".join(f"{one}\n" for one in names), a=CODES)
    assert (chosen(found)["a"]["sql"], found["seeds"]) == ("country_code(value)", {})
    found = for_columns(tmp_path, "a\n" + "".join(f"{one}\n" for one in names + OTHER), a=CODES)
    assert chosen(found)["a"]["grade"] == "medium"
    assert found["definition"]["columns"]["a"]["sql"].endswith(', country_code("a"))')
    (seed,) = found["seeds"].values()
    assert sorted(seed.splitlines()[1:]) == sorted(f"{one},,low,1" for one in OTHER)


@pytest.mark.parametrize("corrected", ["CASE value WHEN 'Frnace' THEN 'France' ELSE value END", "value"])
def test_another_sender_of_countries_is_read_by_the_cleaner(tmp_path: Path, corrected: str) -> None:
    """Also if a person has saved corrections as a rule of one layout."""
    layouts = {
        "a": {
            "source": {"format": "csv"},
            "columns": {"land": f"country_code(({corrected.replace('value', 'Land')}))"},
        },
        "b": {"source": {"format": "csv"}, "columns": {"land": "country_code(Pays)"}},
    }
    base = {"flow": "f", "version": "v3", "columns": {"land": CODES}, "layouts": layouts}
    (path := tmp_path / "c.csv").write_text("Country\nGermany\nDE\nAtlantis\n")
    found = proposed(of_flow(read_definition(base)), path)
    column = found["definition"]["layouts"]["c"]["columns"]["land"]
    assert column["sql"].endswith("country_code(value))")
    assert [*found["seeds"].values()] == ["source,target,grade,rows\nAtlantis,,low,1\n"]


DASHES = "id,sku,qty,day,ok\n1,-,1,2024-01-02,yes\n2,A,-,-,no\n3,B,7,2024-02-03,-\n4,C,9,2024-02-04,yes\n"
TYPES: Json = {
    "sku": {"type": "string"},
    "qty": {"type": "integer"},
    "day": {"type": "string", "format": "date"},
    "ok": {"type": "boolean"},
}


def test_a_word_for_nothing_is_one_among_numbers_and_dates_only(tmp_path: Path) -> None:
    found = for_columns(tmp_path, DASHES, **TYPES)
    assert "null" not in found["definition"]["source"]
    columns = found["definition"]["columns"]
    assert "sql" not in columns["sku"], "a text is kept"
    for name in ("qty", "day", "ok"):
        assert "nullif(trim(" in columns[name]["sql"], name
        assert chosen(found)[name]["doubts"] == ["'-' is read as NULL: remove nullif if not"]
        assert chosen(found)[name]["passes"] == 1
    texts = for_columns(tmp_path, DASHES, **{key: {"type": "string"} for key in TYPES})
    assert not any("sql" in one for one in texts["definition"]["columns"].values()), "the target wants texts"


@pytest.mark.parametrize("null", [[], ["-"]])
def test_a_version_that_reads_a_word_as_nothing_is_not_asked_again(tmp_path: Path, null: list[str]) -> None:
    qty = "qty" if null else "nullif(trim(qty), '-')"
    base: Json = {
        "flow": "f",
        "version": "v1",
        "columns": {"sku": {}, "qty": {"type": "integer", "sql": qty}},
    }
    base |= {"source": {"null": null}} if null else {}
    target = of_flow(read_definition(base))
    (path := tmp_path / "a.csv").write_text("sku,qty\n-,1\nA,-\nB,7\n")
    (column,) = [one for one in proposed(target, path)["columns"] if one["name"] == "qty"]
    assert (column["chosen"]["passes"], column["chosen"]["grade"]) == (1, "certain")
    (path := tmp_path / "b.csv").write_text("Artikel;Menge\n-;1\nA;-\nB;7\n")
    found = proposed(target, path, layout="b")["definition"]["layouts"]["b"]
    assert "null" not in found.get("source", {})
    expected = {} if null else {"sql": "nullif(trim(value), '-')"}
    assert found["columns"]["qty"] == {"from": ["Menge"]} | expected


@pytest.mark.thorough
def test_each_layout_has_its_own_lookups(tmp_path: Path, customers: Json) -> None:
    first = customers
    path = tmp_path / "clientes.csv"
    path.write_text("correo;talla;fecha de nacimiento\na@example.org;Small;14/03/1991\n")
    found = proposed(of_flow(read_definition(first["definition"])), path)
    size = found["definition"]["layouts"]["clientes"]["columns"]["size"]
    assert (size["from"], "customers_clientes_size" in size["sql"]) == (["talla"], True)
    assert found["definition"]["seeds"] == {
        **first["definition"]["seeds"],
        "customers_clientes_size": {"path": "seeds/customers_clientes_size.csv", "key": "source"},
    }
    assert "name" in found["unmapped"], "it reads two columns of the first layout"


def _two_sheets(path: Path) -> None:
    book = openpyxl.Workbook()
    for name, mail in (("Alt", "Mail"), ("Kunden", "E-Mail")):
        sheet = book.create_sheet(name)
        for row in ([mail, "Ort"], ["a@example.org", "Ulm"]):
            sheet.append(row)
    book.save(path)


@pytest.mark.parametrize(
    ("name", "text", "source", "email"),
    [
        ("a.csv.gz", "Mail,x;Ort\na@example.org,1;Ulm\n", {"csv": {"delim": ";"}}, "Mail,x"),
        ("a.csv", "a@example.org,Ulm\n", {"header": "none", "names": ["Mail", "Ort"]}, "Mail"),
        ("a.csv", "id,age,city\n1,2,3\nMail,Ort\na@example.org,Ulm\n", {"header": {"row": 3}}, "Mail"),
        ("a.xlsx", None, {"format": "excel", "excel": {"sheet": "Kunden"}}, "E-Mail"),
    ],
)
def test_a_sample_is_read_as_the_request_says(
    tmp_path: Path, name: str, text: str | None, source: Json, email: str
) -> None:
    """Whatever it looks like."""
    path = tmp_path / name
    if text is None:
        _two_sheets(path)
    else:
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    schema = {"properties": {"email": TEXT, "city": TEXT}}
    found = proposed(of_schema(schema, "c", "v1", "the schema"), path, source=source)
    assert sources(found) == {"email": [email], "city": ["Ort"]}
    assert found["definition"]["source"] == source
    assert (found["samples"][0]["rows"], found["samples"][0]["columns"]) == (1, [email, "Ort"])


def test_a_sample_of_another_format_is_another_layout(tmp_path: Path) -> None:
    """What finds files stays for all; how the earlier version read them is said in its layout."""
    path = tmp_path / "a.ndjson"
    path.write_text('{"Mail": "a@example.org", "Ort": "Ulm"}\n')
    columns = {"email": {"from": ["Mail"]}, "city": {"from": ["Ort"]}}
    own = {"csv": {"delim": ";"}, "header": "find", "footer": {"rows": 1}, "where": "true"}
    shared = {"uri": "in/{source_path}", "null": ["-"]}
    found = proposed(of_flow(read_definition(people(columns=columns, source=own | shared))), path)
    definition = found["definition"]
    assert definition["source"] == shared
    assert definition["layouts"]["v1"]["source"] == own
    assert definition["layouts"]["a"]["source"]["format"] == "ndjson"
    assert any("v1 reads only rows that fulfil its where" in doubt for doubt in found["doubts"])


def test_a_table_is_a_target_and_its_values_are_evidence(tmp_path: Path, database: Database) -> None:
    database.execute(
        "CREATE TABLE customers (k integer PRIMARY KEY, v1 text NOT NULL, v2 numeric(8,2), q text)"
    )
    for n in range(1, 60):
        database.execute(f"INSERT INTO customers VALUES ({n}, 'Town {n % 7}', {n * 3}.5, NULL)")
    path = tmp_path / "a.csv"
    rows = "".join(f"{n},Town {n % 7},{n * 3}.25\n" for n in range(100, 160))
    path.write_text("nr,xyz,worth\n" + rows)
    place = {"url_env": ENV, "table": "customers"}
    target = MappingTarget("customers", "v1", "customers", "customers", [], place=place)
    found = proposed(target, path)
    assert sources(found)["v1"] == ["xyz"], "by its values alone"
    definition = found["definition"]["columns"]
    assert definition["k"] == {**definition["k"], "type": "integer", "required": True, "unique": True}
    assert definition["v1"]["required"] is True
    missing = MappingTarget("c", "v1", "c", "c", [], place={**place, "table": "none"})
    answer = make_proposal(Propose(missing.to_json(), [{"path": str(path), "shown": "a.csv"}]))
    assert isinstance(answer, Refused)
    assert "there is no table none" in answer.problem


def test_the_values_of_a_table_are_spelled_as_in_sources(database: Database) -> None:
    database.execute("CREATE TABLE kinds (b boolean, c char(3), n integer)")
    database.execute("INSERT INTO kinds VALUES (true, 'x', 1), (false, NULL, NULL)")
    place = {"url_env": ENV, "table": "kinds"}
    columns = described(MappingTarget("f", "v1", "kinds", "kinds", [], place=place)).columns
    values = {column.name: column.examples for column in columns}
    truth = ["1", "0"] if database.kind == "sqlite" else ["true", "false"]
    assert values == {"b": truth, "c": ["x"], "n": ["1"]}


def test_a_dbt_model_without_types_has_those_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Order ID,ordered on\n1,2024-01-31\n2,2024-02-01\n")
    model = "models: [{name: orders, columns: [{name: order_id, tests: [unique]}, {name: ordered_on}]}]"
    found = proposed(of_dbt(of_yaml(model, "schema.yml"), "", "", "v1", "schema.yml"), path)
    assert found["definition"]["columns"]["order_id"] == {
        **{"from": ["Order ID"], "unique": True, "type": "integer"},
    }
    assert found["definition"]["columns"]["ordered_on"]["format"] == "date"


def test_a_suggestion_is_judged_by_the_same_evidence(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("zz,yy,xx\n2024-01-31,a,1\n2024-02-01,b,2\n")
    schema = {"properties": {"due_date": DATE, "title": TEXT, "amount": {"type": "integer"}}}
    target = of_schema(schema, "c", "v1", "the schema")
    assert sources(proposed(target, path)) == {}
    suggestions = [
        {"target": "due_date", "sources": ["zz"], "sql": None},
        {"target": "title", "sources": ["yy"], "sql": "upper(value)"},
        {"target": "amount", "sources": ["yy"], "sql": None},
        {"target": "nothing", "sources": ["zz"], "sql": None},
        {"target": "title", "sources": ["nothing"], "sql": None},
        {"target": "title", "sources": ["zz"], "sql": "no_function(value)"},
        {"target": "title", "sources": ["zz", "xx"], "sql": "upper(yy)"},
    ]
    found = proposed(target, path, suggestions=suggestions)
    assert sources(found) == {"due_date": ["zz"]}, "its values pass, and the check says something"
    assert chosen(found)["due_date"]["grade"] == "medium"
    assert [doubt.partition(":")[0] for doubt in found["doubts"]] == [
        "the suggestion for 'nothing' names no column of the target",
        "the suggestion for 'title' names a column that the sample does not have",
        "the suggestion for 'title' can't be tried",
    ]
    others = {one["name"]: one["candidates"][0] for one in found["columns"] if one["chosen"] is None}
    assert {(name, one["grade"], one["suggested"]) for name, one in others.items()} == {
        *(("title", "low", True), ("amount", "low", True)),
    }


def test_a_suggestion_is_refused_if_the_names_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("valid_to\n2024-01-31\n2024-02-01\n")
    target = of_schema({"properties": {"valid_from": DATE}}, "c", "v1", "the schema")
    suggestions = [{"target": "valid_from", "sources": ["valid_to"], "sql": "upper(value)"}]
    found = proposed(target, path, suggestions=suggestions)
    assert sources(found) == {}
    assert found["doubts"] == [
        "the suggestion for 'valid_from' is refused: 'valid_from' and 'valid_to' exclude each other"
    ]
    found = proposed(target, path, suggestions=suggestions, choices={"valid_from": "valid_to"})
    assert sources(found) == {"valid_from": ["valid_to"]}, "a person may choose it"


ODD = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\x1a"), min_size=1, max_size=12)


@pytest.mark.thorough
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ODD.filter(str.strip), min_size=2, max_size=4, unique_by=lambda one: one.strip().casefold()))
def test_odd_names_are_written_so_that_they_are_read_again(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "odd.ndjson"
    path.write_text(json.dumps(dict.fromkeys(names, "1")) + "\n")
    kept = {name: TEXT for name in names if not control_in(name) and not name.lower().startswith("_lume_")}
    if not kept:
        return
    target = of_schema({"properties": kept}, "odd", "v1", "the schema")
    answer = make_proposal(Propose(target.to_json(), [{"path": str(path), "shown": "odd"}]))
    if isinstance(answer, Refused):
        assert answer.problem
        return
    assert tomllib.loads(answer.proposal["toml"]) == answer.proposal["definition"]


def test_a_doubtful_word_is_named(tmp_path: Path) -> None:
    text = "amount,name\n5,Ann\n6,Bo\n"
    found = for_columns(tmp_path, text, amount_cents={"type": "integer"}, name=TEXT)
    proposed = chosen(found)["amount_cents"]
    assert proposed["grade"] == "medium"
    assert "'cent' may make it another column" in proposed["evidence"]


def test_columns_that_runs_write_into_a_table_are_not_proposed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "valid_from TEXT, valid_to TEXT, current INTEGER"
    with closing(sqlite3.connect(tmp_path / "w.db")) as connection, connection:
        connection.execute(f"CREATE TABLE kept (id INTEGER, {own}, _lume_run_id TEXT)")
        connection.execute(f"CREATE TABLE other (id INTEGER, {own})")
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{tmp_path / 'w.db'}")

    def names(table: str) -> list[str]:
        place = {"url_env": "WAREHOUSE_URL", "table": table}
        return [
            one.name for one in described(MappingTarget("f", "v1", table, table, [], place=place)).columns
        ]

    assert (names("kept"), names("other")) == (["id"], ["id", "valid_from", "valid_to", "current"])
