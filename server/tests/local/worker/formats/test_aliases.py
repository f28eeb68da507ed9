"""Names of columns in files: `columns.<name>.from` for the headers of many senders, and cells without a name."""

import json
from pathlib import Path
from typing import Any

import pytest
from local.one_run import compiled, execute, execute_files
from local.shards.twice import compared
from local.tables import content_of

from lume_local._flow.fields import FlowError
from lume_local._flow.table_bounds import folded
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats.names import readable

ENGINE = {"url": "here", "shard_bytes": 1, "shards": 3}
COLUMNS: dict[str, Any] = {
    "email": {"from": ["Email", "E-Mail", "Mail address"], "sql": "lower(trim(value))", "required": True},
    "amount": {"from": ["Betrag", "Montant"], "type": "number"},
    "both": {"sql": "concat(email, '/', amount)"},
}
ROWS = [["ANN@x.org ", "1.5"], ["", "2"], ["bo@y.org", "x"]]
MAPPED = [("ann@x.org", 1.5, "ANN@x.org /1.5")]


@pytest.mark.parametrize(
    ("name", "same"),
    [
        *(("E-Mail", "email"), ("MAIL_address", "Mail address"), ("Straße", "STRASSE"), ("Größe", "grosse")),
        *(("\uff4e\uff41\uff4d\uff45", "name"), ("Prénom", "prenom"), ("No.", "no"), ("a\u00a0b", "ab")),
    ],
)
def test_spellings_that_count_as_one(name: str, same: str) -> None:
    assert folded(name) == folded(same) != folded(f"{name}2")
    assert folded("e+mail") != folded("E-Mail")


EXACT = [("email", "amount"), ("E-Mail", "Betrag"), ("Mail address", "Montant"), ("Email", "amount")]
FOLDED = [
    ("E MAIL", "BETRAG"),
    ("mail_address", "Amount"),
    ("\uff25\uff0d\uff4d\uff41\uff49\uff4c", "montant."),
]


@pytest.mark.parametrize(
    ("format", "header"),
    [
        *(("csv", header) for header in (*EXACT, *FOLDED)),
        *((format, header) for format in ("excel", "parquet") for header in (EXACT[2], FOLDED[1])),
        ("ndjson", EXACT[2]),  # whose names are compared exactly
    ],
)
def test_every_header_through_one_flow(tmp_path: Path, format: str, header: tuple[str, str]) -> None:
    content = content_of(format, [[*header], *ROWS], tmp_path)
    result = execute(tmp_path / "run", content, columns=COLUMNS, source={"format": format})
    assert result.mapped == MAPPED
    assert result.metrics["reject_reasons"] == {"email: is required": 1, "amount: is not a valid number": 1}
    assert result.metrics["source"]["aliases"] == {"email": [header[0]], "amount": [header[1]]}


def test_rejects_come_back_through_the_same_flow(tmp_path: Path) -> None:
    content = "E-Mail,Montant\na@x.org,1\nb@x.org,x\n"
    first = execute(tmp_path / "first", content, columns=COLUMNS)
    again = execute(tmp_path / "again", first.rejects_file.replace(b",x", b",7"), columns=COLUMNS)
    assert [row[0] for row in (*first.mapped, *again.mapped)] == ["a@x.org", "b@x.org"]


def test_files_that_call_it_differently(tmp_path: Path) -> None:
    result = execute_files(
        tmp_path,
        ("a.csv", b"Email,Betrag\na@x.org,1\n"),
        ("b.csv", b"other,montant,E-Mail\n?,2,b@x.org\n?,x,c@x.org\n"),
        columns=COLUMNS,
    )
    assert result.mapped == [("a@x.org", 1.0, "a@x.org/1"), ("b@x.org", 2.0, "b@x.org/2")]
    assert [(row["Email"], row["Betrag"]) for row in result.rejects] == [("c@x.org", "x")]
    assert result.metrics["source"]["aliases"] == {
        "email": ["Email", "E-Mail"],
        "amount": ["Betrag", "montant"],
    }


BOTH = {
    "csv": b"Email,amount,E-Mail\na@x.org,1,b@x.org\n",
    "ndjson": b'{"Email":"a@x.org"}\n{"E-Mail":"b","amount":1}\n',
}


@pytest.mark.parametrize("format", BOTH)
def test_two_of_them_in_one_file_are_an_error(tmp_path: Path, format: str) -> None:
    with pytest.raises(RunFailed, match=r"'Email' and 'E-Mail', each of which .* reads as 'email'.*first"):
        execute(tmp_path, BOTH[format], columns=COLUMNS, source={"format": format})


def test_unless_the_flow_says_which_wins(tmp_path: Path) -> None:
    columns = COLUMNS | {"email": {"from": {"first": ["E-Mail", "Email"]}, "sql": "value"}}
    result = execute(tmp_path / "a", BOTH["csv"], columns=columns)
    assert [row[0] for row in result.mapped] == ["b@x.org"]
    own = {"customer": {"from": {"first": ["client"]}}}
    assert execute(tmp_path / "b", b"customer,client\na,b\n", columns=own).mapped == [("b",)]


def test_the_exact_name_wins_over_the_folded_one(tmp_path: Path) -> None:
    result = execute(tmp_path, b"e_mail,E-Mail,amount\na,b,1\n", columns=COLUMNS)
    assert [row[0] for row in result.mapped] == ["b"]


def test_two_that_fold_alike_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="'E_MAIL' and 'E MAIL'"):
        execute(tmp_path, b"E_MAIL,E MAIL,amount\na,b,1\n", columns=COLUMNS)


def test_none_of_them_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        RunFailed, match=r"no column 'email' \(or 'Email', 'E-Mail', 'Mail address'\).*Did you mean 'e-mial'"
    ):
        execute(tmp_path, b"e-mial,amount\na,1\n", columns=COLUMNS)


@pytest.mark.parametrize(
    ("columns", "place", "problem"),
    [
        ({"a": {"from": ["A"], "sql": "b"}}, "columns.a.from", "has no effect"),
        ({"a": {"from": ["b"]}, "c": {"sql": "B"}}, "columns.c.sql", "an alias of column 'a'"),
        ({"a": {"from": ["x y"]}, "c": {"from": ["X-Y"]}}, "columns.c.from", "means column 'a' already"),
        (
            {"a": {"from": ["b"], "sql": "list_transform([value], lambda a: a || value)[1]"}},
            "columns.a.sql",
            "rename that",
        ),
        ({"a": {"from": []}}, "columns.a.from", "must be a list"),
        ({"a": {"from": ["-"]}}, "columns.a.from", "no letter or digit"),
        ({"a": {"from": [1]}}, "columns.a.from", "is not a name"),
        ({"a": {"from": {"last": ["b"]}}}, "columns.a.from.last", "is not a known key"),
        ({"a": {"from": "b"}}, "columns.a.from", "must be a list"),
    ],
)
def test_mistakes(columns: dict[str, Any], place: str, problem: str) -> None:
    with pytest.raises(FlowError, match=problem) as caught:
        compiled(columns=columns)
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("sql", "given"),
    [
        ("list_transform([1], lambda value: value + 1)[1]::VARCHAR || Value", "2ab"),
        ("list_transform(string_split(value, 'b'), lambda part: part || value)[1]", "aab"),
        ("value || lower(value)", "abab"),
        ("coalesce(\"VALUE\", 'no')", "ab"),
    ],
)
def test_value_is_the_column_unless_a_lambda_binds_it(tmp_path: Path, sql: str, given: str) -> None:
    result = execute(tmp_path, b"A\nab\n", columns={"x": {"from": ["a"], "sql": sql}})
    assert result.mapped == [(given,)]


def test_without_aliases_value_is_a_column_of_the_source(tmp_path: Path) -> None:
    assert execute(tmp_path, b"value\nab\n", columns={"x": {"sql": "value"}}).mapped == [("ab",)]


@pytest.mark.parametrize("wrong", [None, "Email", "E-Mail"])
def test_objects_over_shards_are_one_file(tmp_path: Path, wrong: str | None) -> None:
    """One of them is in the last shard only."""
    lines = [json.dumps({"E-Mail": f"{n}@x.org", "amount": n}) for n in range(60)]
    if wrong:
        lines.append(json.dumps({wrong: "last@x.org", "amount": 1}))
    flow = {"columns": COLUMNS, "source": {"format": "ndjson"}}
    content = "\n".join(lines).encode()
    sharded = compared(tmp_path, [("a.ndjson", content)], ENGINE, rejects_as=".ndjson", **flow)
    if wrong == "Email":
        assert "'Email' and 'E-Mail', each of which" in sharded.error
        return
    assert sharded.shards["count"] > 2
    assert sharded.metrics["rows_mapped"] == len(lines)


@pytest.mark.parametrize("names", [["customer.name"], {"first": ["customer.name"]}])
def test_a_field_within_an_object_of_the_columns_name(tmp_path: Path, names: Any) -> None:
    """The object is not another spelling of the column."""
    content = b'{"customer": {"name": "Ann", "age": 3}}\n'
    result = execute(tmp_path, content, columns={"customer": {"from": names}}, source={"format": "ndjson"})
    assert result.mapped == [("Ann",)]


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["", "a"], ["column_1", "a"]),
        (["a", "", ""], ["a", "column_2", "column_3"]),
        (["a", "b", "a"], ["a_1", "b", "a_2"]),
        (["a", "A"], ["a", "A"]),
        (["", "column_1"], ["column_1_", "column_1"]),
        (["a", "a", "a_2"], ["a_1", "a_2_", "a_2"]),
        (["column_2", "", "a_1", "a", "a"], ["column_2", "column_2_", "a_1", "a_1_", "a_2"]),
    ],
)
def test_every_cell_has_a_name_of_its_own(header: list[str], names: list[str]) -> None:
    assert readable(header) == names
    assert len(set(names)) == len(names)
    assert readable(names) == names  # as those of a rejects file that is submitted again


@pytest.mark.parametrize("format", ["csv", "excel"])
def test_a_repeated_name_is_not_read_by_chance(tmp_path: Path, format: str) -> None:
    content = content_of(format, [["id", "amount", "amount"], ["1", "2", "3"]], tmp_path)
    with pytest.raises(RunFailed) as failed:
        execute(tmp_path, content, columns={"amount": {}}, source={"format": format})
    assert "names 'amount' 2 times, so that they are called 'amount_1' and 'amount_2'" in str(failed.value)
    assert "rename one, or read one of these (in a new flow version" in str(failed.value)
