"""The cleaners of flow expressions: what they read, what they reject, and that a version keeps them."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import phonenumbers
import pytest
from local.flows import people
from local.one_run import execute

from lume_local._flow.cleaners import CLEANERS
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._shared.protocol import Repair
from lume_local._worker.cleaners import library
from lume_local._worker.cleaners.library import repaired
from lume_local._worker.compiler.compile import compile_flow
from lume_local._worker.connection import confine_check, connect

ROOT = Path(__file__).parents[5]
PAGE = (ROOT / "docs/reference/cleaners.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^\| `(\w+\('.*\))` \| (?:`(.*)`|(NULL|reject)) \|$", PAGE, re.MULTILINE)

RESULTS = {
    "clean_text": "1 af6efd88",
    "country_code": "2 1907d514",
    "nullif_missing": "1 e724b62a",
    "parse_bool": "1 90001b22",
    "parse_date_any": "3 282ab1d3",
    "parse_email": "1 437dd08f",
    "parse_money": "2 801d11ec",
    "parse_percent": "1 f6a04372",
    "parse_phone": "2 491e7b5b",
}
"""The version of each cleaner and the beginning of a digest of its SQL. Where that has changed, and any result with
it, raise the version; then write the new digest here."""


@pytest.fixture(scope="module")
def connection() -> Any:
    with connect() as connection:
        for statement in library.statements(CLEANERS):
            connection.execute(statement)
        yield connection


def value_of(connection: duckdb.DuckDBPyConnection, sql: str, *given: Any) -> Any:
    row = connection.execute(f"SELECT {sql}", given).fetchone()
    assert row is not None
    return row[0]


def column(sql: str, **more: Any) -> dict[str, Any]:
    return people(columns={"id": {"type": "integer"}, "v": {"sql": sql, **more}})


def outcome(folder: Path, sql: str, values: list[str], **more: Any) -> tuple[list[Any], list[str]]:
    """The values that a run maps, and the reasons of those that it rejects."""
    content = "id,a,b\n" + "".join(f'{n},"{value}",7\n' for n, value in enumerate(["x", *values]))
    first = f"CASE WHEN id = '0' THEN NULL ELSE {sql} END"
    result = execute(folder, content, columns=column(first, **more)["columns"])
    return [row[1] for row in result.mapped[1:]], result.reasons


def test_the_page_has_an_example_of_every_cleaner() -> None:
    assert {call.partition("(")[0] for call, *_ in EXAMPLES} == set(CLEANERS)
    assert {line for line in CLEANERS if f"`{line}(text" in PAGE} == set(CLEANERS)


@pytest.mark.parametrize(("call", "result", "word"), EXAMPLES)
def test_the_examples_of_the_page_hold(connection, call: str, result: str, word: str) -> None:
    given = value_of(connection, f"CAST({call} AS VARCHAR)")
    if "." in (given or "") and call.startswith(("parse_money", "parse_percent")):
        given = given.rstrip("0").rstrip(".")

    assert given == (result or None)
    assert word in ("", "NULL", "reject")


@pytest.mark.parametrize("name", [name for name, cleaner in CLEANERS.items() if cleaner.problem])
def test_what_cannot_be_read_rejects_the_row_and_a_blank_is_null(tmp_path, name: str) -> None:
    mapped, reasons = outcome(tmp_path, f"{name}(a)", ["%%", "", "  "])

    assert (mapped, reasons) == ([None, None], [f"v: {CLEANERS[name].doubtful_problem}"])


@pytest.mark.parametrize(
    ("sql", "mapped", "rejected"),
    [
        ("parse_money(a)", ["5.0000"], 1),
        ("TRY(parse_money(a))", ["5.0000", None], 0),
        ("parse_money(a) * 2", ["10.0000"], 1),
        ("coalesce(TRY(parse_money(a)), parse_money(b))", ["5.0000", "7.0000"], 0),
        ("coalesce(parse_money(a), parse_money(b))", ["5.0000"], 1),
        ("coalesce(b, parse_money(a)::VARCHAR)", ["7", "7"], 0),
        ("CASE WHEN a = 'free' THEN 0 ELSE parse_money(a) END", ["5.0000", "0.0000"], 0),
        ("CASE WHEN parse_money(a) > 1 THEN 'much' ELSE 'little' END", ["much"], 1),
        ("list_transform([a], lambda x: TRY(parse_money(x)))[1]", ["5.0000", None], 0),
        ("upper(parse_money(a)::VARCHAR)", ["5.0000"], 1),
        ('"parse_money"(a)', ["5.0000"], 1),
        ("PARSE_MONEY(a)", ["5.0000"], 1),
    ],
)
def test_only_a_cleaner_whose_value_is_used_rejects(
    tmp_path, sql: str, mapped: list[Any], rejected: int
) -> None:
    found, reasons = outcome(tmp_path, sql, ["5", "free"])

    assert (found, len(reasons)) == (mapped, rejected)


def test_the_country_of_a_phone_number_may_come_from_a_cleaner(tmp_path) -> None:
    content = "id,a,b\n1,030 123456,Germany\n2,(650) 253-0000,USA\n3,030 123456,Atlantis\n4,+49 30 123456,\n"
    result = execute(tmp_path, content, columns=column("parse_phone(a, TRY(country_code(b)))")["columns"])

    assert [row[1] for row in result.mapped] == ["+4930123456", "+16502530000", "+4930123456"]
    assert result.reasons == ["v: is not a phone number"]


def test_a_value_that_is_read_but_does_not_fit_has_another_reason(tmp_path) -> None:
    _, reasons = outcome(tmp_path, "parse_money(a)", ["5.1255"], type="number", sql_type="DECIMAL(12,2)")

    assert reasons == ["v: is not a valid DECIMAL(12,2)"]


def test_a_rule_that_cannot_read_its_value_is_broken(tmp_path) -> None:
    result = execute(
        tmp_path,
        "id,a\n1,yes\n2,maybe\n3,no\n4,\n",
        columns={"id": {"type": "integer"}, "a": {}},
        rules=[{"name": "agreed", "sql": "parse_bool(a)"}],
    )

    assert result.reasons == ["agreed: is broken", "agreed: is broken"]
    assert [row[0] for row in result.mapped] == [1, 4]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("parse_money(a, ';')", "write '.' or ','"),
        ("parse_date_any(a, 'ymd')", "write 'dmy' or 'mdy'"),
        ("parse_phone(a, 'UK')", "write its code"),
        ("list_transform([a], lambda x: parse_money(x))", "TRY"),
        ("parse_money()", "parse_money"),
        ("_lume_money(a, NULL)", "_lume_money"),
    ],
)
def test_mistakes_are_found_by_the_check(sql: str, words: str) -> None:
    with connect() as connection, pytest.raises(FlowError, match=re.escape(words)) as caught:
        confine_check(connection)
        compile_flow(connection, read_definition(column(sql)))

    assert caught.value.place == "columns.v.sql"


def test_a_flow_without_cleaners_carries_none() -> None:
    with connect() as connection:
        assert compile_flow(connection, read_definition(people()))["cleaners"] == []


def test_cleaners_that_were_compiled_first_stay(tmp_path) -> None:
    flow = read_definition(column("clean_text(a)"))
    old = [*library.statements(["clean_text"])[:-1], "CREATE OR REPLACE MACRO clean_text(x) AS 'as it was'"]
    with connect() as connection:
        assert compile_flow(connection, flow, old)["cleaners"] == old
        assert value_of(connection, "clean_text('a')") == "as it was"


def test_another_version_of_a_cleaner_is_another_content(monkeypatch) -> None:
    calls, calls_none = column("parse_bool(a)"), column("lower(a)")
    before = [read_definition(each).content_hash for each in (calls, calls_none)]
    monkeypatch.setitem(CLEANERS, "parse_bool", type(CLEANERS["parse_bool"])(version=99))
    after = [read_definition(each).content_hash for each in (calls, calls_none)]

    assert before[0] != after[0]
    assert before[1] == after[1]


def test_a_changed_cleaner_has_another_version() -> None:
    made = {
        name: hashlib.sha256("\n".join(library.statements([name])).encode()).hexdigest()[:8]
        for name in CLEANERS
    }

    assert {name: f"{CLEANERS[name].version} {digest}" for name, digest in made.items()} == RESULTS


@pytest.mark.thorough
def test_the_tables_are_those_of_their_sources() -> None:
    done = subprocess.run(
        [sys.executable, "server/tools/cleaner_tables.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_name_of_a_country_is_found(connection) -> None:
    countries = library._table("countries")["names"]
    names = {name: code for code, all_of_it in countries.items() for name in all_of_it}
    query = "SELECT x, country_code(x) FROM (SELECT unnest(?) AS x)"

    assert dict(connection.execute(query, [list(names)]).fetchall()) == names


def test_phone_numbers_are_read_as_libphonenumber_does(connection) -> None:
    """An example of each kind for every country, as people there write it and as others do."""
    kinds, forms = phonenumbers.PhoneNumberType, phonenumbers.PhoneNumberFormat
    wanted = {
        (region, phonenumbers.format_number(number, form)): phonenumbers.format_number(number, forms.E164)
        for region in phonenumbers.SUPPORTED_REGIONS
        for kind in (kinds.FIXED_LINE, kinds.MOBILE)
        if (number := phonenumbers.example_number_for_type(region, kind)) is not None
        for form in (forms.NATIONAL, forms.INTERNATIONAL)
    }
    regions, written = zip(*wanted, strict=True)
    query = "SELECT parse_phone(x, region) FROM (SELECT unnest(?) AS region, unnest(?) AS x)"
    read = [row[0] for row in connection.execute(query, [regions, written]).fetchall()]
    other = {key: found for key, found in zip(wanted, read, strict=True) if found != wanted[key]}

    # Prefixes that depend on the number: of mobiles in Argentina, of two digits in Belarus.
    assert other == {
        ("AR", "011 15-2345-6789"): None,
        ("BY", "8 0152 45-09-11"): None,
        ("BY", "8 029 491-19-11"): None,
    }


@pytest.mark.parametrize(
    ("name", "choice"), [("parse_date_any", "dmy"), ("parse_money", "."), ("parse_percent", ",")]
)
def test_where_a_choice_is_made_nothing_can_mean_several(tmp_path: Path, name: str, choice: str) -> None:
    _, reasons = outcome(tmp_path, f"{name}(a, '{choice}')", ["31.02.2024"])
    assert reasons == [f"v: {CLEANERS[name].problem}"]
    assert "several" not in reasons[0]


CASES = [
    ("closest", "Germny", "Germany"),
    ("closest", "  france", "France"),
    ("spaces", " a  b ", "a b"),
    ("lower", "Ab", "ab"),
    ("upper", "ab", "AB"),
    ("capital", "aB", "Ab"),
    ("country", "Deutschland", "DE"),
    ("email", " Ann@B.org", "ann@b.org"),
    ("swapped", "03/25/2024", "25/03/2024"),
    ("swapped", "2024-25-03", "2024-03-25"),
    ("day_first", "5.4.2024", "2024-04-05"),
    ("month_first", "5/4/2024", "2024-05-04"),
    ("yes_or_no", "YES", "true"),
    ("missing", "n/a", ""),
]


@pytest.mark.parametrize(("repair", "value", "meant"), CASES)
def test_a_repair(repair: str, value: str, meant: str) -> None:
    made = repaired(Repair([value, "x"], ["Germany", "France"])).values
    assert made[repair][0] == meant
    assert made[repair][1] != "x", "what stays as it is is no repair"


def test_amounts() -> None:
    made = repaired(Repair(["1.234,50 €", "1,234.50"])).values
    assert [float(one) if one else None for one in made["comma"]] == [1234.5, None]
    assert [float(one) if one else None for one in made["point"]] == [None, 1234.5]


def test_what_two_choices_are_equally_near_is_left_alone() -> None:
    assert "closest" not in repaired(Repair(["Frant"], ["Frank", "Frans"])).values
    assert "closest" not in repaired(Repair(["Italy"], ["Germany", "France"])).values
