"""Proposals for a flow that has a version: what it reads stays, and a file of another kind becomes a layout."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from local.flows import people
from local.mapping.proposals import chosen, proposed, sources

from lume_local._flow.definition import read_definition
from lume_local._mapping.target import of_flow

Json = dict[str, Any]

STATUS = {"type": "string", "enum": ["active", "closed"]}
MAIL = {"type": "string", "format": "email"}
TEXT = {"type": "string"}
FLOW: dict[str, Any] = {
    "flow": "customers",
    "version": "v3",
    "description": "of the shop",
    "rejects": {"max_ratio": 0.5},
    "columns": {
        "email": {"from": ["Email", "Mail"], "sql": "lower(trim(value))", "format": "email"},
        "city": {"sql": 'trim("Ort")'},
        "age": {"from": {"first": ["Age"]}, "type": "integer"},
        "label": {"sql": '"a" || "b"'},
    },
    "rules": [{"name": "adult", "sql": "age >= 18"}],
}
SIGNED: dict[str, Any] = {
    "id": {"type": "integer"},
    "day": {"sql": "parse_date_any(\"day\", 'dmy')", "type": "string", "format": "date"},
    "amount": {"sql": "parse_money(trim(\"amount\"), ',')", "type": "number"},
}


def test_the_next_version_of_a_flow_has_one_layout_more(tmp_path: Path) -> None:
    """What it has read becomes a layout, too; what it has done to values is done to those of the new one."""
    path = tmp_path / "new.csv"
    path.write_text("E-Mail address,City,Alter,a,b\nx@example.org,Bonn,31,1,2\ny@example.org,Ulm,42,1,2\n")
    found = proposed(of_flow(read_definition(FLOW)), path)
    expected = json.loads(json.dumps(FLOW)) | {"version": "v4"}
    expected["columns"] = {"email": {"format": "email"}, "city": {}, "age": {"type": "integer"}, "label": {}}
    expected["layouts"] = {
        "v3": {
            "columns": {
                "email": {"from": ["Email", "Mail"], "sql": "lower(trim(value))"},
                "city": 'trim("Ort")',
                "age": {"from": {"first": ["Age"]}},
                "label": '"a" || "b"',
            }
        },
        "new": {
            "source": {"format": "csv", "csv": {"delim": ",", "encoding": "utf-8"}},
            "columns": {
                "email": {"from": ["E-Mail address"], "sql": "lower(trim(value))"},
                "city": {"from": ["City"], "sql": "trim(value)"},
                "age": {"from": ["Alter"]},
                "label": '"a" || "b"',
            },
        },
    }
    assert found["definition"] == expected
    assert tomllib.loads(found["toml"]) == expected


def test_what_a_flow_does_to_values_gives_way_to_what_reads_more(tmp_path: Path) -> None:
    path = tmp_path / "us.csv"
    path.write_text("id,Tag,amount\n1,04/13/2024,1.5\n2,05/14/2024,2.25\n")
    found = proposed(of_flow(read_definition(people(columns=SIGNED))), path)
    columns = found["definition"]["layouts"]["us"]["columns"]
    assert columns["day"] == {"from": ["Tag"], "sql": "parse_date_any(value, 'mdy')"}
    assert found["definition"]["layouts"]["v1"]["columns"]["day"] == SIGNED["day"]["sql"]


@pytest.mark.parametrize(
    ("days", "amounts", "doubts"),
    [
        (["13/04/2024", "01/02/2024"], ["1,5", "2,25"], (None, None)),
        (["2024-04-13", "3 May 2024"], ["1", "20"], (None, None)),
        (
            ["04/13/2024", "01/02/2024"],
            ["1,234.56", "2.25"],
            (
                "1 more row can be read with the month first",
                "2 more rows can be read with a decimal point",
            ),
        ),
        (
            ["04/05/2024", "01/02/2024"],
            ["1,234", "2.250"],
            (
                "no value decides between the day first and the month first: the flow reads them with the day first",
                "no value decides between a decimal comma and a decimal point: the flow reads them with a decimal "
                "comma",
            ),
        ),
    ],
)
def test_what_a_version_takes_ambiguous_values_for_is_decided_again(
    tmp_path: Path, days: list[str], amounts: list[str], doubts: tuple[str | None, ...]
) -> None:
    """The expression stays, as other files are read by it; whether it is right for this one is said."""
    path = tmp_path / "new.csv"
    rows = [f'{n},{day},"{amount}"\n' for n, (day, amount) in enumerate(zip(days, amounts, strict=True))]
    path.write_text("id,day,amount\n" + "".join(rows))
    found = proposed(of_flow(read_definition(people(columns=SIGNED))), path)
    assert found["definition"]["columns"] == SIGNED
    assert found["unmapped"] == [], "the flow reads them by their names"
    for name, doubt in zip(("day", "amount"), doubts, strict=True):
        column = chosen(found)[name]
        assert column["doubts"] == ([doubt] if doubt else [])
        assert column["grade"] == ("medium" if doubt else "certain")
        assert not doubt or f"Decide: {doubt[:40]}" in found["toml"]


def test_a_required_column_that_a_version_reads_is_none_to_decide(tmp_path: Path) -> None:
    filled: Json = {"kind": "'x'", "mail": "lower(email)", "both": '"a" || "b"'}
    bare: Json = {"city": 'trim("Ort")', "half": '"a" || "zz"', "plain": "lower(zz)", "none": "NULL"}
    columns = {name: {"sql": sql, "required": True} for name, sql in {**filled, **bare}.items()}
    found = following(tmp_path / "a.csv", "email,a,b\na@example.org,1,2\n", **columns, nr={"required": True})
    expected = [f"{name} is required, and nothing is read for it" for name in (*bare, "nr")]
    assert [doubt for doubt in found["doubts"] if "is required" in doubt] == expected


@pytest.mark.parametrize("inline", [False, True])
def test_the_next_version_looks_up_the_values_of_a_sample(tmp_path: Path, inline: bool) -> None:
    path = tmp_path / "new.csv"
    path.write_text("id,state,type\n1,Active,x1\n2,CLOSED,y2\n")
    columns: dict[str, Any] = {"id": {"type": "integer"}, "state": STATUS, "type": STATUS}
    base = people(columns=columns, seeds={"people_state_values": {"path": "seeds/a.csv", "key": "k"}})
    found = proposed(of_flow(read_definition(base)), path, inline=inline)
    written = found["definition"]["columns"]
    assert written["type"] == STATUS, "nothing is known of its values"
    if inline:
        assert written["state"]["sql"].startswith("CASE trim(\"state\") WHEN 'Active' THEN 'active'")
        assert found["seeds"] == {}
    else:
        name = "people_state_values_"
        assert written["state"]["sql"] == f"coalesce(seed('{name}', trim(\"state\"), 'target'), \"state\")"
        assert [*found["seeds"]] == [f"seeds/{name}.csv"]
        assert set(found["definition"]["seeds"]) == {"people_state_values", name}


def test_a_sample_that_a_version_reads_already_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "known.csv"
    path.write_text("Mail,Ort,Age,a,b\nx@example.org,Bonn,31,1,2\n")
    found = proposed(of_flow(read_definition(FLOW)), path)
    assert found["definition"]["columns"] == FLOW["columns"]
    assert {name: one["grade"] for name, one in chosen(found).items()} == {
        **dict.fromkeys(("email", "city", "age", "label"), "certain"),
    }


def following(path: Path, text: str, **columns: Any) -> dict[str, Any]:
    """The proposal for the version after one with these columns, from a CSV file with this text."""
    path.write_text(text)
    return proposed(of_flow(read_definition(people(columns=columns))), path)


@pytest.mark.parametrize(
    ("null", "header", "value", "definition", "entry"),
    [
        ("NULL", "email", "a@example.org", TEXT, '"email"'),
        (" null", "Correo", "a@example.org", MAIL, {"from": ["Correo"]}),
        ("NULL", "E-Mail", " A@Example.org", MAIL, {"from": ["E-Mail"], "sql": "nullif(trim(value), '')"}),
        ("NULL", "email", " A@Example.org", MAIL, "nullif(trim(\"email\"), '')"),
    ],
)
def test_a_column_that_the_flow_does_not_read_is_read_by_a_new_layout(
    tmp_path: Path, null: str, header: str, value: str, definition: Json, entry: Json | str
) -> None:
    text = f"id,{header}\n1,{value}\n2,{value}\n"
    columns = {"id": {"type": "integer"}, "email": {"sql": null, **definition}}
    found = following(tmp_path / "a.csv", text, **columns)
    assert found["definition"]["columns"] == columns
    assert (found["unmapped"], found["unused"]) == (["email"], [header])
    said = f"email is not read, and {header!r} may be it: a layout of their own would read it in such files"
    assert found["doubts"] == [said]
    found = proposed(of_flow(read_definition(people(columns=columns))), tmp_path / "a.csv", layout="mails")
    assert found["definition"]["columns"]["email"] == definition
    assert found["definition"]["layouts"] == {
        "v1": {"columns": {"id": '"id"'}},
        "mails": {
            "source": {"format": "csv", "csv": {"delim": ",", "encoding": "utf-8"}},
            "columns": {"id": '"id"', "email": entry},
        },
    }
    assert (found["unmapped"], found["unused"], found["doubts"]) == ([], [], [])


def test_a_column_may_be_joined_of_aliases(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Vorname,Nachname\nAnna,Klein\nBo,Gross\n")
    columns: Json = {"name": {"sql": "NULL"}, "first_name": {"from": ["Vorname"]}}
    found = proposed(of_flow(read_definition(people(columns=columns))), tmp_path / "a.csv", layout="de")
    assert sources(found)["name"] == ["Vorname", "Nachname"]
    assert '"first_name"' in found["definition"]["layouts"]["de"]["columns"]["name"], "which means its alias"


def test_what_nothing_reads_is_listed(tmp_path: Path) -> None:
    """Whatever a target column is called."""
    columns: Json = {
        "status": {"sql": "'x'"},
        "city": {"sql": 'trim("Ort")'},
        "mail": {"sql": "lower(email)"},
        "age": {"from": ["Alter"], "sql": "CASE WHEN value = '?' THEN 0 ELSE value::integer END"},
    }
    text = "Status,City,Ort,email,age,value,end\nnew,Rome,Ulm,a@example.org,1,2,3\n"
    found = following(tmp_path / "a.csv", text, **columns)
    assert found["definition"]["columns"] == columns
    assert found["unused"] == ["Status", "City", "value", "end"]
    assert "# Not read: Status, City, value, end." in found["toml"]
