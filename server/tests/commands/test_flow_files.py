"""`lume flow`: files written from samples, mistakes told with their place."""

import json
import tomllib
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner, Result

from lume_cli._app import app
from lume_local._samples.guess import guesses
from lume_local._samples.infer import SampleColumn, delimiter, infer
from lume_local._worker.samples.read import Sample
from lume_local.commands.flow_init import flow_draft

SAMPLE = """Customer ID;E-Mail;signedUp;Seen At;Zip;Score;Active;Plan;Note, free
1; a@example.org ;2024-01-31;2024-01-31T10:00:00Z;00123;1.5;true;free;
2;b@example.org;2024-02-01;2024-01-31T10:00:00Z;01234;2;false;pro;x
3;c@example.org;2024-02-02;2024-01-31T10:00:00Z;10115;-3e2;TRUE;free;it's "it"
"""


def lume(*command: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in command])


def test_a_file_from_a_sample_says_what_the_sample_shows_and_passes_the_check(tmp_path: Path) -> None:
    (tmp_path / "My Customers.csv").write_text(SAMPLE)
    result = lume("flow", "init", tmp_path / "My Customers.csv", "-o", tmp_path)
    written = tmp_path / "my_customers.v1.toml"
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert f"lume flow try {written} '{tmp_path / 'My Customers.csv'}'" in result.stderr
    flow = tomllib.loads(written.read_text())
    assert (flow["flow"], flow["version"], flow["source"]["csv"]["delim"]) == ("my_customers", "v1", ";")
    columns = flow["columns"]
    assert columns["customer_id"] == {"sql": '"Customer ID"', "type": "integer", "required": True}
    assert columns["e_mail"] == {"sql": """nullif(trim("E-Mail"), '')""", "format": "email", "required": True}
    assert columns["signed_up"]["format"] == "date"
    assert columns["seen_at"]["format"] == "date-time"
    assert columns["zip"]["type"] == "string"
    assert columns["score"]["type"] == "number"
    assert columns["active"]["type"] == "boolean"
    assert columns["note_free"] == {"sql": '"Note, free"', "type": "string"}
    check = lume("flow", "check", written, "-o", "json")
    assert (check.exit_code, json.loads(check.stdout)[0]["flow_version"]) == (0, "my_customers:v1")


def test_a_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    target = tmp_path / "a.toml"
    assert lume("flow", "init", tmp_path / "a.csv", "-o", target).exit_code == 0
    refused = lume("flow", "init", tmp_path / "a.csv", "-o", target)
    assert (refused.exit_code, "pass --force" in refused.stderr) == (2, True)
    assert lume("flow", "init", tmp_path / "a.csv", "-o", target, "--force").exit_code == 0
    assert tomllib.loads(lume("flow", "init", tmp_path / "a.csv").stdout) == tomllib.loads(target.read_text())


@pytest.mark.parametrize("output", ["flows/", "a/b/", "there"])
def test_a_folder_is_made_and_gets_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("x\n1\n")
    Path("there").mkdir()
    result = lume("flow", "init", "a.csv", "-o", output)
    assert (result.exit_code, result.stdout) == (0, "")
    assert tomllib.loads((Path(output) / "a.v1.toml").read_text())["flow"] == "a"
    assert lume("flow", "init", "a.csv", "-o", output).exit_code == 2


@pytest.mark.parametrize(
    ("output", "help"), [("flows", "write flows/ for a folder"), ("a.toml/", "drop one of them")]
)
def test_neither_a_file_nor_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, help: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("x\n1\n")
    result = lume("flow", "init", "a.csv", "-o", output)
    assert (result.exit_code, help in " ".join(result.stderr.split())) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_is_checked_file_by_file(tmp_path: Path) -> None:
    empty = lume("flow", "check", tmp_path)
    assert (empty.exit_code, "no flow files" in empty.stderr) == (2, True)
    for name in ("b", "a"):
        (tmp_path / f"{name}.toml").write_text(f'flow = "{name}"\nversion = "v1"\n[columns.n]\n')
    (tmp_path / "notes.txt").write_text("none")
    result = lume("flow", "check", tmp_path, "-o", "json")
    assert result.exit_code == 0, result.stderr
    assert [flow["flow_version"] for flow in json.loads(result.stdout)] == ["a:v1", "b:v1"]


def test_dirt_does_not_hide_a_type() -> None:
    def kinds(*values: str) -> list[str]:
        return [guess.kind[2] or guess.kind[0] for guess in SampleColumn("n", values).guesses]

    assert kinds(*map(str, range(99)), "oops") == ["integer", "number"]
    assert kinds("1", "2", "oops") == []
    assert kinds("", "") == []
    assert kinds("2024-01-01 10:00:00") == ["TIMESTAMP"]
    assert SampleColumn("p", ["a", "b"] * 8).values == ["a", "b"]


@pytest.mark.parametrize(("mark", "other"), [(",", ";"), (";", ","), ("\t", ","), ("|", ",")])
def test_delimiters(mark: str, other: str) -> None:
    assert delimiter([f"a{mark}b{mark}c\n", f'1{mark}"x{other}y"{mark}3\n']) == mark


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('flow = "a"\nversion = "v1"\n[columns.n]\ntype = "integr"\n', ":4: columns.n.type: "),
        ('flow = "a"\nversion = "v1"\n[columns.n]\nsql = "no_such_function(n)"\n', ":4: columns.n.sql: "),
        (
            'flow = "a"\nversion = "v1"\n[columns.n]\n[[rules]]\nname = "r"\nsql = "1 +"\n',
            ":6: rules[0].sql: ",
        ),
        ('flow = "a"\nversion = "v1"\n[columns.n]\n\n[columns.m]\npatern = "x"\n', ":6: columns.m.patern: "),
        ('flow = "a"\nversion = \n', ":2: is not TOML"),
        ('flow = "a"\n[columns.n]\n', ": version: is missing"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_place(tmp_path: Path, text: str, place: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    result = lume("flow", "check", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"{path}{place}" in result.stderr


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text('flow = "f"\nversion = "v1"\n[columns.a]\nrequird = true\n[columns.b]\nsql = "lowr(b)"\n')
    result = lume("flow", "check", file)
    assert result.exit_code == 1
    assert [line.split(": ")[0] for line in result.stderr.splitlines() if "bad.toml:" in line] == [
        f"{file}:4",
        f"{file}:6",
    ]


def test_a_version_that_is_in_two_files_is_refused_as_by_the_server(tmp_path: Path) -> None:
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text('flow = "f"\nversion = "v1"\n[columns.a]\n')
    result = lume("flow", "check", tmp_path)
    assert result.exit_code == 1
    assert f"b.toml: version: f:v1 is in {tmp_path / 'a.toml'} already" in result.stderr


NDJSON = """{"id": 1, "name": "Ann", "tags": ["a"], "paid": true, "at": "2024-01-31"}
{"id": 2, "name": null, "paid": false, "at": "2024-02-01"}
"""


def test_ndjson(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text(NDJSON)
    assert lume("flow", "init", tmp_path / "events.jsonl", "-o", tmp_path).exit_code == 0
    flow = tomllib.loads((tmp_path / "events.v1.toml").read_text())
    assert flow["source"] == {"format": "ndjson"}
    assert flow["columns"] == {
        "id": {"type": "integer", "required": True},
        "name": {"type": "string"},
        "tags": {"type": "string"},
        "paid": {"type": "boolean", "required": True},
        "at": {"format": "date", "required": True},
    }
    assert lume("flow", "check", tmp_path / "events.v1.toml").exit_code == 0


DIRTY = """Signup,Balance,Preis,Code
2024-01-31,"9,399.40","1.234,50 EUR",00123
31/12/2023,2200,"12,00",1
"Feb 01, 2024",$16.45,"3,10",2
2024-02-30,-1,"0,99",3
"""


def test_mixed_dates_and_money(tmp_path: Path) -> None:
    header, *rows = DIRTY.splitlines(keepends=True)
    (tmp_path / "dirty.csv").write_text(header + "".join(rows[:3]) * 5 + rows[3])
    assert lume("flow", "init", tmp_path / "dirty.csv", "-o", tmp_path).exit_code == 0
    text = (tmp_path / "dirty.v1.toml").read_text()
    columns = tomllib.loads(text)["columns"]
    assert columns["signup"] == {"sql": '"Signup"', "type": "string", "required": True}
    assert (
        '# 1 row of the sample would be rejected, such as "2024-02-30", if it were read so:\n'
        """# sql = '''parse_date_any("Signup", 'dmy')'''\n"""
        '# format = "date"\n'
    ) in text
    assert (columns["balance"]["type"], columns["balance"]["sql_type"]) == ("number", "DECIMAL(18,2)")
    assert (columns["balance"]["sql"], columns["preis"]["sql"]) == (
        """parse_money("Balance", '.')""",
        """parse_money("Preis", ',')""",
    )
    assert columns["code"]["type"] == "string"
    tried = lume("flow", "try", tmp_path / "dirty.v1.toml", tmp_path / "dirty.csv", "-o", "json")
    found = json.loads(tried.stdout)
    assert found["reject_reasons"] == {}
    first = found["clean"][:3]
    assert [row["signup"] for row in first] == ["2024-01-31", "31/12/2023", "Feb 01, 2024"]
    assert [float(row["balance"]) for row in first] == [9399.40, 2200, 16.45]
    assert [float(row["preis"]) for row in first] == [1234.50, 12, 3.10]


PEOPLE_IN_MANY_WAYS = """Kundennr;E-Mail;Telefon;Land;Umsatz;Seit;Aktiv;Rabatt
1;Ann <ann@example.org>;030 123456;Deutschland;1.234,56 €;01.03.2024;ja;5 %
2;bob@example.org;+49 171 1234567;DE;99,00 €;2024-03-02;nein;12,5%
3;cy@example.org;0171/1234567;Germany;12,50;3. April 2024;ja;0 %
4;dee@example.org;(650) 253-0000;USA;CHF 1'234,00;13/04/2024;nein;3%
"""


@pytest.mark.thorough
def test_what_people_write_in_many_ways_is_read_by_cleaners(tmp_path: Path) -> None:
    (tmp_path / "kunden.csv").write_text(PEOPLE_IN_MANY_WAYS)
    assert lume("flow", "init", tmp_path / "kunden.csv", "-o", tmp_path).exit_code == 0
    columns = tomllib.loads((tmp_path / "kunden.v1.toml").read_text())["columns"]
    assert {name: column.get("sql") for name, column in columns.items()} == {
        "kundennr": '"Kundennr"',
        "e_mail": 'parse_email("E-Mail")',
        "telefon": 'parse_phone("Telefon", TRY(country_code("Land")))',
        "land": 'country_code("Land")',
        "umsatz": """parse_money("Umsatz", ',')""",
        "seit": """parse_date_any("Seit", 'dmy')""",
        "aktiv": 'parse_bool("Aktiv")',
        "rabatt": 'parse_percent("Rabatt")',
    }
    tried = lume("flow", "try", tmp_path / "kunden.v1.toml", tmp_path / "kunden.csv", "-o", "json")
    found = json.loads(tried.stdout)
    assert found["reject_reasons"] == {}
    assert [row["telefon"] for row in found["clean"]] == [
        "+4930123456",
        "+491711234567",
        "+491711234567",
        "+16502530000",
    ]
    assert [row["seit"] for row in found["clean"]] == ["2024-03-01", "2024-03-02", "2024-04-03", "2024-04-13"]


@pytest.mark.parametrize(
    ("name", "values", "sql"),
    [
        ("Code", ["00123", "1,50", "2,50"], None),
        ("Name", ["Ann", "Bob", "May 1"], None),
        ("Order", ["2024-1", "2024-2"], None),
        ("When", ["03/04/2024", "03/25/2024"], "parse_date_any({column}, 'mdy')"),
        ("When", ["March 1, 2024", "2024-03-02"], "parse_date_any({column})"),
        ("Price", ["$1,200.50", "12"], "parse_money({column}, '.')"),
        ("Price", ["1,200", "1.200"], "parse_money({column})"),
        ("Size", ["10 cm", "12 cm"], None),
        ("Tel", ["+49 30 123456", "+1 650 253 0000"], "parse_phone({column})"),
        ("Flag", ["yes", "yes"], None),
        ("Island", ["Sylt", "Föhr"], None),
        ("Empty", [], None),
    ],
)
def test_guesses(name: str, values: list[str], sql: str | None) -> None:
    found = next(guesses(name, values), None)
    assert (found and found.sql) == sql


@pytest.mark.parametrize(
    ("values", "about"),
    [
        (["1.234,56", "1.234"], "1.234 is read as 1234, and"),
        (["1,234.56 €", "€ 1,234"], "1,234 is read as 1234, and"),
        (["1.234,56", "12"], "currencies are dropped"),
        (["1.234,56"] * 20 + ["0.125"], "currencies are dropped"),
    ],
)
def test_a_number_that_could_be_a_thousand_times_smaller_is_asked_about(
    values: list[str], about: str
) -> None:
    found = next(guesses("Price", values))
    assert found.about.startswith(about)


def test_a_name_with_braces_stays_as_it_is() -> None:
    columns = infer(["{Price}"], [["$1,200.50"], ["12"]])
    text = flow_draft("f", Sample(columns, 2, {"format": "csv"}), "f.csv")
    assert """parse_money("{Price}", '.')""" in text


@pytest.mark.parametrize("name", ["a\x7fb", 'say "x"', "back\\slash", "it's", "'''", "día", "a.b"])
def test_any_name_of_a_column_is_valid_toml(name: str) -> None:
    text = flow_draft("f", Sample(infer([name], [["1"], ["2"]]), 2, {"format": "csv"}), name)
    (column,) = tomllib.loads(text)["columns"].values()
    assert column.get("sql", name) in (name, '"' + name.replace('"', '""') + '"')


def test_a_parquet_sample(tmp_path: Path) -> None:
    sample = tmp_path / "some.parquet"
    query = (
        "SELECT 1 AS id, DATE '2024-01-31' AS at, 'Ann' AS name UNION ALL SELECT 2, DATE '2024-02-01', NULL"
    )
    duckdb.sql(query).write_parquet(str(sample))
    assert lume("flow", "init", sample, "-o", tmp_path / "f.toml").exit_code == 0
    flow = tomllib.loads((tmp_path / "f.toml").read_text())
    assert flow["source"] == {"format": "parquet"}
    assert flow["columns"] == {
        "id": {"type": "integer", "required": True},
        "at": {"format": "date", "required": True},
        "name": {"type": "string"},
    }
    found = json.loads(lume("flow", "try", tmp_path / "f.toml", sample, "-o", "json").stdout)
    assert (found["status"], [row["name"] for row in found["clean"]]) == ("SUCCEEDED", ["Ann", None])
