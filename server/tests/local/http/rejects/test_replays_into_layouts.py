"""Rejected rows of a version without layouts go through the first one with them, and its layout is found for them."""

import json
from pathlib import Path
from typing import Any

from local.wire import Wire

COLUMNS: dict[str, Any] = {"no": {"type": "integer"}, "amount": {"type": "number", "minimum": 0}}
FIRST = {
    "flow": "sums",
    "version": "v1",
    "source": {"csv": {"delim": ";", "encoding": "cp1252"}},
    "columns": {
        "no": COLUMNS["no"] | {"from": ["Number"]},
        "amount": COLUMNS["amount"] | {"sql": """parse_money("Betrag", ',')"""},
    },
}
READ = {"no": {"from": ["Number", "no"]}, "amount": """parse_money(ltrim("Betrag", '"'), ',')"""}
"""It is as lenient as its dialect, which has no quotes."""
LAYOUTS = {
    "v1": {"source": {"csv": {"delim": ";", "encoding": "cp1252", "quote": ""}}, "columns": READ},
    "more": {"columns": READ | {"no": '"Id"'}},
}
LINES = 'Number;Betrag;Käufer\n1;2,50;Jörg\n2;-3,00;Änne\n3;"4;Zoë\n'


async def replayed(wire: Wire) -> list[dict[str, Any]]:
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "sums"})
    assert answer.status == 201, answer.document
    return [await wire.until(run["id"]) for run in answer.document["runs"]]


async def registered(wire: Wire, version: str, layouts: dict[str, Any], least: int) -> None:
    columns = COLUMNS | {"amount": COLUMNS["amount"] | {"minimum": least}}
    flow = {"flow": "sums", "version": version, "columns": columns, "layouts": layouts}
    answer = await wire.ask("PUT", f"/v1/flows/sums/versions/{version}", json=flow)
    assert answer.status == 201, answer.document


async def test_rows_and_malformed_lines(wire: Wire, home: Path) -> None:
    await wire.ask("PUT", "/v1/flows/sums/versions/v1", json=FIRST)
    (home / "a.csv").write_bytes(LINES.encode("cp1252"))
    first = await wire.run("sums:v1", "a.csv")
    assert first["metadata"]["metrics"]["reject_reasons"] == {
        "amount: is below 0": 1,
        "malformed line: broken quotes": 1,
    }
    await registered(wire, "v2", LAYOUTS, least=-5)
    runs = await replayed(wire)
    assert [run["status"] for run in runs] == ["SUCCEEDED", "SUCCEEDED"], runs
    sources = [run["metadata"]["metrics"]["source"]["layouts"] for run in runs]
    assert [{name: one["rows_read"] for name, one in each.items()} for each in sources] == [{"v1": 1}] * 2
    pages = [(await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")).document["items"] for run in runs]
    assert sorted(row["no"] for page in pages for row in page) == [2, 3]


async def test_objects_in_objects(wire: Wire, home: Path) -> None:
    source = {"format": "json", "json": {"records": "data"}}
    columns = {
        "no": COLUMNS["no"] | {"sql": '"head.id"'},
        "amount": COLUMNS["amount"] | {"sql": '"sum.net.eur"'},
    }
    await wire.ask("PUT", "/v1/flows/sums/versions/v1", json=FIRST | {"source": source, "columns": columns})
    items = [{"head": {"id": n}, "sum": {"net": {"eur": -n}}, "more": [n]} for n in (0, 1, 2)]
    (home / "a.json").write_text(
        json.dumps({"data": [*items, {"head": "?", "sum": {"net": {"eur": -3}}, "more": 0}]})
    )
    first = await wire.run("sums:v1", "a.json")
    assert first["metadata"]["metrics"]["rows_rejected"] == 3
    read = {"no": '"head.id"', "amount": '"sum.net.eur"'}
    await registered(
        wire, "v2", {"v1": {"source": source, "columns": read}, "more": LAYOUTS["more"]}, least=-5
    )
    (run,) = await replayed(wire)
    assert run["status"] == "SUCCEEDED", run
    rows = (await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")).document["items"]
    assert [(row["no"], row["amount"]) for row in rows] == [(1, -1), (2, -2), (None, -3)]


async def test_no_layout_reads_their_columns(wire: Wire, home: Path) -> None:
    await wire.ask("PUT", "/v1/flows/sums/versions/v1", json=FIRST)
    (home / "a.csv").write_bytes(LINES.encode("cp1252"))
    await wire.run("sums:v1", "a.csv")
    await registered(wire, "v2", {name: LAYOUTS["more"] | {"match": f"{name}/*"} for name in "ab"}, least=-5)
    runs = await replayed(wire)
    assert {run["status"] for run in runs} == {"FAILED"}, runs
    for run in runs:
        assert run["metadata"]["error_message"].startswith(
            "none of the layouts of sums:v2, or more than one, reads the columns of the rejected rows. Replay them"
        ), run


async def test_rejected_again_they_have_a_layout(wire: Wire, home: Path) -> None:
    await wire.ask("PUT", "/v1/flows/sums/versions/v1", json=FIRST)
    (home / "a.csv").write_bytes(LINES.encode("cp1252"))
    await wire.run("sums:v1", "a.csv")
    strict = {"v1": {"source": {"csv": FIRST["source"]["csv"]}, "columns": READ}}  # type: ignore[index]
    await registered(wire, "v2", strict, least=-1)
    layouts = set[str]()
    for run in await replayed(wire):
        assert run["status"] == "PARTIAL_FAILED", run
        page = (await wire.ask("GET", f"/v1/runs/{run['id']}/rejects")).document
        layouts |= {row["_lume_layout"] for row in page["items"]}
    assert layouts == {"v1"}
    await registered(wire, "v3", LAYOUTS, least=-5)
    assert [run["status"] for run in await replayed(wire)] == ["SUCCEEDED", "SUCCEEDED"]
