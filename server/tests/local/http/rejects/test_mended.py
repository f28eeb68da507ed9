"""Corrected rejects, by requests to a running server: what they lack, and what was corrected before."""

import csv
import io
import json
import tomllib
from pathlib import Path
from typing import Any

from local import corrected as corrected_rows
from local.flows import PEOPLE
from local.wire import Wire

BEFORE = "in other corrected rejects before, or accepted by a replay, and"
AGAIN = "what was rejected there is among the rejects of that run"
OBJECTS = PEOPLE.replace("[columns.id]", '[source]\nformat = "ndjson"\n[columns.id]', 1)


async def run_of(wire: Wire, home: Path, text: str, flow: str = "people:v1") -> dict[str, Any]:
    (home / "source").write_text(text)
    run = await wire.run(flow, "source", force_rerun=True)
    assert run["status"] == "PARTIAL_FAILED"
    return run


async def corrected(
    wire: Wire, run: dict[str, Any], text: str | bytes, name: str = "mended.csv"
) -> dict[str, Any]:
    assert (await wire.ask("PUT", f"/v1/uploads/{name}", data=text)).status in (200, 201)
    return await wire.run(
        run["flow_version"],
        f"upload://{name}",
        run_metadata={"resubmit_of": run["id"]},
        force_rerun=True,
    )


async def test_a_column_of_objects_that_is_left_out_loses_no_value(wire: Wire, home: Path) -> None:
    flow = tomllib.loads(OBJECTS.replace('"v1"', '"v2"'))
    assert (await wire.ask("PUT", "/v1/flows/people/versions/v2", json=flow)).status == 201
    lines = '{"id": 1, "Email": "a@b.org", "Age": 5}\n{"id": 2, "Email": "no", "Age": 6}\n{"id": 3, "Email": "x"}\n'
    run = await run_of(wire, home, lines, "people:v2")
    header = "_lume_row,_lume_reasons,id,Email\n"
    lost = await corrected(wire, run, f"{header}2,,2,b@b.org\n3,,3,c@b.org\n")
    assert lost["status"] == "FAILED"
    assert lost["metadata"]["error_message"].startswith(
        "the corrected rejects have no column 'Age', although rows of them had a value there"
    )
    fine = await corrected(wire, run, f"{header}3,,3,c@b.org\n", "fine.csv")
    assert fine["status"] == "SUCCEEDED", "an object may lack a member"
    assert "no row has 'Age'" in fine["metadata"]["metrics"]["warnings"]


async def test_the_rejects_of_another_run_are_refused(wire: Wire, home: Path) -> None:
    """They would close rows of this one, and stay open themselves. What has no number is an additional row.

    pandas saves numbers beside missing ones as 2.0.
    """
    run = await run_of(wire, home, "id,Email,Age\n1,a@b.org,5\n2,no,6\n3,x,7\n")
    (home / "other").write_text("id,Email,Age\n11,a@b.org,5\n12,no,6\n13,a@b.org,7\n14,y,7\n5\n")
    other = await wire.run("people:v1", "other")
    header = "_lume_row,_lume_line,_lume_reasons,id,Email,Age\n"
    rows = {"row.csv": "2,,,12,b@b.org,6\n4,,,14,c@b.org,7\n", "line.csv": ",6,,15,b@b.org,6\n"}
    for (name, text), which in zip(rows.items(), ("_lume_row 4", "_lume_line 6"), strict=True):
        wrong = await corrected(wire, run, header + text, name)
        assert wrong["status"] == "FAILED"
        assert wrong["metadata"]["error_message"] == (
            f"the corrected rejects have {which}, which the run did not reject: they belong to another run, or a "
            "column _lume_… was changed. Submit them for their run"
        )
    assert (await wire.ask("GET", "/v1/inbox")).document["flows"][0]["open"] == 5
    text = f"{header}2.0,,,12,b@b.org,6\n4.0,,,14,c@b.org,7\n,6.0,,15,b@b.org,6\n,,,16,d@b.org,6\n"
    fine = await corrected(wire, other, text, "all.csv")
    assert (fine["status"], fine["metadata"]["metrics"]["warnings"]) == ("SUCCEEDED", {})
    assert (await wire.ask("GET", "/v1/inbox")).document["flows"][0]["open"] == 2


async def test_rows_from_the_inbox_are_matched_or_refused(wire: Wire, home: Path) -> None:
    """They may be of several runs; without the place of a row, all of them would be additional ones."""
    run = await run_of(wire, home, "id,Email,Age\n1,a@b.org,5\n2,no,6\n3,x,7\n")
    start = f"{run['id']},2,,3"
    for text, why in {
        f"_lume_run,_lume_reject,_lume_reasons,id,Email,Age\n{start},c@b.org,7\n": (
            "the corrected rejects have _lume_reject, but neither _lume_row nor _lume_line. Submit the rejects file"
        ),
        f"_lume_row,_lume_run,_lume_reject,_lume_reasons,id,Email,Age\n,{start},c@b.org,7\n": "neither _lume_row",
        "_lume_row,_lume_run,_lume_reasons,id,Email,Age\n3,run_other,,3,c@b.org,7\n": (
            f"the rejects have _lume_run 'run_other', but are sent for {run['id']}. Submit the"
        ),
    }.items():
        for as_workbook in (False, True):
            content: Any = text
            if as_workbook:
                content = corrected_rows.as_workbook(list(csv.DictReader(io.StringIO(text))))
            found = await corrected(wire, run, content)
            assert found["status"] == "FAILED"
            assert why in found["metadata"]["error_message"]
            await wire.ask("PUT", "/v1/uploads/alone.csv", data=content)
            alone = await wire.run("people:v1", "upload://alone.csv", force_rerun=True)
            assert alone["status"] == "FAILED" or "_lume_reject" not in text
    assert (await wire.ask("GET", "/v1/inbox")).document["flows"][0]["open"] == 2
    text = f"_lume_row,_lume_run,_lume_reject,_lume_reasons,id,Email,Age\n3,{start},c@b.org,7\n"
    assert (await corrected(wire, run, text))["status"] == "SUCCEEDED"
    assert (await wire.ask("GET", "/v1/inbox")).document["flows"][0]["open"] == 1


async def test_the_inbox_as_objects_is_matched_or_refused(wire: Wire, home: Path) -> None:
    flow = tomllib.loads(OBJECTS.replace('"v1"', '"v3"'))
    assert (await wire.ask("PUT", "/v1/flows/people/versions/v3", json=flow)).status == 201
    run = await run_of(
        wire,
        home,
        '{"id": 1, "Email": "a@b.org"}\n{"id": 2, "Email": "no", "Age": 6}\n{"id": 3, "Email": "x"}\n',
        "people:v3",
    )
    (row, *_) = (await wire.ask("GET", "/v1/rejects", params={"flow": "people"})).document["items"]
    row["Email"] = "b@b.org"
    for changed, status in (
        ({"_lume_row": None, "_lume_line": None}, "FAILED"),
        ({"_lume_run": "run_other"}, "FAILED"),
        ({}, "SUCCEEDED"),
    ):
        assert (await corrected(wire, run, json.dumps(row | changed)))["status"] == status
    assert (await wire.ask("GET", "/v1/inbox")).document["flows"][0]["open"] == 1


async def test_rows_that_were_rejected_once_more_are_not_called_accepted(wire: Wire, home: Path) -> None:
    run = await run_of(wire, home, "id,Email,Age\n1,a@b.org,5\n2,no,6\n3,x,7\n")
    header = "_lume_row,_lume_reasons,id,Email,Age\n"
    first = await corrected(wire, run, f"{header}2,,2,b@b.org,6\n3,,3,x,7\n", "first.csv")
    assert first["metadata"]["metrics"]["rows_rejected"] == 1
    second = await corrected(wire, run, f"{header}3,,3,c@b.org,7\n", "second.csv")
    assert f"1 row was {BEFORE} is processed once more: {AGAIN}" in second["metadata"]["metrics"]["warnings"]
    assert (await wire.ask("GET", "/v1/inbox")).document["flows"][0]["open"] == 1, "that of the first run"


async def test_rows_that_are_corrected_twice_are_told(wire: Wire, home: Path) -> None:
    run = await run_of(wire, home, "id,Email,Age\n1,a@b.org,5\n2,no,6\n3,x,7\n4,y,8\n")
    header = "_lume_row,_lume_reasons,id,Email,Age\n"
    first = await corrected(wire, run, f"{header}2,,2,b@b.org,6\n2,,9,split@b.org,6\n", "first.csv")
    assert first["metadata"]["metrics"]["warnings"] == {
        "1 of 3 rejects is not in this file": 1,
        "1 row is the same reject as an earlier row of this file": 1,
    }
    text = f"{header}2,,2,b@c.org,6\n3,,3,c@b.org,7\n4,,4,d@b.org,8\n,,5,new@b.org,8\n"
    second = await corrected(wire, run, text, "second.csv")
    assert second["metadata"]["metrics"]["warnings"] == {
        f"1 row was {BEFORE} is processed once more: {AGAIN}": 1
    }
    text = f"{header}2,,2,b@d.org,6\n2,,6,d@c.org,6\n3,,3,c@c.org,7\n3,,7,e@b.org,7\n"
    third = await corrected(wire, run, text, "third.csv")
    assert third["metadata"]["metrics"]["warnings"] == {
        "2 rows are the same rejects as earlier rows of this file": 1,
        f"2 rows were {BEFORE} are processed once more: {AGAIN}": 1,
    }
