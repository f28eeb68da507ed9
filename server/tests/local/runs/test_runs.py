"""Runs from end to end: real files, real workers, over HTTP."""

import csv
from pathlib import Path

import duckdb
import pytest
from local.flows import PEOPLE_CSV, people, slow_rows
from local.wire import Wire

COLUMNS = {
    "id": {"nulls": 0, "min": "1", "max": "3", "distinct": 3},
    "email": {"nulls": 0, "min": None, "max": None, "distinct": 3},
    "age": {"nulls": 1, "min": "31", "max": "47", "distinct": 2},
}


@pytest.mark.thorough
async def test_a_clean_source_succeeds(wire: Wire, home: Path) -> None:
    run = await wire.run("people:v1", "people.csv", run_metadata={"ticket": 7})
    assert run["status"] == "SUCCEEDED"
    assert run["run_metadata"] == run["metadata"]["run"]["run_metadata"] == {"ticket": 7}
    assert run["progress"] == 1
    metadata = run["metadata"]
    assert metadata["metrics"] == {
        "rows_read": 3,
        "rows_mapped": 3,
        "rows_rejected": 0,
        "reject_reasons": {},
        "warnings": {},
        "source": {"bytes": len(PEOPLE_CSV), "lines": 4, "records": 3},
        "columns": COLUMNS,
    }
    assert [stage["name"] for stage in metadata["stages"]] == [
        "SYNCING_SOURCE",
        "TRANSFORMING",
        "SYNCING_TARGET",
    ]
    assert all(stage["finished_at"] for stage in metadata["stages"])
    assert metadata["stages"][1]["rows"] == 3
    assert metadata["target_locations"]["rejects"] is None
    mapped = metadata["target_locations"]["mapped"]
    assert mapped == str(home / f".lume/out/people/v1/{run['id']}/mapped.parquet")
    rows = duckdb.sql(f"FROM '{mapped}'").fetchall()
    assert rows == [(1, "ann@example.org", 31), (2, "bob@example.org", None), (3, "cy@example.org", 47)]
    assert run["created_at"] <= run["started_at"] <= run["finished_at"]
    assert metadata["run"]["duration_seconds"] > 0


async def test_bad_rows_are_rejected_with_their_reasons_and_raw_values(wire: Wire, home: Path) -> None:
    (home / "mixed.csv").write_text(
        PEOPLE_CSV
        + "x,not an address,200\n"  # three reasons in one row
        + "1,twice@example.org,5\n"
        + "7,too@example.org,5,extra\n"
        + ",,\n"
        + '8,"quoted, with comma",-1\n'
    )
    run = await wire.run("people:v1", "mixed.csv")
    assert run["status"] == "PARTIAL_FAILED"
    assert run["metadata"]["metrics"] == {
        "rows_read": 8,
        "rows_mapped": 3,
        "rows_rejected": 5,
        "reject_reasons": {
            "id: is not a valid integer": 1,
            "id: is required": 1,
            "id: repeats the value of an earlier row": 1,
            "email: is required": 1,
            "email: is not an email address": 2,
            "age: is above 150": 1,
            "age: is below 0": 1,
            "malformed line: too many columns": 1,
        },
        "warnings": {},
        "source": {"bytes": (home / "mixed.csv").stat().st_size, "lines": 9, "records": 8},
        "malformed_lines": [
            {
                "header": ["id", "Email", "Age"],
                "csv": {"delim": ",", "quote": '"', "escape": ""},
                "encoding": "utf-8",
            }
        ],
        "columns": COLUMNS,
    }
    with Path(run["metadata"]["target_locations"]["rejects"]).open(newline="") as file:
        rejects = list(csv.DictReader(file))
    assert list(rejects[0]) == ["_lume_row", "_lume_line", "_lume_reasons", "id", "Email", "Age", "_lume_raw"]
    assert [(row["_lume_row"], row["id"], row["Email"], row["Age"]) for row in rejects] == [
        ("4", "x", "not an address", "200"),
        ("5", "1", "twice@example.org", "5"),
        ("6", "", "", ""),
        ("7", "8", "quoted, with comma", "-1"),
        ("", "", "", ""),
    ]
    assert rejects[0]["_lume_reasons"] == (
        "id: is not a valid integer; email: is not an email address; age: is above 150"
    )
    assert rejects[4]["_lume_line"] == "7"
    assert rejects[4]["_lume_raw"] == "7,too@example.org,5,extra"


UNUSABLE: list[tuple[str, str | None, list[str]]] = [
    (
        "absent.csv",
        None,
        ["there is no file", "('absent.csv' is relative to the server's root, /", "submit the run again"],
    ),
    ("folder", "", ["is a folder", "name one file"]),
    ("empty.csv", "", ["has no header", "must name the columns"]),
    ("wrong.csv", "id,Mail,Age\n", ["no column 'Email'", "columns.email.sql", "'Mail'", "Did you mean"]),
    ("semicolons.csv", 'id;"Email";AGE\n', ["is one column", "separated by ';'", 'csv.delim = ";"']),
    ("tabs.csv", "ID\tEmail\tAge\n", ["separated by '\\t'", 'csv.delim = "\\t"']),
    ("pipes.csv", "Mail|Email, private\n", ["no column 'id'", "Found: 'Mail|Email', 'private'"]),
    ("twice.csv", "id,EMAIL,email,Age\n", ["rename one"]),
    ("bad.csv", "id,Email,Age\nx,y,z\n", ["the only row was rejected", "id: is not a valid integer (1)"]),
]
"""Sources, and what is said of them."""


async def test_a_source_that_cannot_be_used_fails_the_run(wire: Wire, home: Path) -> None:
    for name, content, words in UNUSABLE:
        if name == "folder":
            (home / name).mkdir()
        elif content is not None:
            (home / name).write_text(content)
        run = await wire.run("people:v1", name)
        assert run["status"] == "FAILED", name
        for word in words:
            assert word in run["metadata"]["error_message"]
        assert run["metadata"]["target_locations"] == {"mapped": None, "rejects": None}
        assert not (home / ".lume/out").exists(), name
        assert {file.name for file in (home / ".lume/state/runs").iterdir()} <= {"owner"}


async def test_batch_names_by_way_of_a_uri_template(wire: Wire, home: Path) -> None:
    (home / "inbox").mkdir()
    (home / "inbox/batch_7.csv").write_text(PEOPLE_CSV)
    flow = people(
        version="v4", source={"uri": "inbox/{source_path}.csv"}, target={"mapped": "out/{source_path}.csv"}
    )
    assert (await wire.ask("PUT", "/v1/flows/people/versions/v4", json=flow)).status == 201
    run = await wire.run("people:v4", "batch_7")
    assert run["status"] == "SUCCEEDED"
    assert run["metadata"]["target_locations"]["mapped"] == str(home / "out/inbox/batch_7.csv.csv")
    again = await wire.submit("people:v4", "batch_7")
    assert (again.status, again.document["run_id"]) == (409, run["id"])
    assert (await wire.run("people:v4", "batch_8"))["status"] == "FAILED"


async def test_a_target_that_may_not_be_written_fails_the_run(wire: Wire, home: Path) -> None:
    (home / "seed.csv").write_text("id\n1\n")
    for version, mapped, words in (
        ("v5", "/etc/out.csv", "target"),
        ("v6", "people.csv", "target"),
        ("v7", "{data}/state/out.csv", "target"),
        ("v9", "./seed.csv", "seed.csv' is a seed of the flow"),
    ):
        seeds = {"known": {"path": "seed.csv", "key": "id"}}
        flow = people(version=version, seeds=seeds, target={"mapped": mapped})
        assert (await wire.ask("PUT", f"/v1/flows/people/versions/{version}", json=flow)).status == 201
        run = await wire.run(f"people:{version}", "people.csv")
        assert run["status"] == "FAILED"
        assert words in run["metadata"]["error_message"]
    assert (home / "people.csv").read_text() == PEOPLE_CSV
    assert (home / "seed.csv").read_text() == "id\n1\n"


async def test_a_fixed_target_is_replaced_as_a_whole(wire: Wire, home: Path) -> None:
    flow = people(version="v8", target={"mapped": "latest.csv"})
    await wire.ask("PUT", "/v1/flows/people/versions/v8", json=flow)
    assert (await wire.run("people:v8", "people.csv"))["status"] == "SUCCEEDED"
    assert (home / "latest.csv").read_text() == "id\n1\n2\n3\n"
    (home / "other.csv").write_text("id\n9\n")
    assert (await wire.run("people:v8", "other.csv"))["status"] == "SUCCEEDED"
    assert (home / "latest.csv").read_text() == "id\n9\n"


async def test_cancelling_a_run_that_works(wire: Wire, home: Path) -> None:
    (home / "slow.csv").write_text(slow_rows())
    started = await wire.submit("slow:v1", "slow.csv")
    run_id = started.document["id"]
    await wire.until(run_id, "TRANSFORMING")
    answer = await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
    assert answer.status == 202
    run = await wire.until(run_id)
    assert run["status"] == "CANCELLED"
    assert run["progress"] < 1
    assert not (home / ".lume/out").exists()
    again = await wire.ask("POST", f"/v1/runs/{run_id}/cancel")
    assert (again.status, again.document) == (200, run)


async def test_cancelling_a_run_that_waits(wire: Wire, home: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (home / name).write_text(slow_rows())
    active, waiting = [(await wire.submit("slow:v1", name)).document["id"] for name in ("a.csv", "b.csv")]
    await wire.until(active, "TRANSFORMING")
    answer = await wire.ask("POST", f"/v1/runs/{waiting}/cancel")
    assert (answer.status, answer.document["status"]) == (202, "CANCELLED")
    assert answer.document["started_at"] is None
    await wire.ask("POST", f"/v1/runs/{active}/cancel")
    assert (await wire.until(active))["status"] == "CANCELLED"
