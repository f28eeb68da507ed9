"""Files of several layouts as one source: which layout each has, and what becomes of their rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from local.one_run import Result
from local.senders import run
from local.workbooks import Sheet, written

from lume_local._flow.fields import FlowError
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.formats.sheets import excel, workbook

SHOP: dict[str, Any] = {"columns": {"order_id": '"id"', "amount": '"total"', "note": '"note"'}}
MUELLER: dict[str, Any] = {
    "source": {
        "footer": {"starts_with": ["Summe"]},
        "header": {"contains": ["Betrag"]},
        "csv": {"delim": ";", "encoding": "cp1252"},
    },
    "columns": {
        "order_id": {"from": ["Bestell-Nr.", "Bestellnummer"]},
        "amount": {"from": ["Betrag"], "sql": "parse_money(value, ',')"},
        "note": {"from": ["Größe"]},
    },
}
LAYOUTS = {"webshop": SHOP, "mueller": MUELLER}
OF_SHOP = b"id,total,note\n1,2.50,a\n2,x,b\n"
OF_MUELLER = "Liste\nBestellnummer;Betrag;Größe\n3;4,50;groß\n4;1.000,00;ü\n5;;\nSumme;9\n".encode("cp1252")


def layouts_of(result: Result) -> dict[str, str]:
    source = result.metrics["source"]
    if "files" not in source:
        (name,) = source["layouts"]
        return {"": name}
    return {one["file"]: one["layout"] for one in source["files"]}


def test_each_file_is_read_as_its_layout_says(tmp_path: Path) -> None:
    result = run(tmp_path, LAYOUTS, ("a.csv", OF_SHOP), ("b.csv", OF_MUELLER))
    assert result.mapped == [(1, "2.50", "a"), (3, "4.50", "groß"), (4, "1000.00", "ü"), (5, None, None)]
    assert layouts_of(result) == {"a.csv": "webshop", "b.csv": "mueller"}
    assert result.metrics["source"]["layouts"] == {
        "webshop": {"files": 1, "rows_read": 2, "rows_rejected": 1, "header": ["id", "total", "note"]},
        "mueller": {
            "files": 1,
            "rows_read": 3,
            "header": ["Bestellnummer", "Betrag", "Größe"],
            "aliases": {"order_id": ["Bestellnummer"], "amount": ["Betrag"], "note": ["Größe"]},
        },
    }
    assert result.rejects_file.decode() == (
        "_lume_row,_lume_line,_lume_reasons,_lume_file,_lume_layout,id,total,note,Bestellnummer,Betrag,Größe,_lume_raw\n"
        '2,3,"amount: is not a valid DECIMAL(12,2)",a.csv,webshop,2,x,b,,,,\n'
    ).replace('"', "").replace("DECIMAL(12,2)", "@").replace(
        "amount: is not a valid @", '"amount: is not a valid DECIMAL(12,2)"'
    )


def test_a_single_file(tmp_path: Path) -> None:
    result = run(tmp_path, LAYOUTS, ("a.txt", OF_MUELLER))
    assert [row[0] for row in result.mapped] == [3, 4, 5]
    assert layouts_of(result) == {"": "mueller"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "It is empty"),
        (b"a,b\n1,2\n", "Nearest is 'webshop': the file has no single column 'id', 'total', 'note'"),
        (b"id,total\n1,2\n", "Nearest is 'webshop': the file has no single column 'note'"),
        (b"id,total,note,note\n1,2,3,4\n", "Nearest is 'webshop': the file has no single column 'note'"),
        (
            b"May\n\nid,total,note\n1,2,3\n",
            "Nearest is 'webshop': the file has its names in line 3, not in line 1: "
            'header = "find" in its source would find them',
        ),
        (
            b"id;total;note\n1;2;3\n",
            "Nearest is 'webshop': the file has its names if ';' separates its columns, not ','",
        ),
        (
            "May\nBetrag\tBestell-Nr.\tGröße\n1\t2\t3\n".encode("cp1252"),
            "Nearest is 'mueller': the file has its names if '\\t' separates its columns, not ';'",
        ),
        (
            b"May\nid|total|note\n1|2|3\n",
            "Nearest is 'webshop': the file has its names in line 2, not in line 1 if '|' separates its columns, "
            "not ',': header = \"find\" in its source would find them",
        ),
        (
            OF_MUELLER.decode("cp1252").encode(),
            "Nearest is 'mueller': the file has its names if it is read as utf-8 (csv.encoding), not as cp1252",
        ),
        (
            OF_MUELLER.decode("cp1252").encode("utf-8-sig"),
            "Nearest is 'mueller': the file has its names if it is read as utf-8 (csv.encoding), not as cp1252",
        ),
        (
            b"id,total,note\n1,2,3\n".decode().encode("utf-16"),
            "Nearest is 'webshop': the file has its names if it is read as utf-16 (csv.encoding), not as utf-8",
        ),
        (
            OF_MUELLER.decode("cp1252").replace(";", "\t").encode(),
            "Nearest is 'mueller': the file has its names if it is read as utf-8 (csv.encoding), not as cp1252 and "
            "'\\t' separates its columns, not ';'",
        ),
        (b"PAR1\x15", "It is a Parquet file, which none of those without match is"),
        (
            OF_MUELLER.replace(b"Betrag", b"Preis"),
            "Nearest is 'mueller': the file has no single column 'Betrag'",
        ),
    ],
)
def test_none(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(RunFailed) as failed:
        run(tmp_path, LAYOUTS, ("x.csv", content))
    assert str(failed.value) == (
        f"x.csv has none of the layouts of orders:v1. {words}. To add a layout for it: lume flow map orders:v1 x.csv"
    )


def test_the_reason_for_a_damaged_file_is_its_damage(tmp_path: Path) -> None:
    whole = written("xlsx", [["id", "total", "note"], [1, 2, "a"]])
    layouts = {**LAYOUTS, **{name: SHOP | {"source": {"format": name}} for name in ("excel", "parquet")}}
    with pytest.raises(RunFailed) as failed:
        run(tmp_path / "a", layouts, ("x.xlsx", whole[: len(whole) // 2]))
    assert str(failed.value) == (
        "x.xlsx is a damaged ZIP archive, not a workbook (.xlsx, .xls, .xlsb, .ods): copy it again"
    )
    with pytest.raises(RunFailed, match=r"^x\.parquet (?!has none of the layouts)"):
        run(tmp_path / "b", layouts, ("x.parquet", b"PAR1\x15" + bytes(100)))


def test_the_command_for_a_file_runs_no_other(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"lume flow map orders:v1 'of May; reboot\.csv'$"):
        run(tmp_path, LAYOUTS, ("of May; reboot.csv", b"a,b\n"))


def test_the_header_alone(tmp_path: Path) -> None:
    result = run(tmp_path, LAYOUTS, ("a.csv", b"id,total,note\n"))
    assert (layouts_of(result), result.metrics["rows_read"]) == ({"": "webshop"}, 0)


BY_TWO_ENCODINGS = {
    "utf8": {"columns": SHOP["columns"]},
    "cp1252": {"source": {"csv": {"encoding": "cp1252"}}, "columns": SHOP["columns"]},
}


@pytest.mark.parametrize("encoding", ["utf8", "cp1252"])
def test_only_the_encoding_differs(tmp_path: Path, encoding: str) -> None:
    content = "id,total,note\n1,2,ä\n".encode(encoding)
    result = run(tmp_path, BY_TWO_ENCODINGS, ("a.csv", content))
    assert (layouts_of(result), result.mapped) == ({"": encoding}, [(1, "2.00", "ä")])


def test_the_one_that_reads_most_columns_then_the_one_that_reads_all(tmp_path: Path) -> None:
    fewer = {"columns": {"order_id": '"id"', "amount": '"total"'}}
    result = run(tmp_path / "a", {"fewer": fewer, "shop": SHOP}, ("a.csv", OF_SHOP))
    assert layouts_of(result) == {"": "shop"}
    # A title of its own: in line 1 it reads all columns of a header, in line 2 three of four.
    titled = {"source": {"header": {"row": 2}}, "columns": SHOP["columns"]}
    content = b"id,total,note\nid,total,note,more\n1,2,c\n"
    result = run(tmp_path / "b", {"titled": titled, "shop": SHOP}, ("a.csv", content))
    assert layouts_of(result) == {"": "shop"}


def test_two_that_read_different_columns_of_a_file(tmp_path: Path) -> None:
    other = {"columns": {"order_id": '"no"', "amount": '"sum"', "note": '"text"'}}
    words = "each of the layouts 'shop' and 'other' of orders:v1, which read equally many of its columns: name the"
    with pytest.raises(RunFailed, match=words):
        run(tmp_path, {"shop": SHOP, "other": other}, ("a.csv", b"id,total,note,no,sum,text\n1,2,a,3,4,b\n"))


def test_by_path(tmp_path: Path) -> None:
    by_path = {"mine": {"match": "mine/*", **SHOP}, "shop": SHOP}
    result = run(tmp_path, by_path, ("mine/a.csv", OF_SHOP), ("b.csv", OF_SHOP.replace(b"1,", b"9,")))
    assert layouts_of(result) == {"mine/a.csv": "mine", "b.csv": "shop"}


def test_two_paths_that_match(tmp_path: Path) -> None:
    by_path = {"a": {"match": ["x/*", "mine/*"], **SHOP}, "b": {"match": "mine/*.csv", **SHOP}}
    with pytest.raises(
        RunFailed, match=r"the path of mine/a\.csv matches the layouts 'a' and 'b' of orders:v1"
    ):
        run(tmp_path, by_path, ("mine/a.csv", OF_SHOP))


def test_a_forced_layout(tmp_path: Path) -> None:
    by_path = {"mine": {"match": "other/*", **SHOP}, "shop": SHOP}
    result = run(tmp_path, by_path, ("a.csv", OF_SHOP), layout="mine")
    assert layouts_of(result) == {"": "mine"}


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({"header": {"contains": ["sum"]}}, "lacks 'sum'. Fix the file or header"),
        ({"csv": {"delim": ";"}}, "separated by ',', and the flow reads ';': set csv.delim = \",\""),
    ],
)
def test_where_a_forced_layout_is_corrected(tmp_path: Path, layout: dict[str, Any], words: str) -> None:
    by_path = {"mine": {"match": "other/*", "columns": SHOP["columns"], "source": layout}, "shop": SHOP}
    with pytest.raises(RunFailed) as failed:
        run(tmp_path, by_path, ("a.csv", OF_SHOP), layout="mine")
    assert f"{words} in [layouts.mine.source] (in a new flow version" in str(failed.value)


def test_the_path_is_told_if_others_are_recognised_by_theirs(tmp_path: Path) -> None:
    by_path = {"mine": {"match": "mine/*", **SHOP}, "shop": SHOP}
    with pytest.raises(
        RunFailed, match=r"'note', and no match fits its path 'x/a\.csv'\. To add a layout for it"
    ):
        run(tmp_path, by_path, ("x/a.csv", b"a,b\n1,2\n"))


def test_objects_are_recognised_by_what_required_columns_read(tmp_path: Path) -> None:
    objects = {
        "flat": {
            "source": {"format": "json"},
            "columns": {"order_id": '"id"', "amount": '"total"', "note": '"no"'},
        },
        "deep": {
            "source": {"format": "json", "json": {"records": "orders"}},
            "columns": {"order_id": '"head.id"', "amount": '"total"'},
        },
    }
    flat = json.dumps([{"id": 1, "total": 2}, {"id": 2, "total": "x"}]).encode()
    deep = json.dumps({"orders": [{"head": {"id": 3}, "total": 4}]}).encode()
    result = run(tmp_path, objects, ("a.json", flat), ("b.json", deep))
    assert layouts_of(result) == {"a.json": "flat", "b.json": "deep"}
    assert [row[0] for row in result.mapped] == [1, 3]
    # Of objects, rejects have what is read.
    (reject,) = result.rejects
    assert list(reject) == [
        *("_lume_row", "_lume_line", "_lume_reasons", "_lume_file", "_lume_layout", "_lume_path"),
        *("id", "total", "no", "head.id", "_lume_raw"),
    ]
    with pytest.raises(RunFailed, match="Nearest is 'flat': the file has no single column 'id'"):
        run(tmp_path / "other", objects, ("a.json", b'[{"total": 2}]'))


@pytest.mark.parametrize(
    ("source", "header", "reads"),
    [
        ({}, ["", "Sum"], ["column_1", "Sum"]),
        ({"header": {"contains": ["Sum"]}}, ["Sum", "Sum", ""], ["Sum_1", "Sum_2"]),
        ({"format": "excel"}, ["Sum", "Sum", ""], ["Sum_1", "Sum_2"]),
    ],
)
def test_columns_without_a_name_of_their_own(
    tmp_path: Path, source: dict[str, Any], header: list[str], reads: list[str]
) -> None:
    columns = {"order_id": f'"{reads[0]}"', "amount": f'"{reads[1]}"'}
    layouts = {"numbered": {"source": source, "columns": columns}, "shop": SHOP}
    rows = [header, ["1", "2", ""][: len(header)]]
    content = "".join(",".join(row) + "\n" for row in rows).encode()
    if source.get("format"):
        content = written("xlsx", [[value or None for value in row] for row in rows])
    assert run(tmp_path, layouts, ("a", content)).mapped == [(1, "2.00", None)]


def test_a_title_above_the_header_of_a_sheet(tmp_path: Path) -> None:
    layouts = {"sheet": {**SHOP, "source": {"format": "excel"}}}
    content = written("xlsx", [["May"], [None], ["id", "total", "note"], [1, 2, "a"]])
    with pytest.raises(
        RunFailed, match="'sheet': the file has its names in line 3, not in line 1: header = "
    ):
        run(tmp_path, layouts, ("a.xlsx", content))


@pytest.mark.parametrize("format", ["json", "ndjson"])
def test_objects_that_are_nested_deeply(tmp_path: Path, format: str) -> None:
    """Such as members of a tree, which the flow does not read."""
    columns = {"order_id": '"head.no"', "amount": '"total"'}
    layouts = {"shop": SHOP, "feed": {"source": {"format": format}, "columns": columns}}
    tree = '{"a": ' * 2000 + "1" + "}" * 2000
    content = f'{{"head": {{"no": 1, "tree": {tree}}}, "total": 2}}\n'
    assert run(tmp_path, layouts, ("a", content.encode())).mapped == [(1, "2.00", None)]


@pytest.mark.parametrize(
    ("format", "content", "words"),
    [
        # The objects tell its layout; what is wrong below is for whoever reads it.
        ("json", '[{"id": 1, "total": 2}, {"id"', "^a is not JSON at line 1"),
        ("json", '[{"id": 1, "total', "Nearest is 'feed': a is not JSON at line 1"),
        ("xml", "<o><r><id>1</id></o>", "Nearest is 'feed': a is not well-formed XML"),
        ("ndjson", '[{"id": 1}]', "Nearest is 'feed': the file has no single column 'id'"),
    ],
)
def test_broken_objects_are_not_said_to_be_csv(tmp_path: Path, format: str, content: str, words: str) -> None:
    source = {"format": format} | ({"xml": {"records": "o/r"}} if format == "xml" else {})
    layouts = {"shop": SHOP, "feed": {"source": source, "columns": SHOP["columns"]}}
    with pytest.raises(RunFailed, match=words):
        run(tmp_path, layouts, ("a", content.encode()))


def test_the_nearest_objects_are_those_with_most_of_what_is_required(tmp_path: Path) -> None:
    """What is optional is not lacking, so that it brings no layout nearer."""
    columns: dict[str, Any] = {name: {"required": name in "abc"} for name in ("a", "b", "c", "x", "y")}
    feed: dict[str, Any] = {"source": {"format": "ndjson"}}
    layouts = {
        "far": {**feed, "columns": {**dict.fromkeys("abc", "'1'"), "a": '"q"', "x": '"r"', "y": '"s"'}},
        "near": {**feed, "columns": {"a": '"i"', "b": '"j"', "c": '"k"'}},
    }
    with pytest.raises(RunFailed, match="Nearest is 'near': the file has no single column 'k'"):
        run(tmp_path, layouts, ("a", b'{"i": 1, "j": 2}'), columns=columns)


def test_malformed_lines_have_their_layout_and_the_bytes_that_they_had(tmp_path: Path) -> None:
    broken = OF_MUELLER.replace(b"4;1.000,00;\xfc", b'\x81";1') + b""
    result = run(tmp_path, LAYOUTS, ("a.csv", OF_SHOP + b'"\n'), ("b.csv", broken))
    lines = [line for line in result.rejects_file.split(b"\n") if b"malformed" in line]
    assert [line.split(b",")[:5] for line in lines] == [
        [b"", b"4", b'"malformed line: broken quotes"', b'"a.csv"', b'"webshop"'],
        [b"", b"4", b'"malformed line: not valid UTF-8"', b'"b.csv"', b'"mueller"'],
    ]
    assert lines[1].endswith(b'"\x81"";1"')
    assert result.metrics["malformed_lines"] == [
        {
            "header": ["id", "total", "note"],
            "csv": {"delim": ",", "quote": '"', "escape": ""},
            "encoding": "utf-8",
            "files": ["a.csv"],
        },
        {
            "header": ["Bestellnummer", "Betrag", "Größe"],
            "csv": {"delim": ";", "quote": '"', "escape": ""},
            "encoding": "cp1252",
            "files": ["b.csv"],
        },
    ]


def test_a_layout_without_names_takes_no_file_of_others(tmp_path: Path) -> None:
    fixed = {
        "source": {
            "format": "fixed",
            "header": {"row": 1},
            "fixed": {"columns": {"nr": [1, 3], "sum": [4, 8]}},
        },
        "columns": {"order_id": '"nr"', "amount": '"sum"'},
    }
    content = b"NR  TOTAL\n  1 2.50\n"
    alone = run(tmp_path / "alone", {"fixed": fixed}, ("a.txt", content))
    assert (layouts_of(alone), [row[0] for row in alone.mapped]) == ({"": "fixed"}, [1])
    with pytest.raises((RunFailed, FlowError), match="match"):
        run(tmp_path / "both", {**LAYOUTS, "fixed": fixed}, ("a.txt", content))


def test_a_filter_is_of_one_layout(tmp_path: Path) -> None:
    layouts = {**LAYOUTS, "webshop": {**SHOP, "source": {"where": "note <> 'a'"}}}
    result = run(tmp_path, layouts, ("a.csv", OF_SHOP), ("b.csv", OF_MUELLER))
    assert [row[0] for row in result.mapped] == [3, 4, 5]
    assert (result.metrics["rows_filtered"], result.metrics["rows_rejected"]) == (1, 1)


def test_changed_columns_by_layout(tmp_path: Path) -> None:
    shared = {"on_unknown_columns": "warn"}
    more = OF_SHOP.replace(b"note", b"note,new").replace(b",a", b",a,").replace(b",b", b",b,")
    headers = {"webshop": ["id", "total", "note", "old"]}
    files = ("a.csv", more), ("b.csv", OF_MUELLER.replace(b"Gr", b"Neu;Gr"))
    result = run(tmp_path, LAYOUTS, *files, source=shared, headers=headers)
    assert {one for one in result.metrics["warnings"] if "column" in one} == {
        "column 'new' is new, and not read (webshop)",
        "column 'old' is gone (webshop)",
        "column 'Neu' is not read (mueller)",
    }


@pytest.mark.parametrize(("count", "shards"), [(1, 0), (3000, 0), (100, 3)])
def test_seeds_are_looked_up_by_one_layout(tmp_path: Path, count: int, shards: int) -> None:
    """DuckDB guarantees no order after a join: rows are numbered by file before it."""
    layouts = {
        **LAYOUTS,
        "webshop": {"columns": {**SHOP["columns"], "note": "seed('words', \"note\", 'long')"}},
    }
    files = [
        ("a.csv", b"id,total,note\n" + b"".join(b"%d,1,%c\n" % (n, b"ab"[n % 2]) for n in range(count))),
        ("b.csv", OF_MUELLER),
        ("c.csv", b"id,total,note\n" + b"".join(b"%d,1,a\n" % (n + 10_000) for n in range(count))),
    ]
    (tmp_path / "words.csv").write_text("short,long\na,alpha\n")
    job: dict[str, Any] = {"seeds": {"words": {"path": str(tmp_path / "words.csv"), "looked_up": ""}}}
    if shards:
        job["engine"] = {"url": "here", "shard_bytes": 1, "shards": shards}
    seeds = {"words": {"path": "words.csv", "key": "short"}}
    result = run(tmp_path / "run", layouts, *files, seeds=seeds, job=job)
    assert result.mapped == [
        *((n, "1.00", None if n % 2 else "alpha") for n in range(count)),
        *((3, "4.50", "groß"), (4, "1000.00", "ü"), (5, None, None)),
        *((n + 10_000, "1.00", "alpha") for n in range(count)),
    ]


def test_the_hint_of_another_encoding_is_for_the_layout(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"set csv\.encoding = \"cp1252\" in \[layouts\.webshop\.source\]"):
        run(tmp_path, LAYOUTS, ("a.csv", b"id,total,note\n1,2,\xfc\n"))


def test_each_workbook_is_opened_once_to_be_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = list[str]()
    really = workbook.opened_workbook

    def counting(path: Path, shown: str, *rest: Any) -> Any:
        opened.append(shown)
        return really(path, shown, *rest)

    monkeypatch.setattr(excel, "opened_workbook", counting)
    of_sheet = {
        name: {
            "source": {"format": "excel", "excel": {"sheet": name}},
            "columns": {"order_id": f'"{name} id"', "amount": f'"{name} total"'},
        }
        for name in ("A", "B", "C")
    }
    sheets = {"B": Sheet([["B id", "B total"], [1, 2]]), "D": Sheet([["D id"]])}
    result = run(tmp_path, {**LAYOUTS, **of_sheet}, ("a.xlsx", written("xlsx", sheets)))
    assert (layouts_of(result), result.mapped) == ({"": "B"}, [(1, "2.00", None)])
    assert opened == ["a.xlsx"] * 2  # and once to be read
