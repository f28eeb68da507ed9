"""Corrected rejects of several layouts: each row is read by the layout of its file, never by its columns."""

from pathlib import Path
from typing import Any

import pytest
from local.corrected import as_csv, as_objects, as_workbook
from local.one_run import Result
from local.senders import run

from lume_local._worker.engine import RunFailed

SHOP: dict[str, Any] = {"columns": {"order_id": '"id"', "amount": '"total"', "note": '"note"'}}
BANK: dict[str, Any] = {
    "source": {"csv": {"delim": ";", "encoding": "cp1252"}},
    # Another sender means the order by `total`, and has a column `id` that it does not read.
    "columns": {
        "order_id": '"total"',
        "amount": """parse_money("sum", ',')""",
        "note": {"from": ["Größe", "Grösse"]},
    },
}
FEED: dict[str, Any] = {
    "source": {"format": "ndjson"},
    "columns": {"order_id": '"head.no"', "amount": '"total"', "note": '"note"'},
}
LAYOUTS = {"shop": SHOP, "bank": BANK, "feed": FEED}
FILES = [
    ("a.csv", b'id,total,note\n1,1.50,a\n2,x,b\n"\n'),
    ("b.csv", 'id;total;sum;Grösse\n77;3;x;ü\n78;4;4,50;v\n";\n'.encode("cp1252")),
    (
        "c.ndjson",
        b'{"head": {"no": 5}, "total": "x", "note": "w"}\n{"head": {"no": 6}, "total": 6}\n{"head"\n',
    ),
]


def corrected(result: Result, *, without: str = "") -> list[dict[str, str]]:
    """The rejects with right values, as a person fills them in."""
    rows = []
    for row in result.rejects:
        name = row["_lume_layout"]
        if row["_lume_raw"]:
            raw = {
                "shop": "8,8,h",
                "bank": "79;9;9,50;ß",
                "feed": '{"head": {"no": 10}, "total": 1.0, "note": null}',
            }[name]
            row = {**row, "_lume_raw": raw}
        else:
            row = {
                **row,
                ("sum" if name == "bank" else "total"): {"shop": "2", "bank": "3,00", "feed": "5"}[name],
            }
        rows.append({key: value for key, value in row.items() if key != without})
    return rows


EXPECTED = [
    (2, "2.00", "b"),
    (3, "3.00", "ü"),
    (5, "5.00", "w"),
    (8, "8.00", "h"),
    (9, "9.50", "ß"),
    (10, "1.00", None),
]


@pytest.fixture(name="first")
def fixture_first(tmp_path: Path) -> Result:
    return run(tmp_path / "first", LAYOUTS, *FILES)


def returned(folder: Path, first: Result, content: bytes, **job: Any) -> Result:
    about = {"mends": 6, "lines": first.metrics["malformed_lines"], **job}
    return run(folder, LAYOUTS, (about.pop("shown", "corrected.csv"), content), job=about)


@pytest.mark.parametrize("save", [as_csv, lambda rows: as_csv(rows, ";"), as_objects, as_workbook])
def test_all_at_once(tmp_path: Path, first: Result, save: Any) -> None:
    again = returned(tmp_path / "again", first, save(corrected(first)))
    assert sorted(again.mapped) == EXPECTED
    # Rows of the file come in its order; a malformed line is where its record is.
    assert [row[0] for row in again.mapped] == [2, 3, 5, 8, 9, 10]
    counts = again.metrics["source"]["layouts"]
    assert {name: one["rows_read"] for name, one in counts.items()} == {"shop": 2, "bank": 2, "feed": 2}


def test_by_their_files_if_the_layout_is_not_there(tmp_path: Path, first: Result) -> None:
    of_files = {one["file"]: one["layout"] for one in first.metrics["source"]["files"]}
    rows = as_csv(corrected(first, without="_lume_layout"))
    again = returned(tmp_path / "again", first, rows, layouts=of_files)
    assert again.mapped == EXPECTED
    with pytest.raises(
        RunFailed,
        match=r"the layout of some rows of corrected\.csv is not known from _lume_layout or _lume_file",
    ):
        returned(tmp_path / "unknown", first, rows)


def test_rejected_again_they_keep_their_layout(tmp_path: Path, first: Result) -> None:
    rows = corrected(first)
    rows[1]["sum"] = "y"
    rows[4]["_lume_raw"] = "1;2"
    rows[5]["_lume_raw"] = "[]"
    again = returned(tmp_path / "again", first, as_csv(rows))
    assert [(row["_lume_file"], row["_lume_layout"], row["_lume_reasons"]) for row in again.rejects] == [
        ("b.csv", "bank", "amount: is not an amount of money"),
        ("b.csv", "bank", "malformed line: too few columns"),
        ("c.ndjson", "feed", "malformed line: not a JSON object"),
    ]
    assert again.metrics["source"]["layouts"]["bank"]["rows_rejected"] == 2
    third = run(
        tmp_path / "third",
        LAYOUTS,
        ("r.csv", as_csv(corrected(again))),
        job={"mends": 3, "lines": again.metrics["malformed_lines"]},
    )
    assert third.mapped == [(3, "3.00", "ü"), (9, "9.50", "ß"), (10, "1.00", None)]


def test_a_layout_that_the_version_lacks(tmp_path: Path, first: Result) -> None:
    rows = corrected(first)
    rows[0]["_lume_layout"] = "bnak"
    with pytest.raises(
        RunFailed, match=r"some rows of corrected\.csv have the layout 'bnak', which orders:v1 does not have"
    ):
        returned(tmp_path / "again", first, as_csv(rows))


def test_a_line_that_is_malformed_again_names_its_layout(tmp_path: Path, first: Result) -> None:
    rows = corrected(first)
    rows[4] |= {"_lume_raw": "1;2", "_lume_layout": "bnak"}
    with pytest.raises(RunFailed, match="have the layout 'bnak', which orders:v1 does not have"):
        returned(tmp_path / "unknown", first, as_csv(rows))
    rows[4]["_lume_layout"] = ""
    with pytest.raises(RunFailed, match="is not known from _lume_layout or _lume_file"):
        returned(tmp_path / "none", first, as_workbook(rows))


def test_a_line_of_the_rejects_that_is_no_record_has_no_layout(tmp_path: Path, first: Result) -> None:
    broken = b'"1\n'
    again = returned(tmp_path / "again", first, as_csv(corrected(first)) + broken)
    assert again.mapped == EXPECTED
    (reject,) = again.rejects
    assert (reject["_lume_layout"], reject["_lume_raw"]) == ("", broken.decode().rstrip())
    counts = again.metrics["source"]["layouts"]
    assert all(one == {"files": 0, "rows_read": 2} for one in counts.values()), counts
    # Its layout can't be guessed once it is corrected: a person fills it in.
    with pytest.raises(RunFailed, match="fill in _lume_layout with one of 'shop', 'bank', 'feed'"):
        returned(tmp_path / "third", again, as_csv([{**reject, "_lume_raw": "8,8,h"}]))
    filled = returned(
        tmp_path / "fourth", again, as_csv([{**reject, "_lume_layout": "shop", "id": "8", "_lume_raw": ""}])
    )
    assert filled.mapped == [(8, None, None)]


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (
            "post",
            "the layout 'post', which orders:v1 does not have: replay them through a version that has it",
        ),
        (
            "",
            "none of the layouts of orders:v1, or more than one, reads the columns of the rejected rows. Replay",
        ),
    ],
)
def test_of_a_replay_nobody_can_fill_in_a_layout(
    tmp_path: Path, first: Result, layout: str, words: str
) -> None:
    row = {**corrected(first)[0], "_lume_layout": layout}
    content, name = as_csv([row]), "the rejected rows"
    with pytest.raises(RunFailed, match=words):
        returned(tmp_path, first, content, shown=name)


def test_a_header_without_rejects(tmp_path: Path, first: Result) -> None:
    header = as_csv(corrected(first)).splitlines(keepends=True)[0]
    again = returned(tmp_path / "again", first, header)
    assert (again.mapped, again.metrics["rows_read"]) == ([], 0)
    assert again.metrics["source"]["layouts"] == {}


def test_columns_that_differ_only_in_case(tmp_path: Path) -> None:
    """What one layout reads, and another spells like a column that it does not read."""
    layouts = {
        "a": {"columns": {"order_id": '"no"', "amount": '"a"'}},
        "b": {"columns": {"order_id": '"NO"', "amount": '"b"'}},
    }
    files = (("a.csv", b"NO,no,a\n77,1,x\n"), ("b.csv", b"NO,b\n2,x\n3,1\n"))
    first = run(tmp_path / "first", layouts, *files)
    rows = [{**row, "a": "1" * (row["a"] != ""), "b": "2" * (row["b"] != "")} for row in first.rejects]
    again = run(tmp_path / "again", layouts, ("r.csv", as_csv(rows)), job={"mends": 2})
    assert again.mapped == [(1, "1.00", None), (2, "2.00", None)]


def test_several_columns_of_one_name(tmp_path: Path) -> None:
    """Files of one layout may spell a column differently from another layout that spells it like its alias."""
    layouts = {
        "a": {"columns": {"order_id": {"from": ["Order No", "order"]}, "amount": '"a"'}},
        "b": {"columns": {"order_id": '"Order-No"', "amount": '"b"', "note": '"c"'}},
    }
    files = (
        ("a.csv", b"ORDER_NO,a\n1,x\n"),
        ("b.csv", b"Order-No,b,c\n2,x,\n"),
        ("c.csv", b"Order-No,b,c\n3,1,\n"),
    )
    first = run(tmp_path / "first", layouts, *files)
    rows = [{**row, "a": "1" * (row["a"] != ""), "b": "2" * (row["b"] != "")} for row in first.rejects]
    again = run(tmp_path / "again", layouts, ("r.csv", as_csv(rows)), job={"mends": 2})
    assert again.mapped == [(1, "1.00", None), (2, "2.00", None)]
