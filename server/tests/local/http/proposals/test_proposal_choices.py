"""`choices` of `POST /v1/flows/{flow}/proposals`: what a person decides, and what comes of it."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from local.wire import Wire

ORDERS: dict[str, Any] = {
    "flow": "orders",
    "version": "v1",
    "columns": {
        "order_id": {"type": "integer", "required": True},
        "ordered": {"format": "date"},
        "amount": {"type": "number"},
        "size": {"enum": ["S", "M", "L"], "sql": 'upper(trim("Size"))'},
        "customer": {"sql": 'concat_ws(\' \', "First", "Last")'},
        "note": {},
    },
}
OLD = "order_id,ordered,amount,Size,First,Last,note\n1,2024-02-13,1234.5,s,Ann,Lee,x\n"
NEW = (
    "order_id;ordered;amount;Grösse;Kunde;note\n"
    "1;03/04/2024;1,234;s;Ann Lee;x\n2;05/06/2024;2,345;XL;Bob Ray;y\n3;07/08/2024;3,456;mini;Cy Day;\n"
)
ALL: dict[str, Any] = {
    "ordered": {"reading": "dmy"},
    "amount": {"reading": ",", "review": "approved"},
    "size": {"sources": ["Grösse"], "lookup": {"XL": "L", "mini": "S"}},
    "customer": {"sources": ["Kunde"], "review": "flagged", "note": "is that the payer?"},
    "note": {"sources": []},
}


@pytest.fixture
async def asked(wire: Wire, home: Path) -> Any:
    """Asks for a proposal of the next version for the new layout."""
    (home / "old.csv").write_text(OLD)
    (home / "new.csv").write_text(NEW)
    assert (await wire.ask("PUT", "/v1/flows/orders/versions/v1", json=ORDERS)).status == 201

    async def ask(**body: Any) -> Any:
        sent = {"samples": ["new.csv"], "inline_lookups": True, **body}
        return await wire.ask("POST", "/v1/flows/orders/proposals", json=sent)

    return ask


def chosen(document: Any, name: str) -> Any:
    return next(one["chosen"] for one in document["layouts"][0]["columns"] if one["name"] == name)


@pytest.mark.thorough
async def test_what_no_row_decides_is_told_with_what_it_may_mean(asked: Any) -> None:
    found = (await asked()).document
    dates = chosen(found, "ordered")
    assert [(one["key"], one["means"]) for one in dates["readings"]] == [
        ("dmy", "the day first"),
        ("mdy", "the month first"),
    ]
    assert dates["reading"] is None
    assert [one["key"] for one in chosen(found, "amount")["readings"]] == [",", "."]
    assert chosen(found, "order_id")["readings"] == []


@pytest.mark.thorough
async def test_every_decision_is_in_the_version_and_a_dry_run_shows_what_comes_of_it(
    wire: Wire, asked: Any
) -> None:
    undecided = (await asked(choices={"size": None, "customer": None}, dry_run=True)).document["dry_run"]
    assert undecided["metadata"]["metrics"]["rows_mapped"] == 0, undecided
    assert "ordered" in str(undecided["metadata"]["metrics"]["reject_reasons"])

    answer = await asked(choices=ALL, dry_run=True)
    found = answer.document
    assert answer.status == 200
    assert (found["dry_run"]["flow_version"], found["dry_run"]["status"]) == ("orders:v2", "SUCCEEDED")
    rows = found["dry_run"]["rows"]["mapped"]
    assert [(row["ordered"], row["amount"], row["size"], row["customer"]) for row in rows] == [
        ("2024-04-03", 1.234, "S", "Ann Lee"),
        ("2024-06-05", 2.345, "L", "Bob Ray"),
        ("2024-08-07", 3.456, "S", "Cy Day"),
    ]
    assert {row["note"] for row in rows} == {None}
    columns = found["definition"]["layouts"]["new"]["columns"]
    assert columns["ordered"] == "parse_date_any(\"ordered\", 'dmy')"
    assert columns["size"]["from"] == ["Grösse"]
    assert columns["customer"] == {"from": ["Kunde"]}
    assert "note" not in columns, "which means NULL"
    assert found["definition"] == tomllib.loads(found["toml"])
    # Nothing is registered, and the version that is then registered does just that.
    assert (await wire.ask("GET", "/v1/flows/orders/versions/v2")).status == 404
    put = await wire.ask("PUT", "/v1/flows/orders/versions/v2", json=found["definition"])
    assert put.status == 201
    run = await wire.run("orders:v2", "new.csv")
    for name in ("rows_read", "rows_mapped", "rows_rejected", "reject_reasons"):
        assert run["metadata"]["metrics"][name] == found["dry_run"]["metadata"]["metrics"][name]


@pytest.mark.thorough
async def test_the_file_says_who_has_decided_what(asked: Any) -> None:
    text = (await asked(choices=ALL)).document["toml"]
    head, _, rest = text.partition("# new: as in new.csv.\n")[2].partition("[layouts.new.columns]\n")
    assert (
        "# Approved: amount.\n# Flagged: customer.\n# Left open: note.\n# Not reviewed: order_id, ordered, size."
        in head
    )
    about = dict(_columns(rest))
    assert about["amount"].startswith("# Approved.\n# 'amount': ")
    assert about["customer"].startswith("# FLAGGED. is that the payer?\n# Chosen by a person.\n")
    assert about["note"].startswith("# Left open by a person.\n# Or 'note': ")
    assert "Chosen by a person." in about["size"]
    assert "a person has decided for the day first" in about["ordered"].replace("\n# ", " ")
    comments = "".join(line for line in text.splitlines() if line.startswith("#"))
    assert "mini" not in comments, "no value of the sample is in a comment"
    assert "Not reviewed" not in (await asked(choices={"note": None})).document["toml"]


def _columns(text: str) -> Any:
    """The name of each column of a layout, and the comment before it."""
    comment = ""
    for line in text.splitlines():
        if found := re.match(r"(?:# )?(\w+) = ", line):
            yield found[1], comment
            comment = ""
        else:
            comment += f"{line}\n"


@pytest.mark.thorough
async def test_only_values_that_the_expression_of_a_flow_refuses_are_looked_up(asked: Any) -> None:
    size = chosen((await asked(choices={"size": "Grösse"})).document, "size")
    assert [(one["source"], one["rows"]) for one in size["lookup"]] == [("XL", 1), ("mini", 1)]
    definition = (await asked(choices={"size": {"sources": ["Grösse"], "lookup": {"XL": "L"}}})).document[
        "definition"
    ]
    sql = definition["layouts"]["new"]["columns"]["size"]["sql"]
    assert sql.startswith("CASE trim(value) WHEN 'XL' THEN 'L'")
    assert sql.endswith("ELSE upper(trim(value)) END"), "what it has read so far is read as so far"


async def test_the_layout_so_far_is_read_as_before(wire: Wire, asked: Any, home: Path) -> None:
    """What it does to values is done to those of the new one, too."""
    (home / "other.csv").write_text(OLD.replace("order_id", "Order-ID").replace("Size", "Groesse"))
    choices = {"size": "Groesse"}
    found = (await asked(samples=["other.csv"], choices=choices)).document["definition"]
    assert (await wire.ask("PUT", "/v1/flows/orders/versions/v2", json=found)).status == 201
    rows = []
    for name in ("old.csv", "other.csv"):
        dry = (await wire.submit("orders:v2", name, dry_run=True)).document
        rows.append(dry["rows"]["mapped"])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 1


@pytest.mark.thorough
async def test_lookups_of_another_file_are_seed_files_without_inline_lookups(asked: Any) -> None:
    found = (await asked(choices=ALL, inline_lookups=False)).document
    assert found["seeds"] == {
        "seeds/orders_new_size.csv": "source,target,grade,rows\nXL,L,certain,1\nmini,S,certain,1\n"
    }
    assert found["definition"]["seeds"] == {
        "orders_new_size": {"path": "seeds/orders_new_size.csv", "key": "source"}
    }
    sql = found["definition"]["layouts"]["new"]["columns"]["size"]["sql"]
    assert sql == "coalesce(seed('orders_new_size', trim(value), 'target'), upper(trim(value)))"


@pytest.mark.thorough
async def test_what_is_refused(asked: Any) -> None:
    for choices, words in (
        ({"size": {"source": "Size"}}, "'source' is not a field of a choice"),
        ({"size": {"sources": "Size"}}, "sources must be a list"),
        ({"size": {"sources": ["Grösse", "note"]}}, "no way to make it of 'Grösse' and 'note'"),
        ({"size": {"sources": ["Grösse"], "lookup": {"XL": "XXL"}}}, "'XXL', which is not in the enum"),
        ({"note": {"lookup": {"XL": "L"}}}, "lookup is for a column with an enum"),
        ({"ordered": {"reading": "ymd"}}, "no reading 'ymd'"),
        ({"order_id": {"review": "fine"}}, "review must be approved or flagged"),
        ({"order_id": {"note": "x" * 501}}, "at most 500 characters"),
        ({"order_id": 5}, "must have the name of a source column"),
        ({"order_id": {"layouts": {"new": 5}}}, "must have the name of a source column"),
        ({"order_id": {"layouts": {"old": None}}}, "no layout of the samples is called 'old'"),
    ):
        answer = await asked(choices=choices)
        assert (answer.status, answer.document.get("field")) == (422, "choices"), (choices, answer.document)
        assert words in answer.document["detail"]


async def test_a_decision_may_be_for_a_single_layout(asked: Any, home: Path) -> None:
    (home / "us.csv").write_text("order_id|ordered\n1|03/04/2024\n2|05/06/2024\n")
    both = {"reading": "dmy", "layouts": {"us": {"reading": "mdy", "review": "approved"}}}
    found = (await asked(samples=["new.csv", "us.csv"], choices={"ordered": both})).document
    layouts = found["definition"]["layouts"]
    assert layouts["new"]["columns"]["ordered"] == "parse_date_any(\"ordered\", 'dmy')"
    assert layouts["us"]["columns"]["ordered"] == "parse_date_any(\"ordered\", 'mdy')"
    assert found["toml"].count("# Approved: ordered.") == 1


async def test_a_dry_run_takes_no_seed_files(asked: Any) -> None:
    answer = await asked(dry_run=True, inline_lookups=False)
    assert (answer.status, answer.document["field"]) == (422, "dry_run")


async def test_names_are_joined_for_the_next_version_and_said_to_be(wire: Wire, home: Path) -> None:
    (home / "joined.csv").write_text("Vorname,Nachname\nAnn,Lee\nBob,Ray\n")
    flow = {"flow": "names", "version": "v1", "columns": {"name": {"required": True}}}
    assert (await wire.ask("PUT", "/v1/flows/names/versions/v1", json=flow)).status == 201
    body = {"samples": ["joined.csv"], "inline_lookups": True, "dry_run": True}
    found = (await wire.ask("POST", "/v1/flows/names/proposals", json=body)).document
    assert [row["name"] for row in found["dry_run"]["rows"]["mapped"]] == ["Ann Lee", "Bob Ray"]
    assert found["layouts"][0]["columns"][0]["chosen"]["sources"] == ["Vorname", "Nachname"]


async def test_the_source_of_a_run_is_found_where_its_flow_looks_for_it(wire: Wire, home: Path) -> None:
    (home / "in").mkdir()
    (home / "in/may.csv").write_text("Nr.,Mail\n1,a@example.org\n")
    source = {"uri": "in/{source_path}.csv"}
    flow = {"flow": "found", "version": "v1", "source": source, "columns": {"nr": {"type": "integer"}}}
    assert (await wire.ask("PUT", "/v1/flows/found/versions/v1", json=flow)).status == 201
    body = {"samples": ["may"], "inline_lookups": True, "dry_run": True}
    found = (await wire.ask("POST", "/v1/flows/found/proposals", json=body)).document
    assert found["samples"][0]["columns"] == ["Nr.", "Mail"]
    assert found["dry_run"]["rows"]["mapped"] == [{"nr": 1}]
    assert found["definition"]["source"]["uri"] == "in/{source_path}.csv"
    missing = await wire.ask("POST", "/v1/flows/found/proposals", json={"samples": ["june"]})
    assert (missing.status, missing.kind) == (422, "source-not-allowed")
    assert "june" in missing.document["detail"]
