"""Malformed lines that come back: read as their own file was, and not at all while they lack letters.

By every way on which rejects come back: corrected rejects, dry runs of them, replays, drafts, and once more.
"""

import io
import json
import sqlite3
import tomllib
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from components import package
from local.http.rejects.test_drafts import draft, judged, mend, saved, submitted
from local.http.rejects.test_rejected import registered, rows
from local.http.rows.test_rows import rows as rows_of
from local.wire import Wire

from lume_async._run.row_text import CsvDialect, json_lines
from lume_local._worker.sources.mending.lost_letters import STILL_LOST

SUMS = """
flow = "people"
version = "v7"
[source]
uri = ["{source_path}/*.csv"]
[columns.id]
type = "integer"
required = true
[columns.amount]
type = "integer"
required = true
"""
UNKNOWN = (
    "malformed line: the header of its file is not known: submit it for its run, or fill in its columns and clear "
    "_lume_raw"
)


def as_csv(found: list[dict[str, Any]], dialect: CsvDialect | None = None) -> str:
    return "".join((dialect or CsvDialect()).lines(found))


def as_json(found: list[dict[str, Any]]) -> str:
    return "".join(json_lines(found))


async def sums(wire: Wire, home: Path, text: str = SUMS, **files: str | bytes) -> dict[str, Any]:
    """A run on files in a folder."""
    await registered(wire, text)
    (home / "in").mkdir(exist_ok=True)
    for name, content in files.items():
        path = home / "in" / name.replace("_", ".")
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    run = await wire.run(tomllib.loads(text)["flow"] + ":" + tomllib.loads(text)["version"], "in")
    assert run["status"] == "PARTIAL_FAILED", run["metadata"]["error_message"]
    return run


async def resubmitted(
    wire: Wire, run: dict[str, Any], content: str, name: str = "mended.csv", **fields: Any
) -> dict[str, Any]:
    assert (await wire.ask("PUT", f"/v1/uploads/{name}", data=content.encode())).status in (200, 201)
    metadata = {"run_metadata": {"resubmit_of": run["id"]}, "force_rerun": True, **fields}
    if not fields.get("dry_run"):
        return await wire.run(run["flow_version"], f"upload://{name}", **metadata)
    answer = await wire.submit(run["flow_version"], f"upload://{name}", **metadata)
    assert answer.status == 200, answer.document
    return dict(answer.document)


def corrected(found: list[dict[str, Any]], **raws: str) -> list[dict[str, Any]]:
    """The rejects with other lines where they were these."""
    return [{**row, "_lume_raw": raws.get(f"_{row['_lume_raw']}", row["_lume_raw"])} for row in found]


FILES = {"a_csv": "id,amount\n1,10\n2\n", "b_csv": "amount,id\n20,2\n30\n"}


async def mapped(wire: Wire, run: dict[str, Any]) -> list[tuple[int, int]]:
    return [(row["id"], row["amount"]) for row in await rows_of(wire, run["id"], "mapped")]


@pytest.mark.parametrize(
    "form",
    [
        CsvDialect(),
        *(pytest.param(one, marks=pytest.mark.thorough) for one in (CsvDialect(";"), CsvDialect("\t", ""))),
    ],
    ids=["commas", "semicolons", "tabs"],
)
async def test_each_line_has_the_header_of_its_file(wire: Wire, home: Path, form: CsvDialect) -> None:
    run = await sums(wire, home, **FILES)
    found = await rows_of(wire, run["id"], "rejects")
    again = await resubmitted(wire, run, as_csv(corrected(found, _2="2,21", _30="30,3"), form))
    assert await mapped(wire, again) == [(2, 21), (3, 30)]
    dry = await resubmitted(wire, run, as_csv(corrected(found, _30="30,3"), form), dry_run=True)
    assert [(row["id"], row["amount"]) for row in dry["rows"]["mapped"]] == [(3, 30)]


async def test_the_header_is_still_that_of_its_file_the_second_time(wire: Wire, home: Path) -> None:
    """Also if the corrected rejects have their columns in another order, or are corrected rejects of a draft."""
    run = await sums(wire, home, **FILES)
    found = await rows_of(wire, run["id"], "rejects")
    names = ["_lume_row", "_lume_line", "_lume_file", "amount", "id", "_lume_raw"]
    moved = [{name: row.get(name) for name in names} for row in corrected(found, _2="2,21", _30="30,")]
    second = await resubmitted(wire, run, as_csv(moved))
    assert await mapped(wire, second) == [(2, 21)]
    (left,) = await rows_of(wire, second["id"], "rejects")
    assert (left["_lume_file"], left["amount"]) == ("in/b.csv", "30")
    moved = [{name: row.get(name) for name in names} for row in corrected(found, _2="2,21", _30="30,3,4")]
    second = await resubmitted(wire, run, as_csv(moved), "other.csv")
    (left,) = await rows_of(wire, second["id"], "rejects")
    assert (left["_lume_file"], left["_lume_raw"]) == ("in/b.csv", "30,3,4")
    third = await resubmitted(wire, second, as_csv(corrected([left], **{"_30,3,4": "30,3"})), "third.csv")
    assert await mapped(wire, third) == [(3, 30)]


async def test_members_of_an_archive(wire: Wire, home: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member, content in FILES.items():
            archive.writestr(member.replace("_", "."), content)
    text = SUMS.replace('*.csv"]', '*.zip"]\nmembers = "*.csv"')
    run = await sums(wire, home, text, a_zip=out.getvalue())
    found = await rows_of(wire, run["id"], "rejects")
    again = await resubmitted(wire, run, as_csv(corrected(found, _2="2,21", _30="30,3")))
    assert await mapped(wire, again) == [(2, 21), (3, 30)]


async def test_a_header_that_is_found(wire: Wire, home: Path) -> None:
    text = SUMS.replace("[columns.id]", 'header = "find"\n[columns.id]', 1)
    run = await sums(wire, home, text, a_csv=f"Sums\n\n{FILES['a_csv']}", b_csv=f"x\n{FILES['b_csv']}")
    found = await rows_of(wire, run["id"], "rejects")
    lines = {row["_lume_raw"]: "30,3" for row in found if row["_lume_file"] == "in/b.csv"}
    again = await resubmitted(
        wire, run, as_csv(corrected(found, **{f"_{raw}": new for raw, new in lines.items()}))
    )
    assert await mapped(wire, again) == [(3, 30)]


async def test_aliases_are_columns_of_one_name(wire: Wire, home: Path) -> None:
    text = SUMS.replace("[columns.amount]", '[columns.amount]\nfrom = ["Betrag", "sum"]')
    files = {"a_csv": "id,Betrag,x\n1,10,\n2\n", "b_csv": "sum,y,id\n20,,2\n30\n"}
    run = await sums(wire, home, text, **files)
    found = await rows_of(wire, run["id"], "rejects")
    again = await resubmitted(wire, run, as_csv(corrected(found, _2="2,21,a", _30="30,b,3")))
    assert await mapped(wire, again) == [(2, 21), (3, 30)]
    lacking = [
        {name: value for name, value in row.items() if name != "y"} for row in corrected(found, _30="30,b,3")
    ]
    less = await resubmitted(wire, run, as_csv([*lacking, {"id": 9, "Betrag": 9}]), "less.csv")
    assert (
        "malformed line: its file has a column that these rejects lack: put that back, or fill in its "
        in (str(less["metadata"]["metrics"]["reject_reasons"]))
    )
    assert await mapped(wire, less) == [(9, 9)]


OTHER_DIALECT = SUMS.replace('"v7"', '"v8"').replace(
    "[columns.id]", '[source.csv]\ndelim = ";"\n[columns.id]', 1
)


TO = [pytest.param(SUMS, marks=pytest.mark.thorough), OTHER_DIALECT]


async def verdicts(wire: Wire) -> dict[tuple[str, int], list[str]]:
    answer = await wire.ask("POST", "/v1/drafts/people/judge", json={})
    return {(one["run"], one["row"]): one["reasons"] for one in answer.document["items"]}


async def replayed(wire: Wire) -> list[dict[str, Any]]:
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "people"})
    return [await wire.until(run["id"]) for run in answer.document["runs"]]


@pytest.mark.parametrize("to", TO, ids=["v7", "v8"])
async def test_drafts_of_several_runs(wire: Wire, home: Path, to: str) -> None:
    """By a version with another delimiter, too. A line that has as many fields as the rejects have is none."""
    first = await sums(wire, home, **FILES)
    (home / "other").mkdir()
    (home / "other/b.csv").write_text("amount,more,id\n1,,1\n7,8\n")
    (home / "other/c.csv").write_text("id,amount\n5\n")
    second = await wire.run("people:v7", "other")
    if to is not SUMS:
        await registered(wire, to)
    changes = [
        mend(first, 1, _lume_raw="2,21"),
        mend(first, 2, _lume_raw="30,3"),
        mend(second, 1, _lume_raw="70,,7"),
        mend(second, 2, _lume_raw="5,50,"),
    ]
    saving = await saved(wire, *changes)
    assert await verdicts(wire) == {
        (first["id"], 1): [],
        (first["id"], 2): [],
        (second["id"], 1): [],
        (second["id"], 2): ["malformed line: too many columns"],
    }
    done = await submitted(wire, saving["rev"])
    values = sorted([one for run in done["runs"] for one in await mapped(wire, run)])
    assert values == [(2, 21), (3, 30), (7, 70)]


@pytest.mark.parametrize("to", TO, ids=["v7", "v8"])
async def test_what_a_replay_rejects_is_of_its_file(wire: Wire, home: Path, to: str) -> None:
    files = FILES | {"b_csv": "amount,id\n20,2\n1;5\n40\n"}
    await sums(wire, home, **files)
    if to is not SUMS:
        await registered(wire, to)
    (again,) = await replayed(wire)
    assert again["metadata"]["metrics"]["reject_reasons"] == {"malformed line: too few columns": 3}
    found = await rows_of(wire, again["id"], "rejects")
    assert [row["_lume_file"] for row in found] == ["in/a.csv", "in/b.csv", "in/b.csv"]
    second = await resubmitted(wire, again, as_csv(corrected(found, _2="2,21")))
    assert await mapped(wire, second) == [(2, 21)]
    found = await rows_of(wire, second["id"], "rejects")
    assert [row["_lume_raw"] for row in found] == ["1;5", "40"]
    third = await resubmitted(wire, second, as_csv(corrected(found, _40="40,4")), "third.csv")
    assert await mapped(wire, third) == [(4, 40)]


async def test_a_replay_knows_the_quotes_better(wire: Wire, home: Path) -> None:
    """As the fields of a line are divided as in its file, and quotes are what the version says."""
    run = await sums(wire, home, a_csv='id,amount,text\n1,10,a\n2,20,a "b\n')
    assert run["metadata"]["metrics"]["reject_reasons"] == {"malformed line: broken quotes": 1}
    await registered(
        wire, SUMS.replace('"v7"', '"v8"').replace("[columns.id]", 'csv = { quote = "" }\n[columns.id]', 1)
    )
    (again,) = await replayed(wire)
    assert (again["status"], await mapped(wire, again)) == ("SUCCEEDED", [(2, 20)])


async def test_a_row_of_a_sheet_is_no_line(wire: Wire, home: Path) -> None:
    """To a version that reads CSV, though it looks like one."""
    book, out = package("openpyxl").Workbook(), io.BytesIO()
    for row in (["id", "amount"], [1, 10], ["2,20", None, "beyond"]):
        book.active.append(row)
    book.save(out)
    of_sheets = SUMS.replace("*.csv", "*.xlsx").replace("[columns.id]", 'format = "excel"\n[columns.id]', 1)
    run = await sums(wire, home, of_sheets, a_xlsx=out.getvalue())
    ((raw,),) = [[row["_lume_raw"]] for row in await rows_of(wire, run["id"], "rejects")]
    assert "2,20" in raw
    await registered(wire, SUMS.replace('"v7"', '"v8"'))
    await replayed(wire)
    assert [row["_lume_reasons"] for row in await rows(wire, flow="people")] == [[UNKNOWN]]


async def test_a_run_without_the_record_is_not_guessed_about(wire: Wire, home: Path) -> None:
    """One of an earlier release: of a single file there is nothing to guess."""
    run = await sums(wire, home, **FILES)
    (home / "one").mkdir()
    (home / "one/a.csv").write_text(FILES["a_csv"])
    single = await wire.run("people:v7", "one")
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite", timeout=10)) as db:
        changed = db.execute("UPDATE runs SET metrics = json_remove(metrics, '$.malformed_lines')").rowcount
        db.commit()
    assert changed
    found = await rows_of(wire, run["id"], "rejects")
    await saved(wire, mend(run, 2, _lume_raw="30,3"))
    assert await judged(wire) == {2: [UNKNOWN]}
    filled_in = {**found[1], "_lume_raw": None, "id": 3, "amount": 30}
    content = as_csv([*corrected(found, _2="2,21", _30="30,3"), filled_in])
    again = await resubmitted(wire, run, content)
    assert again["metadata"]["metrics"]["reject_reasons"] == {UNKNOWN: 2}
    assert await mapped(wire, again) == [(3, 30)]
    plain = await resubmitted(wire, {**run, "id": "run_of_nobody"}, content, "plain.csv")
    assert plain["metadata"]["metrics"]["reject_reasons"] == {UNKNOWN: 2}
    found = await rows_of(wire, single["id"], "rejects")
    assert await mapped(
        wire, await resubmitted(wire, single, as_csv(corrected(found, _2="2,21")), "one.csv")
    ) == [(2, 21)]


# -- letters

NAMES = """
flow = "people"
version = "v9"
[source]
format = "{format}"
[columns.id]
type = "integer"
required = true
[columns.name]
required = true
[columns.note]
"""
LINES: dict[str, list[bytes]] = {
    "csv": [b"id,name,note", b"1,Ann,", b"2,M\xfcller,x", "3,\ufffd,genuine,4".encode()],
    "ndjson": [
        b'{"id": 1, "name": "Ann", "note": null}',
        b'{"id": 2, "name": "M\xfcller", "note": "x"}',
        '{"id": 3, "name": "\ufffd", "note": "genuine",}'.encode(),
    ],
}
Change = Callable[[str], str]
LOST = f"malformed line: {STILL_LOST}"


async def names(wire: Wire, home: Path, format: str, *more: bytes) -> dict[str, Any]:
    await registered(wire, NAMES.replace("{format}", format))
    (home / "names").write_bytes(b"\n".join([*LINES[format], *more]) + b"\n")
    return await wire.run("people:v9", "names")


async def all_names(wire: Wire, run: dict[str, Any]) -> list[str]:
    return [row["name"] for row in await rows_of(wire, run["id"], "mapped")]


def with_lines(found: list[dict[str, Any]], change: Change) -> list[dict[str, Any]]:
    return [{**row, "_lume_raw": change(row["_lume_raw"])} for row in found]


@pytest.mark.parametrize(
    ("format", "write"),
    [
        ("csv", as_csv),
        *(pytest.param("ndjson", write, marks=pytest.mark.thorough) for write in (as_json, as_csv)),
    ],
)
async def test_a_mark_is_no_letter(wire: Wire, home: Path, format: str, write: Any) -> None:
    """Untouched, edited elsewhere, or filled in: as long as it stands there, in a second round as well."""
    run = await names(wire, home, format)
    found = await rows_of(wire, run["id"], "rejects")
    assert "M\ufffdller" in found[0]["_lume_raw"]
    suffix = "csv" if write is as_csv else "ndjson"
    fine = {"id": 9, "name": "Nina", "note": None}
    again = await resubmitted(wire, run, write([*found, fine]), f"a.{suffix}")
    reasons = again["metadata"]["metrics"]["reject_reasons"]
    assert (await all_names(wire, again), reasons[LOST]) == (["Nina"], 1)
    dry = await resubmitted(wire, run, write([*found, fine]), f"dry.{suffix}", dry_run=True)
    assert [row["name"] for row in dry["rows"]["mapped"]] == ["Nina"]
    second = await rows_of(wire, again["id"], "rejects")
    once_more = await resubmitted(wire, again, write([*second, fine]), f"b.{suffix}")
    reasons = once_more["metadata"]["metrics"]["reject_reasons"]
    assert (await all_names(wire, once_more), reasons[LOST]) == (["Nina"], 1)
    for one in (run, again):
        left = [row for row in await rows_of(wire, one["id"], "rejects") if "ller" in row["_lume_raw"]]
        assert left[0]["_lume_reasons"] != ["malformed line: too many columns"]
        filled_in = [{**left[0], "_lume_raw": None, "id": 2, "name": "M\ufffdller", "note": "y"}, fine]
        kept = await resubmitted(wire, one, write(filled_in), f"{one['id']}.{suffix}")
        assert await all_names(wire, kept) == ["Nina"], "in a cell"
        mended = with_lines(left, lambda raw: raw.replace("\ufffd", "ü"))
        assert await all_names(
            wire, await resubmitted(wire, one, write(mended), f"m{one['id']}.{suffix}")
        ) == ["Müller"]


@pytest.mark.parametrize("format", ["csv", pytest.param("ndjson", marks=pytest.mark.thorough)])
async def test_a_mark_that_the_source_has(wire: Wire, home: Path, format: str) -> None:
    """It blocks no row: neither one that was never rejected for its bytes, nor one whose other letters are there."""
    both = {
        "csv": b"5,\xfcber,\xef\xbf\xbd",
        "ndjson": b'{"id": 5, "name": "\xfcber", "note": "\xef\xbf\xbd"}',
    }
    fine = {"csv": b"6,\xef\xbf\xbd,", "ndjson": b'{"id": 6, "name": "\xef\xbf\xbd"}'}
    run = await names(wire, home, format, both[format], fine[format])
    assert await all_names(wire, run) == ["Ann", "\ufffd"]
    found = await rows_of(wire, run["id"], "rejects")

    def mend_all(raw: str) -> str:
        return raw.replace("\ufffdber", "über").replace(",genuine,4", ",genuine").replace(",}", "}")

    again = await resubmitted(wire, run, as_csv(with_lines(found, mend_all)))
    assert sorted(await all_names(wire, again)) == ["über", "\ufffd"]


@pytest.mark.parametrize("format", ["csv", pytest.param("ndjson", marks=pytest.mark.thorough)])
async def test_a_mark_in_a_draft_or_a_replay(wire: Wire, home: Path, format: str) -> None:
    run = await names(wire, home, format)
    numbers = {row["_lume_raw"]: row["_lume_reject"] for row in await rows(wire, flow="people")}
    (raw,) = (raw for raw in numbers if "ller" in raw)
    (other,) = (one for one in numbers if "genuine" in one)
    fixed = other.replace(",genuine,4", ",genuine").replace(",}", "}")
    saving = await saved(wire, mend(run, numbers[raw], _lume_raw=raw.replace("x", "y")))
    assert await judged(wire) == {numbers[raw]: [LOST]}
    saving = await saved(
        wire,
        mend(run, numbers[raw], 1, _lume_raw=None, id="2", name="M\ufffdller", note="y"),
        mend(run, numbers[other], _lume_raw=fixed),
    )
    assert await judged(wire) == {numbers[raw]: [LOST], numbers[other]: []}
    tried = await wire.ask("POST", "/v1/replays", json={"flow": "people", "dry_run": True})
    assert tried.document["passed"] == 0
    answer = await wire.ask("POST", "/v1/replays", json={"flow": "people"})
    for one in answer.document["runs"]:
        await wire.until(one["id"])
    reasons = [row["_lume_reasons"] for row in await rows(wire, flow="people") if "ller" in row["_lume_raw"]]
    assert reasons == [["malformed line: not valid UTF-8"]]
    revs = {one["row"]: one["rev"] for one in (await draft(wire))["items"]}
    row = mend(run, numbers[raw], revs[numbers[raw]], _lume_raw=raw.replace("\ufffd", "ü"))
    saving = await saved(wire, row)
    assert (await judged(wire))[numbers[raw]] == []
    done = await submitted(wire, saving["rev"])
    assert sorted([name for one in done["runs"] for name in await all_names(wire, one)]) == [
        "Müller",
        "\ufffd",
    ]


async def test_rejects_that_can_not_be_asked_any_more(wire: Wire, home: Path) -> None:
    """The record of the run knows the headers without them, and the reasons say which rows lack letters."""
    run = await sums(
        wire, home, a_csv="id,amount,t\n1,10,\n2\n", b_csv=b"amount,id,t\n20,2,\n30,3,M\xfcller\n"
    )
    found = await rows_of(wire, run["id"], "rejects")
    Path(run["metadata"]["target_locations"]["rejects"]).unlink()
    again = await resubmitted(wire, run, as_csv(corrected(found, _2="2,21,")))
    assert await mapped(wire, again) == [(2, 21)]
    letters = [{**row, "_lume_raw": row["_lume_raw"].replace("\ufffd", "ü")} for row in found[1:]]
    assert await mapped(wire, await resubmitted(wire, run, as_csv(letters), "b.csv")) == [(3, 30)]


async def test_rows_of_a_table_of_rejects(wire: Wire, home: Path) -> None:
    """What a person has queried there: its values as JSON, and its reasons."""
    run = await names(wire, home, "csv")
    found = await rows_of(wire, run["id"], "rejects")
    as_queried = [{**row, "_lume_reasons": json.dumps(row["_lume_reasons"])} for row in found]
    fine = {"_lume_row": None, "id": 9, "name": "Nina"}
    plain = await resubmitted(wire, {**run, "id": "run_of_nobody"}, as_csv([*as_queried, fine]))
    assert await all_names(wire, plain) == ["Nina"]
    assert plain["metadata"]["metrics"]["reject_reasons"][LOST] == 1
