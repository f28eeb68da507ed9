"""Rejects of several layouts that come back by every way: corrected, in a dry run, edited in a draft, in a replay."""

from pathlib import Path
from typing import Any

import pytest
from local.http.rejects.test_drafts import judged, mend, saved, submitted
from local.http.rejects.test_rejected import registered
from local.http.rejects.test_returned_lines import as_csv, as_json, mapped, replayed, resubmitted, sums
from local.http.rows.test_rows import rows as rows_of
from local.wire import Wire

LAYOUTS = """
flow = "people"
version = "v7"
[source]
uri = "{source_path}/*"
[columns.id]
type = "integer"
required = true
[columns.amount]
type = "integer"
required = true
[layouts.shop.columns]
id = '"no"'
amount = '"sum"'
[layouts.bank]
source.csv = { delim = ";", encoding = "cp1252" }
[layouts.bank.columns]
id = '"sum"'
amount = { from = ["Größe"] }
[layouts.feed]
source.format = "ndjson"
[layouts.feed.columns]
id = '"head.no"'
amount = '"sum"'
"""
FILES: dict[str, str | bytes] = {
    "a_csv": "no,sum\n1,10\n2,x\n3\n",
    "b_csv": "sum;no;Größe\n4;;40\n5;;y\n6;6\n".encode("cp1252"),
    "c_ndjson": '{"head": {"no": 7}, "sum": "z"}\n{"head": \n{"head": {"no": 9}, "sum": 90}\n',
}
RAWS = {"3": "3,30", "6;6": "6;;60", '{"head": ': '{"head": {"no": 8}, "sum": 80}'}
SUMS = {"shop": ("sum", "20"), "bank": ("Größe", "50"), "feed": ("sum", "70")}
EXPECTED = [(2, 20), (3, 30), (5, 50), (6, 60), (7, 70), (8, 80)]


def corrected(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows = []
    for row in found:
        name, value = SUMS[row["_lume_layout"]]
        changed = {"_lume_raw": RAWS[row["_lume_raw"]]} if row.get("_lume_raw") else {name: value}
        rows.append({**row, **changed})
    return rows


@pytest.mark.parametrize(("form", "has_layout"), [(as_csv, False), (as_json, True)])
async def test_resubmitted(wire: Wire, home: Path, form: Any, has_layout: bool) -> None:
    """By the files in the account of the run, if nobody says the layout."""
    run = await sums(wire, home, LAYOUTS, **FILES)
    rows = corrected(await rows_of(wire, run["id"], "rejects"))
    if not has_layout:
        rows = [{name: value for name, value in row.items() if name != "_lume_layout"} for row in rows]
    name = "mended.csv" if form is as_csv else "mended.ndjson"
    dry = await resubmitted(wire, run, form(rows), name, dry_run=True)
    assert sorted((row["id"], row["amount"]) for row in dry["rows"]["mapped"]) == EXPECTED
    again = await resubmitted(wire, run, form(rows), name)
    assert (again["status"], sorted(await mapped(wire, again))) == ("SUCCEEDED", EXPECTED)


async def test_edited_in_a_draft(wire: Wire, home: Path) -> None:
    run = await sums(wire, home, LAYOUTS, **FILES)
    found = await rows_of(wire, run["id"], "rejects")
    changes = []
    for n, (row, after) in enumerate(zip(found, corrected(found), strict=True), 1):
        changes.append(
            mend(run, n, **{name: value for name, value in after.items() if row.get(name) != value})
        )
    saving = await saved(wire, *changes)
    assert await judged(wire) == {n: [] for n in range(1, 7)}
    done = await submitted(wire, saving["rev"])
    assert sorted([one for again in done["runs"] for one in await mapped(wire, again)]) == EXPECTED


async def test_replayed_through_a_version_that_reads_more(wire: Wire, home: Path) -> None:
    await sums(wire, home, LAYOUTS, **FILES)
    accepting = LAYOUTS.replace('"v7"', '"v8"')
    for name in ("sum", "Größe"):
        accepting = accepting.replace(
            f"amount = '\"{name}\"'", f"amount = '''coalesce(try_cast(\"{name}\" AS INT), 0)'''"
        )
    accepting = accepting.replace(
        '{ from = ["Größe"] }', '{ from = ["Größe"], sql = "coalesce(try_cast(value AS INT), 0)" }'
    )
    await registered(wire, accepting)
    runs = await replayed(wire)
    found = sorted([one for run in runs for one in await mapped(wire, run)])
    assert found == [(2, 0), (5, 0), (7, 0)]
    left = [row for run in runs for row in await rows_of(wire, run["id"], "rejects")]
    assert sorted(row["_lume_layout"] for row in left) == ["bank", "feed", "shop"]
    assert {row["_lume_raw"] for row in left} == set(RAWS)
