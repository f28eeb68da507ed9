"""`sources` of a proposal: what is known of how a sample is read, and the rest is detected."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
from local.wire import Wire
from local.workbooks import Sheet, written

from lume_local import FlowError
from lume_local._samples.known import KnownSource

TARGET = {"type": "object", "properties": {"city": {"type": "string"}, "sum": {"type": "number"}}}


async def seen(wire: Wire, path: str, known: dict[str, Any] | None) -> dict[str, Any]:
    """The sample as it was read."""
    body = {"samples": [path], "schema": TARGET, "sources": [known]}
    answer = await wire.ask("POST", "/v1/flows/cities/proposals", json=body)
    assert answer.status == 200, answer.document
    (sample,) = answer.document["samples"]
    return dict(sample)


async def test_what_is_known_stands_and_the_rest_is_detected(wire: Wire, home: Path) -> None:
    (home / "a.csv").write_text("Cities\n\nCity|Code|Sum\nK\u00f6ln|K|1.5\nBonn|BN|2.5\nTotal||4.0\n")
    guessed = await seen(wire, "a.csv", None)
    assert guessed["source"]["csv"] == {"delim": "|", "encoding": "utf-8"}
    assert len(guessed["doubts"]) == 2
    known = await seen(wire, "a.csv", {"csv": {"encoding": "cp1252"}, "footer": {"starts_with": ["Total"]}})
    assert known["source"] == guessed["source"] | {
        "csv": {"delim": "|", "encoding": "cp1252"},
        "footer": {"starts_with": ["Total"]},
    }
    assert (known["columns"], known["rows"]) == (["City", "Code", "Sum"], 2)
    (header,) = known["doubts"]
    assert "the header is taken to be 'City', 'Code', 'Sum'" in header, "nothing else is left to ask"
    records = await seen(wire, "a.csv", {"footer": None})
    assert (records["rows"], records["footer"], records["doubts"]) == (3, [], [header])
    assert (await seen(wire, "a.csv", {"csv": {"delim": ";"}}))["source"]["csv"]["delim"] == ";"
    no_header = {"header": "none", "names": ["x", "y", "z"]}
    assert (await seen(wire, "a.csv", no_header))["columns"] == ["x", "y", "z"]
    (home / "b.csv").write_text("1;20\n3;4\n5;6\n7;8\n")
    assert (await seen(wire, "b.csv", None))["columns"] == ["column_1", "column_2"]
    assert (await seen(wire, "b.csv", {"header": None, "names": None}))["columns"] == ["1", "20"]


async def test_a_sheet_and_a_member_are_chosen(wire: Wire, home: Path) -> None:
    one, two = [["City", "Sum"], ["Bonn", 1]], [["Title"], ["Ort", "Betrag"], ["Ulm", 2], ["Jena", 3]]
    (home / "a.xlsx").write_bytes(written("xlsx", {"one": Sheet(one), "two": Sheet(two)}))
    first = await seen(wire, "a.xlsx", None)
    assert (first["columns"], first["sheets"], first["members"]) == (["City", "Sum"], ["one", "two"], [])
    second = await seen(wire, "a.xlsx", {"excel": {"sheet": "two"}})
    assert second["columns"] == ["Ort", "Betrag"], "where its table starts is detected there"
    with zipfile.ZipFile(home / "a.zip", "w") as archive:
        archive.writestr("a.csv", "City;Sum\nBonn;1\n")
        archive.writestr("b.csv", "Ort,Betrag\nUlm,2\n")
        archive.writestr("notes.txt", "written by hand")
    guessed = await seen(wire, "a.zip", None)
    assert (guessed["columns"], guessed["source"]["members"]) == (["Ort", "Betrag"], "b.csv"), "not alike"
    assert "not read of the archive, as another table: 'a.csv' (City, Sum)" in guessed["doubts"]
    member = await seen(wire, "a.zip", {"members": "b.csv"})
    assert (member["columns"], member["source"]["members"]) == (["Ort", "Betrag"], "b.csv")
    assert member["source"]["csv"]["delim"] == ","
    assert (member["sheets"], member["members"]) == ([], ["a.csv", "b.csv", "notes.txt"])
    body = {"samples": ["a.zip"], "schema": TARGET, "sources": [{"members": "*.dat"}]}
    refused = await wire.ask("POST", "/v1/flows/cities/proposals", json=body)
    assert "a.zip has no member that matches '*.dat': it has 'a.csv', 'b.csv'" in refused.document["detail"]


async def test_what_can_not_be_is_refused_by_name(wire: Wire, home: Path) -> None:
    (home / "a.csv").write_text("City;Sum\nBonn;1\n")
    for sources, said in (
        ("x", "sources: must be a list"),
        ([{}, {}], "sources: must be a list with an object or null for each sample"),
        ([1], "sources[0]: must be an object"),
        ([{"csv": 1}], "sources[0].csv: must be an object"),
        ([{"csv": {"encoding": 1}}], "sources[0].csv.encoding: 1 can't be used"),
        ([{"members": ["/"]}], "sources[0].members: must be a pattern"),
        ([{"csv": {"encoding": "latin-99"}}], "unknown encoding 'latin-99'"),
        ([{"header": {"row": 0}}], "source.header: is either"),
        ([{"no": 1}], "source.no: is not a known key"),
    ):
        body = {"samples": ["a.csv"], "schema": TARGET, "sources": sources}
        answer = await wire.ask("POST", "/v1/flows/cities/proposals", json=body)
        assert (answer.status, answer.kind) == (422, "invalid-field"), answer.document
        assert said in answer.document["detail"], answer.document
    body = {"samples": ["a.csv"], "schema": TARGET, "sources": [None], "source": {"format": "csv"}}
    answer = await wire.ask("POST", "/v1/flows/cities/proposals", json=body)
    assert "sources: has no meaning with source" in answer.document["detail"]


@pytest.mark.parametrize(
    ("said", "guessed", "settings"),
    [
        ({}, {"format": "csv"}, {"format": "csv"}),
        (
            {"csv": {"encoding": "cp1250"}},
            {"format": "csv", "csv": {"delim": ";"}},
            {"format": "csv", "csv": {"delim": ";", "encoding": "cp1250"}},
        ),
        ({"csv": {"encoding": "cp850"}}, {"format": "fixed", "fixed": {}}, {"format": "fixed", "fixed": {}}),
        ({"comment": None}, {"format": "csv", "comment": "#"}, {"format": "csv"}),
        ({"footer": {"rows": 1}}, {"format": "excel"}, {"format": "excel", "footer": {"rows": 1}}),
    ],
)
def test_known_settings_over_guessed_ones(
    said: dict[str, Any], guessed: dict[str, Any], settings: dict[str, Any]
) -> None:
    assert KnownSource.of(said, "source").over(guessed) == settings


def test_a_sheet_may_have_a_number() -> None:
    assert KnownSource.of({"excel": {"sheet": 2}}, "source").sheet == 2
    with pytest.raises(FlowError, match=r"source.excel.sheet: True can't be used"):
        KnownSource.of({"excel": {"sheet": True}}, "source")
